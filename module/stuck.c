// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits that cannot be met: finds them, says so, and does what
 * memory.ext.reclaim asks for then.
 *
 * A window opens at the first pass that frees nothing while usage is above what
 * the user wrote (mcx_mark_limit(), not a mark of ours). If all workers together
 * free less than 1 % of the excess until it is over (stuck_ms), the cgroup is
 * stuck, and stuck_act.c does what follows. That is decided once; the state ends
 * when usage is at or below the limit, or when a later window sees progress.
 *
 * Nothing is decided while memory goes by itself: where usage has come down, by
 * that 1 % since the last window, another one opens; and another where most of the
 * excess is dirty, but no more than MCX_STUCK_EXCUSES in a row, as a disk may hang.
 *
 * Where policies have something spared the second half of a window passes without asking
 * them (starve.c); where that is known late, half a window more.
 *
 * So that the decision comes before the OOM killer's at memory.max, what is left
 * up to there is given out evenly over that time (mcx_stuck_ration()).
 *
 * Only time in which workers try counts: a machine that sleeps, or one whose
 * workers do not get to run, decides nothing.
 *
 * Locking: the caller's run_lock guards what is done here.
 */
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/wait.h>

#include "mark.h"
#include "starve.h"
#include "stuck.h"

/* Decided this much before stuck_ms is over, so that it is known by then. */
#define MCX_STUCK_EARLY_MS	250U
/* It takes more than one pass: one that meets another's aging frees nothing. */
#define MCX_STUCK_TRIES		2U
/* Pages a second that are progress however large the excess is: 13 MiB. */
#define MCX_STUCK_PROGRESS	((13UL << 20) >> PAGE_SHIFT)
/* Windows in a row that a disk is waited for: a minute by default. */
#define MCX_STUCK_EXCUSES	12U

/* The length of a window. */
static unsigned int mcx_stuck_length_ms(struct mcx_memcg *m)
{
	unsigned int ms = READ_ONCE(m->conf.stuck_ms);

	return ms - min(ms / 8, MCX_STUCK_EARLY_MS);
}

/*
 * Is it memory.high that is exceeded? Where it is not, memory.max is what binds,
 * and the kernel's OOM killer is who acts there.
 */
static bool mcx_stuck_over_high(struct mcx_memcg *m)
{
	unsigned long high = READ_ONCE(m->counter->high);

	return high < READ_ONCE(m->counter->max) &&
	       page_counter_read(m->counter) > high;
}

/**
 * mcx_stuck_kills() - would somebody be killed for its limit
 * @m: the cgroup
 *
 * Usage includes what the kernel charged in advance, a batch on each CPU: nobody
 * dies for that.
 *
 * Context: Any.
 * Return: true if so.
 */
bool mcx_stuck_kills(struct mcx_memcg *m)
{
	unsigned long high = READ_ONCE(m->counter->high);
	unsigned long slack = min(MCX_BATCH * num_online_cpus(), high / 32);

	return READ_ONCE(m->conf.stuck) == MCX_STUCK_KILL &&
	       mcx_stuck_over_high(m) &&
	       page_counter_read(m->counter) > high + slack;
}

/*
 * stuck=max: from here on memory.high does not count. It follows what is
 * configured, which may change while the state lasts.
 */
static void mcx_stuck_follow_conf(struct mcx_memcg *m)
{
	bool off = test_bit(MCX_IS_STUCK, &m->flags) &&
		   READ_ONCE(m->conf.stuck) == MCX_STUCK_MAX &&
		   mcx_stuck_over_high(m);

	if (off == test_bit(MCX_HIGH_OFF, &m->flags))
		return;
	if (off)
		set_bit(MCX_HIGH_OFF, &m->flags);
	else
		clear_bit(MCX_HIGH_OFF, &m->flags);
	mcx_memcg_wake(m);
}

