// SPDX-License-Identifier: GPL-2.0-only
/*
 * M3, locks: a task in a cgroup over its limit makes long system calls with a lock held
 * that a bystander needs, and the bystander's worst wait for it is what counts.
 *
 * The kernel reclaims in the middle of such a call, and sleeps there; memcg_ext puts
 * that off until no lock is held. Under memory.high there are 100 MiB of anonymous
 * memory that nobody can reclaim over a limit of 50 MiB, under memory.max a file is
 * written besides, or there is swap. A burst is 3 s; cells alternate inside one boot, and
 * the reference, without a limit, is there twice. A lock for which the stock kernel's
 * worst wait is none is told so, and not judged.
 *
 * The tracer counts sleeps in the middle of a call (load/memtrace): there may be none.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libbench.h"

#define CG		"mcx-test-m3"
#define INSIDE		CGROUP_ROOT "/" CG "/inside"
#define OUTSIDE		CGROUP_ROOT "/mcx-test-m3-outside"
#define DIRECTORY	"/scratch/m3"
#define FILE_PATH	DIRECTORY "/file"
#define FILLER_PATH	"/scratch/m3-filler"
#define LIMIT		"50M"
#define HELD		(100 * MIB)	/* anonymous memory under memory.high */
#define FILE_SIZE	(128 * MIB)
#define BURST_NS	(3 * NSEC)
#define MAX_BURSTS	20
#define EDGE_MS		20.0
/* What the stock kernel must do to it for a lock to show anything. */
#define INVERTED	(2 * EDGE_MS)
/* Where the stock kernel makes a bystander wait longer than this, 1/100 of that. */
#define AGES_MS		2000.0

/* One piece of what is done with the lock held, and of who waits for it. */
struct lock {
	const char *name;
	void (*hold)(void);
	void (*want)(void);
	bool threads;	/* of one process; otherwise the bystander is outside */
	bool swap;	/* under memory.max */
	bool fills;	/* what holds it is enough to come to memory.max */
};

enum { NONE, NONE_AGAIN, STOCK, EXT, OVERRUN, CELLS };

static const char * const cell_names[CELLS] = {
	"none", "none again", "stock", "built-in", "overrun=8M",
};

struct cell {
	double worst[MAX_BURSTS];	/* ms */
	int bursts;
	long held;		/* calls begun that take the lock */
	long wanted;		/* the least in a burst */
	double sync_sleeps;
};

static struct options {
	int bursts;
	const char *only;
	const char *limit;
	bool report;
} opt = { .bursts = 2 };

static struct shared {
	volatile bool go;
	volatile bool stop;
	volatile double worst;
	volatile long held;
	volatile long wanted;
	volatile uint64_t since;	/* the bystander has waited; 0: it does not */
	volatile bool ready;		/* the filler has enough */
	volatile bool holder_up, bystander_up;
} *shared;

static struct proc tracer;

/*
 * mmap_lock: MAP_POPULATE of 1 MiB against mprotect() of a page. The bystander is a
 * thread of the same process, and so in the same cgroup: mmap() and munmap() would
 * charge, and what it waited for that on its way out is not the lock.
 */
static void hold_mmap(void)
{
	static char *at, *end;

	if (at == end) {
		if (at)
			munmap(end - HELD, HELD);
		at = mmap(NULL, HELD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			  MAP_NORESERVE, -1, 0);
		end = at + HELD;
	}
	mmap(at, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
	     MAP_POPULATE | MAP_FIXED, -1, 0);
	at += MIB;
}

static void want_mmap(void)
{
	static bool writable;
	static void *page;

	if (!page)
		page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	writable = !writable;
	mprotect(page, PAGE, writable ? PROT_READ | PROT_WRITE : PROT_READ);
}

/* i_rwsem: 1 MiB of new pages against a byte. */
static void hold_file(void)
{
	static char buf[MIB];
	static size_t at;
	static int fd = -1;

	if (fd < 0)
		fd = open(FILE_PATH, O_RDWR | O_CREAT, 0600);
	if (pwrite(fd, buf, sizeof(buf), PAGE + at) < 0)
		_exit(1);
	at += sizeof(buf);
	if (at >= FILE_SIZE) {
		at = 0;
		ftruncate(fd, PAGE);
	}
}

