// SPDX-License-Identifier: GPL-2.0-only
/*
 * What current owes on its return to user mode beside the pages in
 * current->memcg_nr_pages_over_high, for which it waits in its own cgroup:
 *
 * - how long it shall wait because a policy said so: the longest of what was said
 *   since the last return;
 * - pages that it charged to another cgroup than its own, by swapping in what was
 *   charged there or by writing to another process's memory: for these it waits
 *   there;
 * - whether all that, and its debt, is put off until it charges again, since a signal
 *   came while it waited.
 *
 * Locking: none; see slots.c.
 */
#include <linux/minmax.h>
#include <linux/preempt.h>

#include "owed.h"
#include "slots.h"

struct mcx_owed_slot {
	struct mcx_slot slot;
	struct mcx_owed owed;
};

static struct mcx_owed_slot table[MCX_SLOTS];

/* Caller has preemption off. */
static notrace struct mcx_owed *mcx_owed_claim(void)
{
	struct mcx_owed_slot *s;
	bool fresh;

	s = mcx_slot_claim(table, sizeof(*table), &fresh);
	if (!s)
		return NULL;
	if (fresh)
		s->owed = (struct mcx_owed){};
	return &s->owed;
}

/**
 * mcx_owed_add_delay() - current shall wait that long at least on its way out
 * @ms: milliseconds
 * @by: id of the policy that wants it
 *
 * Context: task; interrupts may be off. Does not see to it that current is
 * caught on its way out.
 * Return: false if there was no room for it.
 */
bool notrace mcx_owed_add_delay(unsigned int ms, u64 by)
{
	struct mcx_owed *owed;

	preempt_disable_notrace();
	owed = mcx_owed_claim();
	if (owed && ms > owed->ms) {
		owed->ms = ms;
		owed->by = by;
	}
	preempt_enable_notrace();
	return owed;
}

/**
 * mcx_owed_add_pages() - current charged pages to a cgroup that is not its own
 * @counter: memory counter of that
 * @nr_pages: how many; counted in whole batches, as all debt is
 *
 * One such cgroup at a time is remembered, the last.
 *
 * Context: task; interrupts may be off. Does not see to it that current is
 * caught on its way out.
 */
void notrace mcx_owed_add_pages(struct page_counter *counter,
				unsigned long nr_pages)
{
	struct mcx_owed *owed;

	preempt_disable_notrace();
	owed = mcx_owed_claim();
	if (owed) {
		owed->pages = nr_pages + (owed->counter == counter ?
					  owed->pages : 0);
		owed->counter = counter;
	}
	preempt_enable_notrace();
}

/**
 * mcx_owed_hold() - current was interrupted: it shall come to user mode as it is
 *
 * Up to 6.x whoever was scheduled meanwhile is caught on its way out again, for the sake
 * of rseq, before a signal's handler ran.
 *
 * Context: task; interrupts may be off.
 */
void notrace mcx_owed_hold(void)
{
	struct mcx_owed *owed;

	preempt_disable_notrace();
	owed = mcx_owed_claim();
	if (owed)
		owed->held = true;
	preempt_enable_notrace();
}

/**
 * mcx_owed_held() - is nothing to be paid yet
 *
 * Context: task.
 * Return: true until current charges again, or its element is void.
 */
bool notrace mcx_owed_held(void)
{
	return mcx_owed_see().held;
}

/**
 * mcx_owed_release() - current charges again: what was held is to be paid
 *
 * Context: task; interrupts may be off.
 */
void notrace mcx_owed_release(void)
{
	struct mcx_owed_slot *s;

	if (likely(!mcx_owed_held()))
		return;
	preempt_disable_notrace();
	s = mcx_slot_renew(table, sizeof(*table));
	if (s)
		s->owed.held = false;
	preempt_enable_notrace();
}

/**
 * mcx_owed_see() - what current owes
 *
 * Context: task.
 * Return: zeroes if nothing.
 */
struct mcx_owed notrace mcx_owed_see(void)
{
	struct mcx_owed_slot *s = mcx_slot_find(table, sizeof(*table));

	return s ? s->owed : (struct mcx_owed){};
}

/**
 * mcx_owed_take() - what current owes; it is told once
 *
 * Context: task.
 * Return: zeroes if nothing.
 */
struct mcx_owed notrace mcx_owed_take(void)
{
	struct mcx_owed_slot *s = mcx_slot_find(table, sizeof(*table));
	struct mcx_owed owed;

	if (!s)
		return (struct mcx_owed){};
	owed = s->owed;
	return mcx_slot_release(s) ? owed : (struct mcx_owed){};
}
