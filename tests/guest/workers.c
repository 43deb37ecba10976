// SPDX-License-Identifier: GPL-2.0-only
/*
 * workers: who reclaims when something is in the way.
 *
 * A real-time task that never sleeps on one CPU, a CPU that goes and comes back,
 * and a cgroup that keeps all workers busy beside twenty that need little.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define TOP	"mcx-test-workers"
#define SMALL	20
#define BIG	TOP "/big"
#define CPU1	"/sys/devices/system/cpu/cpu1/online"

/* What a writer tells: pieces written, and the longest that one took. */
struct told {
	volatile unsigned long pieces;
	volatile uint64_t worst;
};

static struct told *told;	/* shared; one for each writer */

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		_exit(1);
}

/* In @cg: rewrites a file of @mib in pieces of @size, with a pause of @ms. */
static pid_t writer(int nr, const char *cg, size_t mib, size_t size, int ms,
		    int cpu)
{
	char path[64], *buf;
	pid_t pid = fork();
	uint64_t from, took;
	size_t at = 0;
	int fd;

	if (pid)
		return pid;
	snprintf(path, sizeof(path), "/scratch/workers.%d", nr);
	buf = calloc(1, size);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (!buf || fd < 0 || unlink(path) || cg_enter(cg))
		_exit(1);
	if (cpu >= 0)
		on_cpu(cpu);
	for (;; at = (at + size) % (mib * MIB)) {
		from = now_ns();
		if (pwrite(fd, buf, size, at) < 0)
			_exit(1);
		/* It may have waited on the way out, after the call. */
		took = now_ns() - from;
		if (took > told[nr].worst)
			told[nr].worst = took;
		told[nr].pieces++;
		if (ms)
			nap_ms(ms);
	}
}

static void stop(const pid_t *pids, int n)
{
	int i;

	for (i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	for (i = 0; i < n; i++)
		waitpid(pids[i], NULL, 0);
}

static int make(const char *cg, const char *limit, const char *value)
{
	return cg_create(cg) || cg_write(cg, limit, value) || mcx_manage(cg);
}

static pid_t rt_hog(int cpu)
{
	struct sched_param param = { .sched_priority = 50 };
	pid_t pid = fork();

	if (pid)
		return pid;
	on_cpu(cpu);
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		_exit(1);
	for (;;)
		;
}

/* Pieces that a writer on CPU 0 gets done in @seconds. */
static unsigned long pieces_in(int seconds)
{
	unsigned long before = told[0].pieces;

	told[0].worst = 0;
	nap_ms(seconds * 1000);
	return told[0].pieces - before;
}

/*
 * The hog's CPU has a worker, which does not run, and may be in the middle of a
 * pass. Without the kernel's limit on real-time tasks that lasts.
 */
static void test_real_time(void)
{
	unsigned long before, during;
	uint64_t worst;
	pid_t pids[2];

	setting("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	if (make(BIG, "memory.max", "32M")) {
		ktap_ok(false, "cannot set up " BIG);
		return;
	}
	pids[0] = writer(0, BIG, 96, 256 << 10, 0, 0);
	nap_ms(4000);
	before = pieces_in(5);
	pids[1] = rt_hog(1);
	during = pieces_in(10) / 2;
	worst = told[0].worst;
	stop(pids, 2);
	ktap_ok(before && during * 3 >= before,
		"beside a real-time task that holds the other CPU: %lu pieces in 5 s, %lu without",
		during, before);
	ktap_ok(worst < 1500 * (NSEC / 1000), "the longest took %.0f ms",
		worst / 1e6);
	ktap_ok(cg_key(BIG, "memory.events", "max") == 0,
		"and memory.max was not met (%lld)",
		cg_key(BIG, "memory.events", "max"));
	cg_remove(BIG);
}

/* A normal task on @cpu that never sleeps. */
static pid_t spinner(int cpu)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	on_cpu(cpu);
	for (;;)
		;
}

/*
 * Neither CPU's worker gets on: one is held by a real-time task, the other has next to
 * no share of its CPU beside a task that spins. A spare has a share as others have.
 */
