// SPDX-License-Identifier: GPL-2.0-only
/*
 * M7 with many CPUs: how fast one cgroup is reclaimed from, and by whom.
 *
 * Readers, one for each CPU and bound to it, go round and round in files that are
 * all hole, each larger than the limit: what they read costs no I/O and leaves a
 * clean page, so that the limit can take pages no faster than reclaim frees them.
 * On the stock kernel the readers reclaim, with memcg_ext the workers do. CPU time
 * is all that both take, for each page reclaimed. Cells alternate in one boot:
 * stock, memcg_ext, stock again.
 *
 * Read-ahead decides how much of a small cgroup is on its way to be read, and where
 * that is most of it pages go before anybody has read them. So speed is told with
 * the kernel's default (128 KiB), and with what the machine has, if that is other;
 * there for stock with the limit where memcg_ext held usage, too.
 *
 * CPUs that a cell has too many are taken away. Where there are more than this
 * machine really has (-H), no speed is told, but who took part and what share
 * each had. Without -B only that is judged, with all CPUs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libbench.h"

#define CG		"mcx-test-m7b"
#define READ_SIZE	(64UL << 10)
#define MAX_CPUS	16
#define MAX_ROUNDS	16
#define SETTLE_MS	2000
#define USAGES		25	/* samples of usage in a cell */
#define WORKERS		"/sys/kernel/debug/memcg_ext/workers"
#define FAIR_BAR	0.25	/* of an even share, for who has least */
#define READ_AHEAD	128	/* KiB; VM_READAHEAD_PAGES */

/* HELD: stock, its limit where EXT held usage in the last round. */
enum mode { STOCK, EXT, HELD, STOCK_AGAIN, MODES };

struct reader {
	volatile uint64_t pages;
	volatile uint64_t longest;	/* ns, one read */
} __attribute__((aligned(64)));

struct worker {
	int pid;		/* 0: there is none */
	double passes;
	double pages;
};

/* All that is counted, at one moment. */
struct sample {
	uint64_t at;
	double reclaimed;	/* pages */
	double tasks;		/* CPU time, us */
	double kthreads;
	double read[MAX_CPUS];
	struct worker workers[MAX_CPUS];
	double spare_passes;
};

/* The share of the one who got least and most, as a part of an even one. */
struct shares {
	double least;
	double most;
};

struct result {
	double rate;		/* pages reclaimed a second */
	double read;		/* pages read a second */
	double usage;		/* bytes */
	double usec;		/* CPU time of a page */
	double kthreads;	/* of that */
	struct shares readers;
	struct shares workers;
	int took_part;		/* workers */
	double spare_passes;
	double longest;		/* ms, one read */
};

struct cell {
	int cpus;
	int readers;
	int limit;		/* MiB */
	int read_ahead;		/* KiB; 0: as the machine has it */
	struct result result[MODES][MAX_ROUNDS];
};

static struct cell cells[] = {
	{ 2, 1, 64, READ_AHEAD }, { 2, 2, 64, READ_AHEAD },
	{ 2, 1, 64 }, { 2, 2, 64 }, { 2, 2, 192 },
	{ 4, 4, 64 }, { 8, 8, 64 }, { 16, 16, 64 },
};

#define CELLS	(sizeof(cells) / sizeof(*cells))

static struct options {
	bool bench;
	int rounds;
	int seconds;
	int real;		/* CPUs that this machine really has; 0: all */
} opt = { .rounds = 5, .seconds = 5 };

static struct reader *readers;	/* shared */
static pid_t pids[MAX_CPUS];
static int all_cpus;
static char read_ahead_file[64];
static int own_read_ahead;	/* KiB */

static void set_online(int cpus)
{
	char path[64];
	int i;

	for (i = 1; i < all_cpus; i++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%d/online", i);
		write_file(path, i < cpus ? "1" : "0");
	}
}

static void restore_online(void)
{
	set_online(all_cpus);
}

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		_exit(1);
}

static void read_on(struct reader *r, int fd, off_t size)
{
	static char buf[READ_SIZE];
	uint64_t from, took;
	off_t at = 0;

	for (;; at = (at + READ_SIZE) % size) {
		from = now_ns();
		if (pread(fd, buf, READ_SIZE, at) != READ_SIZE)
			_exit(1);
		/* The wait on the way out is in it. */
		took = now_ns() - from;
		if (took > r->longest)
			r->longest = took;
		r->pages += READ_SIZE / PAGE;
	}
}

