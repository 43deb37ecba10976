// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is done about a limit that cannot be met (stuck.c finds them): it is counted,
 * told to whoever polls and to the policy, and a request to shed memory stands; or
 * somebody is killed. And what is done before: the flushers are woken.
 *
 * Locking: runs in workers, without run_lock. MCX_ACTING keeps it to one worker at a
 * time for each cgroup; kill_lock to one in all, so that nested cgroups which find
 * the same at the same time do not kill for it one each. Nothing is allocated with
 * that held, or reclaim that blocks would block all workers.
 */
#include <linux/atomic.h>
#include <linux/backing-dev-defs.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "events.h"
#include "feature.h"
#include "kill.h"
#include "mark.h"
#include "reclaim.h"
#include "stuck.h"
#include "symbols.h"

/* Waiting for the memory of who was killed. */
#define MCX_STUCK_KILL_WAIT	(30 * HZ)
/* Between two looks whether that is back: each walks all processes. */
#define MCX_STUCK_KILL_LOOK	(HZ / 8)
/* Between two times that the flushers are woken, which are the whole machine's. */
#define MCX_STUCK_FLUSH_REST	(HZ / 2)
/* So many dirty pages are worth that, unless less is wanted. */
#define MCX_STUCK_FLUSH_LEAST	32UL
/* Looks of the watch, a second each, until victims are looked for anew. */
#define MCX_STUCK_NEW_VICTIM	10

static void mcx_stuck_watch(struct work_struct *work);

static DEFINE_MUTEX(kill_lock);
static atomic_t nr_stuck = ATOMIC_INIT(0);
/* Deferrable: a machine that sleeps is not woken by it. */
static DECLARE_DEFERRABLE_WORK(watch_work, mcx_stuck_watch);

/**
 * mcx_stuck_count() - one cgroup more, or less, is stuck
 * @n: 1 or -1
 *
 * Context: Any.
 */
void mcx_stuck_count(int n)
{
	atomic_add(n, &nr_stuck);
}

/* What rss and swap of a process in it can be, for oom_score_adj. */
static unsigned long mcx_stuck_scale(struct mcx_memcg *m)
{
	return max(READ_ONCE(m->counter->high), page_counter_read(m->counter)) +
	       page_counter_read(&m->memcg->swap);
}

static int mcx_stuck_kill_locked(struct mcx_memcg *m, struct mcx_death *death)
{
	int killed = 0;

	mutex_lock(&kill_lock);
	/* It may have become somebody else's business meanwhile. */
	if (mcx_memcg_managed(m) && mcx_stuck_kills(m))
		killed = mcx_kill(m->memcg, mcx_stuck_scale(m),
				  READ_ONCE(m->stuck.impatient), death);
	mutex_unlock(&kill_lock);
	return killed;
}

static void mcx_stuck_kill(struct mcx_memcg *m)
{
	struct mcx_death death;
	int killed = mcx_stuck_kill_locked(m, &death);

	if (!killed) {
		set_bit(MCX_NO_VICTIM, &m->flags);
		return;
	}
	/* Negative: somebody is dying already. */
	if (killed > 0) {
		mcx_stat_add(m, stuck_kill, killed);
		WRITE_ONCE(m->stuck.impatient, false);
		mcx_kill_report(m->memcg, &death, killed);
	}
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
		mcx_memcg_wake(m);
	}
	if (mcx_memcg_managed(m) && mcx_stuck_kills(m))
		mcx_stuck_kill(m);
	mcx_events_notify(m);
	clear_bit(MCX_ACTING, &m->flags);
}

/* Pages to be written; those that are being written are counted, too. */
static unsigned long mcx_stuck_count_dirty(struct mcx_memcg *m)
{
	unsigned long dirty;

	/* The kernel's own sums may be two seconds old. */
	static_call_cond(mcx_flush_stats)(m->memcg);
	dirty = static_call(mcx_page_state)(m->memcg, NR_FILE_DIRTY);
	WRITE_ONCE(m->stuck.dirty, dirty +
		   static_call(mcx_page_state)(m->memcg, NR_WRITEBACK));
	return dirty;
}

/* Dirty pages are why there is nothing to reclaim, or may be. */
static void mcx_stuck_flush(struct mcx_memcg *m)
{
	unsigned long now = jiffies, then = READ_ONCE(m->stuck.flushed);
	unsigned long wanted = mcx_reclaim_excess(m);

	if (!mcx_feature_is_on(MCX_FEAT_FLUSH) ||
	    (then && time_before(now, then + MCX_STUCK_FLUSH_REST)))
		return;
	WRITE_ONCE(m->stuck.flushed, now ?: 1);
	if (mcx_stuck_count_dirty(m) < clamp(wanted, 1UL, MCX_STUCK_FLUSH_LEAST))
		return;
	mcx_stat_inc(m, flushed);
	static_call(mcx_wake_flushers)(WB_REASON_VMSCAN);
}

/* The next window begins when who was killed is gone, or does not go. */
static void mcx_stuck_look_killed(struct mcx_memcg *m)
{
	unsigned long now = jiffies;

	if (!test_bit(MCX_KILLED, &m->flags) ||
	    time_before(now, READ_ONCE(m->stuck.checked) + MCX_STUCK_KILL_LOOK))
		return;
	WRITE_ONCE(m->stuck.checked, now);
	if (time_after(now, READ_ONCE(m->stuck.killed) + MCX_STUCK_KILL_WAIT))
		WRITE_ONCE(m->stuck.impatient, true);
	else if (mcx_kill_pending(m->memcg))
		return;
	clear_bit(MCX_KILLED, &m->flags);
}

/**
 * mcx_stuck_after_pass() - a pass was made
 * @m: the cgroup; the caller has a reference
 * @empty: it freed as good as nothing
 *
 * Context: a worker, no lock held. May sleep.
 */
void mcx_stuck_after_pass(struct mcx_memcg *m, bool empty)
{
	if (empty)
		mcx_stuck_flush(m);
	mcx_stuck_look_killed(m);
}

/*
 * Nobody charges, so nobody tells that it is over: have a worker look. Or that
 * there is somebody now who may be killed, @arg.
 */
static void mcx_stuck_watch_one(struct mcx_memcg *m, void *arg)
{
	bool *anew = arg;

	if (!test_bit(MCX_IS_STUCK, &m->flags))
		return;
	if (!mcx_is_stuck(m) ||
	    (*anew && test_and_clear_bit(MCX_NO_VICTIM, &m->flags)))
		mcx_reclaim_kick(m);
}

static void mcx_stuck_watch(struct work_struct *work)
{
	static unsigned int looks;
	bool anew = !(++looks % MCX_STUCK_NEW_VICTIM);

	mcx_state_for_each(mcx_stuck_watch_one, &anew);
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
