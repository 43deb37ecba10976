// SPDX-License-Identifier: GPL-2.0-only
/*
 * What current owes on its return to user mode beside the pages in
 * current->memcg_nr_pages_over_high, for which it waits in its own cgroup:
 *
 * - how long it shall wait because a policy said so: the longest of what was said
 *   since the last return;
 * - pages that it charged to another cgroup than its own, by swapping in what was
 *   charged there or by writing to another process's memory: for these it waits
 *   there.
 *
 * There is no room for that in struct task_struct, and a hash table with
 * objects would have to allocate in the charge hook and to learn of every task
 * that dies. So it is a table of fixed size. An entry belongs to the task whose pid
 * is in its word, which alone writes it; what is older than MCX_OWED_TTL is void: a
 * task that slept that long in the kernel has waited enough, and one that died
 * leaves nothing to clean up. Where all places are taken, it is dropped: fail open.
 *
 * Locking: none. An entry is taken over, renewed and given up by cmpxchg of its
 * word, and nobody but its owner looks at the rest.
 */
#include <linux/atomic.h>
#include <linux/bitfield.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/sched.h>

#include "owed.h"

#define MCX_OWED_BITS	10
#define MCX_OWED_PROBE	8
#define MCX_OWED_TTL	(2 * HZ)

#define ENTRY_MS	GENMASK_ULL(10, 0)
#define ENTRY_PID	GENMASK_ULL(33, 11)	/* PID_MAX_LIMIT is 2^22 */
#define ENTRY_PAGES	BIT_ULL(34)		/* counter and pages count */
#define ENTRY_TIME	GENMASK_ULL(63, 35)	/* jiffies, the low 29 bits */

struct mcx_owed_entry {
	atomic64_t word;
	struct page_counter *counter;
	unsigned long pages;
};

static struct mcx_owed_entry table[BIT(MCX_OWED_BITS) + MCX_OWED_PROBE];

static notrace u64 mcx_owed_now(void)
{
	return FIELD_PREP(ENTRY_TIME, jiffies & FIELD_MAX(ENTRY_TIME));
}

static notrace bool mcx_owed_void(u64 word)
{
	u64 age = FIELD_GET(ENTRY_TIME, mcx_owed_now() - (word & ENTRY_TIME));

	return !word || age > MCX_OWED_TTL;
}

static notrace bool mcx_owed_mine(u64 word)
{
	return FIELD_GET(ENTRY_PID, word) == current->pid;
}

/* Current's entry; if it has none, one that is free; NULL: neither. */
static notrace struct mcx_owed_entry *mcx_owed_find(u64 *word)
{
	struct mcx_owed_entry *free = NULL;
	struct mcx_owed_entry *e = &table[hash_32(current->pid, MCX_OWED_BITS)];
	u64 free_word = 0;
	int i;

	for (i = 0; i < MCX_OWED_PROBE; i++, e++) {
		*word = atomic64_read(&e->word);
		if (mcx_owed_mine(*word))
			return e;
		if (!free && mcx_owed_void(*word)) {
			free = e;
			free_word = *word;
		}
	}
	*word = free_word;
	return free;
}

/* The same if it is current's own and not void, with its word in @word. */
static notrace struct mcx_owed_entry *mcx_owed_of_current(u64 *word)
{
	struct mcx_owed_entry *e = mcx_owed_find(word);

	return e && mcx_owed_mine(*word) && !mcx_owed_void(*word) ? e : NULL;
}

/*
 * Makes an entry current's own, or renews it. @word: what it had if it was
 * already, otherwise 0.
 */
static notrace struct mcx_owed_entry *mcx_owed_claim(u64 *word, u64 flags,
						     unsigned int ms)
{
	struct mcx_owed_entry *e = mcx_owed_find(word);
	u64 old = *word;

	if (!e)
		return NULL;
	if (!mcx_owed_mine(old) || mcx_owed_void(old))
		*word = 0;
	ms = max_t(u64, ms, FIELD_GET(ENTRY_MS, *word));
	flags |= *word & ENTRY_PAGES;
	if (atomic64_cmpxchg(&e->word, old, FIELD_PREP(ENTRY_MS, ms) |
			     FIELD_PREP(ENTRY_PID, current->pid) | flags |
			     mcx_owed_now()) != old)
		return NULL;
	return e;
}

/**
 * mcx_owed_add_delay() - current shall wait that long at least on its way out
 * @ms: milliseconds, 2047 at most
 *
 * Context: task; interrupts may be off. Does not see to it that current is
 * caught on its way out.
 * Return: false if there was no room for it.
 */
bool notrace mcx_owed_add_delay(unsigned int ms)
{
	u64 word;

	return mcx_owed_claim(&word, 0, ms);
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
	struct mcx_owed_entry *e;
	u64 word;

	e = mcx_owed_claim(&word, ENTRY_PAGES, 0);
	if (!e)
		return;
	if (word & ENTRY_PAGES && e->counter == counter)
		nr_pages += e->pages;
	e->counter = counter;
	e->pages = nr_pages;
}

static notrace struct mcx_owed mcx_owed_read(struct mcx_owed_entry *e, u64 word)
{
	struct mcx_owed owed = { .ms = FIELD_GET(ENTRY_MS, word) };

	if (word & ENTRY_PAGES) {
		owed.counter = e->counter;
		owed.pages = e->pages;
	}
	return owed;
}

/**
 * mcx_owed_see() - what current owes
 *
 * Context: task.
 * Return: zeroes if nothing.
 */
struct mcx_owed notrace mcx_owed_see(void)
{
	struct mcx_owed_entry *e;
	u64 word;

	e = mcx_owed_of_current(&word);
	return e ? mcx_owed_read(e, word) : (struct mcx_owed){};
}

/**
 * mcx_owed_take() - what current owes; it is told once
 *
 * Context: task.
 * Return: zeroes if nothing.
 */
struct mcx_owed notrace mcx_owed_take(void)
{
	struct mcx_owed owed = {};
	struct mcx_owed_entry *e;
	u64 word;

	e = mcx_owed_of_current(&word);
	if (e)
		owed = mcx_owed_read(e, word);
	if (e && atomic64_cmpxchg(&e->word, word, 0) != word)
		return (struct mcx_owed){};
	return owed;
}
