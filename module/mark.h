/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where usage shall stay below the limits of a managed cgroup.
 *
 *   memory.max --------------------------------
 *        | headroom: what tasks already in the kernel may still charge
 *   admit ------ min(memory.high, memory.max - headroom): above it, a task that
 *        |       charges waits on its return to user mode, but see credit.c
 *   pace ------- gap/2 below: from here on it waits a little, more and more
 *   wake ------- gap below: the workers start
 *   target ----- another gap below: the workers stop
 *
 * Nobody can be stopped between a system call's first charge and its return to
 * user mode. memory.max must therefore stay away by what all tasks together
 * charge within one entry into the kernel. memory.high may be passed for a moment,
 * so no headroom is kept below it. The gap must cover what is charged until a
 * woken worker has freed its first pages. Both are learned, see adapt.c; the gap
 * is at least two batches per CPU (the kernel keeps one charged in advance) and
 * at most 1/8 of the limit.
 *
 * Who takes little has marks of its own: pace is at admit, and admit at mcx_mark_light(),
 * a little above.
 *
 * A policy may set a lower memory.high for all this (policy_wish.c).
 *
 * All that is headroom=auto in memory.ext.reclaim. With a number instead, wake is
 * that far below the tighter limit, and admit half as far below memory.max.
 *
 * With cpu=cgroup tasks may wait below pace, too, for CPU time and not for memory;
 * see cpu.h. With cpu_max= the workers rest between wake and target, and usage
 * stays above pace for as long as tasks charge more than they can free.
 */
#ifndef MCX_MARK_H
#define MCX_MARK_H

#include <linux/cpumask.h>
#include <linux/minmax.h>
#include <linux/page_counter.h>

#include "state.h"

#define MCX_BATCH	64UL	/* MEMCG_CHARGE_BATCH, in pages */
#define MCX_GAP_MAX	((8UL << 20) >> PAGE_SHIFT)
#define MCX_GRACE_MAX	((4UL << 20) >> PAGE_SHIFT)

/* Pages by which the workers wake below admit, as learned; see adapt.c. */
static inline unsigned long mcx_learned_gap(struct mcx_memcg *m,
					    unsigned long admit)
{
	unsigned long boost = min(READ_ONCE(m->boost), admit / 16);

	return min(READ_ONCE(m->gap) + boost, admit / 8);
}

/*
 * Pages to keep free below a memory.max of @max pages. A burst begins at the
 * pacing mark, half a gap below admit. @max / 3 * 2: admit is no less.
 */
static inline unsigned long mcx_headroom(struct mcx_memcg *m, unsigned long max)
{
	unsigned long burst = READ_ONCE(m->burst);

	burst += burst * READ_ONCE(m->doubt) / 4;
	burst += MCX_BATCH * num_online_cpus();
	burst -= min(burst, mcx_learned_gap(m, max / 3 * 2) / 2);
	return clamp(burst, max / 32, max / 3);
}

/* The same as configured, to wake; 0: it is not. */
static inline unsigned long mcx_room(struct mcx_memcg *m, unsigned long limit)
{
	unsigned long room = READ_ONCE(m->conf.headroom);
	unsigned int percent = READ_ONCE(m->conf.percent);

	if (likely(!room && !percent))
		return 0;
	if (percent)
		room = limit * percent / 100;
	return clamp(room, min(MCX_BATCH, limit / 2), limit / 2);
}

/* memory.high, or what a policy says instead if that is less; see policy_wish.c. */
static inline unsigned long mcx_high_wanted(struct mcx_memcg *m)
{
	return min(READ_ONCE(m->counter->high), READ_ONCE(m->policy_high));
}

/* As far as memory.high is enforced; see stuck.c. */
static inline unsigned long mcx_enforced(struct mcx_memcg *m, unsigned long high)
{
	return unlikely(test_bit(MCX_HIGH_OFF, &m->flags)) ? PAGE_COUNTER_MAX :
	       high;
}

static inline unsigned long mcx_high(struct mcx_memcg *m)
{
	return mcx_enforced(m, mcx_high_wanted(m));
}

static inline unsigned long mcx_admit_of(struct mcx_memcg *m,
					 unsigned long high)
{
	unsigned long max = READ_ONCE(m->counter->max);

	if (max < PAGE_COUNTER_MAX)
		high = min(high, max - (mcx_room(m, max) / 2 ?:
					mcx_headroom(m, max)));
	return high;
}

/* The gap that was learned, within reason. */
static inline unsigned long mcx_auto_gap(struct mcx_memcg *m,
					 unsigned long admit)
{
	unsigned long least = 2 * MCX_BATCH * num_online_cpus();

	return min(max(mcx_learned_gap(m, admit), least), admit / 4);
}

