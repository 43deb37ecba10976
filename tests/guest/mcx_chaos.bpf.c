// SPDX-License-Identifier: GPL-2.0-only
/*
 * chaos: decides badly, in every way there is; for tests only.
 *
 * Each kind of bad decision is switched by a bit of kinds. What it says is random, from a
 * seed, so that a run can be made again as far as tasks come along in the same order.
 */
#include "mcx.bpf.h"
#include "mcx_chaos.h"
#include "spin.bpf.h"

char LICENSE[] SEC("license") = "GPL";

const volatile __u32 kinds;

MCX_EXIT_DEFINE();

__u64 seed = 1;
__u64 calls;
__u64 nr_exits;
__u32 never;

static __u64 any(void)
{
	__u64 x = seed;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	seed = x;
	return x;
}

static bool has(__u32 kind)
{
	return kinds & kind;
}

/* One call in so many. */
static bool seldom(__u32 n)
{
	return any() % n == 0;
}

/* What any member may do, whatever it is asked. */
static void misbehave(void)
{
	calls++;
	if (has(CHAOS_ERROR) && seldom(200))
		mcx_bpf_error(any(), "chaos");
	if (has(CHAOS_SLOW) && seldom(3))
		spin_ms(200, &never);
	if (has(CHAOS_CLASSES)) {
		struct task_struct *task = bpf_get_current_task_btf();

		mcx_bpf_set_thread_class(task, any() % 5);
	}
}

__u32 MCX_MEMBER(chaos_high_policy, const struct bpf_memcg_ctx *high)
{
	misbehave();
	return has(CHAOS_BITS) ? any() : any() & BPF_MEMCG_HIGH_DEFER_INLINE;
}

unsigned int MCX_MEMBER(chaos_charged, struct mem_cgroup *memcg, unsigned int nr_pages)
{
	misbehave();
	if (has(CHAOS_DELAYS))
		return seldom(20) ? any() : 0;
	return 0;
}

unsigned int MCX_MEMBER(chaos_over_high, struct mem_cgroup *memcg)
{
	return has(CHAOS_OVER) && seldom(20) ? any() : 0;
}

void MCX_MEMBER(chaos_uncharged, struct mem_cgroup *memcg, unsigned int nr_pages)
{
	calls++;
}

void MCX_MEMBER(chaos_level, struct mem_cgroup *memcg, __u32 level, __u32 old)
{
	misbehave();
}

bool MCX_MEMBER(chaos_below_low, struct mem_cgroup *memcg, unsigned long elow,
		unsigned long usage)
{
	return has(CHAOS_PROTECT) && seldom(2);
}

bool MCX_MEMBER(chaos_below_min, struct mem_cgroup *memcg, unsigned long emin,
		unsigned long usage)
{
	return has(CHAOS_PROTECT) && seldom(2);
}

static void wish(struct mem_cgroup *memcg)
{
	mcx_bpf_set_high(memcg, seldom(3) ? any() : any() % (96 << 20));
	mcx_bpf_shed(memcg, seldom(2) ? any() : 0);
	if (seldom(3))
		mcx_bpf_wake(memcg);
}

unsigned int MCX_SLEEPING(chaos_tick, struct mem_cgroup *memcg)
{
	calls++;
	if (has(CHAOS_STALL))
		spin_ms(2000, &never);
	if (has(CHAOS_RECLAIM))
		mcx_bpf_reclaim(memcg, any(), any() % 210);
	if (has(CHAOS_WISHES))
		wish(memcg);
	return has(CHAOS_RECLAIM) ? any() % 100 : 50;
}

unsigned int MCX_SLEEPING(chaos_reclaim, struct mem_cgroup *memcg, unsigned long nr_pages)
{
	calls++;
	return has(CHAOS_IDLE) ? any() : 0;
}

void MCX_MEMBER(chaos_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
	nr_exits++;
}

MCX_OPS(chaos) = {
	.high_policy	= (void *)chaos_high_policy,
	.memcg_charged	= (void *)chaos_charged,
	.memcg_nr_pages_over_high = (void *)chaos_over_high,
	.memcg_uncharged = (void *)chaos_uncharged,
	.level		= (void *)chaos_level,
	.below_low	= (void *)chaos_below_low,
	.below_min	= (void *)chaos_below_min,
	.tick		= (void *)chaos_tick,
	.reclaim	= (void *)chaos_reclaim,
	.exit		= (void *)chaos_exit,
	.timeout_ms	= 1000,
	.name		= "chaos",
};
