// SPDX-License-Identifier: GPL-2.0-only
/*
 * Something to remember of a task for a short time, where struct task_struct has no
 * room: a table of fixed size.
 *
 * A hash table with objects would have to allocate where that is not possible, and
 * to learn of every task that dies. Here an element belongs to the task whose pid
 * is in its word. What was not renewed for MCX_SLOT_TTL is void: a task that slept
 * that long in the kernel has waited enough, and one that died leaves nothing to
 * clean up. Where all places are taken there is none: fail open.
 *
 * Locking: none. An element is taken over, renewed and given up by cmpxchg of its
 * word, and nobody but its owner looks at the rest. The owner writes there with
 * preemption off since it claimed or renewed it, so that it cannot have become
 * somebody else's.
 */
#include <linux/bitfield.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/sched.h>

#include "slots.h"

#define MCX_SLOT_TTL	(2 * HZ)

#define SLOT_PID	GENMASK_ULL(22, 0)	/* PID_MAX_LIMIT is 2^22 */
#define SLOT_TIME	GENMASK_ULL(63, 23)	/* jiffies, the low 41 bits */

static notrace u64 mcx_slot_now(void)
{
	return FIELD_PREP(SLOT_TIME, jiffies & FIELD_MAX(SLOT_TIME));
}

static notrace bool mcx_slot_void(u64 word)
{
	u64 age = FIELD_GET(SLOT_TIME, mcx_slot_now() - (word & SLOT_TIME));

	return !word || age > MCX_SLOT_TTL;
}

static notrace bool mcx_slot_mine(u64 word)
{
	return FIELD_GET(SLOT_PID, word) == current->pid;
}

/* Current's element, void or not; if it has none, one that is void; or NULL. */
static notrace struct mcx_slot *mcx_slot_look(void *table, size_t size,
					      u64 *word)
{
	void *at = table + size * hash_32(current->pid, MCX_SLOTS_BITS);
	struct mcx_slot *free = NULL;
	u64 free_word = 0;
	int i;

	for (i = 0; i < MCX_SLOTS_PROBE; i++, at += size) {
		struct mcx_slot *slot = at;

		*word = atomic64_read(&slot->word);
		if (mcx_slot_mine(*word))
			return slot;
		if (!free && mcx_slot_void(*word)) {
			free = slot;
			free_word = *word;
		}
	}
	*word = free_word;
	return free;
}

/**
 * mcx_slot_find() - current's element
 * @table: MCX_SLOTS elements that begin with a struct mcx_slot
 * @size: of an element
 *
 * Context: task; interrupts may be off.
 * Return: the element, or NULL if it has none or that is void.
 */
notrace void *mcx_slot_find(void *table, size_t size)
{
	u64 word;
	struct mcx_slot *slot = mcx_slot_look(table, size, &word);

	if (!slot || !mcx_slot_mine(word) || mcx_slot_void(word))
		return NULL;
	return slot;
}

/* Returns false if somebody else was faster. */
static notrace bool mcx_slot_stamp(struct mcx_slot *slot, u64 old)
{
	return atomic64_cmpxchg(&slot->word, old, mcx_slot_now() |
				FIELD_PREP(SLOT_PID, current->pid)) == old;
}

/**
 * mcx_slot_renew() - current's element, to write to
 * @table: MCX_SLOTS elements that begin with a struct mcx_slot
 * @size: of an element
 *
 * Context: task, preemption off until the element is written; interrupts may be
 * off.
 * Return: the element, or NULL if it has none or that is void.
 */
notrace void *mcx_slot_renew(void *table, size_t size)
{
	u64 old;
	struct mcx_slot *slot = mcx_slot_look(table, size, &old);

	if (!slot || !mcx_slot_mine(old) || mcx_slot_void(old))
		return NULL;
	return mcx_slot_stamp(slot, old) ? slot : NULL;
}

/**
 * mcx_slot_claim() - current's element, made if need be, and renewed
 * @table: MCX_SLOTS elements that begin with a struct mcx_slot
 * @size: of an element
 * @fresh: whether what is in the element means nothing
 *
 * Context: task, preemption off until the element is written; interrupts may be
 * off.
 * Return: the element, or NULL if there is no room.
 */
notrace void *mcx_slot_claim(void *table, size_t size, bool *fresh)
{
	u64 old;
	struct mcx_slot *slot = mcx_slot_look(table, size, &old);

	if (!slot)
		return NULL;
	*fresh = !mcx_slot_mine(old) || mcx_slot_void(old);
	return mcx_slot_stamp(slot, old) ? slot : NULL;
}

/**
 * mcx_slot_release() - done with an element
 * @slot: from mcx_slot_find()
 *
 * Context: task; interrupts may be off.
 * Return: false if it was no longer current's: what was read there means nothing.
 */
notrace bool mcx_slot_release(void *slot)
{
	atomic64_t *word = &((struct mcx_slot *)slot)->word;
	u64 old = atomic64_read(word);

	return mcx_slot_mine(old) && atomic64_cmpxchg(word, old, 0) == old;
}