static void want_file(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open(FILE_PATH, O_RDWR | O_CREAT, 0600);
	if (pwrite(fd, "x", 1, 0) < 0)
		_exit(1);
}

/* i_rwsem of a folder of ext4: making and removing files. */
static void make_files(const char *name, int n)
{
	char path[128];
	int i;

	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), DIRECTORY "/%s.%d", name, i);
		close(open(path, O_RDWR | O_CREAT, 0600));
	}
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), DIRECTORY "/%s.%d", name, i);
		unlink(path);
	}
}

static void hold_directory(void)
{
	make_files("inside", 64);
}

static void want_directory(void)
{
	make_files("outside", 1);
}

/* kernfs_rwsem, cgroup_mutex: making and removing cgroups. */
static void hold_kernfs(void)
{
	mkdir(INSIDE, 0700);
	rmdir(INSIDE);
}

static void want_kernfs(void)
{
	mkdir(OUTSIDE, 0700);
	rmdir(OUTSIDE);
}

static const struct lock locks[] = {
	{ "mmap_lock", hold_mmap, want_mmap, .threads = true, .swap = true,
	  .fills = true },
	{ "i_rwsem", hold_file, want_file, .fills = true },
	{ "ext4 directory", hold_directory, want_directory },
	{ "kernfs", hold_kernfs, want_kernfs },
};

#define LOCKS	(sizeof(locks) / sizeof(*locks))

static void hold_until_stop(const struct lock *l)
{
	while (!shared->stop) {
		/* One that is being made to wait on its way out has held it. */
		shared->held++;
		l->hold();
	}
}

/* The bystander: one try each millisecond. */
static void *want_until_stop(void *lock)
{
	const struct lock *l = lock;
	uint64_t from;
	double took;
	int i;

	/* It touches what it needs while there is no limit. */
	for (i = 0; i < 20; i++) {
		l->want();
		shared->worst = (double)now_ns();
	}
	shared->worst = 0;
	shared->bystander_up = true;
	while (!shared->go)
		nap_ms(1);
	while (!shared->stop) {
		from = now_ns();
		shared->since = from;
		shared->wanted++;
		l->want();
		shared->since = 0;
		took = (double)(now_ns() - from) / 1e6;
		if (took > shared->worst)
			shared->worst = took;
		nap_ms(1);
	}
	return NULL;
}

static pid_t start_holder(const struct lock *l)
{
	pthread_t thread;
	pid_t pid = fork();

	if (pid)
		return pid;
	if (cg_enter(CG))
		_exit(1);
	if (l->threads)
		pthread_create(&thread, NULL, want_until_stop, (void *)l);
	l->hold();
	shared->holder_up = true;
	while (!shared->go)
		nap_ms(1);
	hold_until_stop(l);
	if (l->threads)
		pthread_join(thread, NULL);
	_exit(0);
}

static pid_t start_bystander(const struct lock *l)
{
	pid_t pid = l->threads ? 0 : fork();

	if (pid || l->threads)
		return pid;
	want_until_stop((void *)l);
	_exit(0);
}

