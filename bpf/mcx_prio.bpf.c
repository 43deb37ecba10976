// SPDX-License-Identifier: GPL-2.0-only
/*
 * prio: a workload gives way to another one while that suffers, and only then.
 *
 * Attached to the cgroup that gives way, the low one, and told which one goes first,
 * the high one. Ten times a second it looks whether the high one suffers from a lack of
 * memory: by its refaults, the pages scanned for it, or its memory pressure. While it
 * does, the low one is given a ceiling, which goes down by what the high one lacked: it
 * is reclaimed from above that, and its tasks are paced. When it has not suffered for a
 * while the ceiling goes up, slowly while the high one works, since it may be needed
 * again in a moment, and at once, and for good, when that is idle: nothing is lost by a
 * limit that somebody guessed beforehand.
 *
 * It is right for batch work beside a service on the same machine. It needs swap, or
 * files, that low memory can go to; and it does not know of a shortage that has other
 * reasons than these two (a limit of the high one's own). Neither may be above the other.
 *
 *   mcxctl load mcx_prio.bpf.o -c batch.slice --set high=$(stat -c %i /sys/fs/cgroup/service.slice)
 */
#include "mcx.bpf.h"
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

enum { BY_REFAULTS, BY_SCAN, BY_PRESSURE, NR_SIGNALS };

MCX_OPTION(__u64, high, 0, "id of the cgroup that goes first: the inode number of its folder");
MCX_OPTION(__u32, signal, BY_REFAULTS, "how it suffers: 0 refaults, 1 pages scanned, 2 memory pressure");
MCX_OPTION(__u32, threshold, 0, "of that in a second is suffering; 0: 32 refaults, 1024 pages, 10000 us");
MCX_OPTION(__u32, every, 100, "milliseconds between two looks");
MCX_OPTION(__u32, delay, 100, "milliseconds that a batch of the low one waits above its ceiling");
MCX_OPTION(__u64, least, 8 << 20, "bytes that the low one may have in any case");

MCX_EXIT_DEFINE();

#define UNKNOWN		(~0ULL)
#define NO_CEILING	(~0ULL)
/* Calm for so long, in ms: an idle one lets go, a working one lets it go up. */
#define IDLE_MS		500
#define CALM_MS		3000
/* Of a CPU, in percent: it is idle. */
#define IDLE_PERCENT	2
/* Bytes that one call reclaims: not for long, it may be needed no more; and calls in a row. */
#define PIECE		(512ULL << 10)
#define CALLS		64

/* What it found last, for whoever wants to look: bpftool map dump name mcx_prio.bss */
__u64 ceiling = NO_CEILING;
__u64 suffered;			/* looks that found it suffering */
__u64 reclaimed;		/* bytes, from the low one */
__u64 released;			/* times that the ceiling was taken away */
__u32 over;			/* the low one had more than its ceiling */

static __u64 last_signal;
static __u64 last_cpu;
static __u64 last_look;		/* ns, as the next; 0: none yet */
static __u64 last_suffered;

/* From 7.0 on these are not events any more. */
enum node_stat_item___7 {
	PGSCAN_KSWAPD___7 = 1,
	PGSCAN_DIRECT___7,
};

static __u64 limit(void)
{
	if (threshold)
		return threshold;
	return signal == BY_SCAN ? 1024 : signal == BY_PRESSURE ? 10000 : 32;
}

static __u64 pages_scanned(struct mem_cgroup *first)
{
	int direct, kswapd;

	if (bpf_core_enum_value_exists(enum node_stat_item___7, PGSCAN_DIRECT___7)) {
		direct = bpf_core_enum_value(enum node_stat_item___7, PGSCAN_DIRECT___7);
		kswapd = bpf_core_enum_value(enum node_stat_item___7, PGSCAN_KSWAPD___7);
		return bpf_mem_cgroup_page_state(first, direct) +
		       bpf_mem_cgroup_page_state(first, kswapd);
	}
	return bpf_mem_cgroup_vm_events(first, PGSCAN_DIRECT) +
	       bpf_mem_cgroup_vm_events(first, PGSCAN_KSWAPD);
}

static __u64 read_signal(struct mem_cgroup *first)
{
	switch (signal) {
	case BY_SCAN:
		return pages_scanned(first);
	case BY_PRESSURE:
		return mcx_bpf_psi(first, false);
	default:
		return bpf_mem_cgroup_page_state(first, WORKINGSET_REFAULT_ANON) +
		       bpf_mem_cgroup_page_state(first, WORKINGSET_REFAULT_FILE);
	}
}

/* What the high one lacked since the last look, and whether it does anything at all. */
struct look {
	__u64 now;
	__u64 us;		/* since then; a look may take its time */
	__u64 lack;
	bool idle;
};

static struct look look_at(struct mem_cgroup *first)
{
	struct look look = { .now = bpf_ktime_get_ns() };
	__u64 value, cpu;

