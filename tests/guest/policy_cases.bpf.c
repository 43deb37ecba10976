// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies that policy.c needs: each does one thing, most of them a wrong one.
 */
#include "mcx.bpf.h"
#include "spin.bpf.h"

char LICENSE[] SEC("license") = "GPL";

MCX_EXIT_DEFINE();

__u64 nr_charged;	/* calls of any memcg_charged here */
__u64 nr_exits;
__u32 fixed_ms;		/* what fixed_charged returns */
__u32 never;

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

/* waits: its init does, until it may go on; its exit says that it failed. */
__u64 nr_inits;
__u32 init_waits;	/* it does now */
__u32 init_may_go;

__s32 MCX_MEMBER(waits_init, struct mem_cgroup *memcg)
{
	__sync_fetch_and_add(&nr_inits, 1);
	*(volatile __u32 *)&init_waits = 1;
	spin_ms(5000, &init_may_go);
	return 0;
}

void MCX_MEMBER(waits_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
	__sync_fetch_and_add(&nr_exits, 1);
	mcx_bpf_error(43, "and failed");
}

MCX_OPS(waits) = {
	.init		= (void *)waits_init,
	.exit		= (void *)waits_exit,
	.name		= "waits",
};

/* slow: each batch takes so long, or one in so many. */
__u32 slow_ms;
__u32 slow_one_in;

unsigned int MCX_MEMBER(slow_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__u64 nr = __sync_fetch_and_add(&nr_charged, 1);

	if (slow_one_in && nr % slow_one_in)
		return 0;
	if (slow_ms < 10)
		spin_brief(slow_ms);
	else
		spin_ms(slow_ms, &never);
	return 0;
}

MCX_OPS(slow) = {
	.memcg_charged	= (void *)slow_charged,
	.exit		= (void *)cases_exit,
	.name		= "slow",
};

/* over: as if usage were so far above memory.high, here or in a cgroup above. */
__u32 over_pages;
__u64 over_id;		/* where */

unsigned int MCX_MEMBER(over_pages_of, struct mem_cgroup *memcg)
{
	__sync_fetch_and_add(&nr_charged, 1);
	return mcx_bpf_memcg_id(memcg) == over_id ? over_pages : 0;
}

MCX_OPS(over) = {
	.memcg_nr_pages_over_high = (void *)over_pages_of,
	.exit		= (void *)cases_exit,
	.name		= "over",
};

/* levels: is told of them one by one, and takes its time. */
__u64 nr_levels;
__u64 nr_at_once;	/* told while it was still being told another */
__u64 nr_gaps;		/* @old was not what it was told last */
__u64 last_level;
__u64 level_inside;

void MCX_MEMBER(levels_level, struct mem_cgroup *memcg, __u32 level, __u32 old)
{
	if (__sync_fetch_and_add(&level_inside, 1))
		__sync_fetch_and_add(&nr_at_once, 1);
	if (last_level != old)
		__sync_fetch_and_add(&nr_gaps, 1);
	/* Long enough that an emulator lets another CPU run. */
	spin_ms(150, &never);
	last_level = level;
	__sync_fetch_and_add(&nr_levels, 1);
	__sync_fetch_and_add(&level_inside, -1);
}

MCX_OPS(levels) = {
	.level		= (void *)levels_level,
	.name		= "levels",
};

/* asks: passes on to kfuncs what high_policy is told. */
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;

__u64 nr_asks;
__u64 nr_right;

__u32 MCX_MEMBER(asks_high, const struct bpf_memcg_ctx *high)
{
	struct mem_cgroup *over = high->memcg_over_limit;
	struct task_struct *task;
	__u64 id = 0;

	if (over && mcx_bpf_headroom(over) == 0)
		id = mcx_bpf_memcg_id(over);
	task = bpf_task_acquire(high->task);
	if (task)
		bpf_task_release(task);
	__sync_fetch_and_add(&nr_asks, 1);
	if (task && id == high->over_limit_cgroup_id &&
	    mcx_bpf_memcg_id(high->memcg) == high->cgroup_id)
		__sync_fetch_and_add(&nr_right, 1);
	return BPF_MEMCG_HIGH_NO_OPINION;
}

MCX_OPS(asks) = {
	.high_policy	= (void *)asks_high,
	.name		= "asks",
};

/* classes: whoever is asked about is critical from then on. */
__u64 nr_told;
__u64 nr_critical;
__s64 bad_class;

__u32 MCX_MEMBER(classes_high, const struct bpf_memcg_ctx *high)
{
	if (mcx_bpf_thread_class(high->task) == MCX_CLASS_CRITICAL)
		__sync_fetch_and_add(&nr_critical, 1);
	else if (!mcx_bpf_set_thread_class(high->task, MCX_CLASS_CRITICAL))
		__sync_fetch_and_add(&nr_told, 1);
	bad_class = mcx_bpf_set_thread_class(high->task, MCX_NR_CLASSES + 1);
	return BPF_MEMCG_HIGH_NO_OPINION;
}

MCX_OPS(classes) = {
	.high_policy	= (void *)classes_high,
	.name		= "classes",
};

/* Values that are refused when the members are set, before there is a link. */
MCX_OPS(bad_name) = { .name = "no blanks" };
MCX_OPS(no_name) = { .flags = 0 };
MCX_OPS(bad_flags) = { .flags = 1U << 30, .name = "bad_flags" };
MCX_OPS(bad_timeout) = { .timeout_ms = 5, .name = "bad_timeout" };
MCX_OPS(bad_both) = { .flags = 1U << 30, .name = "bad\nfaked line" };
