// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a policy sets for a cgroup that is managed: a limit, and a request to shed memory.
 *
 * The limit stands for memory.high in all that memcg_ext does there (marks, workers,
 * pacing, levels), where it is lower than the user's. That reads as it was, and the kernel,
 * which enforces it, does not know of ours: so nobody is stuck, or killed, for not
 * meeting what a policy only wishes (stuck.c).
 *
 * Both go with the policy that set them, whatever ends that. Where several policies are in
 * effect the lowest limit counts, and the largest request.
 *
 * Locking: mcx_memcg.policy_lock, a leaf, guards what is set. Who sets looks there whether it
 * is in effect; and when that changes mcx_wish_forget() follows, under the lock, for each
 * cgroup: one that is just being replaced leaves nothing behind. What counts is read
 * without.
 */
#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/page_counter.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "effect.h"
#include "events.h"
#include "mark.h"
#include "policy_wish.h"
#include "reclaim.h"

/* What one policy set for one cgroup. */
struct mcx_wish {
	struct hlist_node node;
	u64 policy;	/* its id */
	unsigned long high;	/* pages; PAGE_COUNTER_MAX: none */
	unsigned long shed;	/* pages */
};

/* What counts of all, before and after one was set. */
struct mcx_wishes {
	unsigned long old_high;
	unsigned long high;
	unsigned long old_shed;
	unsigned long shed;
};

/**
 * mcx_wish_init_memcg() - nobody wishes anything at first
 * @m: the cgroup
 *
 * Context: Any.
 */
void mcx_wish_init_memcg(struct mcx_memcg *m)
{
	spin_lock_init(&m->policy_lock);
	INIT_HLIST_HEAD(&m->wishes);
	m->policy_high = PAGE_COUNTER_MAX;
}

static void mcx_wish_drop(struct mcx_wish *wish)
{
	hlist_del(&wish->node);
	kfree(wish);
}

/**
 * mcx_wish_free() - free what is left of an object that nobody has any more
 * @m: the cgroup
 *
 * Context: Any.
 */
void mcx_wish_free(struct mcx_memcg *m)
{
	struct hlist_node *next;
	struct mcx_wish *wish;

	hlist_for_each_entry_safe(wish, next, &m->wishes, node)
		mcx_wish_drop(wish);
}

/* Caller has the policy_lock. */
static void mcx_wish_sum_up(struct mcx_memcg *m)
{
	unsigned long high = PAGE_COUNTER_MAX, shed = 0;
	struct mcx_wish *wish;

	lockdep_assert_held(&m->policy_lock);

	hlist_for_each_entry(wish, &m->wishes, node) {
		high = min(high, wish->high);
		shed = max(shed, wish->shed);
	}
	WRITE_ONCE(m->policy_high, high);
	WRITE_ONCE(m->policy_shed, shed);
}

/**
 * mcx_wish_forget() - what those set who have no say any more is void
 * @m: the cgroup; the caller has its policy_lock, and wakes who waits there
 * @all: and what the others set
 *
 * Context: Any.
 */
void mcx_wish_forget(struct mcx_memcg *m, bool all)
{
	struct hlist_node *next;
	struct mcx_wish *wish;

	rcu_read_lock();
	hlist_for_each_entry_safe(wish, next, &m->wishes, node)
		if (all || !mcx_effect_has(m, wish->policy))
			mcx_wish_drop(wish);
	rcu_read_unlock();
	mcx_wish_sum_up(m);
}

/* That of a policy, or NULL. Caller has the policy_lock. */
static struct mcx_wish *mcx_wish_of(struct mcx_policy *p, struct mcx_memcg *m)
{
	struct mcx_wish *wish;

	lockdep_assert_held(&m->policy_lock);

	hlist_for_each_entry(wish, &m->wishes, node)
		if (wish->policy == p->id)
			return wish;
	return NULL;
}

/* With nothing in it; NULL for want of memory. Caller has the policy_lock. */
static struct mcx_wish *mcx_wish_add(struct mcx_policy *p, struct mcx_memcg *m)
{
	struct mcx_wish *wish;

