// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long current shall wait on its return to user mode because a policy said
 * so: the largest of what it said since the last return.
 *
 * There is no room for that in struct task_struct, and a hash table with
 * objects would have to allocate in the charge hook and to learn of every task
 * that dies. So it is a table of fixed size, each entry one word that holds the
 * task's pid, the delay and the time: one entry is written by one task only,
 * and what is older than MCX_DELAY_TTL is void: a task that slept that long in
 * the kernel has waited enough, and one that died leaves nothing to clean up.
 * Where all places are taken, the delay is dropped: fail open.
 *
 * Locking: none; entries change by cmpxchg.
 */
#include <linux/atomic.h>
#include <linux/bitfield.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/sched.h>

#include "delay.h"

#define MCX_DELAY_BITS	10
#define MCX_DELAY_PROBE	8
#define MCX_DELAY_TTL	(2 * HZ)

#define ENTRY_MS	GENMASK_ULL(10, 0)
#define ENTRY_PID	GENMASK_ULL(33, 11)	/* PID_MAX_LIMIT is 2^22 */
#define ENTRY_TIME	GENMASK_ULL(63, 34)	/* jiffies, the low 30 bits */

static atomic64_t delays[BIT(MCX_DELAY_BITS) + MCX_DELAY_PROBE];

static notrace atomic64_t *mcx_delay_first(void)
{
	return &delays[hash_32(current->pid, MCX_DELAY_BITS)];
}

static notrace bool mcx_delay_void(u64 entry)
{
	u64 age = FIELD_GET(ENTRY_TIME, FIELD_PREP(ENTRY_TIME, (jiffies &
				FIELD_MAX(ENTRY_TIME))) - (entry & ENTRY_TIME));

	return !entry || age > MCX_DELAY_TTL;
}

/* Current's entry; if it has none, one that is free; NULL: neither. */
static notrace atomic64_t *mcx_delay_find(u64 *entry)
{
	atomic64_t *free = NULL, *e = mcx_delay_first();
	u64 free_entry = 0;
	int i;

	for (i = 0; i < MCX_DELAY_PROBE; i++, e++) {
		*entry = atomic64_read(e);
		if (FIELD_GET(ENTRY_PID, *entry) == current->pid)
			return e;
		if (!free && mcx_delay_void(*entry)) {
			free = e;
			free_entry = *entry;
		}
	}
	*entry = free_entry;
	return free;
}

/**
 * mcx_delay_add() - current shall wait that long at least on its way out
 * @ms: milliseconds, 2047 at most
 *
 * Context: task; interrupts may be off. Does not see to it that current is
 * caught on its way out.
 * Return: false if there was no room for it.
 */
bool notrace mcx_delay_add(unsigned int ms)
{
	u64 entry, old = 0;
	atomic64_t *e;

	e = mcx_delay_find(&entry);
	if (!e)
		return false;
	if (FIELD_GET(ENTRY_PID, entry) == current->pid &&
	    !mcx_delay_void(entry))
		old = FIELD_GET(ENTRY_MS, entry);
	return atomic64_cmpxchg(e, entry,
				FIELD_PREP(ENTRY_MS, max_t(u64, ms, old)) |
				FIELD_PREP(ENTRY_PID, current->pid) |
				FIELD_PREP(ENTRY_TIME, jiffies &
					   FIELD_MAX(ENTRY_TIME))) == entry;
}

/* What current owes; the entry is left in @e, its value in @entry. */
static notrace unsigned int mcx_delay_of_current(atomic64_t **e, u64 *entry)
{
	*e = mcx_delay_find(entry);
	if (!*e || FIELD_GET(ENTRY_PID, *entry) != current->pid ||
	    mcx_delay_void(*entry))
		return 0;
	return FIELD_GET(ENTRY_MS, *entry);
}

/**
 * mcx_delay_owed() - does current have to wait because a policy said so
 *
 * Context: task.
 * Return: true if it has to.
 */
bool notrace mcx_delay_owed(void)
{
	atomic64_t *e;
	u64 entry;

	return mcx_delay_of_current(&e, &entry);
}

/**
 * mcx_delay_take() - how long current shall wait; it is told once
 *
 * Context: task.
 * Return: milliseconds.
 */
unsigned int notrace mcx_delay_take(void)
{
	atomic64_t *e;
	unsigned int ms;
	u64 entry;

	ms = mcx_delay_of_current(&e, &entry);
	if (ms && atomic64_cmpxchg(e, entry, 0) != entry)
		ms = 0;
	return ms;
}
