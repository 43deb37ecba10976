// SPDX-License-Identifier: GPL-2.0-only
/*
 * cpu: whose CPU time it is that the workers spend (cpu=, cpu_max=).
 *
 * The hog reads pages that are not there, of a file with nothing in it, so that
 * all it takes is CPU time and memory: in the page cache of a cgroup of half its
 * size every read is a page to reclaim, without a limit none is. Beside it a
 * cgroup of the same weight counts. Both have a process for each CPU. What that
 * one gets beside a hog that is reclaimed from is compared with what it gets
 * beside the same hog without a limit, in cells of one boot that take turns.
 *
 * That is for the machine icount: where time is what was executed, it does not
 * matter what else happens where this is emulated. Argument "smp": only what is
 * true however fast this machine is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define TOP	"mcx-test-cpu"
#define HOG	TOP "/hog"
#define SPIN	TOP "/spin"
#define FILE_NAME	"/scratch/cpu"
/* Of the file, for each process. */
#define SPAN	(48 * MIB)
#define MAX_CPUS	16

/* A cell of the comparison; a second is 10^9 instructions. */
#define CELL_MS		400
#define ROUNDS		3
#define SETTLE_MS	200

/* Of each process, shared with them. */
static struct work {
	volatile uint64_t spun;
	volatile uint64_t pages;	/* read */
	double usec;			/* CPU time before it was in the cgroup */
} __attribute__((aligned(64))) *work;
static pid_t spinners[MAX_CPUS], hogs[MAX_CPUS];
static int cpus;
static char limit[32];

static double usec_of(const struct rusage *ru)
{
	return ru->ru_utime.tv_sec * 1e6 + ru->ru_utime.tv_usec +
	       ru->ru_stime.tv_sec * 1e6 + ru->ru_stime.tv_usec;
}

static void enter(const char *cg, int i)
{
	struct rusage ru;

	if (cg_enter(cg))
		_exit(1);
	getrusage(RUSAGE_SELF, &ru);
	work[i].usec = usec_of(&ru);
}

