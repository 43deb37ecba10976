// SPDX-License-Identifier: GPL-2.0-only
/* What a charge batch costs; see libbatch.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "lib.h"
#include "libbatch.h"
#include "libcount.h"

#define BATCH		64
#define PAGES		(2 * BATCH)	/* of one repeat */
#define MAX_REPEATS	2000

struct errand {
	char cg[128];
	int repeats;
};

static int ask[2], answer[2];
static pid_t worker_pid;
static volatile char *region;

static uint64_t fault_all(void)
{
	uint64_t start = __rdtsc();
	int i;

	for (i = 0; i < PAGES; i++)
		region[(size_t)i * PAGE] = 1;
	start = __rdtsc() - start;
	madvise((void *)region, PAGES * PAGE, MADV_DONTNEED);
	return start;
}

static double measure(const struct errand *o)
{
	static uint64_t v[MAX_REPEATS];
	int i;

	if (cg_enter(o->cg))
		return -1;
	if (!o->repeats)
		return 0;
	for (i = 0; i < 8; i++)
		fault_all();	/* settle caches and per-CPU lists */
	for (i = 0; i < o->repeats; i++)
		v[i] = fault_all();
	return middle_mean(v, o->repeats) * BATCH / PAGES;
}

static void worker(void)
{
	struct errand o;
	double cost;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Page tables are charged to where it is now, and no cgroup keeps them. */
	fault_all();
	while (read(ask[0], &o, sizeof(o)) == sizeof(o)) {
		cost = measure(&o);
		if (write(answer[1], &cost, sizeof(cost)) != sizeof(cost))
			break;
	}
	_exit(0);
}

int batch_start(void)
{
	region = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (region == MAP_FAILED || pipe2(ask, O_CLOEXEC) ||
	    pipe2(answer, O_CLOEXEC))
		return -errno;
	madvise((void *)region, PAGES * PAGE, MADV_NOHUGEPAGE);
	fflush(stdout);
	worker_pid = fork();
	if (!worker_pid) {
		/* Or it would never see the end of them. */
		close(ask[1]);
		worker();
	}
	if (worker_pid < 0)
		return -errno;
	close(ask[0]);
	close(answer[1]);
	return 0;
}

static double order(const char *cg, int repeats)
{
	struct errand o = { .repeats = repeats };
	double cost;

	snprintf(o.cg, sizeof(o.cg), "%s", cg);
	if (write(ask[1], &o, sizeof(o)) != sizeof(o) ||
	    read(answer[0], &cost, sizeof(cost)) != sizeof(cost))
		return -1;
	return cost;
}

double batch_cost(const char *cg, int repeats)
{
	if (repeats < 4 || repeats > MAX_REPEATS)
		return -1;
	return order(cg, repeats);
}

int batch_leave(void)
{
	return order("", 0) < 0 ? -EIO : 0;
}

void batch_stop(void)
{
	close(ask[1]);
	close(answer[0]);
	waitpid(worker_pid, NULL, 0);
}
