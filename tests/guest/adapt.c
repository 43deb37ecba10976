// SPDX-License-Identifier: GPL-2.0-only
/*
 * adapt: how far below its limit a cgroup is kept follows what it does.
 *
 * A slow writer needs little distance, a fast reader more; a single writer of small
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

#define CG_A	"mcx-test-adapt-a"
#define CG_B	"mcx-test-adapt-b"
#define FILE_FMT	"/scratch/adapt.%d"
#define LIMIT	(32 * MIB)
#define MAX_TASKS	16

/*
 * Rewrites a file of 96 MiB in pieces of @size, @rate bytes a second; 0: as fast
 * as it can.
 */
static pid_t writer(const char *cg, int nr, size_t size, unsigned long rate)
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
	if (!buf || fd < 0 || unlink(path) || cg_enter(cg))
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

/* Reads holes, as fast as it can: pages that need no disk, coming or going. */
static pid_t reader(const char *cg, int nr, size_t size)
{
	char path[64], *buf;
	pid_t pid = fork();
	size_t at;
	int fd;

	if (pid)
		return pid;
	snprintf(path, sizeof(path), FILE_FMT, nr);
	buf = malloc(size);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (!buf || fd < 0 || unlink(path) || ftruncate(fd, 512 * MIB) ||
	    cg_enter(cg))
		_exit(1);
	for (at = 0;; at = (at + size) % (512 * MIB))
		if (pread(fd, buf, size, at) < 0)
			_exit(1);
}

/* Takes @size in one system call and gives it back, 20 times a second. */
static pid_t populator(const char *cg, size_t size)
{
	pid_t pid = fork();
	void *p;

	if (pid)
		return pid;
	if (cg_enter(cg))
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
	const char *cg;
	const char *limit;
	int writers;
	size_t size;
	unsigned long rate;
	int populators;
	int readers;

	/* What was seen, of the last third of the time. */
	double gap;		/* bytes from admit to wake, averaged */
	double headroom;	/* bytes from memory.max to admit, at the end */
	double usage;		/* averaged */
	long long max_events;
	int samples;
	pid_t pids[MAX_TASKS];
	int tasks;
};

static long long stat_of(const struct load *l, const char *key)
{
	return cg_key(l->cg, "memory.ext.stat", key);
}

static void start(struct load *l, int nr)
{
	char text[32];
	int i;

	cg_remove(l->cg);
	snprintf(text, sizeof(text), "%lu", LIMIT);
	if (cg_create(l->cg) || cg_write(l->cg, l->limit, text) ||
	    mcx_manage(l->cg)) {
		ktap_note("cannot set up %s", l->cg);
		return;
	}
	l->max_events = -cg_key(l->cg, "memory.events", "max");
	for (i = 0; i < l->writers; i++)
		l->pids[l->tasks++] = writer(l->cg, nr + i, l->size, l->rate);
	for (i = 0; i < l->populators; i++)
		l->pids[l->tasks++] = populator(l->cg, l->size);
	for (i = 0; i < l->readers; i++)
		l->pids[l->tasks++] = reader(l->cg, nr + i, l->size);
}

static void look(struct load *l)
{
	long long admit = stat_of(l, "admit_mark");

	l->gap += admit - stat_of(l, "wake_mark");
	l->usage += cg_number(l->cg, "memory.current");
	l->headroom = (double)LIMIT - admit;
	l->samples++;
}

static void stop(struct load *l)
{
	int i;

	l->max_events += cg_key(l->cg, "memory.events", "max");
	for (i = 0; i < l->tasks; i++) {
		kill(l->pids[i], SIGKILL);
		waitpid(l->pids[i], NULL, 0);
	}
	l->gap /= l->samples;
	l->usage /= l->samples;
	ktap_note("%s, %d writers of %zuK, %lu KiB/s each, %d populators, %d readers: gap %.2f MiB, headroom %.2f, usage %.2f, arrival %.2f MiB/s, latency %lld us, max %lld",
		  l->limit, l->writers, l->size >> 10, l->rate >> 10,
		  l->populators, l->readers, l->gap / MIB, l->headroom / MIB,
		  l->usage / MIB, (double)stat_of(l, "arrival") / MIB,
		  stat_of(l, "latency_usec"), l->max_events);
	cg_remove(l->cg);
}

/* @n loads at once, for @seconds from where the first met its mark. */
static void run(struct load *l, int n, int seconds)
{
	int i, t;

	for (i = 0; i < n; i++)
		start(&l[i], i * MAX_TASKS);
	for (t = 0; t < 600 && stat_of(&l[0], "wakeups") < 1; t++)
		nap_ms(50);
	for (t = 0; t < seconds * 20; t++) {
		nap_ms(50);
		for (i = 0; i < n && t >= seconds * 20 * 2 / 3; i++)
			look(&l[i]);
	}
	for (i = 0; i < n; i++)
		stop(&l[i]);
}

static void gap_follows_rate(void)
{
	struct load slow = { CG_A, "memory.high", 1, 64 << 10, 4 * MIB };
	struct load fast = { CG_A, "memory.high", 0, 256 << 10, 0, 0, 4 };

	run(&slow, 1, 9);
	run(&fast, 1, 5);
	ktap_ok(slow.gap > 0 && slow.gap * 1.5 <= fast.gap,
		"the gap follows the rate: slow %.2f MiB, fast %.2f MiB",
		slow.gap / MIB, fast.gap / MIB);
}

static void headroom_follows_burst(void)
{
	struct load loads[] = {
		{ CG_A, "memory.max", 1, 4 << 10 },
		{ CG_B, "memory.max", 1, 2 << 20, 0, 3 },
	};
	struct load *small = &loads[0], *large = &loads[1];

	run(loads, 2, 27);
	ktap_ok(small->headroom > 0 && small->headroom <= LIMIT / 16,
		"one writer of 4K needs %.2f MiB of headroom, allowed %.2f",
		small->headroom / MIB, LIMIT / 16.0 / MIB);
	ktap_ok(small->headroom * 1.5 <= large->headroom,
		"tasks that take 2 MiB at once need more: %.2f MiB",
		large->headroom / MIB);
	/*
	 * What is learnt is the largest that was seen, and half of that: all four may take
	 * theirs at the same time once, which is 8 MiB, and is known from then on.
	 */
	ktap_ok(!small->max_events && large->max_events <= 1,
		"and memory.max was met never, and once at most (%lld, %lld)",
		small->max_events, large->max_events);
}

/*
 * The limit goes up and down under a load: how far usage is above where it once
 * passed a mark is no burst then.
 */
static void limit_moves(void)
{
	struct load l = { CG_A, "memory.max", 2, 64 << 10 };
	long long admit;
	int i;

	start(&l, 0);
	for (i = 0; i < 4; i++) {
		nap_ms(1500);
		cg_write(CG_A, "memory.max", "32M");
		nap_ms(1500);
		cg_write(CG_A, "memory.max", "192M");
	}
	nap_ms(6000);
	admit = stat_of(&l, "admit_mark");
	look(&l);
	stop(&l);
	ktap_ok(admit >= 192 * (long long)MIB / 8 * 7,
		"after limits that moved, tasks are held at %lld MiB of 192",
		admit / (long long)MIB);
}

int main(void)
{
	ktap_start();
	dirty_limit_far();
	if (!ktap_ok(!mcx_load(), "loads"))
		return ktap_end();
	gap_follows_rate();
	headroom_follows_burst();
	limit_moves();
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