/* Its file is twice as large as the limit. */
static pid_t start_reader(const struct cell *c, int i)
{
	off_t size = 2 * c->limit * MIB;
	char path[64];
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "/scratch/m7b.%d", i);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || unlink(path) || ftruncate(fd, size) || cg_enter(CG))
		_exit(1);
	on_cpu(i);
	read_on(&readers[i], fd, size);
	_exit(0);
}

static void stop_readers(int n)
{
	int i;

	for (i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	for (i = 0; i < n; i++)
		waitpid(pids[i], NULL, 0);
}

/* CPU time of a task, us. */
static double ran(int pid)
{
	char path[64], text[128];

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	return read_file(path, text, sizeof(text)) > 0 ? atof(text) / 1e3 : 0;
}

static void sample_workers(struct sample *s)
{
	FILE *f = fopen(WORKERS, "re");
	struct worker *w;
	char line[256];
	int cpu;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "spare ", 6))
			s->spare_passes = kv(line, "passes", 0);
		cpu = atoi(line);
		if (line[0] < '0' || line[0] > '9' || cpu >= MAX_CPUS)
			continue;
		w = &s->workers[cpu];
		w->pid = kv(line, "pid", 0);
		w->passes = kv(line, "passes", 0);
		w->pages = kv(line, "pages", 0);
		s->kthreads += ran(w->pid);
	}
	if (f)
		fclose(f);
}

static void take(struct sample *s)
{
	int i;

	memset(s, 0, sizeof(*s));
	s->at = now_ns();
	s->reclaimed = cg_key(CG, "memory.stat", "pgsteal");
	s->tasks = cg_key(CG, "cpu.stat", "usage_usec");
	for (i = 0; i < MAX_CPUS; i++)
		s->read[i] = readers[i].pages;
	sample_workers(s);
}

static struct shares shares_of(const double *v, int n)
{
	struct shares s = { .least = INFINITY };
	double sum = 0;
	int i;

	for (i = 0; i < n; i++) {
		sum += v[i];
		s.least = fmin(s.least, v[i]);
		s.most = fmax(s.most, v[i]);
	}
	s.least *= n / fmax(sum, 1);
	s.most *= n / fmax(sum, 1);
	return s;
}

static void differ(const struct cell *c, struct result *r,
		   const struct sample *a, const struct sample *b)
{
	double pages = fmax(b->reclaimed - a->reclaimed, 1);
	double read[MAX_CPUS], freed[MAX_CPUS];
	int i;

	r->rate = pages * NSEC / (b->at - a->at);
	r->kthreads = (b->kthreads - a->kthreads) / pages;
	r->usec = (b->tasks - a->tasks) / pages + r->kthreads;
	r->spare_passes = b->spare_passes - a->spare_passes;
	for (i = 0; i < c->cpus; i++) {
		read[i] = b->read[i] - a->read[i];
		r->read += read[i] * NSEC / (b->at - a->at);
		freed[i] = b->workers[i].pages - a->workers[i].pages;
		r->took_part += freed[i] > 0;
	}
	r->readers = shares_of(read, c->readers);
	r->workers = shares_of(freed, c->cpus);
	for (i = 0; i < c->readers; i++)
		r->longest = fmax(r->longest, readers[i].longest / 1e6);
}

/* Of files that are opened from now on. */
static int set_read_ahead(int kib)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", kib ? kib : own_read_ahead);
	return write_file(read_ahead_file, text);
}

static int set_limit(const struct cell *c, enum mode m, int round)
{
	double limit = c->limit * MIB;
	char text[32];

	/* Backwards this one comes before memcg_ext. */
	if (m == HELD)
		limit = c->result[EXT][round - round % 2].usage;
	if (!limit)
		return -ENODATA;
	snprintf(text, sizeof(text), "%.0f", limit);
	return cg_write(CG, "memory.max", text);
}

static int setup(const struct cell *c, enum mode m, int round)
{
	int err = set_read_ahead(c->read_ahead);

	if (!err)
		err = cg_create(CG);
	if (!err)
		err = set_limit(c, m, round);
	if (!err && m == EXT)
		err = mcx_load();
	if (!err && m == EXT)
		err = mcx_manage(CG);
	return err;
}

