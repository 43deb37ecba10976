// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies for policy.c that do what no member may, each in one way, and one that may.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

__u64 sum;

struct tick {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tick);
} clock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} told SEC(".maps");

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

struct guarded {
	struct bpf_spin_lock lock;
	__u64 n;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct guarded);
} guarded SEC(".maps");

static long add(__u32 i, void *arg)
{
	sum += i;
	return 0;
}

/* bounded: a loop that the verifier follows to its end. */
unsigned int MCX_MEMBER(bounded_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__u32 i;

	for (i = 0; i < 100; i++)
		__sync_fetch_and_add(&sum, i);
	return 0;
}

MCX_OPS(bounded) = { .memcg_charged = (void *)bounded_charged, .name = "bounded" };

unsigned int MCX_MEMBER(loops_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	bpf_loop(100, add, NULL, 0);
	return 0;
}

MCX_OPS(loops) = { .memcg_charged = (void *)loops_charged, .name = "loops" };

static long add_each(struct bpf_map *map, __u32 *key, __u64 *value, void *arg)
{
	sum += *value;
	return 0;
}

void MCX_MEMBER(walks_level, struct mem_cgroup *memcg, __u32 level, __u32 old)
{
	bpf_for_each_map_elem(&numbers, add_each, NULL, 0);
}

MCX_OPS(walks) = { .level = (void *)walks_level, .name = "walks" };

__u32 MCX_MEMBER(iterates_high, const struct bpf_memcg_ctx *high)
{
	struct bpf_iter_num it;
	int *i;

	bpf_iter_num_new(&it, 0, 1 << 22);
	while ((i = bpf_iter_num_next(&it)))
		sum += *i;
	bpf_iter_num_destroy(&it);
	return 0;
}

MCX_OPS(iterates) = { .high_policy = (void *)iterates_high, .name = "iterates" };

static int tick(void *map, __u32 *key, struct tick *t)
{
	sum++;
	return 0;
}

__s32 MCX_MEMBER(ticks_init, struct mem_cgroup *memcg)
{
	struct tick *t;
	__u32 key = 0;

	t = bpf_map_lookup_elem(&clock, &key);
	if (!t || bpf_timer_init(&t->timer, &clock, 1 /* CLOCK_MONOTONIC */) ||
	    bpf_timer_set_callback(&t->timer, tick))
		return -22;
	return bpf_timer_start(&t->timer, 1000000, 0);
}

MCX_OPS(ticks) = { .init = (void *)ticks_init, .name = "ticks" };

static long take(struct bpf_dynptr *ptr, void *arg)
{
	sum++;
	return 0;
}

void MCX_MEMBER(drains_exit, const struct mcx_exit_info *info)
{
	bpf_user_ringbuf_drain(&told, take, NULL, 0);
}

MCX_OPS(drains) = { .exit = (void *)drains_exit, .name = "drains" };

/* globals: verified once, a function that is not static runs as often as it is called. */
__noinline int many(__u32 n)
{
	__u32 i;

	for (i = 0; i < 1000; i++)
		__sync_fetch_and_add(&sum, n);
	return 0;
}

unsigned int MCX_MEMBER(globals_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__u32 i;

	for (i = 0; i < 1000; i++)
		many(nr_pages);
	return 0;
}

MCX_OPS(globals) = { .memcg_charged = (void *)globals_charged, .name = "globals" };

unsigned int MCX_MEMBER(locks_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	struct guarded *g;
	__u32 key = 0;

	g = bpf_map_lookup_elem(&guarded, &key);
	if (!g)
		return 0;
	bpf_spin_lock(&g->lock);
	g->n++;
	bpf_spin_unlock(&g->lock);
	return 0;
}

MCX_OPS(locks) = { .memcg_charged = (void *)locks_charged, .name = "locks" };

extern void bpf_throw(__u64 cookie) __ksym;

/* throws: by a kfunc of no family that is allowed. */
unsigned int MCX_MEMBER(throws_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	if (nr_pages > 512)
		bpf_throw(0);
	return 0;
}

MCX_OPS(throws) = { .memcg_charged = (void *)throws_charged, .name = "throws" };
