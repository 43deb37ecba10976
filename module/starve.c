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
 * that limit in the other half. If workers free half of what is above the limit, and usage
 * falls by as much, policies are at fault, and one is ejected: the one that had most spared
 * of one cgroup by below_min, or if there is none by below_low. If that does not help,
 * another one will be. As long as a half brings progress there is one more, but no more
 * than MCX_STARVE_MOST. If next to nothing comes free there is nothing to reclaim, which is
 * held against nobody, and the limit is decided upon.
 *
 * That is tried in every window, once a limit is known as one that cannot be met in every
 * second, fourth and so on, since half of the time what is spared from it is not; but
 * always before somebody is killed.
 *
 * What becomes reclaimable just then for another reason is held against the policy, too;
 * so nothing is tried while a disk is waited for. What tasks free that meet the limit
 * themselves is not seen: then nobody is ejected.
 *
 * Locking: run_lock; mcx_starve.lock, a leaf, guards who spared most. @tries is a single
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
#define MCX_STARVE_MOST		4U
/* Once in two to the power of that many windows at the least. */
#define MCX_STARVE_REST_MAX	6U

/**
 * mcx_starve_init_memcg() - nothing is spared yet
 * @m: the cgroup
 *
 * Context: Any.
 */
void mcx_starve_init_memcg(struct mcx_memcg *m)
{
	raw_spin_lock_init(&m->starve.lock);
}

/**
 * mcx_starve_note() - a policy has something spared
 * @p: the policy
 * @limited: from this cgroup's limit
 * @how: by which member
 * @nr_pages: of one cgroup and what is below it, beyond what the kernel spares itself
 *
 * Context: Any but NMI, inside an RCU read-side section.
 */
void mcx_starve_note(struct mcx_policy *p, struct mem_cgroup *limited,
		     enum mcx_spared how, unsigned long nr_pages)
{
	struct mcx_memcg *m = mcx_memcg_find(&limited->memory);
	struct mcx_starve *s;
	unsigned long flags;

	if (!m || nr_pages <= READ_ONCE(m->starve.spared[how]) ||
	    nr_pages <= MCX_BATCH * num_online_cpus())
		return;
	s = &m->starve;
	raw_spin_lock_irqsave(&s->lock, flags);
	if (nr_pages > s->spared[how]) {
		WRITE_ONCE(s->spared[how], nr_pages);
		s->by[how] = p->id;
	}
	raw_spin_unlock_irqrestore(&s->lock, flags);
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

static bool mcx_starve_any(struct mcx_starve *s)
{
	return READ_ONCE(s->spared[MCX_SPARED_MIN]) ||
	       READ_ONCE(s->spared[MCX_SPARED_LOW]);
}

/* Who had most spared, and forgets that; 0: nobody had anything. */
static u64 mcx_starve_take(struct mcx_starve *s)
{
	unsigned long flags;
	u64 by = 0;
	int how;

	if (!mcx_starve_any(s))
		return 0;
	raw_spin_lock_irqsave(&s->lock, flags);
	for (how = 0; how < MCX_NR_SPARED; how++) {
		if (s->spared[how] && !by)
			by = s->by[how];
		WRITE_ONCE(s->spared[how], 0);
	}
	raw_spin_unlock_irqrestore(&s->lock, flags);
	return by;
}

static void mcx_starve_ask_again(struct mcx_starve *s)
{
	if (!s->tries)
		return;
	s->step++;
	WRITE_ONCE(s->tries, 0);
}

/**
 * mcx_starve_end() - the limit is met, or can be: all is forgotten
 * @m: the cgroup
 *
 * Context: Any, with run_lock.
 */
void mcx_starve_end(struct mcx_memcg *m)
{
	mcx_starve_take(&m->starve);
	mcx_starve_ask_again(&m->starve);
	m->starve.windows = 0;
	m->starve.acquitted = 0;
}

/**
 * mcx_starve_window() - a window begins, in which policies are asked
 * @m: the cgroup
 *
 * Context: a worker, with run_lock.
 */
void mcx_starve_window(struct mcx_memcg *m)
{
	mcx_starve_take(&m->starve);
	mcx_starve_ask_again(&m->starve);
	m->starve.windows++;
}

static unsigned long mcx_starve_over(struct mcx_memcg *m)
{
	unsigned long usage = page_counter_read(m->counter);
	unsigned long limit = mcx_mark_limit(m);

	return usage > limit ? usage - limit : 0;
}

/* It was for nothing before: not in each window. */
static bool mcx_starve_rests(struct mcx_starve *s)
{
	return s->acquitted && s->windows < 1U << min(s->acquitted, MCX_STARVE_REST_MAX);
}

/**
 * mcx_starve_begin() - try without policies, if any had something spared
 * @m: from this cgroup's limit, which is not met
 * @least: pages freed in a window that are progress
 * @kills: if it is not for a policy somebody is killed
 *
 * Context: a worker, with run_lock.
 * Return: true if that begins.
 */
bool mcx_starve_begin(struct mcx_memcg *m, unsigned long least, bool kills)
{
	struct mcx_starve *s = &m->starve;
	unsigned long over = mcx_starve_over(m);
	u64 by = 0;

	if (!s->tries && (kills || !mcx_starve_rests(s)))
		by = mcx_starve_take(s);
	if (!by)
		return false;
	s->suspect = by;
	s->step++;
	s->freed = 0;
	s->usage = page_counter_read(m->counter);
	/* No more than what meets the limit, with which this ends. */
	s->enough = max(min(max(over / 2, 4 * least), over), MCX_STARVE_LEAST);
	WRITE_ONCE(s->tries, 1);
	return true;
}

/**
 * mcx_starve_counts() - does a pass tell whether the limit can be met
 * @m: the cgroup
 * @step: what starve.step was when it began
 * @freed: pages that it freed
 *
 * Context: a worker, with run_lock.
 * Return: false if policies were asked when it began, and are not now, or the other way
 * round.
 */
bool mcx_starve_counts(struct mcx_memcg *m, unsigned int step, unsigned long freed)
{
	if (step != m->starve.step)
		return false;
	if (m->starve.tries)
		m->starve.freed += freed;
	return true;
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
 * mcx_starve_goes_on() - half a window without policies is over, but was not for nothing
 * @m: the cgroup
 *
 * Context: a worker, with run_lock.
 * Return: true if there is one more; false: nothing is tried, or it was for long enough.
 */
bool mcx_starve_goes_on(struct mcx_memcg *m)
{
	struct mcx_starve *s = &m->starve;

	if (!s->tries || s->tries >= MCX_STARVE_MOST)
		return false;
	WRITE_ONCE(s->tries, s->tries + 1);
	return true;
}

/**
 * mcx_starve_acquit() - a window is over, and what was tried has not helped
 * @m: the cgroup
 *
 * Context: a worker, with run_lock.
 */
void mcx_starve_acquit(struct mcx_memcg *m)
{
	struct mcx_starve *s = &m->starve;

	if (!s->tries)
		return;
	s->acquitted++;
	s->windows = 0;
	mcx_starve_ask_again(s);
}
