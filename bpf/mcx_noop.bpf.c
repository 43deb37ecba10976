// SPDX-License-Identifier: GPL-2.0-only
/*
 * noop: every member that is asked on the way of a page, and no opinion.
 *
 * For measuring what asking costs, and as a form to fill in.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

MCX_EXIT_DEFINE();

__u32 MCX_MEMBER(noop_high_policy, const struct bpf_memcg_ctx *high)
{
	return BPF_MEMCG_HIGH_NO_OPINION;
}

unsigned int MCX_MEMBER(noop_memcg_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	return 0;
}

void MCX_MEMBER(noop_level, struct mem_cgroup *memcg, __u32 level, __u32 old)
{
}

void MCX_MEMBER(noop_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
}

MCX_OPS(noop) = {
	.high_policy	= (void *)noop_high_policy,
	MCX_OURS(.memcg_charged	= (void *)noop_memcg_charged,
		 .level		= (void *)noop_level,
		 .exit		= (void *)noop_exit,
		 .name		= "noop")
};