static void test_spares(void)
{
	struct sched_param param = { 0 };
	unsigned long before, during;
	pid_t pids[3], worker;
	long long spares;

	if (make(BIG, "memory.max", "32M")) {
		ktap_ok(false, "cannot set up " BIG);
		return;
	}
	pids[0] = writer(0, BIG, 96, 256 << 10, 0, 0);
	pids[1] = spinner(0);
	nap_ms(4000);
	before = pieces_in(5);
	pids[2] = rt_hog(1);
	worker = worker_number("0 pid=");
	ktap_ok(worker > 0 && !sched_setscheduler(worker, SCHED_IDLE, &param),
		"the other CPU's worker %d has less of it than others", worker);
	nap_ms(1000);
	spares = worker_number("spare passes=");
	during = pieces_in(10) / 2;
	spares = worker_number("spare passes=") - spares;
	ktap_ok(spares > 10 && during * 5 >= before,
		"held on both CPUs: %lld passes by spares, %lu pieces in 5 s, %lu without",
		spares, during, before);
	stop(pids, 3);
	sched_setscheduler(worker, SCHED_OTHER, &param);
	cg_remove(BIG);
}

static void test_hotplug(void)
{
	unsigned long during;
	pid_t pid;
	int i, failed = 0;

	if (access(CPU1, W_OK)) {
		ktap_skip("no CPU can be taken away");
		return;
	}
	if (make(BIG, "memory.high", "32M")) {
		ktap_ok(false, "cannot set up " BIG);
		return;
	}
	pid = writer(0, BIG, 96, 256 << 10, 0, -1);
	nap_ms(2000);
	for (i = 0; i < 5; i++) {
		failed += !!write_file(CPU1, "0");
		nap_ms(300);
		failed += !!write_file(CPU1, "1");
		nap_ms(300);
	}
	during = pieces_in(3);
	ktap_ok(!failed && during, "a CPU goes and comes back five times: %lu pieces in 3 s after that",
		during);
	write_file(CPU1, "0");
	during = pieces_in(3);
	write_file(CPU1, "1");
	ktap_ok(during, "with one CPU less: %lu pieces in 3 s", during);
	stop(&pid, 1);
	ktap_ok(cg_key(BIG, "memory.ext.stat", "not_deferred") == 0 &&
		cg_number(BIG, "memory.current") < 40 * (long long)MIB,
		"and usage stayed where it shall");
	cg_remove(BIG);
}

/* Twenty that write a little are not to wait for one that writes all it can. */
static void test_fair(void)
{
	pid_t pids[SMALL + 4];
	uint64_t worst = 0;
	long long max = 0;
	char cg[64];
	int i, n = 0;

	if (make(BIG, "memory.max", "96M")) {
		ktap_ok(false, "cannot set up " BIG);
		return;
	}
	for (i = 0; i < SMALL; i++) {
		snprintf(cg, sizeof(cg), TOP "/s%d", i);
		if (make(cg, "memory.max", "4M")) {
			ktap_ok(false, "cannot set up %s", cg);
			return;
		}
		pids[n++] = writer(i, cg, 8, 64 << 10, 250, -1);
	}
	nap_ms(12000);
	for (i = 0; i < 4; i++, n++)
		pids[n] = writer(n, BIG, 128, 1 << 20, 0, -1);
	nap_ms(4000);
	for (i = 0; i < SMALL; i++)
		told[i].worst = 0;
	nap_ms(8000);
	for (i = 0; i < SMALL; i++) {
		snprintf(cg, sizeof(cg), TOP "/s%d", i);
		worst = told[i].worst > worst ? told[i].worst : worst;
		max += cg_key(cg, "memory.events", "max");
	}
	ktap_ok(cg_key(BIG, "memory.ext.stat", "reclaim_passes") > 100,
		"a large cgroup keeps the workers busy (%lld passes)",
		cg_key(BIG, "memory.ext.stat", "reclaim_passes"));
	ktap_ok(worst && worst < 1500 * (NSEC / 1000) && !max,
		"of %d small ones beside it none waited longer than %.0f ms, nor met its limit (%lld)",
		SMALL, worst / 1e6, max);
	stop(pids, n);
	for (i = 0; i < SMALL; i++) {
		snprintf(cg, sizeof(cg), TOP "/s%d", i);
		cg_remove(cg);
	}
	cg_remove(BIG);
}

int main(void)
{
	ktap_start();
	dirty_limit_far();
	told = mmap(NULL, sizeof(*told) * (SMALL + 4), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED || cg_create(TOP) ||
	    cg_write(TOP, "cgroup.subtree_control", "+memory"))
		ktap_skip_all("cannot set up");
	if (!ktap_ok(!mcx_load(), "loads"))
		return ktap_end();
	test_real_time();
	test_spares();
	test_hotplug();
	test_fair();
	ktap_ok(!mcx_unload(), "unloads");
	cg_remove(TOP);
	return ktap_end();
}
