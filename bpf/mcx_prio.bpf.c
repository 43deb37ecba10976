// SPDX-License-Identifier: GPL-2.0-only
/*
 * prio: a workload gives way to another one while that suffers, and only then.
 *
 * Attached to a cgroup above both, which may be the root, and told which of those below
 * goes first, the high one, and which gives way, the low one, which memcg_ext manages
 * (mcxctl enable). Ten times a second it looks whether the high one suffers from a lack of
 * memory: by its refaults, the pages scanned for it, or its memory pressure. If it does,
 * the low one gets a limit by which there is as much free memory as the high one will want
 * in a second, and while it thrashes below that its tasks are slowed down.
 *
 * How long that lasts depends on the high one's CPU time:
 *   busy      as long as it is: reclaim for the low one would cost it CPU time, too. When
 *             it suffers no more the low one may have what is free beside a reserve.
 *   content   until it does not suffer any more. It is spared by reclaim.
 *   idle      not at all. What it holds is reclaimed by as much as the low one lacks.
 * Nothing is lost by a limit that somebody guessed beforehand.
 *
 * It is right for batch work beside a service on the same machine. It needs swap, or
 * files, that memory can go to; and it does not know of a shortage that has other
 * reasons than these two (a limit of the high one's own). Neither may be above the other.
 *
 *   mcxctl enable batch.slice
 *   mcxctl load mcx_prio.bpf.o -c / --set high=$(stat -c %i /sys/fs/cgroup/service.slice) \
 *           --set low=$(stat -c %i /sys/fs/cgroup/batch.slice)
 */
#include "mcx.bpf.h"
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

enum { BY_REFAULTS, BY_SCAN, BY_PRESSURE, NR_SIGNALS };

MCX_OPTION(__u64, high, 0, "id of the cgroup that goes first: the inode number of its folder");
MCX_OPTION(__u64, low, 0, "id of the cgroup that gives way");
MCX_OPTION(__u32, signal, BY_REFAULTS, "how one suffers: 0 refaults, 1 pages scanned, 2 memory pressure");
MCX_OPTION(__u32, threshold, 0, "of that in a second is suffering; 0: 32 refaults, 1024 pages, 10000 us");
MCX_OPTION(__u32, every, 100, "milliseconds between two looks");
MCX_OPTION(__u32, delay, 100, "milliseconds that a batch of the low one waits near its limit, or while it thrashes below");
MCX_OPTION(__u32, idle, 5, "thousandths of a CPU that the high one uses: less, and it is idle");
MCX_OPTION(__u32, busy, 100, "the same: more, and it is busy");
MCX_OPTION(__u64, least, 8 << 20, "bytes that the low one may have in any case");
MCX_OPTION(__u64, spare, 8 << 20, "bytes that are to be free while the high one is busy");

MCX_EXIT_DEFINE();

#define UNKNOWN		(~0ULL)
#define NO_LIMIT	(~0ULL)
#define PAGE		4096
/* Has not suffered for so long, in ms: an idle one; another one. */
#define IDLE_MS		500
#define CALM_MS		3000
/*
 * Whether one is idle is seen over so many ms, or half as many: who only wakes up now and
 * then, and finds some pages missing, with those that are read ahead, seems to work for a
 * moment.
 */
#define WINDOW_MS	1000
/* So many refaults in a second: it is not idle, however little CPU time it has had. */
#define WAKES		640
/* Looks at a low one that is not managed. */
#define PATIENCE	3
/* What it will want in a second is a guess. */
#define WANTS_MOST	(64ULL << 20)
/* Bytes that one call reclaims: not for long, it may be needed no more; and calls in a row. */
#define PIECE		(512ULL << 10)
#define CALLS		64

/* What it found last, for whoever wants to look: bpftool map dump name mcx_prio.bss */
__u64 limit = NO_LIMIT;
__u64 suffered;			/* looks that found it suffering */
__u64 reclaimed;		/* bytes, from the high one while it was idle */
__u64 released;			/* times that the limit was taken away */
__u32 slowed;			/* the low one has to wait */

/* One of the two, as it was last seen. */
struct seen {
	__u64 signal;
	__u64 refaults;
	__u64 cpu;		/* us */
	__u64 at;		/* ns, as bpf_ktime_get_ns(); 0: not yet */
};

/* Half a window old at least; the one that will be next; and that of the last look. */
struct window {
	struct seen first;
	struct seen next;
	struct seen last;
};

static struct window seen_high, seen_low;
static __u64 last_suffered;	/* ns */
static bool high_works;
static __u32 unmanaged;		/* looks in a row */

/* From 7.0 on these are not events any more. */
enum node_stat_item___7 {
	PGSCAN_KSWAPD___7 = 1,
	PGSCAN_DIRECT___7,
};

static __u64 suffering(void)
{
	if (threshold)
		return threshold;
	return signal == BY_SCAN ? 1024 : signal == BY_PRESSURE ? 10000 : 32;
}