	bpf_mem_cgroup_flush_stats(first);
	value = read_signal(first);
	cpu = mcx_bpf_cpu_time(first);
	if (last_look) {
		look.us = (look.now - last_look) / 1000;
		/* Begins anew when the controller was gone meanwhile. */
		look.lack = value > last_signal ? value - last_signal : 0;
		/* Not who has just been woken, and waits for all it had in memory. */
		look.idle = cpu != UNKNOWN &&
			    (cpu - last_cpu) * 100 < look.us * IDLE_PERCENT &&
			    look.lack * 1000000 < limit() * 10 * look.us;
	}
	last_signal = value;
	last_cpu = cpu;
	last_look = look.now;
	return look;
}

/*
 * Down by what was lacking, by a hundredth at least, so that it comes to an end, and by a
 * quarter at most. Not while it is still above the last one: what is lacking until that is
 * freed says nothing new.
 */
static void lower(__u64 usage, const struct look *look)
{
	__u64 from = usage < ceiling ? usage : ceiling, cut;

	last_suffered = look->now;
	suffered++;
	if (ceiling != NO_CEILING && usage > ceiling + ceiling / 32)
		return;
	cut = signal == BY_PRESSURE ? from / 16 : look->lack * 4096;
	if (cut < from / 100)
		cut = from / 100;
	if (cut > from / 4)
		cut = from / 4;
	ceiling = from - cut > least ? from - cut : least;
}

static void release(void)
{
	if (ceiling == NO_CEILING)
		return;
	ceiling = NO_CEILING;
	released++;
}

/* A sixty-fourth in a second. */
static void raise(const struct look *look)
{
	ceiling += ceiling * look->us / 64000000;
}

static void adjust(__u64 usage, const struct look *look)
{
	__u64 calm = look->now - last_suffered, us = look->us;

	/* That is summed up every other second. */
	if (signal == BY_PRESSURE && us < 2000000)
		us = 2000000;
	/* Even who sleeps wakes up now and then, and finds a page missing. */
	if (!look->idle && look->lack * 1000000 > limit() * us) {
		lower(usage, look);
		return;
	}
	if (ceiling == NO_CEILING)
		return;
	if (look->idle && calm >= IDLE_MS * 1000000ULL)
		release();
	else if (calm >= CALM_MS * 1000000ULL)
		raise(look);
}

/* For no longer than until the next look is due. */
static void enforce(struct mem_cgroup *memcg)
{
	__u64 usage = bpf_mem_cgroup_usage(memcg);
	__u64 until = bpf_ktime_get_ns() + every * 1000000ULL;
	__s64 freed;
	int i;

	over = ceiling != NO_CEILING && usage + usage / 16 > ceiling;
	for (i = 0; i < CALLS && ceiling != NO_CEILING && usage > ceiling; i++) {
		freed = mcx_bpf_reclaim(memcg, usage - ceiling < PIECE ?
					usage - ceiling : PIECE, -1);
		if (freed <= 0 || bpf_ktime_get_ns() > until)
			break;
		reclaimed += freed;
		usage = bpf_mem_cgroup_usage(memcg);
	}
}

unsigned int MCX_SLEEPING(prio_tick, struct mem_cgroup *memcg)
{
	struct mem_cgroup *first = mcx_memcg_from_id(high);
	struct look look = { .now = bpf_ktime_get_ns(), .idle = true };

	/* Who is gone lacks nothing; should it come back it has another id. */
	if (first) {
		look = look_at(first);
		bpf_put_mem_cgroup(first);
	}
	adjust(bpf_mem_cgroup_usage(memcg), &look);
	enforce(memcg);
	return every;
}

unsigned int MCX_MEMBER(prio_memcg_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	return over ? delay : 0;
}

/* Is one of them the other, or above it? */
static bool related(struct cgroup *a, struct cgroup *b)
{
	struct cgroup *upper = a->level < b->level ? a : b;
	struct cgroup *lower = a->level < b->level ? b : a;
	struct cgroup *at = bpf_cgroup_ancestor(lower, upper->level);
	bool same;

	if (!at)
		return true;
	same = at->kn->id == upper->kn->id;
	bpf_cgroup_release(at);
	return same;
}

static __s32 check_places(__u64 low)
{
	struct cgroup *a = bpf_cgroup_from_id(low), *b;
	__s32 ret = -2;		/* ENOENT: high is no cgroup */

	if (!a)
		return ret;
	b = bpf_cgroup_from_id(high);
	if (b) {
		ret = related(a, b) ? -22 : 0;	/* EINVAL */
		bpf_cgroup_release(b);
	}
	bpf_cgroup_release(a);
	return ret;
}

__s32 MCX_MEMBER(prio_init, struct mem_cgroup *memcg)
{
	if (signal >= NR_SIGNALS || every < 10 || every > 10000)
		return -22;
	return check_places(mcx_bpf_memcg_id(memcg));
}

void MCX_MEMBER(prio_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
}

MCX_OPS(prio) = {
	.tick		= (void *)prio_tick,
	.memcg_charged	= (void *)prio_memcg_charged,
	.init		= (void *)prio_init,
	.exit		= (void *)prio_exit,
	.name		= "prio",
};