/* Pages of usage above which tasks are held, PAGE_COUNTER_MAX without limit. */
static inline unsigned long mcx_mark_admit(struct mcx_memcg *m)
{
	return mcx_admit_of(m, mcx_high(m));
}

static inline unsigned long mcx_gap_of(struct mcx_memcg *m, unsigned long admit,
				       unsigned long high)
{
	unsigned long limit = min(high, READ_ONCE(m->counter->max));
	unsigned long room = mcx_room(m, limit);

	/* admit was read before: a limit may have changed since. */
	if (unlikely(room))
		return min(max(admit + room, limit) - limit, admit / 2);
	return mcx_auto_gap(m, admit);
}

/* Pages between admit and wake. */
static inline unsigned long mcx_gap(struct mcx_memcg *m, unsigned long admit)
{
	return mcx_gap_of(m, admit, mcx_high(m));
}

static inline unsigned long mcx_mark_pace(struct mcx_memcg *m,
					  unsigned long admit)
{
	return admit - mcx_gap(m, admit) / 2;
}

static inline unsigned long mcx_mark_wake(struct mcx_memcg *m,
					  unsigned long admit)
{
	return admit - mcx_gap(m, admit);
}

/* However far down the workers wake, they do not free as much again. */
static inline unsigned long mcx_target_of(struct mcx_memcg *m,
					  unsigned long admit,
					  unsigned long high)
{
	unsigned long gap = mcx_gap_of(m, admit, high);

	return admit - gap - min(gap, mcx_auto_gap(m, admit));
}

static inline unsigned long mcx_mark_target(struct mcx_memcg *m,
					    unsigned long admit)
{
	return mcx_target_of(m, admit, mcx_high(m));
}

/*
 * Up to here what a task gave back counts (credit.c); above it the place is taken, and
 * what is left below memory.max, most of the headroom, is for those in the kernel.
 */
static inline unsigned long mcx_mark_grace(struct mcx_memcg *m)
{
	unsigned long max = READ_ONCE(m->counter->max), high = mcx_high(m);
	unsigned long grace = high;

	if (high < PAGE_COUNTER_MAX)
		grace += min(high / 8, MCX_GRACE_MAX);
	if (max < PAGE_COUNTER_MAX)
		grace = min(grace, max - (max - mcx_admit_of(m, max)) / 4 * 3);
	return grace;
}

/* Where who takes little is held: 1.5 % above all others, but not above that. */
static inline unsigned long mcx_mark_light(struct mcx_memcg *m,
					   unsigned long admit)
{
	return min(admit + admit / 64, max(mcx_mark_grace(m), admit));
}

/*
 * Where the workers try to bring it: the target, but that of the user's own
 * memory.high even while that is not enforced.
 */
static inline unsigned long mcx_goal_of(struct mcx_memcg *m, unsigned long high)
{
	return mcx_target_of(m, mcx_admit_of(m, high), high);
}

static inline unsigned long mcx_mark_goal(struct mcx_memcg *m)
{
	return mcx_goal_of(m, mcx_high_wanted(m));
}

/* The same for the user's own limits, whatever a policy wishes. */
static inline unsigned long mcx_mark_user_goal(struct mcx_memcg *m)
{
	return mcx_goal_of(m, READ_ONCE(m->counter->high));
}

/*
 * What the user does not want to be exceeded: memory.high, or if only memory.max
 * binds, what we keep below it. Below that nobody is ever said to be stuck.
 */
static inline unsigned long mcx_mark_limit(struct mcx_memcg *m)
{
	unsigned long high = READ_ONCE(m->counter->high);

	return high < READ_ONCE(m->counter->max) ? high : mcx_admit_of(m, high);
}

static inline bool mcx_over_limit_mark(struct mcx_memcg *m)
{
	return page_counter_read(m->counter) > mcx_mark_limit(m);
}

/* Is it known that its limit cannot be met? */
static inline bool mcx_is_stuck(struct mcx_memcg *m)
{
	return test_bit(MCX_IS_STUCK, &m->flags) && mcx_over_limit_mark(m);
}

/* How close a managed cgroup is to its limits. */
static inline enum mcx_level mcx_level(struct mcx_memcg *m)
{
	unsigned long usage = page_counter_read(m->counter);
	unsigned long admit = mcx_mark_admit(m);

	if (mcx_is_stuck(m))
		return MCX_LEVEL_STUCK;
	if (usage > admit)
		return MCX_LEVEL_HELD;
	if (usage > mcx_mark_pace(m, admit))
		return MCX_LEVEL_PACED;
	return usage > mcx_mark_wake(m, admit) ? MCX_LEVEL_LOW : MCX_LEVEL_OK;
}

#endif /* MCX_MARK_H */
