// SPDX-License-Identifier: GPL-2.0-only
/*
 * No blank cheque for critical threads: what they charge to a cgroup while others have
 * to wait there comes out of a budget, and beyond it they wait like all others.
 *
 * Half of what the workers free there goes into it, so that critical threads alone cannot
 * make usage grow for longer than it takes to use up what was saved, whatever slows the
 * workers down; and where nothing can be reclaimed nothing comes in, so that a limit that
 * cannot be met comes to a decision. What can be saved is 1/32 of the limit and at most
 * MCX_BUDGET_MAX, of a memory.max moreover a quarter of what is kept free below it: the
 * rest of that is for those who are in the kernel already. And however much there is, it
 * is for nothing above mcx_mark_grace().
 *
 * As with any such bucket whoever finds something in it may go, and takes what it
 * needs: an entry into the kernel larger than the budget must not wait for ever. Those
 * after it wait for no more than one such budget to be filled.
 *
 * Owners of futexes that others wait for (owner.c) have a budget of their own, a quarter
 * of that: any thread can be one, in any cgroup above it, too, and must not use up what
 * was meant for others. So have those that take little (mcx_is_light()): each by itself
 * does, but there may be any number of them.
 *
 * Locking: mcx_budget.lock, three of each cgroup; taken where tasks would wait, and by workers
 * after a pass.
 */
#include <linux/minmax.h>
#include <linux/spinlock.h>

#include "budget.h"
#include "events.h"
#include "mark.h"

#define MCX_BUDGET_MAX	((4 << 20) >> PAGE_SHIFT)

static int mcx_budget_size(struct mcx_memcg *m, const struct mcx_budget *b)
{
	unsigned long max = READ_ONCE(m->counter->max);
	unsigned long limit = min(mcx_high(m), max);
	unsigned long size = limit / 32;

	if (max < PAGE_COUNTER_MAX)
		size = min(size, (max - mcx_admit_of(m, max)) / 4);
	return clamp_t(unsigned long, size / b->part, 2 * MCX_BATCH,
		       MCX_BUDGET_MAX / b->part);
}

static void mcx_budget_put(struct mcx_memcg *m, struct mcx_budget *b,
			   unsigned long nr_pages)
{
	int size = mcx_budget_size(m, b);

	spin_lock(&b->lock);
	b->left = min_t(long, b->left + nr_pages / b->part, size);
	if (b->left >= size / 2)
		b->out = false;
	spin_unlock(&b->lock);
}

/**
 * mcx_budget_earn() - pages were freed for critical threads
 * @m: the managed cgroup
 * @nr_pages: how many
 *
 * Context: Process.
 */
void mcx_budget_earn(struct mcx_memcg *m, unsigned long nr_pages)
{
	mcx_budget_put(m, &m->critical, nr_pages);
	mcx_budget_put(m, &m->owners, nr_pages);
	mcx_budget_put(m, &m->light, nr_pages);
}

/* Caller holds the lock. */
static bool mcx_budget_grant(struct mcx_memcg *m, struct mcx_budget *b,
			     unsigned long nr_pages)
{
	int size = mcx_budget_size(m, b);

	/* A limit may have been lowered. */
	b->left = min(b->left, size);
	if (b->left <= 0 || page_counter_read(m->counter) > mcx_mark_grace(m))
		return false;
	b->left = max(b->left - (int)min_t(unsigned long, nr_pages, 2 * size), -size);
	return true;
}

/**
 * mcx_budget_take() - may a thread go on without waiting
 * @m: the managed cgroup that it would wait in
 * @b: its budget for such threads
 * @nr_pages: what it charged
 *
 * Context: Process.
 * Return: false if the budget is used up.
 */
bool mcx_budget_take(struct mcx_memcg *m, struct mcx_budget *b,
		     unsigned long nr_pages)
{
	bool granted, over = false;

	spin_lock(&b->lock);
	granted = mcx_budget_grant(m, b, nr_pages);
	if (b->left <= 0 && !granted) {
		over = !b->out;
		b->out = true;
	}
	spin_unlock(&b->lock);

	if (granted && b == &m->owners)
		mcx_stat_inc(m, futex_owner);
	if (granted && b == &m->light)
		mcx_stat_inc(m, spared);
	if (b != &m->critical)
		return granted;
	if (granted)
		mcx_stat_add(m, critical_pages, nr_pages);
	if (over) {
		mcx_stat_inc(m, critical_over);
		mcx_events_notify(m);
	}
	return granted;
}

static void mcx_budget_init(struct mcx_budget *b, unsigned int part)
{
	spin_lock_init(&b->lock);
	b->part = part;
	/* As much as may be saved, whatever limits there will be. */
	b->left = MCX_BUDGET_MAX / part;
}

/**
 * mcx_budget_init_memcg() - full budgets for a new object
 * @m: the object
 *
 * Context: Any.
 */
void mcx_budget_init_memcg(struct mcx_memcg *m)
{
	mcx_budget_init(&m->critical, 1);
	mcx_budget_init(&m->owners, 4);
	mcx_budget_init(&m->light, 4);
}