static int teardown(void)
{
	int err = mcx_unload();

	set_read_ahead(0);
	return cg_remove(CG) ?: err;
}

/* With many on few real ones each has its turn seldom. */
static int window_ms(const struct cell *c)
{
	return opt.seconds * (c->cpus > 4 ? 2000 : 1000);
}

static void load_on(const struct cell *c, struct result *r)
{
	struct sample a, b;
	int i;

	for (i = 0; i < c->readers; i++)
		pids[i] = start_reader(c, i);
	nap_ms(SETTLE_MS);
	for (i = 0; i < c->readers; i++)
		readers[i].longest = 0;
	take(&a);
	for (i = 0; i < USAGES; i++) {
		nap_ms(window_ms(c) / USAGES);
		r->usage += (double)cg_number(CG, "memory.current") / USAGES;
	}
	take(&b);
	differ(c, r, &a, &b);
	stop_readers(c->readers);
}

static int read_ahead(const struct cell *c)
{
	return c->read_ahead ? c->read_ahead : own_read_ahead;
}

static void run(struct cell *c, enum mode m, int round)
{
	static const char *const names[] = {
		"stock", "memcg_ext", "held", "again",
	};
	struct result *r = &c->result[m][round];
	int err = setup(c, m, round);

	if (!err)
		load_on(c, r);
	err = teardown() ?: err;
	if (err)
		ktap_ok(false, "%d CPUs, %s: %s", c->cpus, names[m],
			strerror(-err));
	ktap_note("M7b cpus=%d readers=%d limit=%d read_ahead=%d mode=%s usage_mib=%.1f read_s=%.0f pages_s=%.0f usec_page=%.3f kthread_usec=%.3f readers_least=%.2f readers_most=%.2f workers=%d workers_least=%.2f workers_most=%.2f spare_passes=%.0f longest_ms=%.1f",
		  c->cpus, c->readers, c->limit, read_ahead(c), names[m],
		  r->usage / MIB, r->read, r->rate, r->usec, r->kthreads,
		  r->readers.least, r->readers.most, r->took_part,
		  r->workers.least, r->workers.most, r->spare_passes,
		  r->longest);
}

static bool has_speed(const struct cell *c)
{
	return opt.bench && (!opt.real || c->cpus <= opt.real);
}

static bool has_held(const struct cell *c)
{
	return has_speed(c) && !c->read_ahead;
}

/* Every other round backwards. */
static void run_cell(struct cell *c)
{
	int round, i, m;

	set_online(c->cpus);
	for (round = 0; round < opt.rounds; round++)
		for (i = 0; i < MODES; i++) {
			m = round % 2 ? MODES - 1 - i : i;
			if (m != HELD || has_held(c))
				run(c, m, round);
		}
}

static bool told(const struct cell *c)
{
	/* Not twice the same. */
	if (c->read_ahead &&
	    (!has_speed(c) || c->read_ahead == own_read_ahead))
		return false;
	return c->cpus <= all_cpus && (opt.bench || c->cpus == all_cpus);
}

/* The same figure of all rounds of a mode. */
static int rounds_of(const struct cell *c, enum mode m, size_t offset,
		     double *v)
{
	int i;

	for (i = 0; i < opt.rounds; i++)
		v[i] = *(const double *)((const char *)&c->result[m][i] +
					 offset);
	return opt.rounds;
}

#define ROUNDS_OF(c, m, member, v)	\
	rounds_of(c, m, offsetof(struct result, member), v)

static double mean(const double *v, int n)
{
	double sum = 0;
	int i;

	for (i = 0; i < n; i++)
		sum += v[i] / n;
	return sum;
}

/* The worst of all rounds of a mode. */
static struct result worst(const struct cell *c, enum mode m)
{
	struct result w = c->result[m][0];
	const struct result *r;
	int i;

	for (i = 1; i < opt.rounds; i++) {
		r = &c->result[m][i];
		w.took_part = r->took_part < w.took_part ? r->took_part :
							   w.took_part;
		w.readers.least = fmin(w.readers.least, r->readers.least);
		w.readers.most = fmax(w.readers.most, r->readers.most);
		w.workers.least = fmin(w.workers.least, r->workers.least);
		w.workers.most = fmax(w.workers.most, r->workers.most);
		w.longest = fmax(w.longest, r->longest);
		w.spare_passes = fmax(w.spare_passes, r->spare_passes);
	}
	return w;
}