/* A window begins that is as good as that old. */
static void mcx_stuck_restart(struct mcx_memcg *m, unsigned long time)
{
	unsigned long usage = page_counter_read(m->counter);

	m->stuck.open = true;
	m->stuck.tries = 0;
	m->stuck.freed = 0;
	m->stuck.time = time;
	m->stuck.last = jiffies;
	if (!m->stuck.low || usage < m->stuck.low)
		m->stuck.low = usage;
}

static void mcx_stuck_open(struct mcx_memcg *m)
{
	mcx_stuck_restart(m, 0);
	mcx_starve_window(m);
}

/* Between two looks no more counts: nobody tried. In jiffies. */
static unsigned long mcx_stuck_gap(unsigned long length)
{
	return clamp(length / 8, 1UL, (unsigned long)HZ);
}

/* Add a turn to the window, in which a pass was made or not. */
static void mcx_stuck_add(struct mcx_memcg *m, bool tried, unsigned long freed)
{
	unsigned long length = msecs_to_jiffies(mcx_stuck_length_ms(m));
	unsigned long now = jiffies;

	m->stuck.tries += tried;
	m->stuck.freed += freed;
	m->stuck.time += min(now - m->stuck.last,
			       mcx_stuck_gap(length));
	m->stuck.last = now;
}

static unsigned long mcx_stuck_excess(struct mcx_memcg *m)
{
	unsigned long usage = page_counter_read(m->counter);
	unsigned long goal = mcx_mark_user_goal(m);

	return usage > goal ? usage - goal : 0;
}

/*
 * Pages in a window that are progress: 1 % of the excess, or of what the workers
 * may free of it with cpu_max=.
 */
static unsigned long mcx_stuck_least(struct mcx_memcg *m)
{
	unsigned int percent = READ_ONCE(m->conf.cpu_max);
	unsigned long most = MCX_STUCK_PROGRESS * mcx_stuck_length_ms(m) / 1000;
	unsigned long least = min(mcx_stuck_excess(m) / 100, most);

	if (percent && percent < 100)
		least = least * percent / 100;
	return max(least, 1UL);
}

static unsigned long mcx_stuck_half(struct mcx_memcg *m)
{
	return msecs_to_jiffies(mcx_stuck_length_ms(m)) / 2;
}

static bool mcx_stuck_over(struct mcx_memcg *m)
{
	return m->stuck.tries >= MCX_STUCK_TRIES &&
	       m->stuck.time >= msecs_to_jiffies(mcx_stuck_length_ms(m));
}

/* Who is asked to shed memory does, or exits: that takes its time. */
static bool mcx_stuck_falls(struct mcx_memcg *m, unsigned long least)
{
	if (page_counter_read(m->counter) + least > m->stuck.low)
		return false;
	m->stuck.excused = 0;
	return true;
}

/*
 * Is most of the excess waiting for a disk? That may be slow, and what it has done
 * is seen late and in lumps.
 */
static bool mcx_stuck_is_dirty(struct mcx_memcg *m)
{
	return READ_ONCE(m->stuck.dirty) >= mcx_stuck_excess(m) / 2 &&
	       m->stuck.excused < MCX_STUCK_EXCUSES;
}

static bool mcx_stuck_writes(struct mcx_memcg *m)
{
	if (!mcx_stuck_is_dirty(m))
		return false;
	m->stuck.excused++;
	return true;
}

static enum mcx_stuck_news mcx_stuck_window_over(struct mcx_memcg *m)
{
	m->stuck.open = false;
	m->stuck.low = 0;
	mcx_starve_acquit(m);
	if (!test_and_set_bit(MCX_IS_STUCK, &m->flags)) {
		mcx_stuck_count(1);
		WRITE_ONCE(m->stuck.impatient, false);
		set_bit(MCX_ACTING, &m->flags);
		return MCX_STUCK_DECIDED;
	}
	if (!mcx_stuck_kills(m))
		return MCX_STUCK_NO_NEWS;
	set_bit(MCX_ACTING, &m->flags);
	return MCX_STUCK_AGAIN;
}

