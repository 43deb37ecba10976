// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who gives back pages, by unmapping or truncating them, may take as many again without
 * waiting: usage is no higher for it. So a task that uses the same memory again and
 * again pays nothing for one that needs more.
 *
 * Of each task two numbers are kept: for how many pages it was in debt on its returns
 * to user mode (@held), and how many it has given back since (@credit). What it gives
 * back beyond @held counts for nothing: it was charged by somebody who pays for
 * nothing (a worker of io_uring), or while nobody had to. Both are bounded by
 * MCX_CREDIT_MAX, a huge page and a batch: others may have taken the place meanwhile.
 *
 * Pages that the kernel charges by force, without asking whether they fit, make no
 * debt, but whoever frees them has credit for them if it ever was in debt. What comes
 * of that, and of many tasks with credit at once, ends at mcx_mark_grace().
 *
 * The kernel charges 64 pages ahead, to whoever happens to need the first, so that a
 * task which takes and gives the same is charged a batch more now and less then.
 * What is missing for less than a batch is therefore kept, as negative credit, until
 * it is one.
 *
 * And it is known how long ago a task was last in debt for what it had no credit for, so
 * that throttle.c can tell who takes little from who takes much.
 *
 * Locking: none; see slots.c. Only tasks that were in debt have an element, and only
 * for what they did in the cgroup they were in then.
 */
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/time64.h>

#include "credit.h"
#include "mark.h"
#include "slots.h"

#define MCX_CREDIT_MAX	(512 + MCX_BATCH)

/* Whoever is not known took nothing for as long, or since it exists. */
#define MCX_SINCE_MAX	(2 * NSEC_PER_SEC)

struct mcx_credit {
	struct mcx_slot slot;
	struct page_counter *counter;	/* compared, never followed */
	unsigned long held;
	long credit;
	u64 due_at;	/* ns; when it last took what it had no credit for */
};

static struct mcx_credit table[MCX_SLOTS];

/*
 * Current's element for this cgroup, or NULL. @fresh: it is empty, as it was another's or
 * current has moved, which makes it no other task. Caller has preemption off.
 */
static struct mcx_credit *mcx_credit_claim(struct page_counter *counter,
					   bool *fresh)
{
	struct mcx_credit *c = mcx_slot_claim(table, sizeof(*table), fresh);

	if (!c)
		return NULL;
	if (*fresh)
		c->due_at = current->start_time;
	*fresh |= c->counter != counter;
	if (*fresh) {
		c->counter = counter;
		c->held = 0;
		c->credit = 0;
	}
	return c;
}

/**
 * mcx_credit_give() - current gave back pages
 * @counter: of its own cgroup
 * @nr_pages: how many
 *
 * Context: task; interrupts may be off.
 * Return: how many of these it need not wait for when it takes them again.
 */
notrace unsigned long mcx_credit_give(struct page_counter *counter,
				      unsigned long nr_pages)
{
	struct mcx_credit *c;

	preempt_disable_notrace();
	c = mcx_slot_renew(table, sizeof(*table));
	if (c && c->counter == counter)
		nr_pages = min(nr_pages, c->held);
	else
		nr_pages = 0;
	if (nr_pages) {
		c->held -= nr_pages;
		c->credit = min(c->credit + (long)nr_pages,
				(long)MCX_CREDIT_MAX);
	}
	preempt_enable_notrace();
	return nr_pages;
}

/**
 * mcx_credit_see() - current is in debt for pages
 * @counter: of its own cgroup
 * @nr_pages: how many
 *
 * Context: task.
 * Return: how many it has to wait for: none, or a batch at least, with what was
 * missing before.
 */
unsigned long mcx_credit_see(struct page_counter *counter,
			     unsigned long nr_pages)
{
	struct mcx_credit *c = mcx_slot_find(table, sizeof(*table));
	long credit = c && c->counter == counter ? READ_ONCE(c->credit) : 0;

	credit -= nr_pages;
	return credit <= -(long)MCX_BATCH ? -credit : 0;
}

/**
 * mcx_credit_since() - for how long current took nothing that it had no credit for
 * @counter: of its own cgroup
 *
 * Context: task.
 * Return: nanoseconds, MCX_SINCE_MAX at most; 0 if there is no room to remember that.
 */
u64 mcx_credit_since(struct page_counter *counter)
{
	u64 now = ktime_get_ns(), since = 0;
	struct mcx_credit *c;
	bool fresh;

	preempt_disable_notrace();
	c = mcx_credit_claim(counter, &fresh);
	if (c)
		since = min(now - min(now, c->due_at), MCX_SINCE_MAX);
	preempt_enable_notrace();
	return since;
}

/**
 * mcx_credit_due() - current was interrupted: it is still in debt
 *
 * Context: task.
 */
void mcx_credit_due(void)
{
	u64 now = ktime_get_ns();
	struct mcx_credit *c;

	preempt_disable_notrace();
	c = mcx_slot_renew(table, sizeof(*table));
	if (c)
		c->due_at = now;
	preempt_enable_notrace();
}

/**
 * mcx_credit_book() - current has paid
 * @counter: of its own cgroup
 * @nr_pages: how many pages it was in debt for
 * @waited: how many of these it had to wait for
 *
 * Context: task.
 */
void mcx_credit_book(struct page_counter *counter, unsigned long nr_pages,
		     unsigned long waited)
{
	u64 now = ktime_get_ns();
	struct mcx_credit *c;
	bool fresh;

	preempt_disable_notrace();
	c = mcx_credit_claim(counter, &fresh);
	if (c) {
		/* What there was is used, or void since the wait. */
		if (fresh && waited)
			c->credit = nr_pages - waited;
		if (waited)
			c->due_at = now;
		c->held = min(c->held + nr_pages, MCX_CREDIT_MAX);
		c->credit += (long)waited - (long)nr_pages;
	}
	preempt_enable_notrace();
}
