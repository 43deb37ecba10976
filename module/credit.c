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
 * And it is known how much a task lately took that it had no credit for, so that throttle.c
 * can tell who takes little from who takes much: a sum of which half is forgotten each
 * MCX_HALF_NS. Even who gives back all it takes comes to some: of its pages, those that a
 * worker just looks at are freed by that.
 *
 * Locking: none; see slots.c. Only tasks that were in debt have an element, and only
 * for what they did in the cgroup they were in then.
 */
#include <linux/bits.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/time64.h>

#include "credit.h"
#include "mark.h"
#include "slots.h"

#define MCX_CREDIT_MAX	(512 + MCX_BATCH)

#define MCX_HALF_NS	NSEC_PER_SEC
#define MCX_TAKEN_MAX	BIT(30)

/* Nothing is known of a task that is younger. */
#define MCX_YOUNG_NS	(200 * NSEC_PER_MSEC)

struct mcx_credit {
	struct mcx_slot slot;
	struct page_counter *counter;	/* compared, never followed */
	unsigned long held;
	long credit;
	unsigned long taken;	/* without credit, */
	u64 taken_at;		/* as it was at that time, ns */
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
		c->taken = 0;
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

/* What is left of that by now. */
static unsigned long mcx_taken(const struct mcx_credit *c, u64 now)
{
	u64 passed = now - min(now, c->taken_at);
	u64 halves = div64_u64_rem(passed, MCX_HALF_NS, &passed);
	unsigned long taken = halves < BITS_PER_LONG ? c->taken >> halves : 0;

	/* A straight line from each half to the next. */
	return taken - (unsigned long)div64_u64(taken * (passed / NSEC_PER_USEC),
					  2 * MCX_HALF_NS / NSEC_PER_USEC);
}

/**
 * mcx_credit_taken() - how much current lately took that it had no credit for
 * @counter: of its own cgroup
 *
 * Context: task.
 * Return: pages: what it takes at a constant rate in MCX_CREDIT_NS; ULONG_MAX if it exists
 * for too short a time, or there is no room to remember that.
 */
unsigned long mcx_credit_taken(struct page_counter *counter)
{
	unsigned long taken = ULONG_MAX;
	u64 now = ktime_get_ns();
	struct mcx_credit *c;
	bool fresh;

	if (now < current->start_time + MCX_YOUNG_NS)
		return taken;
	preempt_disable_notrace();
	c = mcx_credit_claim(counter, &fresh);
	if (c)
		taken = mcx_taken(c, now);
	preempt_enable_notrace();
	return taken;
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
		if (waited) {
			c->taken = min(mcx_taken(c, now) + waited, MCX_TAKEN_MAX);
			c->taken_at = now;
		}
		c->held = min(c->held + nr_pages, MCX_CREDIT_MAX);
		c->credit += (long)waited - (long)nr_pages;
	}
	preempt_enable_notrace();
}
