// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits that cannot be met: finds them, says so, and does what
 * memory.ext.reclaim asks for then.
 *
 * A window opens at the first pass that frees nothing while usage is above what
 * the user wrote (mcx_mark_limit(), not a mark of ours). If all workers together
 * free less than 1 % of the excess until it is over (stuck_ms), the cgroup is
 * stuck. That is decided once: counted, told to whoever polls and to the policy,
 * and a request to shed memory stands from then on. The state ends when usage is
 * at or below the limit, or when a later window sees progress.
 *
 * So that the decision comes before the OOM killer's at memory.max, what is left
 * up to there is given out evenly over that time (mcx_stuck_ration()).
 *
 * Only time in which workers try counts: a machine that sleeps, or one whose
 * workers do not get to run, decides nothing.
 *
 * Locking: the caller's run_lock guards struct mcx_stuck. What acts (counts,
 * kills) runs without it; MCX_ACTING keeps it to one worker at a time.
 */
#include <linux/atomic.h>
#include <linux/backing-dev-defs.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mmzone.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "events.h"
#include "feature.h"
#include "kill.h"
#include "mark.h"
#include "reclaim.h"
#include "stuck.h"
#include "symbols.h"

/* Decided this much before stuck_ms is over, so that it is known by then. */
#define MCX_STUCK_EARLY_MS	250U
/* Between two looks no more counts: nobody tried. */
#define MCX_STUCK_GAP		HZ
/* Pages in a window that are progress however large the excess is: 64 MiB. */
#define MCX_STUCK_PROGRESS	((64UL << 20) >> PAGE_SHIFT)
/* Waiting for the memory of who was killed. */
#define MCX_STUCK_KILL_WAIT	(30 * HZ)

static void mcx_stuck_watch(struct work_struct *work);

static atomic_t nr_stuck = ATOMIC_INIT(0);
/* Deferrable: a machine that sleeps is not woken by it. */
static DECLARE_DEFERRABLE_WORK(watch_work, mcx_stuck_watch);

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

static bool mcx_stuck_kills(struct mcx_memcg *m)
{
	return READ_ONCE(m->conf.stuck) == MCX_STUCK_KILL &&
	       mcx_stuck_over_high(m);
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
	wake_up_all(&m->waiters);
}

static void mcx_stuck_open(struct mcx_memcg *m)
{
	m->stuck.open = true;
	m->stuck.freed = 0;
	m->stuck.time = 0;
	m->stuck.last = jiffies;
}

/* Add a pass to the window. */
static void mcx_stuck_add(struct mcx_memcg *m, unsigned long freed)
{
	unsigned long now = jiffies;

	m->stuck.freed += freed;
	m->stuck.time += min(now - m->stuck.last, (unsigned long)MCX_STUCK_GAP);
	m->stuck.last = now;
}

static bool mcx_stuck_progress(struct mcx_memcg *m)
{
	unsigned long usage = page_counter_read(m->counter);
	unsigned long goal = mcx_mark_goal(m);
	unsigned long excess = usage > goal ? usage - goal : 0;

	return m->stuck.freed >= clamp(excess / 100, 1UL, MCX_STUCK_PROGRESS);
}

static bool mcx_stuck_over(struct mcx_memcg *m)
{
	return m->stuck.time >= msecs_to_jiffies(mcx_stuck_length_ms(m));
}

static enum mcx_stuck_news mcx_stuck_window_over(struct mcx_memcg *m)
{
	m->stuck.open = false;
	if (!test_and_set_bit(MCX_IS_STUCK, &m->flags)) {
		atomic_inc(&nr_stuck);
		set_bit(MCX_ACTING, &m->flags);
		return MCX_STUCK_DECIDED;
	}
	if (!mcx_stuck_kills(m))
		return MCX_STUCK_NO_NEWS;
	set_bit(MCX_ACTING, &m->flags);
	return MCX_STUCK_AGAIN;
}

static enum mcx_stuck_news mcx_stuck_window(struct mcx_memcg *m,
					    unsigned long freed, bool empty)
{
	/* Who was just killed gives back its memory first. */
	if (test_bit(MCX_ACTING, &m->flags) || test_bit(MCX_KILLED, &m->flags))
		return MCX_STUCK_NO_NEWS;
	if (!m->stuck.open) {
		/* The state is watched all the time, for its end. */
		if (empty || test_bit(MCX_IS_STUCK, &m->flags))
			mcx_stuck_open(m);
		return MCX_STUCK_NO_NEWS;
	}
	mcx_stuck_add(m, freed);
	if (mcx_stuck_progress(m)) {
		mcx_stuck_end(m);
		return MCX_STUCK_NO_NEWS;
	}
	return mcx_stuck_over(m) ? mcx_stuck_window_over(m) :
				   MCX_STUCK_NO_NEWS;
}

/**
 * mcx_stuck_look() - what does a pass mean for the limit of its cgroup
 * @m: the cgroup
 * @freed: what the pass freed
 * @empty: it was made, and freed as good as nothing
 *
 * Context: a worker, with run_lock.
 * Return: whether to call mcx_stuck_act() without it.
 */