/* Half of it is over: the other one without asking policies what to spare. */
static void mcx_stuck_try(struct mcx_memcg *m, unsigned long least)
{
	if (m->stuck.time < mcx_stuck_half(m) || mcx_stuck_is_dirty(m) ||
	    !mcx_starve_begin(m, least, mcx_stuck_kills(m)))
		return;
	m->stuck.tries = 0;
	m->stuck.time = mcx_stuck_half(m);
}

/* Nothing is decided yet: another window, or half of one without policies. */
static void mcx_stuck_go_on(struct mcx_memcg *m)
{
	if (mcx_starve_goes_on(m)) {
		mcx_stuck_restart(m, mcx_stuck_half(m));
		return;
	}
	mcx_starve_acquit(m);
	mcx_stuck_open(m);
}

/* Is there progress? That without policies says only in the end that it goes on. */
static bool mcx_stuck_progress(struct mcx_memcg *m, unsigned long least)
{
	if (m->stuck.freed < least)
		return false;
	if (!mcx_starve_tries(m))
		mcx_stuck_end(m);
	else if (mcx_stuck_over(m))
		mcx_stuck_go_on(m);
	return true;
}

static enum mcx_stuck_news mcx_stuck_window(struct mcx_memcg *m, bool tried,
					    unsigned long freed, bool empty)
{
	unsigned long least = mcx_stuck_least(m);

	/* Who was just killed gives back its memory first. */
	if (test_bit(MCX_ACTING, &m->flags) || test_bit(MCX_KILLED, &m->flags))
		return MCX_STUCK_NO_NEWS;
	if (!m->stuck.open) {
		/* The state is watched all the time, for its end. */
		if (empty || test_bit(MCX_IS_STUCK, &m->flags))
			mcx_stuck_open(m);
		return MCX_STUCK_NO_NEWS;
	}
	mcx_stuck_add(m, tried, freed);
	if (mcx_stuck_progress(m, least))
		return MCX_STUCK_NO_NEWS;
	mcx_stuck_try(m, least);
	if (!mcx_stuck_over(m))
		return MCX_STUCK_NO_NEWS;
	if (!mcx_stuck_falls(m, least) && !mcx_stuck_writes(m))
		return mcx_stuck_window_over(m);
	mcx_stuck_go_on(m);
	return MCX_STUCK_NO_NEWS;
}

/**
 * mcx_stuck_look() - what does a turn mean for the limit of its cgroup
 * @m: the cgroup
 * @tried: a pass was made
 * @freed: what it freed
 * @empty: as good as nothing
 *
 * Context: a worker, with run_lock.
 * Return: whether to call mcx_stuck_act() without it.
 */
enum mcx_stuck_news mcx_stuck_look(struct mcx_memcg *m, bool tried,
				   unsigned long freed, bool empty)
{
	enum mcx_stuck_news news;

	if (!mcx_memcg_managed(m) || mcx_starve_proven(m) || !mcx_over_limit_mark(m)) {
		mcx_stuck_renew(m);
		return MCX_STUCK_NO_NEWS;
	}
	if (!test_bit(MCX_IS_EMPTY, &m->flags) && !empty)
		WRITE_ONCE(m->stuck.since, 0);
	else if (!m->stuck.since)
		WRITE_ONCE(m->stuck.since, jiffies ?: 1);
	news = mcx_stuck_window(m, tried, freed, empty);
	mcx_stuck_follow_conf(m);
	return news;
}

/**
 * mcx_stuck_end() - the limit can be met, or does not matter any more
 * @m: the cgroup
 *
 * Context: Any, with run_lock.
 */
void mcx_stuck_end(struct mcx_memcg *m)
{
	m->stuck.open = false;
	m->stuck.excused = 0;
	m->stuck.low = 0;
	WRITE_ONCE(m->stuck.impatient, false);
	mcx_starve_end(m);
	clear_bit(MCX_KILLED, &m->flags);
	clear_bit(MCX_NO_VICTIM, &m->flags);
	if (test_and_clear_bit(MCX_IS_STUCK, &m->flags))
		mcx_stuck_count(-1);
	mcx_stuck_follow_conf(m);
}

