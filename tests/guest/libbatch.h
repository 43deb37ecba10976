/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a charge batch costs in a cgroup, in instructions: 64 faults of new pages,
 * for which the kernel charges once. For a VM as libcount.h says.
 */
#ifndef MCX_TEST_LIBBATCH_H
#define MCX_TEST_LIBBATCH_H

/*
 * The faults are made by a process of its own, whose address space stays as it
 * is: what libbpf or a test maps meanwhile would change their cost.
 */
int batch_start(void);
/* Enters @cg and measures @repeats times; -1: it cannot. */
double batch_cost(const char *cg, int repeats);
int batch_leave(void);		/* for the root */
void batch_stop(void);

#endif
