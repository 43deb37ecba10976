/* SPDX-License-Identifier: GPL-2.0-only */
/* The features of the loaded module, for the commands that show them. */
#ifndef MCXCTL_FEATURES_H
#define MCXCTL_FEATURES_H

/**
 * struct feature - one line of the module's list
 * @name: what it is
 * @state: on, off or degraded
 * @reason: why it is not on; may be empty
 */
struct feature {
	const char *name;
	const char *state;
	const char *reason;
};

struct json_object;

int features_each(void (*visit)(const struct feature *f, void *arg), void *arg);
struct json_object *features_json(void);

#endif /* MCXCTL_FEATURES_H */