	/* A few bytes: not worth reclaiming for, while others wait for the lock. */
	wish = kmalloc(sizeof(*wish), GFP_NOWAIT | __GFP_NOWARN);
	if (!wish)
		return NULL;
	*wish = (struct mcx_wish) {
		.policy = p->id,
		.high = PAGE_COUNTER_MAX,
	};
	hlist_add_head(&wish->node, &m->wishes);
	return wish;
}

/* What is nothing there. */
static unsigned long mcx_wish_none(size_t offset)
{
	return offset == offsetof(struct mcx_wish, high) ? PAGE_COUNTER_MAX : 0;
}

/* Has @p a say there? Caller has the policy_lock. */
static int mcx_wish_may(struct mcx_policy *p, struct mcx_memcg *m)
{
	bool has;

	if (READ_ONCE(p->dead))
		return -ESHUTDOWN;
	rcu_read_lock();
	has = mcx_effect_has(m, p->id);
	rcu_read_unlock();
	if (!has)
		return -EPERM;
	return mcx_memcg_managed(m) ? 0 : -ENOENT;
}

/* One of the two that are pages of struct mcx_wish, at @offset there. */
static int mcx_wish_set_locked(struct mcx_policy *p, struct mcx_memcg *m,
			       size_t offset, unsigned long nr_pages)
{
	int ret = mcx_wish_may(p, m);
	struct mcx_wish *wish;

	if (ret)
		return ret;
	wish = mcx_wish_of(p, m);
	if (!wish && nr_pages == mcx_wish_none(offset))
		return 0;
	if (!wish)
		wish = mcx_wish_add(p, m);
	if (!wish)
		return -ENOMEM;
	*(unsigned long *)((void *)wish + offset) = nr_pages;
	if (wish->high == PAGE_COUNTER_MAX && !wish->shed)
		mcx_wish_drop(wish);
	mcx_wish_sum_up(m);
	return 0;
}

static int mcx_wish_set(struct mcx_policy *p, struct mcx_memcg *m, size_t offset,
			unsigned long nr_pages, struct mcx_wishes *all)
{
	unsigned long flags;
	int ret;

	spin_lock_irqsave(&m->policy_lock, flags);
	all->old_high = m->policy_high;
	all->old_shed = m->policy_shed;
	ret = mcx_wish_set_locked(p, m, offset, nr_pages);
	all->high = m->policy_high;
	all->shed = m->policy_shed;
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
 * Return: 0; -EPERM: @p is not in effect there; -ENOENT: the cgroup is not managed;
 * -ESHUTDOWN: @p was ejected; -ENOMEM.
 */
int mcx_wish_high(struct mcx_policy *p, struct mcx_memcg *m,
		  unsigned long nr_pages)
{
	struct mcx_wishes all;
	int ret = mcx_wish_set(p, m, offsetof(struct mcx_wish, high), nr_pages,
			       &all);

	if (ret)
		return ret;
	if (all.high > all.old_high)
		mcx_memcg_wake(m);
	if (all.high >= all.old_high)
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
	struct mcx_wishes all;
	int ret = mcx_wish_set(p, m, offsetof(struct mcx_wish, shed), nr_pages,
			       &all);

	/* A larger one is news. */
	if (!ret && all.shed > all.old_shed) {
		mcx_stat_inc(m, shed);
		mcx_events_notify(m);
	}
	return ret;
}

/* May @p end the delays of who waits there? Not what one above it may have said. Under RCU. */
static bool mcx_wish_may_wake(struct mcx_policy *p, struct mcx_memcg *m)
{
	struct mcx_policy *q;
	bool found = false;

	mcx_for_each_policy(q, m) {
		if (found && READ_ONCE(q->delays))
			return false;
		found |= q == p;
	}
	return found;
}

/**
 * mcx_wish_wake() - a policy lets go whoever waits for the delays it said
 * @p: the policy
 * @memcg: in that cgroup and all below it where @p is in effect, and no policy above it has
 *	said delays
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

		if (!m || !mcx_wish_may_wake(p, m))
			continue;
		/* Of several at once one may be lost: they mean the same. */
		WRITE_ONCE(m->wakes, READ_ONCE(m->wakes) + 1);
		mcx_memcg_wake(m);
		n++;
	}
	rcu_read_unlock();
	return n;
}