static __u64 pages_scanned(struct mem_cgroup *memcg)
{
	int direct, kswapd;

	if (bpf_core_enum_value_exists(enum node_stat_item___7, PGSCAN_DIRECT___7)) {
		direct = bpf_core_enum_value(enum node_stat_item___7, PGSCAN_DIRECT___7);
		kswapd = bpf_core_enum_value(enum node_stat_item___7, PGSCAN_KSWAPD___7);
		return bpf_mem_cgroup_page_state(memcg, direct) +
		       bpf_mem_cgroup_page_state(memcg, kswapd);
	}
	return bpf_mem_cgroup_vm_events(memcg, PGSCAN_DIRECT) +
	       bpf_mem_cgroup_vm_events(memcg, PGSCAN_KSWAPD);
}

static __u64 read_refaults(struct mem_cgroup *memcg)
{
	return bpf_mem_cgroup_page_state(memcg, WORKINGSET_REFAULT_ANON) +
	       bpf_mem_cgroup_page_state(memcg, WORKINGSET_REFAULT_FILE);
}

static __u64 read_signal(struct mem_cgroup *memcg, __u64 refaults)
{
	switch (signal) {
	case BY_SCAN:
		return pages_scanned(memcg);
	case BY_PRESSURE:
		return mcx_bpf_psi(memcg, false);
	default:
		return refaults;
	}
}

/* Of what only grows, but begins anew when the controller was gone meanwhile. */
static __u64 per_second(__u64 before, __u64 now, __u64 us)
{
	return now > before ? (now - before) * 1000000 / us : 0;
}

/* How one of them did since it was last seen. */
struct look {
	__u64 now;
	__u64 lack;		/* of what the signal counts, in a second */
	__u64 cpu;		/* thousandths of one */
	bool idle;
	bool suffers;
};

static __u64 us_between(const struct seen *before, const struct seen *now)
{
	return (now->at - before->at) / 1000 ?: 1;
}

static __u64 cpu_used(const struct seen *before, const struct seen *now)
{
	__u64 us = us_between(before, now);

	return now->cpu == UNKNOWN ? UNKNOWN : (now->cpu - before->cpu) * 1000 / us;
}

/* Not who has just been woken, and waits for all it had in memory. */
static bool is_idle(const struct seen *before, const struct seen *now)
{
	__u64 us = us_between(before, now);

	return cpu_used(before, now) < idle &&
	       per_second(before->refaults, now->refaults, us) < WAKES;
}

static __u64 lacks(const struct seen *before, const struct seen *now)
{
	__u64 us = us_between(before, now);

	/* That is summed up every other second. */
	if (signal == BY_PRESSURE && us < 2000000)
		us = 2000000;
	return per_second(before->signal, now->signal, us);
}

static void compare(struct look *look, const struct window *seen, const struct seen *now)
{
	look->cpu = cpu_used(&seen->last, now);
	look->idle = is_idle(seen->first.at ? &seen->first : &seen->last, now);
	look->lack = lacks(&seen->last, now);
	look->suffers = !look->idle && look->lack > suffering();
}

static void look_at(struct mem_cgroup *memcg, struct window *seen, struct look *look)
{
	struct seen now = {};

	bpf_mem_cgroup_flush_stats(memcg);
	now.refaults = read_refaults(memcg);
	now.signal = read_signal(memcg, now.refaults);
	now.cpu = mcx_bpf_cpu_time(memcg);
	now.at = bpf_ktime_get_ns();
	*look = (struct look) { .now = now.at };
	if (seen->last.at)
		compare(look, seen, &now);
	seen->last = now;
	if (now.at - seen->next.at < WINDOW_MS / 2 * 1000000ULL)
		return;
	seen->first = seen->next;
	seen->next = now;
}

/* What the high one can have without anybody's reclaim. */
static __u64 room_of(struct mem_cgroup *memcg)
{
	__u64 room = mcx_bpf_headroom(memcg), free = mcx_bpf_free_memory();

	return room < free ? room : free;
}

/* What it will want in a second, beside what shall be free in any case. */
static __u64 wants(const struct look *look, __u64 usage)
{
	__u64 bytes = 0;

	if (look->suffers)
		bytes = signal == BY_REFAULTS ? look->lack * PAGE : usage / 16;
	return spare + (bytes < WANTS_MOST ? bytes : WANTS_MOST);
}

/*
 * Down by what is missing. Not while usage is still above the limit: that is being freed,
 * and counts as free.
 */
static void lower(__u64 usage, __u64 missing)
{
	__u64 from = usage < limit ? usage : limit;
	__u64 coming = limit != NO_LIMIT && usage > limit ? usage - limit : 0;

	if (missing <= coming)
		return;
	missing -= coming;
	limit = from > least + missing ? from - missing : least;
}

static void release(void)
{
	if (limit == NO_LIMIT)
		return;
	limit = NO_LIMIT;
	released++;
}

/* By a part of what is free; not if it has not come near what it may have. */
static void raise(__u64 usage, __u64 too_much)
{
	if (usage + limit / 8 > limit)
		limit += too_much / 4;
}

