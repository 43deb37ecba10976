// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies for policy_sleep.c: what tick and reclaim can do, as the test tells them.
 */
#include "mcx.bpf.h"
#include "spin.bpf.h"

char LICENSE[] SEC("license") = "GPL";

MCX_EXIT_DEFINE();

__u64 nr_ticks;
__u64 nr_exits;
__u32 next_ms;		/* what tick returns */
__u32 spin;		/* ms that it takes */
__u32 never;

/* What it does then, once for each time that the test sets what. */
enum { DO_NOTHING, DO_RECLAIM, DO_PROACTIVE, DO_READ };
__u32 what;
__u64 target;		/* cgroup */
__u64 bytes;
__s32 swappiness;
__s64 result;

__u64 psi;
__u64 cpu_time;
__u64 anon;
__u64 anon_before;

__u64 nr_reclaims;
__u64 asked_pages;
__u64 asked_of;
__u32 leave_ms;		/* what reclaim returns */

static void act_on(struct mem_cgroup *memcg)
{
	switch (what) {
	case DO_RECLAIM:
		result = mcx_bpf_reclaim(memcg, bytes, swappiness);
		break;
	case DO_PROACTIVE:
		result = bpf_proactive_reclaim(memcg, bytes, swappiness);
		break;
	case DO_READ:
		anon_before = bpf_mem_cgroup_page_state(memcg, NR_ANON_MAPPED);
		bpf_mem_cgroup_flush_stats(memcg);
		anon = bpf_mem_cgroup_page_state(memcg, NR_ANON_MAPPED);
		psi = mcx_bpf_psi(memcg, false);
		cpu_time = mcx_bpf_cpu_time(memcg);
		result = 0;
		break;
	}
}

static void act(void)
{
	struct mem_cgroup *memcg = mcx_memcg_from_id(target);

	if (!memcg)
		return;
	act_on(memcg);
	bpf_put_mem_cgroup(memcg);
}

unsigned int MCX_SLEEPING(ticks_tick, struct mem_cgroup *memcg)
{
	__sync_fetch_and_add(&nr_ticks, 1);
	if (spin)
		spin_ms(spin, &never);
	if (what) {
		act();
		what = DO_NOTHING;
	}
	return next_ms;
}

void MCX_MEMBER(sleep_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
	__sync_fetch_and_add(&nr_exits, 1);
}

MCX_OPS(ticks) = {
	.tick		= (void *)ticks_tick,
	.exit		= (void *)sleep_exit,
	.timeout_ms	= 30000,
	.name		= "ticks",
};

MCX_OPS(hurried) = {
	.tick		= (void *)ticks_tick,
	.exit		= (void *)sleep_exit,
	.timeout_ms	= 200,
	.name		= "hurried",
};

/* chooses: reclaims from one child only. */
unsigned int MCX_SLEEPING(chooses_reclaim, struct mem_cgroup *memcg,
			  unsigned long nr_pages)
{
	struct mem_cgroup *child = mcx_memcg_from_id(target);

	__sync_fetch_and_add(&nr_reclaims, 1);
	asked_pages = nr_pages;
	asked_of = mcx_bpf_memcg_id(memcg);
	if (child) {
		result = mcx_bpf_reclaim(child, nr_pages * 4096, -1);
		bpf_put_mem_cgroup(child);
	}
	return leave_ms;
}

MCX_OPS(chooses) = {
	.reclaim	= (void *)chooses_reclaim,
	.exit		= (void *)sleep_exit,
	.name		= "chooses",
};

/* As upstream has it: from a program that is no policy. */
SEC("syscall")
int proactive(void *ctx)
{
	struct mem_cgroup *memcg = mcx_memcg_from_id(target);

	if (!memcg)
		return 0;
	result = bpf_proactive_reclaim(memcg, bytes, swappiness);
	bpf_put_mem_cgroup(memcg);
	return 0;
}