enum mcx_stuck_news mcx_stuck_look(struct mcx_memcg *m, unsigned long freed,
				   bool empty)
{
	enum mcx_stuck_news news;

	if (!mcx_memcg_managed(m) || !mcx_over_limit_mark(m)) {
		mcx_stuck_end(m);
		m->stuck.since = 0;
		return MCX_STUCK_NO_NEWS;
	}
	if (!test_bit(MCX_IS_EMPTY, &m->flags) && !empty)
		m->stuck.since = 0;
	else if (!m->stuck.since)
		m->stuck.since = jiffies ?: 1;
	news = mcx_stuck_window(m, freed, empty);
	mcx_stuck_follow_conf(m);
	return news;
}

/**
 * mcx_stuck_end() - the limit is met, or can be, or does not matter any more
 * @m: the cgroup
 *
 * Context: Any, with run_lock.
 */
void mcx_stuck_end(struct mcx_memcg *m)
{
	m->stuck.open = false;
	clear_bit(MCX_KILLED, &m->flags);
	clear_bit(MCX_NO_VICTIM, &m->flags);
	if (test_and_clear_bit(MCX_IS_STUCK, &m->flags))
		atomic_dec(&nr_stuck);
	mcx_stuck_follow_conf(m);
}

static void mcx_stuck_kill(struct mcx_memcg *m)
{
	int killed = mcx_kill(m->memcg, READ_ONCE(m->counter->high));

	if (!killed) {
		set_bit(MCX_NO_VICTIM, &m->flags);
		return;
	}
	/* Negative: somebody is dying already. */
	if (killed > 0)
		mcx_stat_add(m, stuck_kill, killed);
	clear_bit(MCX_NO_VICTIM, &m->flags);
	WRITE_ONCE(m->stuck.killed, jiffies);
	set_bit(MCX_KILLED, &m->flags);
}

/**
 * mcx_stuck_act() - tell of a limit that cannot be met, and do something
 * @m: the cgroup; the caller has a reference
 * @news: what mcx_stuck_look() found
 *
 * Context: a worker, no lock held. May sleep.
 */
void mcx_stuck_act(struct mcx_memcg *m, enum mcx_stuck_news news)
{
	if (news == MCX_STUCK_NO_NEWS)
		return;
	if (news == MCX_STUCK_DECIDED) {
		mcx_stat_inc(m, stuck);
		mcx_stat_inc(m, shed);
		queue_delayed_work(mcx_wq, &watch_work, HZ);
		/* Whoever was rationed is not any more. */
		wake_up_all(&m->waiters);
	}
	if (mcx_memcg_managed(m) && mcx_stuck_kills(m))
		mcx_stuck_kill(m);
	mcx_events_notify(m);
	clear_bit(MCX_ACTING, &m->flags);
}

/* Dirty pages are why there is nothing to reclaim, or may be. */
static void mcx_stuck_flush(struct mcx_memcg *m)
{
	if (!mcx_feature_is_on(MCX_FEAT_FLUSH) ||
	    !(static_call(mcx_page_state)(m->memcg, NR_FILE_DIRTY) +
	      static_call(mcx_page_state)(m->memcg, NR_WRITEBACK)))
		return;
	mcx_stat_inc(m, flushed);
	static_call(mcx_wake_flushers)(WB_REASON_VMSCAN);
}

/**
 * mcx_stuck_empty() - a pass freed as good as nothing
 * @m: the cgroup; the caller has a reference
 *
 * Context: a worker, no lock held.
 */
void mcx_stuck_empty(struct mcx_memcg *m)
{
	mcx_stuck_flush(m);
	/* The next window begins when who was killed is gone. */
	if (test_bit(MCX_KILLED, &m->flags) &&
	    (time_after(jiffies, READ_ONCE(m->stuck.killed) +
				 MCX_STUCK_KILL_WAIT) ||
	     !mcx_kill_pending(m->memcg)))
		clear_bit(MCX_KILLED, &m->flags);
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
	return length > m->stuck.time ? length - m->stuck.time : 0;
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
	unsigned long usage = page_counter_read(m->counter);
	unsigned long goal = mcx_mark_goal(m);

	return mcx_is_stuck(m) && usage > goal ? usage - goal : 0;
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
	return max(jiffies_to_msecs(jiffies - since), 1U);
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

/* Nobody charges, so nobody tells that it is over: have a worker look. */
static void mcx_stuck_watch_one(struct mcx_memcg *m, void *arg)
{
	if (test_bit(MCX_IS_STUCK, &m->flags) && !mcx_is_stuck(m))
		mcx_reclaim_kick(m);
}

static void mcx_stuck_watch(struct work_struct *work)
{
	mcx_state_for_each(mcx_stuck_watch_one, NULL);
	if (atomic_read(&nr_stuck))
		queue_delayed_work(mcx_wq, &watch_work, HZ);
}

/**
 * mcx_stuck_exit() - stop watching
 *
 * Workers must be gone, and all objects removed from the table.
 *
 * Context: Process, from module exit only.
 */
void mcx_stuck_exit(void)
{
	cancel_delayed_work_sync(&watch_work);
}
