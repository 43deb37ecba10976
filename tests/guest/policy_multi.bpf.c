// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy for policy_multi.c, of which there are several at once: says what the test
 * wants, and counts what it is asked.
 */
#include "mcx.bpf.h"
#include "wish.bpf.h"

char LICENSE[] SEC("license") = "GPL";

MCX_EXIT_DEFINE();

__s64 nr_high, nr_charged, nr_level, nr_online, nr_reclaim, nr_min;
__u32 defers;		/* inline calls put off */
__u32 delay;		/* ms, whoever charges */
__u32 spares;		/* whatever it is asked about */
__u64 spares_id;	/* that cgroup alone */
__u32 says_class;	/* of whoever charges: */
__u32 class;
__s64 nr_seen[4];	/* how often it was of each class */
__u32 gives_up;

unsigned int MCX_SLEEPING(multi_tick, struct mem_cgroup *memcg)
{
	wish_act();
	if (gives_up)
		mcx_bpf_error(7, "as the test says");
	return 10;
}

/* Leaves it to the workers. */
unsigned int MCX_SLEEPING(multi_reclaim, struct mem_cgroup *memcg, unsigned long nr_pages)
{
	__sync_fetch_and_add(&nr_reclaim, 1);
	return 0;
}

__u32 MCX_MEMBER(multi_high, const struct bpf_memcg_ctx *high)
{
	__sync_fetch_and_add(&nr_high, 1);
	return defers ? BPF_MEMCG_HIGH_DEFER_INLINE : BPF_MEMCG_HIGH_NO_OPINION;
}

unsigned int MCX_MEMBER(multi_charged, struct mem_cgroup *memcg, unsigned int nr_pages)
{
	struct task_struct *task = bpf_get_current_task_btf();

	__sync_fetch_and_add(&nr_charged, 1);
	__sync_fetch_and_add(&nr_seen[mcx_bpf_thread_class(task) & 3], 1);
	if (says_class)
		mcx_bpf_set_thread_class(task, class);
	return delay;
}

void MCX_MEMBER(multi_level, struct mem_cgroup *memcg, __u32 level, __u32 old)
{
	__sync_fetch_and_add(&nr_level, 1);
}

void MCX_MEMBER(multi_online, struct mem_cgroup *memcg)
{
	__sync_fetch_and_add(&nr_online, 1);
}

bool MCX_MEMBER(multi_min, struct mem_cgroup *memcg, unsigned long emin,
		unsigned long usage)
{
	__sync_fetch_and_add(&nr_min, 1);
	return spares || (spares_id && mcx_bpf_memcg_id(memcg) == spares_id);
}

void MCX_MEMBER(multi_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
}

MCX_OPS(multi) = {
	.tick		= (void *)multi_tick,
	.reclaim	= (void *)multi_reclaim,
	.high_policy	= (void *)multi_high,
	.memcg_charged	= (void *)multi_charged,
	.level		= (void *)multi_level,
	.handle_cgroup_online = (void *)multi_online,
	.below_min	= (void *)multi_min,
	.exit		= (void *)multi_exit,
	.name		= "multi",
};