/**
 * mcx_stuck_renew() - the limit is met, or somebody begins or ends to enforce it
 * @m: the cgroup
 *
 * Context: Any, with run_lock.
 */
void mcx_stuck_renew(struct mcx_memcg *m)
{
	mcx_stuck_end(m);
	WRITE_ONCE(m->stuck.since, 0);
}

/**
 * mcx_stuck_settled() - is it decided, and nothing left to do
 * @m: the cgroup
 *
 * Context: Any.
 * Return: true if the workers may leave it alone until something is charged.
 */
bool mcx_stuck_settled(struct mcx_memcg *m)
{
	if (!test_bit(MCX_IS_STUCK, &m->flags) ||
	    test_bit(MCX_ACTING, &m->flags))
		return false;
	return !mcx_stuck_kills(m) || test_bit(MCX_NO_VICTIM, &m->flags);
}

/**
 * mcx_stuck_left() - when shall the next look be at the latest
 * @m: the cgroup
 *
 * Context: Any, with run_lock.
 * Return: jiffies from now.
 */
unsigned long mcx_stuck_left(struct mcx_memcg *m)
{
	unsigned long length = msecs_to_jiffies(mcx_stuck_length_ms(m));

	if (!m->stuck.open)
		return MAX_JIFFY_OFFSET;
	if (m->stuck.time < length)
		return min(length - m->stuck.time, mcx_stuck_gap(length));
	/* What is missing is a pass. */
	return m->stuck.tries < MCX_STUCK_TRIES ? MAX_JIFFY_OFFSET : 0;
}

/**
 * mcx_stuck_shed() - how much should be freed, as a request
 * @m: the cgroup
 *
 * Context: Any.
 * Return: pages; 0 if no request stands.
 */
unsigned long mcx_stuck_shed(struct mcx_memcg *m)
{
	unsigned long shed = READ_ONCE(m->policy_shed);

	return mcx_is_stuck(m) ? max(shed, mcx_stuck_excess(m)) : shed;
}

/**
 * mcx_stuck_msec() - how long has there been nothing to reclaim above the limit
 * @m: the cgroup
 *
 * Context: Any.
 * Return: milliseconds, 0 if that is not so.
 */
unsigned int mcx_stuck_msec(struct mcx_memcg *m)
{
	unsigned long since = READ_ONCE(m->stuck.since);

	if (!since || !mcx_over_limit_mark(m))
		return 0;
	since = min(jiffies - since, msecs_to_jiffies(INT_MAX));
	return max(jiffies_to_msecs(since), 1U);
}

/**
 * mcx_stuck_ration() - how long shall a task wait so that a decision can be made
 *	before memory.max is reached
 * @m: the cgroup, in which nothing can be reclaimed
 * @usage: its usage, above memory.high
 *
 * Three quarters of what is between both limits are given out evenly over the
 * time until the decision. Whoever charges more than that waits until it is due.
 *
 * Context: Any.
 * Return: nanoseconds.
 */
u64 mcx_stuck_ration(struct mcx_memcg *m, unsigned long usage)
{
	unsigned long high = READ_ONCE(m->counter->high);
	unsigned long max = READ_ONCE(m->counter->max);
	unsigned long length = READ_ONCE(m->conf.stuck_ms);
	u64 due;

	if (test_bit(MCX_IS_STUCK, &m->flags) || max >= PAGE_COUNTER_MAX ||
	    usage <= high || max <= high)
		return 0;
	due = div64_ul((u64)(usage - high) * length,
		       max((max - high) / 4 * 3, 1UL));
	due = min_t(u64, due, length);
	return (due - min_t(u64, due, mcx_stuck_msec(m))) * NSEC_PER_MSEC;
}