static void check(const struct cell *c)
{
	struct result w = worst(c, EXT);

	ktap_ok(w.took_part == c->cpus,
		"%d CPUs: %d workers took part", c->cpus, w.took_part);
	ktap_ok(w.workers.least >= FAIR_BAR,
		"%d CPUs: none freed less than %.2f of an even share; allowed %.2f",
		c->cpus, w.workers.least, FAIR_BAR);
	ktap_ok(w.readers.least >= FAIR_BAR,
		"%d CPUs: no reader had less than %.2f of an even share; allowed %.2f",
		c->cpus, w.readers.least, FAIR_BAR);
}

/* A row of what memcg_ext and stock do, and of stock against itself. */
static void report_ratio(const struct cell *c, const char *what, size_t offset,
			 const char *unit, int digits)
{
	double stock[MAX_ROUNDS] = { 0 }, ext[MAX_ROUNDS] = { 0 };
	double again[MAX_ROUNDS] = { 0 }, held[MAX_ROUNDS] = { 0 };
	struct interval i, self;
	char text[32] = "";
	int n = rounds_of(c, STOCK, offset, stock);

	rounds_of(c, STOCK_AGAIN, offset, again);
	rounds_of(c, EXT, offset, ext);
	rounds_of(c, HELD, offset, held);
	if (has_held(c))
		snprintf(text, sizeof(text), "%.*f", digits, mean(held, n));
	i = bench_mean_ratio(ext, n, stock, n);
	self = bench_mean_ratio(again, n, stock, n);
	bench_md("| %d | %d | %d MiB | %d KiB | %s | %.*f %s | %.*f | %.*f | %.2f | %.2f to %.2f | %.2f to %.2f | %s |",
		 c->cpus, c->readers, c->limit, read_ahead(c), what, digits,
		 mean(stock, n), unit, digits, mean(again, n), digits,
		 mean(ext, n), mean(ext, n) / mean(stock, n), i.low, i.high,
		 self.low, self.high, text);
}

static void report_usage(const struct cell *c)
{
	double usage[MODES] = { 0 }, v[MAX_ROUNDS] = { 0 };
	char text[32] = "";
	int m, n;

	for (m = 0; m < MODES; m++) {
		n = ROUNDS_OF(c, m, usage, v);
		usage[m] = mean(v, n) / MIB;
	}
	if (has_held(c))
		snprintf(text, sizeof(text), "%.1f", usage[HELD]);
	bench_md("| %d | %d | %d MiB | %d KiB | usage | %.1f MiB | %.1f | %.1f | | | | %s |",
		 c->cpus, c->readers, c->limit, read_ahead(c), usage[STOCK],
		 usage[STOCK_AGAIN], usage[EXT], text);
}

static void report_speed(void)
{
	const struct cell *c;
	double v[MAX_ROUNDS] = { 0 };
	int n;

	bench_md("Reclaim of one cgroup. CPU time: of the readers and the workers together, for a page reclaimed; the readers' own work is in it, in all cells. Held: stock, with the limit where built-in held usage.");
	bench_md("%s", "");
	bench_md("| vCPUs | allocating | limit | read-ahead | | stock | stock again | built-in | ratio to stock | 95 %% | stock against itself, 95 %% | held |");
	bench_md("| --: | --: | --: | --: | --- | --: | --: | --: | --: | --: | --: | --: |");
	for (c = cells; c < cells + CELLS; c++) {
		if (!told(c) || !has_speed(c))
			continue;
		report_ratio(c, "pages reclaimed", offsetof(struct result, rate),
			     "/s", 0);
		report_ratio(c, "pages read", offsetof(struct result, read),
			     "/s", 0);
		report_ratio(c, "CPU time of a page",
			     offsetof(struct result, usec), "us", 2);
		n = ROUNDS_OF(c, EXT, kthreads, v);
		bench_md("| %d | %d | %d MiB | %d KiB | of it the workers' | | | %.2f | | | | |",
			 c->cpus, c->readers, c->limit, read_ahead(c),
			 mean(v, n));
		report_usage(c);
	}
	bench_md("%s", "");
}

