/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counting instructions, in a VM whose time stamp counter advances by one with
 * each: qemu -accel tcg,thread=single -icount shift=0,sleep=off -smp 1.
 */
#ifndef MCX_TEST_LIBCOUNT_H
#define MCX_TEST_LIBCOUNT_H

#include <stdbool.h>
#include <stdint.h>

/* Looks whether this is such a VM, with a loop whose instructions are known. */
bool clock_counts_instructions(void);

/*
 * Mean of the middle half of @n repeats: the timer interrupt lands in some of
 * them, and work of the kernel that is not ours. Reorders @v.
 */
double middle_mean(uint64_t *v, int n);

#endif
