/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers on the command line. */
#ifndef MCXCTL_NUMBER_H
#define MCXCTL_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#define MAX_INTERVAL	86400.0

int parse_unsigned(const char *text, uint64_t *value);
int parse_signed(const char *text, int64_t *value);
bool parse_interval(const char *text, double *seconds);

#endif /* MCXCTL_NUMBER_H */