static void report_shares(void)
{
	const struct cell *c;
	struct result w, stock;

	bench_md("Who took part: the worst of all rounds; 1 is an even share. No speed is told where there are more vCPUs than CPUs.");
	bench_md("%s", "");
	bench_md("| vCPUs | allocating | workers that took part | share of a worker | share of a reader | the same, stock | longest read | the same, stock | verdict |");
	bench_md("| --: | --: | --: | --: | --: | --: | --: | --: | --- |");
	for (c = cells; c < cells + CELLS; c++) {
		if (!told(c) || c->read_ahead || c->limit != 64)
			continue;
		w = worst(c, EXT);
		stock = worst(c, STOCK);
		bench_md("| %d | %d | %d | %.2f to %.2f | %.2f to %.2f | %.2f to %.2f | %.0f ms | %.0f ms | %s |",
			 c->cpus, c->readers, w.took_part, w.workers.least,
			 w.workers.most, w.readers.least, w.readers.most,
			 stock.readers.least, stock.readers.most, w.longest,
			 stock.longest, c->readers < c->cpus ? "" :
			 w.took_part == c->cpus &&
			 w.workers.least >= FAIR_BAR &&
			 w.readers.least >= FAIR_BAR ? "pass" : "**fail**");
	}
}

static void report(void)
{
	bench_n("%d rounds of %d s per cell, %d s with more than 4 vCPUs",
		opt.rounds, opt.seconds, 2 * opt.seconds);
	report_speed();
	report_shares();
}

static void usage(FILE *out)
{
	fputs("usage: m7b [-B] [-r ROUNDS] [-t SECONDS] [-H CPUS]\n"
	      "  -B          all numbers of CPUs, and a report for make bench; no figure is\n"
	      "              judged by the exit status\n"
	      "  -r ROUNDS   of all cells (5; without -B 1)\n"
	      "  -t SECONDS  of a cell, twice that with more than 4 CPUs (5)\n"
	      "  -H CPUS     so many CPUs are real: no speed is told with more (all)\n",
	      out);
}

static void parse(int argc, char **argv)
{
	int c, rounds = 0;

	while ((c = getopt(argc, argv, "Br:t:H:h")) != -1) {
		switch (c) {
		case 'B': opt.bench = true; break;
		case 'r': rounds = atoi(optarg); break;
		case 't': opt.seconds = atoi(optarg); break;
		case 'H': opt.real = atoi(optarg); break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	opt.rounds = rounds ? rounds : opt.bench ? 5 : 1;
	if (opt.rounds < 1 || opt.rounds > MAX_ROUNDS || opt.seconds < 1 ||
	    optind < argc) {
		usage(stderr);
		exit(2);
	}
}

/* Of the disk on which /scratch is. */
static int find_read_ahead(void)
{
	char text[32];
	struct stat st;

	if (stat("/scratch", &st))
		return -errno;
	snprintf(read_ahead_file, sizeof(read_ahead_file),
		 "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
		 minor(st.st_dev));
	if (read_file(read_ahead_file, text, sizeof(text)) <= 0)
		return -ENOENT;
	own_read_ahead = atoi(text);
	return 0;
}

static int prepare(void)
{
	int err = find_read_ahead();

	if (err)
		return err;
	thp_off();
	all_cpus = sysconf(_SC_NPROCESSORS_CONF);
	if (all_cpus > MAX_CPUS)
		all_cpus = MAX_CPUS;
	readers = mmap(NULL, sizeof(*readers) * MAX_CPUS,
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		       0);
	if (readers == MAP_FAILED)
		return -ENOMEM;
	atexit(restore_online);
	cg_remove(CG);
	return mcx_unload();
}

int main(int argc, char **argv)
{
	struct cell *c;
	int err;

	parse(argc, argv);
	ktap_start();
	if (geteuid())
		ktap_skip_all("needs root");
	err = prepare();
	ktap_ok(!err, "prepares");
	for (c = cells; !err && c < cells + CELLS; c++) {
		if (!told(c))
			continue;
		run_cell(c);
		if (!opt.bench)
			check(c);
	}
	if (!err && opt.bench)
		report();
	return ktap_end();
}