static void hog_main(int i)
{
	int fd = open(FILE_NAME, O_RDONLY);
	off_t at = 0;
	char c;

	if (fd < 0)
		_exit(1);
	enter(HOG, i);
	/* One page at a time. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	for (;;) {
		if (pread(fd, &c, 1, i * SPAN + at) != 1)
			_exit(1);
		at = (at + PAGE) % SPAN;
		work[i].pages++;
	}
}

static void spin_main(int i)
{
	enter(SPIN, i);
	for (;;)
		work[i].spun++;
}

static void start(pid_t *pids, void (*fn)(int i))
{
	int i;

	for (i = 0; i < cpus; i++) {
		pids[i] = fork();
		if (!pids[i])
			fn(i);
	}
}

/* Returns the CPU time that they took in their cgroup, in microseconds. */
static double stop(pid_t *pids)
{
	struct rusage ru;
	double usec = 0;
	int i;

	for (i = 0; i < cpus; i++)
		kill(pids[i], SIGKILL);
	for (i = 0; i < cpus; i++) {
		wait4(pids[i], NULL, 0, &ru);
		usec += usec_of(&ru) - work[i].usec;
	}
	return usec;
}

static double spun(void)
{
	double n = 0;
	int i;

	for (i = 0; i < cpus; i++)
		n += work[i].spun;
	return n;
}

static double pages_read(void)
{
	double n = 0;
	int i;

	for (i = 0; i < cpus; i++)
		n += work[i].pages;
	return n;
}

static double used(const char *cg)
{
	return cg_key(cg, "cpu.stat", "usage_usec");
}

static double stat_of(const char *key)
{
	return cg_key(HOG, "memory.ext.stat", key);
}

static void configure(const char *conf)
{
	if (cg_write(HOG, "memory.ext.reclaim", conf))
		ktap_ok(false, "memory.ext.reclaim takes %s", conf);
}

/*
 * How much more does cpu.stat have than the hog's own time. On a slow machine some
 * more, since dying takes a while that is nobody's.
 */
static void test_account(bool charged, bool figures)
{
	double hog, top, own, reclaim, least, most;
	int i;

	configure(charged ? "cpu=cgroup" : "cpu=system");
	hog = used(HOG);
	top = used(TOP);
	reclaim = stat_of("reclaim_usec");
	start(hogs, hog_main);
	/* Until there is enough to tell, and a call was long ago enough to pay for. */
	for (i = 0; i < 2000 && (stat_of("reclaim_usec") < reclaim + 1e5 ||
				 (charged && !stat_of("cpu_paid"))); i++)
		nap_ms(10);
	own = stop(hogs);
	/* The last pass may still be on. */
	nap_ms(100);
	reclaim = stat_of("reclaim_usec") - reclaim;
	hog = used(HOG) - hog - own;
	top = used(TOP) - top - own;
	least = (charged ? reclaim : 0) - reclaim * 0.05;
	most = figures ? least + reclaim * 0.1 : 1e12;
	ktap_ok(reclaim >= 1e5 && hog > least && hog < most,
		"%s: reclaim took %.0f us, cpu.stat has %.0f us more than its tasks'",
		charged ? "cpu=cgroup" : "cpu=system", reclaim, hog);
	ktap_ok(top > least && top < most, "and its parent's %.0f us",
		top);
	ktap_ok(charged == (stat_of("cpu_paid") > 0),
		"%.0f waits of its tasks for that, %.0f us, %.0f us owed",
		stat_of("cpu_paid"), stat_of("cpu_paid_usec"),
		stat_of("cpu_debt_usec"));
}

/* Percent of a CPU that reclaim took in @ms. */
static double reclaim_percent(unsigned int ms)
{
	double before = stat_of("reclaim_usec");
	uint64_t from = now_ns();

	nap_ms(ms);
	return (stat_of("reclaim_usec") - before) * 1e5 / (now_ns() - from);
}

static void test_cpu_max(bool figures)
{
	double free, bound, pages, stuck, again;

	configure("cpu=system cpu_max=max");
	start(hogs, hog_main);
	nap_ms(SETTLE_MS);
	free = reclaim_percent(CELL_MS);
	stuck = stat_of("stuck");
	configure("cpu_max=5%");
	nap_ms(SETTLE_MS);
	pages = pages_read();
	bound = reclaim_percent(3000);
	pages = pages_read() - pages;
	if (figures)
		ktap_ok(free > 12 && bound < 6,
			"cpu_max=5%%: reclaim takes %.1f %% of a CPU, %.1f without",
			bound, free);
	ktap_ok(bound > (figures ? 4 : 0) && pages > 0,
		"the hog gets on: %.0f pages in 3 s", pages);
	ktap_ok(stat_of("cpu_throttled") > 0 && stat_of("stuck") == stuck,
		"%.0f rests, which are not taken for being stuck",
		stat_of("cpu_throttled"));
	configure("cpu_max=max");
	nap_ms(SETTLE_MS);
	again = reclaim_percent(CELL_MS);
	ktap_ok(again > (figures ? free * 0.9 : bound),
		"cpu_max=max: %.1f %% again", again);
	stop(hogs);
}

struct cell {
	double count;		/* of the spinners, a second */
	double share;		/* their part of all CPUs */
	double pages;		/* of the hog, a second */
	double reclaim;		/* percent of all CPUs */
};

/* NULL: the hog has no limit. */
static struct cell cell(const char *conf)
{
	struct cell c;
	uint64_t from;
	double sec;

	cg_write(HOG, "memory.high", conf ? limit : "max");
	configure(conf ?: "cpu=system");
	nap_ms(SETTLE_MS);
	from = now_ns();
	c.count = -spun();
	c.pages = -pages_read();
	c.share = -used(SPIN);
	c.reclaim = -stat_of("reclaim_usec");
	nap_ms(CELL_MS);
	c.count += spun();
	c.pages += pages_read();
	c.share += used(SPIN);
	c.reclaim += stat_of("reclaim_usec");
	sec = (double)(now_ns() - from) / NSEC;
	c.count /= sec;
	c.pages /= sec;
	c.share /= sec * 1e6 * cpus;
	c.reclaim /= sec * 1e4 * cpus;
	return c;
}

static int by_value(const void *a, const void *b)
{
	return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return (v[(ROUNDS - 1) / 2] + v[ROUNDS / 2]) / 2;
}

static void show(const char *what, const struct cell *c)
{
	ktap_note("%-10s counts %.0f/ms, has %.1f %% of the CPUs; hog: %.0f pages/s, reclaim %.1f %%",
		  what, c->count / 1000, c->share * 100, c->pages, c->reclaim);
}

static void test_share(void)
{
	double system[ROUNDS], cgroup[ROUNDS], same[ROUNDS], paid, least;
	struct cell before, s, c, after;
	int i;

	start(spinners, spin_main);
	start(hogs, hog_main);
	after = cell(NULL);
	show("no limit", &after);
	for (i = 0; i < ROUNDS; i++) {
		before = after;
		s = cell("cpu=system");
		c = cell("cpu=cgroup");
		after = cell(NULL);
		show("cpu=system", &s);
		show("cpu=cgroup", &c);
		show("no limit", &after);
		system[i] = s.count / (before.count + after.count) * 200;
		cgroup[i] = c.count / (before.count + after.count) * 200;
		same[i] = after.count / before.count * 100;
		if (same[i] > 100)
			same[i] = 1e4 / same[i];
	}
	stop(hogs);
	stop(spinners);
	least = median(same);
	paid = median(cgroup);
	ktap_note("no limit, one cell against the next: %.1f %%", least);
	ktap_note("cpu=system: %.1f %% of the work beside a hog without a limit",
		  median(system));
	/* What two cells of the same kind differ by is nobody's doing. */
	if (least > 95)
		least = 95;
	ktap_ok(paid >= least,
		"cpu=cgroup: %.1f %% of the work beside a hog without a limit (at least %.1f)",
		paid, least);
}

static void setup(void)
{
	int fd;

	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (cpus > MAX_CPUS)
		cpus = MAX_CPUS;
	snprintf(limit, sizeof(limit), "%lu", cpus * SPAN / 2);
	work = mmap(NULL, sizeof(*work) * cpus, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fd = open(FILE_NAME, O_CREAT | O_RDWR | O_TRUNC, 0600);
	if (work == MAP_FAILED || fd < 0 || ftruncate(fd, cpus * SPAN))
		ktap_skip_all("no file at " FILE_NAME);
	close(fd);
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory +cpu");
	cg_create(HOG);
	cg_create(SPIN);
	if (!cg_has(HOG, "cpu.weight"))
		ktap_skip_all("no CPU controller");
	if (mcx_load())
		ktap_skip_all("the module does not load");
	cg_write(HOG, "memory.high", limit);
}

int main(int argc, char **argv)
{
	bool smp = argc > 1 && !strcmp(argv[1], "smp");

	ktap_start();
	setup();
	ktap_ok(!mcx_manage(HOG), "managed");
	test_account(false, !smp);
	test_account(true, !smp);
	test_cpu_max(!smp);
	if (!smp)
		test_share();
	cg_remove(HOG);
	cg_remove(SPIN);
	ktap_ok(!mcx_unload(), "unloads");
	cg_remove(TOP);
	unlink(FILE_NAME);
	return ktap_end();
}