/* What makes the cgroup have too much: memory that stays, or a file. */
static pid_t start_filler(bool high)
{
	static char buf[MIB];
	pid_t pid = fork();
	size_t at;
	int fd;

	if (pid)
		return pid;
	if (cg_enter(CG))
		_exit(1);
	if (high) {
		mmap(NULL, HELD, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		     MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		shared->ready = true;
		for (;;)
			pause();
	}
	fd = open(FILLER_PATH, O_RDWR | O_CREAT, 0600);
	for (at = 0;; at = (at + MIB) % FILE_SIZE) {
		if (pwrite(fd, buf, sizeof(buf), at) < 0)
			_exit(1);
		if (at == 64 * MIB)
			shared->ready = true;
		if (!at)
			ftruncate(fd, 0);
	}
}

static int prepare(int cell, bool high)
{
	bool ext = cell == EXT || cell == OVERRUN;
	int err = ext ? mcx_load() : mcx_unload();

	cg_remove(CG);
	if (!err)
		err = cg_create(CG);
	if (!err && cell == OVERRUN)
		err = cg_write(CG, "memory.ext.reclaim", "overrun=8M");
	if (!err && ext && !high)
		err = cg_write(CG, "memory.max", LIMIT);
	if (!err && ext)
		err = mcx_manage(CG);
	mkdir(DIRECTORY, 0700);
	unlink(FILE_PATH);
	memset(shared, 0, sizeof(*shared));
	return err;
}

static void burst(const struct lock *l, struct cell *c, int cell, bool high)
{
	const char *file = high ? "memory.high" : "memory.max";
	pid_t filler = 0, holder, bystander;
	struct trace trace = {};
	uint64_t from;

	if (prepare(cell, high)) {
		ktap_ok(false, "%s: cannot be set up", l->name);
		return;
	}
	if (high || !l->fills) {
		filler = start_filler(high);
		while (!shared->ready && !waitpid(filler, NULL, WNOHANG))
			nap_ms(10);
	}
	holder = start_holder(l);
	bystander = start_bystander(l);
	while (!(shared->holder_up && shared->bystander_up) &&
	       !waitpid(holder, NULL, WNOHANG))
		nap_ms(10);
	if (cell >= STOCK)
		cg_write(CG, file, LIMIT);
	nap_ms(300);
	trace_start(&tracer, CG, 50 * MIB, CG);
	from = now_ns();
	shared->go = true;
	while (now_ns() - from < BURST_NS)
		nap_ms(10);
	shared->stop = true;
	/* One that waits is seen to its end. */
	from = now_ns();
	while (now_ns() - from < 20 * NSEC &&
	       !waitpid(l->threads ? holder : bystander, NULL, WNOHANG))
		nap_ms(5);
	trace_stop(&tracer, &trace);
	from = shared->since;
	if (from && (double)(now_ns() - from) / 1e6 > shared->worst)
		shared->worst = (double)(now_ns() - from) / 1e6;
	end_task(filler);
	end_task(holder);
	end_task(bystander);
	if (!c->bursts || shared->wanted < c->wanted)
		c->wanted = shared->wanted;
	c->worst[c->bursts++] = shared->worst;
	c->held += shared->held;
	c->sync_sleeps += trace.members.sync_sleeps;
	ktap_note("%-14s %-11s %-10s worst_ms=%.2f held=%ld wanted=%ld sync_sleeps=%.0f",
		  l->name, file, cell_names[cell], shared->worst, shared->held,
		  shared->wanted,
		  trace.members.sync_sleeps);
}

static double worst(const struct cell *c)
{
	double most = 0;
	int i;

	for (i = 0; i < c->bursts; i++)
		if (c->worst[i] > most)
			most = c->worst[i];
	return most;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const struct cell *c)
{
	double sorted[MAX_BURSTS];
	int n = c->bursts;

	if (!n)
		return 0;
	memcpy(sorted, c->worst, sizeof(*sorted) * n);
	qsort(sorted, n, sizeof(*sorted), by_size);
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

/* Of what is judged. */
static double allowed(const struct cell *cells)
{
	double none = worst(&cells[NONE]), again = worst(&cells[NONE_AGAIN]);
	double bar = 1.5 * (none > again ? none : again);
	double stock = worst(&cells[STOCK]);

	if (bar < EDGE_MS)
		bar = EDGE_MS;
	if (stock > AGES_MS && bar > stock / 100)
		bar = stock / 100;
	return bar;
}

static void report_head(const char *file)
{
	bench_n("%d bursts of 3 s per cell", opt.bursts);
	bench_md("%s = 50M. The bystander's wait for the lock in ms: worst of all bursts (median of the bursts' worst).",
		 file);
	bench_md("%s", "");
	bench_md("| lock | none | none again | stock | built-in | overrun=8M | allowed | sleeps with a lock held: stock, built-in, overrun=8M | calls: stock, judged | |");
	bench_md("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --- |");
}

/* For the plot: a file per cell, and a place per lock. */
static void plot(const struct lock *l, const struct cell *cells)
{
	char name[16];
	int i, n;

	for (i = 0; i < CELLS; i++) {
		snprintf(name, sizeof(name), "waits%d", i);
		for (n = 0; n < cells[i].bursts; n++)
			bench_data(name, "%.2f %.2f",
				   (double)(l - locks) + 0.1 * i,
				   cells[i].worst[n]);
	}
}

static void report(const struct lock *l, bool high, const struct cell *cells,
		   bool good)
{
	const struct cell *judged = &cells[high ? EXT : OVERRUN];
	char wait[CELLS][48] = {};
	const char *what = good ? "pass" : "fail";
	int i;

	for (i = 0; i < CELLS; i++)
		snprintf(wait[i], sizeof(wait[i]), cells[i].bursts ?
			 "%.1f (%.1f)" : "-", worst(&cells[i]), median(&cells[i]));
	bench_md("| %s | %s | %s | %s | %s | %s | %.1f | %.0f, %.0f, %.0f | %ld, %ld | %s%s |",
		 l->name, wait[NONE], wait[NONE_AGAIN], wait[STOCK], wait[EXT],
		 wait[OVERRUN], allowed(cells), cells[STOCK].sync_sleeps,
		 cells[EXT].sync_sleeps, cells[OVERRUN].sync_sleeps,
		 cells[STOCK].held, judged->held, what,
		 worst(&cells[STOCK]) < INVERTED ? "; no inversion on stock" : "");
}

static void judge(const struct lock *l, bool high, const struct cell *cells)
{
	const char *file = high ? "memory.high" : "memory.max";
	const struct cell *judged = &cells[high ? EXT : OVERRUN];
	double stock = worst(&cells[STOCK]), ext = worst(judged);
	bool calm = judged->held > 0 && judged->sync_sleeps == 0;
	bool quick = ext <= allowed(cells) && judged->wanted > 0;

	if (opt.report) {
		report(l, high, cells, calm && quick);
		plot(l, cells);
		ktap_ok(judged->bursts == opt.bursts &&
			cells[STOCK].bursts == opt.bursts,
			"%s, %s: measured", l->name, file);
		return;
	}
	ktap_ok(calm, "%s, %s: nobody sleeps in the middle of %ld calls (stock: %.0f times)",
		l->name, file, judged->held, cells[STOCK].sync_sleeps);
	if (stock < INVERTED)
		ktap_note("%s, %s: on the stock kernel nobody waits for it either (%.1f ms)",
			  l->name, file, stock);
	ktap_ok(quick, "%s, %s: the bystander's worst wait is %.1f ms of %ld (allowed %.1f; none %.1f and %.1f, stock %.1f)",
		l->name, file, ext, judged->wanted, allowed(cells),
		worst(&cells[NONE]), worst(&cells[NONE_AGAIN]), stock);
}

static void test_lock(const struct lock *l, bool high)
{
	struct cell cells[CELLS] = {};
	int round, i;

	if (!high && l->swap && swap_on()) {
		ktap_skip("%s, memory.max: no swap device", l->name);
		return;
	}
	for (round = 0; round < opt.bursts; round++)
		for (i = 0; i < CELLS; i++) {
			int cell = round % 2 ? CELLS - 1 - i : i;

			if (high && cell == OVERRUN)
				continue;
			burst(l, &cells[cell], cell, high);
		}
	judge(l, high, cells);
	if (!high && l->swap)
		swap_off();
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:l:L:B")) != -1) {
		switch (c) {
		case 'n': opt.bursts = atoi(optarg); break;
		case 'l': opt.only = optarg; break;
		case 'L': opt.limit = optarg; break;
		case 'B': opt.report = true; break;
		default: exit(2);
		}
	}
	if (opt.bursts < 1 || opt.bursts > MAX_BURSTS)
		exit(2);
}

static void test_limit(bool high)
{
	const char *file = high ? "memory.high" : "memory.max";
	size_t i;

	if (opt.limit && strcmp(opt.limit, file))
		return;
	if (opt.report)
		report_head(file);
	for (i = 0; i < LOCKS; i++)
		if (!opt.only || !strcmp(opt.only, locks[i].name))
			test_lock(&locks[i], high);
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	ktap_start();
	thp_off();
	dirty_limit_far();
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (trace_open(&tracer))
		ktap_skip_all("no tracer");
	test_limit(true);
	test_limit(false);
	proc_wait(&tracer);
	cg_remove(CG);
	mcx_unload();
	return ktap_end();
}
