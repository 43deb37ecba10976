// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy for policy_wish.c: wishes what the test says, for whom it says.
 */
#include "mcx.bpf.h"
#include "wish.bpf.h"

char LICENSE[] SEC("license") = "GPL";

MCX_EXIT_DEFINE();

__u32 gives_up;		/* gives up */
__u32 delay;		/* ms, whoever charges */

unsigned int MCX_SLEEPING(caps_tick, struct mem_cgroup *memcg)
{
	wish_act();
	if (gives_up)
		mcx_bpf_error(7, "as the test says");
	return 10;
}

unsigned int MCX_MEMBER(caps_charged, struct mem_cgroup *memcg, unsigned int nr_pages)
{
	return delay;
}

void MCX_MEMBER(caps_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
}

MCX_OPS(caps) = {
	.tick		= (void *)caps_tick,
	.memcg_charged	= (void *)caps_charged,
	.exit		= (void *)caps_exit,
	.flags		= BPF_F_ALLOW_OVERRIDE,
	.name		= "caps",
};

/* own: the same for the cgroup below, which has this one then. */
__u64 own_bytes;	/* what it sets */
__s32 own_result;

unsigned int MCX_SLEEPING(own_tick, struct mem_cgroup *memcg)
{
	if (own_bytes)
		own_result = mcx_bpf_set_high(memcg, own_bytes);
	return 10;
}

MCX_OPS(own) = {
	.tick		= (void *)own_tick,
	.name		= "own",
};
