/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_SLOTS_H
#define MCX_SLOTS_H

#include <linux/atomic.h>
#include <linux/types.h>

#define MCX_SLOTS_BITS	10
#define MCX_SLOTS_PROBE	8

/* Elements of a table. */
#define MCX_SLOTS	((1 << MCX_SLOTS_BITS) + MCX_SLOTS_PROBE)

/**
 * struct mcx_slot - first member of an element of a table; see slots.c
 * @word: whose it is, and since when
 */
struct mcx_slot {
	atomic64_t word;
};

void *mcx_slot_find(void *table, size_t size);
void *mcx_slot_renew(void *table, size_t size);
void *mcx_slot_claim(void *table, size_t size, bool *fresh);
bool mcx_slot_release(void *slot);

#endif /* MCX_SLOTS_H */
