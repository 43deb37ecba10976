// SPDX-License-Identifier: GPL-2.0-only
/* Counting instructions; see libcount.h. */
#include <stdlib.h>
#include <x86intrin.h>

#include "lib.h"
#include "libcount.h"

/* A thousand times two instructions, and a few around them. */
static uint64_t known_loop(void)
{
	uint64_t start = __rdtsc();
	unsigned long n = 1000;

	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r" (n) : : "cc");
	return __rdtsc() - start;
}

bool clock_counts_instructions(void)
{
	uint64_t v[9];
	double median;
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(*v); i++)
		v[i] = known_loop();
	median = quantile(v, sizeof(v) / sizeof(*v), .5);
	ktap_note("2000 instructions and a few took %.0f ticks", median);
	return median >= 2000 && median < 2020;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

double middle_mean(uint64_t *v, int n)
{
	int i, from = n / 4, to = n - from;
	double sum = 0;

	qsort(v, n, sizeof(*v), by_value);
	for (i = from; i < to; i++)
		sum += v[i];
	return sum / (to - from);
}