static void adjust(__u64 usage, __u64 room, __u64 want, const struct look *look)
{
	/* Pressure is summed up every other second: until then it may still suffer. */
	__u64 rest = signal == BY_PRESSURE ? 2500 : 300, calm;
	bool works = look->cpu >= busy;

	if (look->suffers) {
		last_suffered = look->now;
		suffered++;
	}
	calm = (look->now - last_suffered) / 1000000;
	if (limit != NO_LIMIT && calm >= (look->idle ? IDLE_MS : CALM_MS) && !works)
		release();
	else if (look->suffers && room < want)
		lower(usage, want - room);
	else if (limit != NO_LIMIT && calm >= rest && room > 2 * want)
		raise(usage, room - 2 * want);
}

/* What the high one holds and does not use. For no longer than until the next look. */
static void take(struct mem_cgroup *first, __u64 bytes)
{
	__u64 until = bpf_ktime_get_ns() + every * 1000000ULL;
	__s64 freed;
	int i;

	for (i = 0; i < CALLS && bytes; i++) {
		freed = mcx_bpf_reclaim(first, bytes < PIECE ? bytes : PIECE, -1);
		if (freed <= 0)
			break;
		reclaimed += freed;
		bytes -= (__u64)freed < bytes ? (__u64)freed : bytes;
		if (bpf_ktime_get_ns() > until)
			break;
	}
}

static void between(struct mem_cgroup *above, struct mem_cgroup *first,
		    struct mem_cgroup *second)
{
	__u64 usage = bpf_mem_cgroup_usage(second), room = room_of(above), want;
	struct look look_high, look_low;
	int err;

	look_at(first, &seen_high, &look_high);
	look_at(second, &seen_low, &look_low);
	high_works = !look_high.idle;
	want = wants(&look_high, bpf_mem_cgroup_usage(first));
	adjust(usage, room, want, &look_high);
	slowed = limit != NO_LIMIT && (look_low.suffers || usage + usage / 16 > limit);
	err = mcx_bpf_set_high(second, limit);
	/* Who is just being removed is not, either. */
	unmanaged = err == -2 ? unmanaged + 1 : 0;
	if (unmanaged == PATIENCE)
		mcx_bpf_error(err, "low is not managed: mcxctl enable it");
	want = wants(&look_low, usage);
	if (look_high.idle && limit == NO_LIMIT && look_low.suffers && room < want)
		take(first, want - room);
}

static void leave_alone(struct mem_cgroup *second)
{
	slowed = 0;
	release();
	mcx_bpf_set_high(second, limit);
}

unsigned int MCX_SLEEPING(prio_tick, struct mem_cgroup *memcg)
{
	struct mem_cgroup *first = mcx_memcg_from_id(high), *second;

	second = mcx_memcg_from_id(low);
	/* Who is gone lacks nothing; should it come back it has another id. */
	if (first && second)
		between(memcg, first, second);
	else if (second)
		leave_alone(second);
	if (first)
		bpf_put_mem_cgroup(first);
	if (second)
		bpf_put_mem_cgroup(second);
	return every;
}

unsigned int MCX_MEMBER(prio_memcg_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	return slowed && mcx_bpf_is_below(memcg, low) ? delay : 0;
}

/* While it works nothing is taken from it that others can give. */
bool MCX_MEMBER(prio_below_low, struct mem_cgroup *memcg, unsigned long elow,
		unsigned long usage)
{
	return high_works && mcx_bpf_is_below(memcg, high);
}

/* Both below the policy's cgroup, and neither below the other. */
static __s32 check_places(__u64 above, struct mem_cgroup *first, struct mem_cgroup *second)
{
	if (signal == BY_PRESSURE && mcx_bpf_psi(first, false) == UNKNOWN)
		return -95;	/* EOPNOTSUPP: booted with psi=0 */
	if (!mcx_bpf_is_below(first, above) || !mcx_bpf_is_below(second, above) ||
	    mcx_bpf_is_below(first, low) || mcx_bpf_is_below(second, high))
		return -22;	/* EINVAL */
	return 0;
}

__s32 MCX_MEMBER(prio_init, struct mem_cgroup *memcg)
{
	struct mem_cgroup *first, *second;
	__s32 ret = -2;		/* ENOENT: one of them is no cgroup */

	if (signal >= NR_SIGNALS || every < 10 || every > 10000)
		return -22;
	first = mcx_memcg_from_id(high);
	second = mcx_memcg_from_id(low);
	if (first && second)
		ret = check_places(mcx_bpf_memcg_id(memcg), first, second);
	if (first)
		bpf_put_mem_cgroup(first);
	if (second)
		bpf_put_mem_cgroup(second);
	return ret;
}

void MCX_MEMBER(prio_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
}

MCX_OPS(prio) = {
	.tick		= (void *)prio_tick,
	.memcg_charged	= (void *)prio_memcg_charged,
	.below_low	= (void *)prio_below_low,
	.init		= (void *)prio_init,
	.exit		= (void *)prio_exit,
	.flags		= BPF_F_ALLOW_OVERRIDE,
	.name		= "prio",
};
