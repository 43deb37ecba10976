// SPDX-License-Identifier: GPL-2.0-only
/*
 * adapt: how far below its limit a cgroup is kept follows what it does.
 *
 * A slow writer needs little distance, fast ones more; a single writer of small
 * pieces needs little headroom below memory.max, tasks that take megabytes in one
 * system call more. All is compared within one boot, by what memory.ext.stat says
 * and by what usage and memory.events really did.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define CG	"mcx-test-adapt"
#define FILE_FMT	"/scratch/adapt.%d"
#define LIMIT	(32 * MIB)
#define MAX_TASKS	16

/* Rewrites a file of 96 MiB in pieces of @size, @rate bytes a second; 0: as fast as it can. */
static pid_t writer(int nr, size_t size, unsigned long rate)
{
	char path[64], *buf;
	uint64_t start, due;
	size_t done = 0;
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	snprintf(path, sizeof(path), FILE_FMT, nr);
	buf = malloc(size);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (!buf || fd < 0 || cg_enter(CG))
		_exit(1);
	memset(buf, nr, size);
	for (done = 0; done < LIMIT; done += size)
		if (pwrite(fd, buf, size, done) < 0)
			_exit(1);
	start = now_ns();
	for (done = 0;; done += size) {
		if (pwrite(fd, buf, size, done % (96 * MIB)) < 0)
			_exit(1);
		if (!rate)
			continue;
		due = start + done * NSEC / rate;
		if (now_ns() < due)
			nap_ms((due - now_ns()) / 1000000);
	}
}

/* Takes @size in one system call and gives it back, 20 times a second. */
static pid_t populator(size_t size)
{
	pid_t pid = fork();
	void *p;

	if (pid)
		return pid;
	if (cg_enter(CG))
		_exit(1);
	for (;;) {
		p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (p == MAP_FAILED)
			_exit(1);
		munmap(p, size);
		nap_ms(50);
	}
}

struct load {
	int writers;
	size_t size;
	unsigned long rate;
	int populators;
};

struct seen {
	double gap;		/* bytes from admit to wake, averaged */
	double headroom;	/* bytes from memory.max to admit, at the end */
	double usage;		/* averaged */
	long long max_events;
	long long arrival;
	long long latency;
};

static int start(const struct load *l, pid_t *pids)
{
	int i, n = 0;

	for (i = 0; i < l->writers; i++)
		pids[n++] = writer(i, l->size, l->rate);
	for (i = 0; i < l->populators; i++)
		pids[n++] = populator(l->size);
	return n;
}

/* @l for @seconds from where it met its mark; what is seen of the last third. */
static struct seen run(const char *limit, const struct load *l, int seconds)
{
	char text[32];
	pid_t pids[MAX_TASKS];
	struct seen s = { 0 };
	long long admit;
	int i, n = 0, tasks;

	cg_remove(CG);
	snprintf(text, sizeof(text), "%lu", LIMIT);
	if (cg_create(CG) || cg_write(CG, limit, text) || mcx_manage(CG)) {
		ktap_note("cannot set up %s", CG);
		return s;
	}
	s.max_events = -cg_key(CG, "memory.events", "max");
	tasks = start(l, pids);
	for (i = 0; i < 600 && cg_key(CG, "memory.ext.stat", "wakeups") < 1; i++)
		nap_ms(50);
	for (i = 0; i < seconds * 20; i++) {
		nap_ms(50);
		if (i < seconds * 20 * 2 / 3)
			continue;
		admit = cg_key(CG, "memory.ext.stat", "admit_mark");
		s.gap += admit - cg_key(CG, "memory.ext.stat", "wake_mark");
		s.usage += cg_number(CG, "memory.current");
		s.headroom = (double)LIMIT - admit;
		n++;
	}
	s.max_events += cg_key(CG, "memory.events", "max");
	s.arrival = cg_key(CG, "memory.ext.stat", "arrival");
	s.latency = cg_key(CG, "memory.ext.stat", "latency_usec");
	for (i = 0; i < tasks; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	s.gap /= n;
	s.usage /= n;
	ktap_note("%s, %d writers of %zuK, %lu KiB/s each, %d populators: gap %.2f MiB, headroom %.2f, usage %.2f, arrival %.2f MiB/s, latency %lld us, max %lld",
		  limit, l->writers, l->size >> 10, l->rate >> 10,
		  l->populators, s.gap / MIB, s.headroom / MIB, s.usage / MIB,
		  (double)s.arrival / MIB, s.latency, s.max_events);
	return s;
}

static void gap_follows_rate(void)
{
	static const struct load slow = { 1, 64 << 10, 4 * MIB };
	static const struct load fast = { 4, 256 << 10 };
	struct seen s = run("memory.high", &slow, 9);
	struct seen f = run("memory.high", &fast, 6);

	ktap_ok(s.gap > 0 && s.gap * 1.5 <= f.gap,
		"the gap follows the rate: slow %.2f MiB, fast %.2f MiB",
		s.gap / MIB, f.gap / MIB);
}

static void headroom_follows_burst(void)
{
	static const struct load small = { 1, 4 << 10 };
	static const struct load large = { 1, 2 << 20, 0, 3 };
	struct seen s = run("memory.max", &small, 24);
	struct seen l = run("memory.max", &large, 24);

	ktap_ok(s.headroom > 0 && s.headroom <= LIMIT / 16,
		"one writer of 4K needs %.2f MiB of headroom, allowed %.2f",
		s.headroom / MIB, LIMIT / 16.0 / MIB);
	ktap_ok(s.headroom * 1.5 <= l.headroom,
		"tasks that take 2 MiB at once need more: %.2f MiB",
		l.headroom / MIB);
	ktap_ok(!s.max_events && !l.max_events,
		"and memory.max was never met (%lld, %lld)", s.max_events,
		l.max_events);
}

int main(void)
{
	ktap_start();
	dirty_limit_far();
	if (!ktap_ok(!mcx_load(), "loads"))
		return ktap_end();
	gap_follows_rate();
	headroom_follows_burst();
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
