/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For measures that make bench runs: what goes to its report, and statistics of
 * samples that come in runs. Samples of one run are not independent of each
 * other, so whatever is resampled is resampled by whole runs.
 */
#ifndef MCX_TEST_LIBBENCH_H
#define MCX_TEST_LIBBENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct samples {
	uint64_t *ns;		/* sorted by bench_sort() */
	size_t n;
};

struct interval {
	double low;
	double high;
};

enum { P99, P999, TAILS };

/* A line of the report, of a file for the plot, and what n is. */
void bench_md(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void bench_data(const char *file, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void bench_n(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void bench_sort(struct samples *run);

/* p99 and p99.9 of all samples in @nr runs together. */
void bench_tails(const struct samples *const *runs, int nr, double *tails);

/*
 * 95 % intervals of the ratios of a's tails to b's, @n and @m runs, drawn @n and
 * @m at a time with replacement.
 */
void bench_tail_ratios(const struct samples *a, int n, const struct samples *b,
		       int m, struct interval *ratios);

/*
 * The same for what chance alone does between two groups of @n runs: both are
 * drawn from the @n + @m runs of a and b together.
 */
void bench_tail_chance(const struct samples *a, int n, const struct samples *b,
		       int m, struct interval *ratios);

/* 95 % interval of the ratio of the means of two groups of figures. */
struct interval bench_mean_ratio(const double *a, int n, const double *b,
				 int m);

#endif
