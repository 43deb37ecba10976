/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tests of limits that cannot be met share: tasks that use memory, and
 * watching for the decision.
 */
#ifndef MCX_TEST_LIBHOG_H
#define MCX_TEST_LIBHOG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Seconds until what must happen has not; a debug kernel may need more. */
extern int hog_patience;

/* A task that uses memory; what it has touched is seen by the parent. */
struct hog {
	pid_t pid;		/* 0: it ended */
	int status;		/* as of waitpid(), then */
	volatile size_t *touched;	/* bytes */
};

/*
 * Touches @quick bytes of anonymous memory at once and then 10 MiB/s up to @len;
 * stays. At SIGUSR1 it gives all back. @adj: its oom_score_adj.
 */
struct hog hog_start(const char *cg, size_t quick, size_t len, int adj);
/* The same with pages of this file, which has @len bytes; they are read. */
struct hog hog_start_file(const char *cg, const char *file, size_t len);
struct hog hog_hold(const char *cg, size_t len, int adj);	/* has all of it */
bool hog_killed(struct hog *h, int ms);	/* waits for it that long */
bool hog_lives(struct hog *h);
void hog_end(struct hog *h);
/* Bytes a second between @from and @to bytes touched; 0: not reached. */
double hog_rate(struct hog *h, size_t from, size_t to);

/* The decision, as seen from outside. */
struct decision {
	double after;	/* ms from the first empty pass above @high; -1: none */
	double slack;	/* of that: from the look before it to that look */
	long long gain;	/* pages freed meanwhile */
	bool woken;	/* poll() told */
};

/* Waits for it; ends early when @h does, if there is one. */
struct decision decision_wait(const char *cg, long long high, double seconds,
			      struct hog *h);

#endif
