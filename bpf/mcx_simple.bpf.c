// SPDX-License-Identifier: GPL-2.0-only
/*
 * simple: slow a workload down before it meets its limit.
 *
 * A task that charges while less than `margin` bytes are left to the nearest
 * memory.high or memory.max waits on its way back to user mode, the longer the
 * less is left, `max_delay` milliseconds at the limit. Nobody is ever put to sleep
 * with a kernel lock held.
 *
 * It shows: options, a delay from memcg_charged, levels, how to count, and how
 * the end of a policy reaches its loader. It is right for batch work that may be
 * slowed at any time, and wrong for whatever has to answer quickly: a cgroup
 * that simply stays near its limit is slowed all the time.
 *
 *   mcxctl load mcx_simple.bpf.o -c my.slice --set max_delay=5
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

MCX_OPTION(__u64, margin, 8 << 20, "bytes below the limit where slowing down begins");
MCX_OPTION(__u32, max_delay, 20, "milliseconds that one batch waits at the limit");

MCX_EXIT_DEFINE();

/* For whoever wants to look: bpftool map dump name mcx_simp.bss */
__u64 nr_delayed;
__u64 nr_levels[8];		/* a power of two, so that the verifier believes it */

/* In the middle of the kernel, with who knows what locks: never there. */
__u32 MCX_MEMBER(simple_high_policy, const struct bpf_memcg_ctx *high)
{
	return BPF_MEMCG_HIGH_DEFER_INLINE;
}

unsigned int MCX_MEMBER(simple_memcg_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__u64 left = mcx_bpf_headroom(memcg);

	if (left >= margin)
		return 0;
	__sync_fetch_and_add(&nr_delayed, 1);
	return max_delay * (margin - left) / margin;
}

void MCX_MEMBER(simple_level, struct mem_cgroup *memcg, __u32 level, __u32 old)
{
	__sync_fetch_and_add(&nr_levels[level & 7], 1);
}

__s32 MCX_MEMBER(simple_init, struct mem_cgroup *memcg)
{
	return margin ? 0 : -22;	/* EINVAL */
}

void MCX_MEMBER(simple_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
}

MCX_OPS(simple) = {
	.high_policy	= (void *)simple_high_policy,
	MCX_OURS(.memcg_charged	= (void *)simple_memcg_charged,
		 .level		= (void *)simple_level,
		 .init		= (void *)simple_init,
		 .exit		= (void *)simple_exit,
		 .name		= "simple")
};
