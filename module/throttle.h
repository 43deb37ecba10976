/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_THROTTLE_H
#define MCX_THROTTLE_H

#include <linux/types.h>

struct mem_cgroup;
struct page_counter;
struct task_struct;

void mcx_throttle_charge(struct page_counter *counter, unsigned long nr_pages,
			 unsigned int delay, u64 by);
void mcx_throttle_wake(struct mem_cgroup *memcg, struct task_struct *task);
void mcx_throttle_drain(void);
bool mcx_throttle_draining(void);
bool mcx_throttle_all_ours(struct mem_cgroup *memcg);

#endif /* MCX_THROTTLE_H */
