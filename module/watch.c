// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long the calls of a policy take; one that takes too long is ejected.
 *
 * Members run with preemption off where a page is charged: what they take everybody on
 * that CPU waits for. A call that takes more than a millisecond (slow_usec=) is slow. On
 * one CPU a policy is ejected
 *  - if three calls and a sixteenth of all are slow within a second, or within 48 calls,
 *  - if slow calls take a tenth of the time in two windows of a second in a row, or
 *  - if a hundred others and more within a second take 20 us (a fiftieth) in the mean.
 *
 * One slow call proves nothing: interrupts are served above a member, and of a virtual
 * CPU the host takes away milliseconds, which nobody here is told of. Both hit a call as
 * often as it runs, so seldom if it is quick; a member that is slow is so whenever it
 * comes where it is.
 *
 * Emulated CPUs are slower by a factor, which a loop tells that is timed when the module
 * is loaded; where there is a hypervisor all bounds are four times as high besides.
 *
 * Locking: none. Counters are of one CPU, and whoever counts has preemption off; an
 * interrupt above makes no call, see call.c.
 */
#include <linux/cpufeature.h>
#include <linux/irqflags.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/sched/clock.h>

#include "watch.h"

/* A call is slow beyond slow_usec, the mean of the others beyond a fiftieth. */
#define MCX_SLOW_TO_MEAN	50
/* So many slow ones, and one in so many. */
#define MCX_SLOW_CALLS		3
#define MCX_SLOW_PART		16
/* Slow ones may take that part of the time, but not in so many windows in a row. */
#define MCX_SLOW_SHARE		10
#define MCX_SLOW_WINDOWS	2
/* Of so few calls no mean is taken. */
#define MCX_MEAN_CALLS		100

/* Rounds of the loop that is timed, and what one takes at 3 GHz, in ps. */
#define MCX_LOOP_ROUNDS		10000
#define MCX_LOOP_PS		1700
#define MCX_LOOP_TRIES		5
#define MCX_HYPERVISOR		4

static unsigned int slow_usec = 1000;
module_param(slow_usec, uint, 0644);
MODULE_PARM_DESC(slow_usec, "microseconds that one call of a policy may take, all in the mean a fiftieth of it; times a factor on slow and on virtual machines; 0: calls are not timed (1000)");

/* Times the bounds. */
static unsigned int slowness = 1;

static u64 __init mcx_time_loop(void)
{
	unsigned long flags;
	u32 n = 0;
	u64 took;

	local_irq_save(flags);
	took = local_clock();
	while (READ_ONCE(n) < MCX_LOOP_ROUNDS)
		WRITE_ONCE(n, READ_ONCE(n) + 1);
	took = local_clock() - took;
	local_irq_restore(flags);
	return took;
}

static bool __init mcx_is_virtual(void)
{
#ifdef CONFIG_X86
	return boot_cpu_has(X86_FEATURE_HYPERVISOR);
#else
	return true;
#endif
}

/**
 * mcx_watch_init() - find out how slow this machine is
 *
 * Context: Process, from module init only.
 */
void __init mcx_watch_init(void)
{
	u64 least = mcx_time_loop();
	int i;

	for (i = 1; i < MCX_LOOP_TRIES; i++)
		least = min(least, mcx_time_loop());
	slowness = max(div_u64(least * 1000, MCX_LOOP_ROUNDS * MCX_LOOP_PS), 1ULL);
	if (mcx_is_virtual())
		slowness *= MCX_HYPERVISOR;
}

/* What a call may take, in ns; 0: any time. */
static notrace u64 mcx_watch_bound(void)
{
	return min_t(u64, READ_ONCE(slow_usec), USEC_PER_SEC) * NSEC_PER_USEC *
	       slowness;
}

/* Returns what the calls took in the mean that were not slow, if that is too much. */
static notrace u64 mcx_watch_mean(const struct mcx_policy_stat *s)
{
	u32 calls = s->calls - s->slow;

	if (calls < MCX_MEAN_CALLS ||
	    s->nsec * MCX_SLOW_TO_MEAN <= calls * s->bound)
		return 0;
	return div_u64(s->nsec, calls);
}

/* Begins another window. Returns ns, if it was too much in the one that is over. */
static notrace u64 mcx_watch_window(struct mcx_policy_stat *s, u64 now, u64 bound)
{
	u64 mean = s->bound == bound ? mcx_watch_mean(s) : 0;
	u64 slow_nsec = s->slow_nsec;

	if (slow_nsec * MCX_SLOW_SHARE > now - s->since && s->bound == bound)
		s->slow_windows++;
	else
		s->slow_windows = 0;
	s->since = now;
	s->bound = bound;
	s->nsec = 0;
	s->slow_nsec = 0;
	s->calls = 0;
	s->slow = 0;
	return s->slow_windows >= MCX_SLOW_WINDOWS ? slow_nsec : mean;
}

/* As long as one was slow of too few to judge by, a window lasts. */
static notrace bool mcx_watch_window_over(const struct mcx_policy_stat *s, u64 now,
					  u64 bound)
{
	return s->bound != bound ||
	       (now - s->since >= NSEC_PER_SEC &&
		(!s->slow || s->calls >= MCX_SLOW_CALLS * MCX_SLOW_PART));
}

/*
 * A call took so long: is that, with what was before, too much? Returns ns: of the call,
 * or what was too much in a window.
 */
static notrace u64 mcx_watch_count(struct mcx_policy_stat *s, u64 now, u64 took)
{
	u64 bound = mcx_watch_bound(), over = 0;

	if (!bound)
		return 0;
	if (mcx_watch_window_over(s, now, bound))
		over = mcx_watch_window(s, now, bound);
	s->calls++;
	if (took <= bound) {
		s->nsec += took;
		return over;
	}
	s->slow_all++;
	s->slow++;
	s->slow_nsec += took;
	return s->slow >= MCX_SLOW_CALLS &&
	       s->slow * MCX_SLOW_PART >= s->calls ? took : over;
}

/**
 * mcx_watch_begin() - a member is about to be called
 * @p: the policy
 *
 * Context: Any but NMI, preemption off.
 */
void notrace mcx_watch_begin(struct mcx_policy *p)
{
	this_cpu_write(p->stat->began,
		       READ_ONCE(slow_usec) ? local_clock() : 0);
}

/**
 * mcx_watch_end() - it is back
 * @p: the policy, which is ejected if its calls take too long
 *
 * Context: as mcx_watch_begin(), without a break between them.
 */
void notrace mcx_watch_end(struct mcx_policy *p)
{
	struct mcx_policy_stat *s = this_cpu_ptr(p->stat);
	u64 now, over;

	if (!s->began)
		return;
	now = local_clock();
	over = mcx_watch_count(s, now, now - s->began);
	if (over)
		mcx_policy_end(p, MCX_EXIT_ERROR_SLOW,
			       div_u64(over, NSEC_PER_USEC),
			       "its calls take too long");
}
