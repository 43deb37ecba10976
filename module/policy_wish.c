// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a policy sets for a cgroup that is managed: a limit, and a request to shed memory.
 *
 * The limit stands for memory.high in all that memcg_ext does there (marks, workers,
 * pacing, levels), where it is lower than the user's. That reads as it was, and the kernel,
 * which enforces it, does not know of ours: so nobody is stuck, or killed, for not
 * meeting what a policy only wishes (stuck.c).
 *
 * Both go with the policy that set them, whatever ends that.
 *
 * Locking: mcx_memcg.policy_lock, a leaf, makes one of who the policy is and what it sets:
 * a policy that is just being replaced leaves nothing behind. Read without.
 */
#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/page_counter.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

#include "events.h"
#include "mark.h"
#include "policy_wish.h"
#include "reclaim.h"

/**
 * mcx_wish_init_memcg() - nobody wishes anything at first
 * @m: the cgroup
 *
 * Context: Any.
 */
void mcx_wish_init_memcg(struct mcx_memcg *m)
{
	spin_lock_init(&m->policy_lock);
	m->policy_high = PAGE_COUNTER_MAX;
}

/**
 * mcx_wish_forget() - what a policy set is void
 * @m: the cgroup; the caller has its policy_lock, and wakes who waits there
 *
 * Context: Any.
 */
void mcx_wish_forget(struct mcx_memcg *m)
{
	lockdep_assert_held(&m->policy_lock);

	WRITE_ONCE(m->policy_high, PAGE_COUNTER_MAX);
	WRITE_ONCE(m->policy_shed, 0);
}

/* Returns what it was, or -errno. */
static long mcx_wish_set(struct mcx_policy *p, struct mcx_memcg *m,
			 unsigned long *wish, unsigned long nr_pages)
{
	unsigned long flags;
	long ret;

	spin_lock_irqsave(&m->policy_lock, flags);
	if (READ_ONCE(p->dead)) {
		ret = -ESHUTDOWN;
	} else if (rcu_access_pointer(m->policy) != p) {
		ret = -EPERM;
	} else if (!mcx_memcg_managed(m)) {
		ret = -ENOENT;
	} else {
		ret = *wish;
		WRITE_ONCE(*wish, nr_pages);
	}
	spin_unlock_irqrestore(&m->policy_lock, flags);
	return ret;
}

/**
 * mcx_wish_high() - a policy sets a limit
 * @p: the policy
 * @m: for whom
 * @nr_pages: PAGE_COUNTER_MAX: none
 *
 * Context: Process, with a reference to @m.
 * Return: 0; -EPERM: it is not @p that is in effect there; -ENOENT: the cgroup is not
 * managed; -ESHUTDOWN: @p was ejected.
 */
int mcx_wish_high(struct mcx_policy *p, struct mcx_memcg *m,
		  unsigned long nr_pages)
{
	long old = mcx_wish_set(p, m, &m->policy_high, nr_pages);

	if (old < 0)
		return old;
	if (nr_pages > old)
		mcx_memcg_wake(m);
	if (nr_pages >= old)
		return 0;
	/* Pairs with mcx_done() and mcx_idle(): limit and bit, bit and limit. */
	smp_mb();
	if (page_counter_read(m->counter) > mcx_mark_wake(m, mcx_mark_admit(m)))
		/* Nothing may be charged for long, and no charge would tell. */
		mcx_reclaim_kick(m);
	return 0;
}

/**
 * mcx_wish_shed() - a policy asks whoever can to give back memory
 * @p: the policy
 * @m: in that cgroup
 * @nr_pages: how many, from now on; 0: no more
 *
 * Context: Process, with a reference to @m.
 * Return: as mcx_wish_high().
 */
int mcx_wish_shed(struct mcx_policy *p, struct mcx_memcg *m,
		  unsigned long nr_pages)
{
	long old = mcx_wish_set(p, m, &m->policy_shed, nr_pages);

	if (old < 0)
		return old;
	/* A larger one is news. */
	if (nr_pages > old) {
		mcx_stat_inc(m, shed);
		mcx_events_notify(m);
	}
	return 0;
}

/**
 * mcx_wish_wake() - a policy lets go whoever waits for the delays it said
 * @p: the policy
 * @memcg: in that cgroup and all below it where @p is in effect
 *
 * Who waits for memory looks again whether it has to.
 *
 * Context: Process.
 * Return: cgroups where that was done.
 */
unsigned int mcx_wish_wake(struct mcx_policy *p, struct mem_cgroup *memcg)
{
	struct cgroup_subsys_state *css;
	unsigned int n = 0;

	rcu_read_lock();
	css_for_each_descendant_pre(css, &memcg->css) {
		struct mem_cgroup *at = mem_cgroup_from_css(css);
		struct mcx_memcg *m = mcx_memcg_find(&at->memory);

		if (!m || rcu_access_pointer(m->policy) != p)
			continue;
		/* Of several at once one may be lost: they mean the same. */
		WRITE_ONCE(m->wakes, READ_ONCE(m->wakes) + 1);
		mcx_memcg_wake(m);
		n++;
	}
	rcu_read_unlock();
	return n;
}
