/* SPDX-License-Identifier: GPL-2.0-only */
/* Nested keyed files ("NAME KEY=VALUE ..." lines). */
#ifndef MCXCTL_NESTED_H
#define MCXCTL_NESTED_H

#include "mcxctl.h"

/**
 * struct nested - a nested keyed file
 * @text: what was read, cut to pieces
 * @lines: its lines; keyed_get() and its like do for them
 * @nr: how many
 */
struct nested {
	char *text;
	struct keyed *lines;
	size_t nr;
};

int nested_read(struct nested *n, const char *path, const char *name);
void nested_free(struct nested *n);
struct json_object *nested_json(const struct nested *n);

#endif /* MCXCTL_NESTED_H */
