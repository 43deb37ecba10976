/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_KILL_H
#define MCX_KILL_H

#include <linux/memcontrol.h>

int mcx_kill(struct mem_cgroup *top, unsigned long scale, bool impatient);
bool mcx_kill_pending(struct mem_cgroup *top);

#endif /* MCX_KILL_H */
