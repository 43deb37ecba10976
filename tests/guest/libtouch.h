/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A workload with a known working set: touches its memory round and round, and counts.
 */
#ifndef MCX_TEST_LIBTOUCH_H
#define MCX_TEST_LIBTOUCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What it does. */
enum touch_mode {
	TOUCH_BUSY,	/* as fast as it can */
	TOUCH_SLOW,	/* all of its memory in ten seconds */
	TOUCH_IDLE,	/* nothing, but it has it */
	TOUCH_SPIN,	/* uses its CPU, and no memory */
};

struct touch_state {
	volatile uint64_t pages;	/* touched so far */
	volatile uint32_t mode;
	volatile uint32_t ready;	/* has touched all of it once */
};

struct touch {
	pid_t pid;
	struct touch_state *state;
};

/* In that cgroup, on that CPU, with so much memory, which it writes to once first. */
struct touch touch_start(const char *cg, int cpu, size_t mib, enum touch_mode mode);
void touch_end(struct touch *t);
/* Waits until it has all of it; half a minute at most. */
void touch_ready(struct touch *t);
/* Pages per second over so many ms. */
double touch_rate(struct touch *t, unsigned int ms);
/* Seconds until it does so many pages per second, or that time is over. */
double touch_reaches(struct touch *t, double rate, unsigned int seconds);

#endif
