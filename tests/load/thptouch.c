// SPDX-License-Identifier: GPL-2.0-only
/*
 * thptouch: a task that asks for transparent huge pages over and over.
 *
 * Touches an anonymous area, one byte in each 2 MiB, gives it back and starts
 * again, every other time after MADV_HUGEPAGE: the kernel then tries harder to
 * get a huge page. Where one is refused, a page of 4 KiB takes its place.
 * Ends on SIGTERM and prints how many were asked for.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "load.h"

#define HUGE		(2 * MIB)

static volatile sig_atomic_t ended;

static void end(int sig)
{
	ended = 1;
}

static char *make_area(size_t size)
{
	char *p = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	return (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
}

static unsigned long round_trip(volatile char *area, size_t size)
{
	unsigned long n = 0;
	size_t off;

	for (off = 0; off < size && !ended; off += HUGE, n++)
		area[off] = 1;
	madvise((void *)area, size, MADV_DONTNEED);
	return n;
}

int main(int argc, char **argv)
{
	struct timespec nap = { .tv_nsec = 5000000 };
	unsigned long rounds = 0, asked = 0;
	const char *cgroup = NULL;
	size_t size = 4 * MIB;
	char *plain, *advised;
	int o;

	while ((o = getopt(argc, argv, "g:m:")) != -1) {
		switch (o) {
		case 'g': cgroup = optarg; break;
		case 'm': size = strtoul(optarg, NULL, 0) * MIB; break;
		default:
			fputs("usage: thptouch [-g CGROUP] [-m MIB]\n", stderr);
			return 2;
		}
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, end);
	plain = make_area(size);
	advised = make_area(size);
	if (!plain || !advised)
		die("mmap");
	enter_cgroup(cgroup);
	if (madvise(advised, size, MADV_HUGEPAGE))
		die("MADV_HUGEPAGE");
	say_ready();
	while (!ended) {
		asked += round_trip(rounds++ % 2 ? advised : plain, size);
		nanosleep(&nap, NULL);
	}
	printf("done rounds=%lu asked=%lu\n", rounds, asked);
	return 0;
}
