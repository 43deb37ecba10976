// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy for policy_wish.c: wishes what the test says, for whom it says.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

MCX_EXIT_DEFINE();

enum { DO_HIGH, DO_SHED, DO_WAKE };
__u32 what;
__u64 target;		/* cgroup; 0 when it is done */
__u64 bytes;
__s32 result;
__u32 gives_up;		/* gives up */
__u32 delay;		/* ms, whoever charges */

static int wish(struct mem_cgroup *memcg)
{
	switch (what) {
	case DO_HIGH:
		return mcx_bpf_set_high(memcg, bytes);
	case DO_SHED:
		return mcx_bpf_shed(memcg, bytes);
	default:
		return mcx_bpf_wake(memcg);
	}
}

static void act(void)
{
	struct mem_cgroup *memcg = mcx_memcg_from_id(target);

	if (!memcg)
		return;
	result = wish(memcg);
	bpf_put_mem_cgroup(memcg);
	target = 0;
}

unsigned int MCX_SLEEPING(caps_tick, struct mem_cgroup *memcg)
{
	if (target)
		act();
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

unsigned int MCX_SLEEPING(own_tick, struct mem_cgroup *memcg)
{
	if (own_bytes)
		result = mcx_bpf_set_high(memcg, own_bytes);
	return 10;
}

MCX_OPS(own) = {
	.tick		= (void *)own_tick,
	.name		= "own",
};
