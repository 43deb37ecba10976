/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_BACKOFF_H
#define MCX_BACKOFF_H

#include <linux/types.h>

void mcx_backoff_strike(const char *name, u64 cgroup_id);
unsigned long mcx_backoff_left(const char *name, u64 cgroup_id);

#endif /* MCX_BACKOFF_H */
