/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_KILL_H
#define MCX_KILL_H

#include <linux/memcontrol.h>
#include <linux/sched.h>

/**
 * struct mcx_death - what is said of a victim
 * @pid: its pid
 * @comm: its name
 * @pages: that it had
 * @group: all of a cgroup were killed with it
 */
struct mcx_death {
	pid_t pid;
	char comm[TASK_COMM_LEN];
	unsigned long pages;
	bool group;
};

int mcx_kill(struct mem_cgroup *top, unsigned long scale, bool impatient,
	     struct mcx_death *death);
void mcx_kill_report(struct mem_cgroup *top, const struct mcx_death *death,
		     int killed);
bool mcx_kill_pending(struct mem_cgroup *top);

#endif /* MCX_KILL_H */
