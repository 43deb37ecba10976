// SPDX-License-Identifier: GPL-2.0-only
/* Report and statistics of the measures; see libbench.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib.h"
#include "libbench.h"

#define RESAMPLES	1000
#define MAX_DRAWN	64

static const double tail_q[TAILS] = { .99, .999 };

/* tests/bench/run picks these lines out of the log. */
static void line(const char *what, const char *fmt, va_list args)
{
	printf("# mcx-%s ", what);
	vprintf(fmt, args);
	putchar('\n');
}

void bench_md(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	line("md", fmt, args);
	va_end(args);
}

void bench_data(const char *file, const char *fmt, ...)
{
	char what[64];
	va_list args;

	snprintf(what, sizeof(what), "data %s", file);
	va_start(args, fmt);
	line(what, fmt, args);
	va_end(args);
}

void bench_n(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	line("n", fmt, args);
	va_end(args);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void bench_sort(struct samples *run)
{
	qsort(run->ns, run->n, sizeof(*run->ns), by_value);
}

/* How many samples are at or above the quantile (nearest rank). */
static size_t from_top(size_t n, double q)
{
	size_t rank = q * n;

	if (rank < q * n)
		rank++;
	return n - (rank ? rank : 1) + 1;
}

/*
 * As many samples as lie above p99 of all are enough of each run. That makes a
 * sort of a fifth of them, thousands of times in an emulated machine.
 */
void bench_tails(const struct samples *const *runs, int nr, double *tails)
{
	static uint64_t *top;
	static size_t room;
	size_t all = 0, used = 0, want, part;
	int i;

	for (i = 0; i < nr; i++)
		all += runs[i]->n;
	if (all > room) {
		free(top);
		top = malloc(all * sizeof(*top));
		room = all;
	}
	if (!all || !top)
		exit(1);
	want = from_top(all, tail_q[P99]);
	for (i = 0; i < nr; i++) {
		part = runs[i]->n < want ? runs[i]->n : want;
		memcpy(top + used, runs[i]->ns + runs[i]->n - part,
		       part * sizeof(*top));
		used += part;
	}
	qsort(top, used, sizeof(*top), by_value);
	for (i = 0; i < TAILS; i++)
		tails[i] = top[used - from_top(all, tail_q[i])];
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static struct interval middle(double *v)
{
	qsort(v, RESAMPLES, sizeof(*v), by_size);
	return (struct interval) {
		.low = v[RESAMPLES / 40],
		.high = v[RESAMPLES - 1 - RESAMPLES / 40],
	};
}

/* One of n + m runs, the first n of which are in @a. */
static const struct samples *pick(const struct samples *a, int n,
				  const struct samples *b, int m)
{
	int k = random64() % (n + m);

	return k < n ? &a[k] : &b[k - n];
}

static void draw(const struct samples *a, int n, const struct samples *b, int m,
		 int nr, double *tails)
{
	const struct samples *drawn[MAX_DRAWN];
	int i;

	for (i = 0; i < nr && i < MAX_DRAWN; i++)
		drawn[i] = pick(a, n, b, m);
	bench_tails(drawn, i, tails);
}

void bench_tail_ratios(const struct samples *a, int n, const struct samples *b,
		       int m, struct interval *ratios)
{
	double v[TAILS][RESAMPLES], x[TAILS], y[TAILS];
	int i, t;

	for (i = 0; i < RESAMPLES; i++) {
		draw(a, n, NULL, 0, n, x);
		draw(b, m, NULL, 0, m, y);
		for (t = 0; t < TAILS; t++)
			v[t][i] = x[t] / y[t];
	}
	for (t = 0; t < TAILS; t++)
		ratios[t] = middle(v[t]);
}

void bench_tail_chance(const struct samples *a, int n, const struct samples *b,
		       int m, struct interval *ratios)
{
	double v[TAILS][RESAMPLES], x[TAILS], y[TAILS];
	int i, t;

	for (i = 0; i < RESAMPLES; i++) {
		draw(a, n, b, m, n, x);
		draw(a, n, b, m, m, y);
		for (t = 0; t < TAILS; t++)
			v[t][i] = x[t] / y[t];
	}
	for (t = 0; t < TAILS; t++)
		ratios[t] = middle(v[t]);
}

static double drawn_mean(const double *v, int n)
{
	double sum = 0;
	int i;

	for (i = 0; i < n; i++)
		sum += v[random64() % n];
	return sum / n;
}

struct interval bench_mean_ratio(const double *a, int n, const double *b, int m)
{
	double v[RESAMPLES];
	int i;

	for (i = 0; i < RESAMPLES; i++)
		v[i] = drawn_mean(a, n) / drawn_mean(b, m);
	return middle(v);
}
