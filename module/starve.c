// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy that has cgroups spared (below_low, below_min), so that a limit above them cannot
 * be met: found by trying, and ejected.
 *
 * A call that is put off (high_policy) is paid on the way to user mode, a critical class is
 * as good as its budget, and the workers do not leave a cgroup above its pacing mark to
 * anybody: that needs no watching. Reclaim does not come back for what below_min spares,
 * though, and for what below_low does only if a pass frees nothing at all beside it.
 *
 * When half a window is over in which a limit is not met (stuck.c), and policies had
 * something spared from it that the kernel itself would not spare, no policy is asked about
 * that limit in the other half, or for half a window at least. As long as that brings
 * progress it goes on, but no longer than MCX_STARVE_MOST halves. If workers free half of
 * what is above the limit, and usage falls by as much, policies are at fault, and the one
 * that had most spared is ejected; if that does not help, another one will be. If next to
 * nothing comes free there is nothing to reclaim, which is held against nobody, and the
 * limit is decided upon.
 *
 * What becomes reclaimable just then for another reason is held against the policy, too;
 * so nothing is tried while a disk is waited for. What tasks free that meet the limit
 * themselves is not seen: then nobody is ejected, but nor is the limit missed.
 *
 * Locking: run_lock. policy_lock, inside of it, guards who spared most. @tries is a single
 * word that reclaim reads without.
 */
#include <linux/compiler.h>
#include <linux/memcontrol.h>
#include <linux/minmax.h>
#include <linux/page_counter.h>
#include <linux/spinlock.h>

#include "mark.h"
#include "policy_life.h"
#include "starve.h"

/* So few pages are scraps: half of the least that a pass of a worker asks for. */
#define MCX_STARVE_LEAST	16UL
#define MCX_STARVE_MOST		4

/**
 * mcx_starve_note() - a policy has something spared
 * @p: the policy
 * @limited: from this cgroup's limit
 * @nr_pages: how much
 *
 * Context: Any but NMI, inside an RCU read-side section.
 */
void mcx_starve_note(struct mcx_policy *p, struct mem_cgroup *limited,
		     unsigned long nr_pages)
{
	struct mcx_memcg *m = mcx_memcg_find(&limited->memory);
	unsigned long flags;

	if (!m || nr_pages <= READ_ONCE(m->starve.spared))
		return;
	spin_lock_irqsave(&m->policy_lock, flags);
	if (nr_pages > m->starve.spared) {
		WRITE_ONCE(m->starve.spared, nr_pages);
		m->starve.by = p->id;
	}
	spin_unlock_irqrestore(&m->policy_lock, flags);
}

/**
 * mcx_starve_tries() - is it being tried whether policies keep a limit from being met
 * @m: whose limit
 *
 * Context: Any.
 * Return: true if so: none is to be asked what to spare from it.
 */
bool mcx_starve_tries(struct mcx_memcg *m)
{
	return READ_ONCE(m->starve.tries);
}

/* Who had most spared, and forgets that; 0: nobody had anything. */
static u64 mcx_starve_take(struct mcx_memcg *m)
{
	unsigned long flags;
	u64 by;

	if (!READ_ONCE(m->starve.spared))
		return 0;
	spin_lock_irqsave(&m->policy_lock, flags);
	by = m->starve.spared ? m->starve.by : 0;
	WRITE_ONCE(m->starve.spared, 0);
	spin_unlock_irqrestore(&m->policy_lock, flags);
	return by;
}

/**
 * mcx_starve_end() - policies are asked again, and who spared what is forgotten
 * @m: from this cgroup's limit
 *
 * Context: Any, with run_lock.
 */
void mcx_starve_end(struct mcx_memcg *m)
{
	mcx_starve_take(m);
	if (!m->starve.tries)
		return;
	m->starve.step++;
	WRITE_ONCE(m->starve.tries, 0);
}

static unsigned long mcx_starve_over(struct mcx_memcg *m)
{
	unsigned long usage = page_counter_read(m->counter);
	unsigned long limit = mcx_mark_limit(m);

	return usage > limit ? usage - limit : 0;
}

/**
 * mcx_starve_begin() - try without policies, if any had something spared
 * @m: from this cgroup's limit, which is not met
 *
 * Context: a worker, with run_lock.
 * Return: true if that begins.
 */
bool mcx_starve_begin(struct mcx_memcg *m)
{
	struct mcx_starve *s = &m->starve;
	u64 by = s->tries ? 0 : mcx_starve_take(m);

	if (!by)
		return false;
	s->suspect = by;
	s->step++;
	s->freed = 0;
	s->usage = page_counter_read(m->counter);
	s->enough = max(mcx_starve_over(m) / 2, MCX_STARVE_LEAST);
	WRITE_ONCE(s->tries, 1);
	return true;
}

/**
 * mcx_starve_add() - a pass is over
 * @m: the cgroup
 * @step: what starve.step was when it began
 * @freed: pages that it freed
 *
 * Context: a worker, with run_lock.
 */
void mcx_starve_add(struct mcx_memcg *m, unsigned int step, unsigned long freed)
{
	if (step == m->starve.step)
		m->starve.freed += freed;
}

/**
 * mcx_starve_proven() - has so much come free without policies that one is at fault
 * @m: the cgroup
 *
 * Context: a worker, with run_lock.
 * Return: true if so; it is ejected.
 */
bool mcx_starve_proven(struct mcx_memcg *m)
{
	struct mcx_starve *s = &m->starve;
	/* The limit may be another one by now. */
	unsigned long enough = max(s->enough, mcx_starve_over(m) / 2);

	/* What is charged anew, and reclaimed again, is no gain. */
	if (!s->tries || s->freed < enough ||
	    page_counter_read(m->counter) + enough > s->usage)
		return false;
	mcx_policies_end(s->suspect, MCX_EXIT_ERROR_STARVE, READ_ONCE(m->conf.stuck_ms),
			 "a limit could not be met for what it has spared");
	return true;
}

/**
 * mcx_starve_progress() - memory came free, but not enough yet
 * @m: the cgroup
 *
 * Context: a worker, with run_lock.
 * Return: true if it is worth going on without policies; false: nothing is tried, or it
 * was for long enough.
 */
bool mcx_starve_progress(struct mcx_memcg *m)
{
	struct mcx_starve *s = &m->starve;

	if (!s->tries || s->tries >= MCX_STARVE_MOST)
		return false;
	WRITE_ONCE(s->tries, s->tries + 1);
	return true;
}

/**
 * mcx_starve_had_progress() - has memory come free since it is tried
 * @m: the cgroup
 *
 * Context: a worker, with run_lock.
 * Return: true if so, if not enough.
 */
bool mcx_starve_had_progress(struct mcx_memcg *m)
{
	return m->starve.tries > 1;
}
