// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies that policy.c needs: each does one thing, most of them a wrong one.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

MCX_EXIT_DEFINE();

__u64 nr_charged;	/* calls of any memcg_charged here */
__u64 nr_exits;
__u32 fixed_ms;		/* what fixed_charged returns */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, char[4096]);
} grows SEC(".maps");

static const char zeros[4096];

void MCX_MEMBER(cases_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
	__sync_fetch_and_add(&nr_exits, 1);
}

/* fixed: each batch waits fixed_ms. */
unsigned int MCX_MEMBER(fixed_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__sync_fetch_and_add(&nr_charged, 1);
	return fixed_ms;
}

MCX_OPS(fixed) = {
	.memcg_charged	= (void *)fixed_charged,
	.exit		= (void *)cases_exit,
	.name		= "fixed",
};

/* gives_up: says so itself. */
unsigned int MCX_MEMBER(gives_up_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__sync_fetch_and_add(&nr_charged, 1);
	mcx_bpf_error(42, "had enough\nname forged");
	return 0;
}

MCX_OPS(gives_up) = {
	.memcg_charged	= (void *)gives_up_charged,
	.exit		= (void *)cases_exit,
	.name		= "gives_up",
};

/* bad_bits: a value that means nothing. */
__u32 MCX_MEMBER(bad_bits_high, const struct bpf_memcg_ctx *high)
{
	return 0x80000000;
}

MCX_OPS(bad_bits) = {
	.high_policy	= (void *)bad_bits_high,
	.exit		= (void *)cases_exit,
	.name		= "bad_bits",
};

/* refuses: its init does. */
__s32 MCX_MEMBER(refuses_init, struct mem_cgroup *memcg)
{
	return -7;	/* E2BIG, which nobody else returns here */
}

MCX_OPS(refuses) = {
	.init		= (void *)refuses_init,
	.exit		= (void *)cases_exit,
	.name		= "refuses",
};

/* allocates: charges memory itself, so that it would call itself. */
unsigned int MCX_MEMBER(allocates_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__u64 key = __sync_fetch_and_add(&nr_charged, 1);

	bpf_map_update_elem(&grows, &key, zeros, BPF_ANY);
	return 0;
}

MCX_OPS(allocates) = {
	.memcg_charged	= (void *)allocates_charged,
	.exit		= (void *)cases_exit,
	.name		= "allocates",
};

/* defers, override: inline calls put off; descendants may have their own. */
__u32 MCX_MEMBER(defers_high, const struct bpf_memcg_ctx *high)
{
	return BPF_MEMCG_HIGH_DEFER_INLINE;
}

MCX_OPS(defers) = {
	.high_policy	= (void *)defers_high,
	.flags		= BPF_F_ALLOW_OVERRIDE,
	.name		= "defers",
};

/* Values that are refused when the members are set, before there is a link. */
MCX_OPS(bad_name) = { .name = "no blanks" };
MCX_OPS(no_name) = { .flags = 0 };
MCX_OPS(bad_flags) = { .flags = 1U << 30, .name = "bad_flags" };
MCX_OPS(bad_timeout) = { .timeout_ms = 5, .name = "bad_timeout" };
