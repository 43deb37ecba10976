// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long the calls of a policy take; one that takes too long is ejected.
 *
 * Members run with preemption off where a page is charged: what they take everybody on
 * that CPU waits for. A call that takes more than a millisecond (slow_usec=) is slow. A
 * policy is ejected if three calls and a sixteenth of all are slow on one CPU within a
 * second, or if a hundred calls and more take 20 us (a fiftieth of that) in the mean.
 *
 * One slow call proves nothing: interrupts are served above a member, and of a virtual
 * CPU the host takes away milliseconds, which nobody here is told of. Both hit a call as
 * often as it runs, so seldom if it is quick; a member that is slow is so whenever it
 * comes where it is. What a slow call takes beyond the bound does not count for the mean.
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

/* A call is slow beyond slow_usec, the mean of all beyond a fiftieth. */
#define MCX_SLOW_TO_MEAN	50
/* So many slow ones, and one in so many. */
#define MCX_SLOW_CALLS		3
#define MCX_SLOW_PART		16
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

/* A call took so long: is that, with what was before, too much? */
static notrace bool mcx_watch_count(struct mcx_policy_stat *s, u64 now, u64 took)
{
	u64 slow = (u64)READ_ONCE(slow_usec) * NSEC_PER_USEC * slowness;
	bool over;

	if (!slow)
		return false;
	if (now - s->since >= NSEC_PER_SEC) {
		over = s->calls >= MCX_MEAN_CALLS &&
		       s->nsec * MCX_SLOW_TO_MEAN > s->calls * slow;
		s->since = now;
		s->nsec = 0;
		s->calls = 0;
		s->slow = 0;
		if (over)
			return true;
	}
	s->calls++;
	s->nsec += min(took, slow);
	if (took <= slow)
		return false;
	s->slow_all++;
	s->slow++;
	return s->slow >= MCX_SLOW_CALLS && s->slow * MCX_SLOW_PART >= s->calls;
}

/**
 * mcx_watch_begin() - a member is about to be called
 * @p: the policy
 *
 * Context: Any but NMI, preemption off.
 */
void notrace mcx_watch_begin(struct mcx_policy *p)
{
	this_cpu_write(p->stat->began, local_clock());
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
	u64 now = local_clock(), took = now - s->began;

	if (mcx_watch_count(s, now, took))
		mcx_policy_end(p, MCX_EXIT_ERROR_SLOW,
			       div_u64(took, NSEC_PER_USEC),
			       "its calls take too long");
}
