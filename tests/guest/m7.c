// SPDX-License-Identifier: GPL-2.0-only
/*
 * M7, scale: what many managed cgroups cost, and deep ones. Instructions per
 * charge batch with 1 to 10,000 of them and with up to 16 one below the other, the
 * module's own memory for each, what a cgroup costs that is not managed, and how
 * long it takes to enable, list and unload. Without -B it is a test, with 1 and
 * 1,000 of them. (m7b.c is M7 with many CPUs.)
 *
 * For a VM whose clock counts instructions (libcount.h): there a time is that of
 * a CPU that executes 10^9 of them a second, whatever this is emulated on, and
 * what is waited for is in it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib.h"
#include "libbatch.h"
#include "libbench.h"
#include "libcount.h"
#include "libkmem.h"

#define TOP		"mcx-test-m7"
#define BESIDE		"mcx-test-m7-beside"	/* not managed, but at last */
#define DEBUG_DIR	"/sys/kernel/debug/memcg_ext"
#define LIMIT		"256M"	/* never reached: nothing is reclaimed here */
#define PICKS		8	/* of many, where batches are measured */
#define UNMANAGED	1000	/* to tell what one costs that is not managed */
#define MAX_DEPTH	16
#define MAX_ROUNDS	8
#define OWN_BAR		1024	/* bytes of the module for a cgroup */
#define FLAT_BAR	2.0	/* percent of a batch */
#define RMMOD_BAR	5000	/* ms, up to 1,000 managed */
#define RMMOD_MANY	1000

static struct options {
	bool bench;
	int repeats;
	int rounds;
	int most;
} opt = { .repeats = 200, .rounds = 3, .most = 10000 };

/* Instructions of a batch, over the picks. */
struct cost {
	double mean;
	double least;
	double worst;
};

/* With so many managed cgroups. Times in ms. */
struct many {
	int n;
	struct cost none;		/* module not loaded */
	struct cost managed;
	struct cost none_again;
	double beside_none;		/* another cgroup, module not loaded */
	double beside;			/* and beside them, not managed */
	struct kmem own;		/* for each */
	double load;			/* with the cgroups there */
	double enable;			/* all of them by one write */
	double attached;		/* until that is in force */
	double one_more;		/* a write that adds one */
	double stat;			/* mcxctl stat */
	double rmmod;
};

/* What a cgroup costs that is not managed: mean of UNMANAGED, of all rounds. */
struct unmanaged {
	double slab;			/* bytes */
	double mkdir_us;
	double rmdir_us;
};

enum { NOT_LOADED, LOADED, NOT_LOADED_AGAIN, CELLS };

/* Of all rounds. */
struct figure {
	double mean;
	double low;
	double high;
};

struct deep {
	int depth;
	struct figure none;
	struct figure top;		/* only the one on top is managed */
	struct figure all;
	struct figure none_again;
};

static struct many many[] = {
	{ .n = 1 }, { .n = 10 }, { .n = 100 }, { .n = 1000 }, { .n = 10000 },
};

static struct deep deep[] = {
	{ .depth = 1 }, { .depth = 2 }, { .depth = 4 }, { .depth = 8 },
	{ .depth = MAX_DEPTH },
};

static struct unmanaged unmanaged[CELLS];
static int files_of_ours;	/* in each cgroup */
static int debug_files;		/* in debugfs, with all managed */

#define MANY	(sizeof(many) / sizeof(*many))
#define DEEP	(sizeof(deep) / sizeof(*deep))

/* What must go well for anything here to mean something. */
static void must(int err, const char *what)
{
	if (!err)
		return;
	ktap_ok(false, "%s: %s", what, strerror(-err));
	exit(ktap_end());
}

static double ms_since(uint64_t from)
{
	return (now_ns() - from) / 1e6;
}

static void member(char *cg, size_t size, int i)
{
	snprintf(cg, size, TOP "/c%d", i);
}

/* Returns ms. */
static double make_members(int n)
{
	uint64_t from;
	char cg[64];
	int i;

	must(cg_write(TOP, "cgroup.subtree_control", "+memory"),
	     "subtree_control");
	from = now_ns();
	for (i = 0; i < n; i++) {
		member(cg, sizeof(cg), i);
		must(cg_create(cg), "mkdir");
	}
	return ms_since(from);
}

static double remove_members(int n)
{
	double ms;
	uint64_t from;
	char cg[64];
	int i;

	must(batch_leave(), "leaving a cgroup");
	from = now_ns();
	for (i = 0; i < n; i++) {
		member(cg, sizeof(cg), i);
		must(cg_remove(cg), "rmdir");
	}
	ms = ms_since(from);
	must(cg_write(TOP, "cgroup.subtree_control", "-memory"),
	     "subtree_control");
	return ms;
}

static int nr_picks(int n)
{
	return n < PICKS ? n : PICKS;
}

/* The first, the last, and evenly between: early and late ones in the table. */
static void pick(char *cg, size_t size, int i, int n)
{
	member(cg, size, n > 1 ? (long)i * (n - 1) / (nr_picks(n) - 1) : 0);
}

/*
 * A CPU keeps charges in advance, on 7.x for seven cgroups, and from the eighth on
 * each batch may cost another one its own. That is the kernel's; begin with none.
 * A limit that is exceeded takes them back when it is written.
 */
static void drain_stocks(void)
{
	must(cg_write(TOP, "memory.high", "0"), "memory.high");
	must(cg_write(TOP, "memory.high", LIMIT), "memory.high");
}

static double cost_in(const char *cg)
{
	double cost;

	drain_stocks();
	cost = batch_cost(cg, opt.repeats);
	must(cost < 0 ? -EIO : 0, "measuring a charge batch");
	return cost;
}

static struct cost cost_of_picks(int n)
{
	struct cost c = { .least = INFINITY };
	int i, k = nr_picks(n);
	char cg[64];
	double cost;

	/* What was just made or attached has settled then. */
	nap_ms(500);
	for (i = 0; i < k; i++) {
		pick(cg, sizeof(cg), i, n);
		cost = cost_in(cg);
		c.mean += cost / k;
		c.least = fmin(c.least, cost);
		c.worst = fmax(c.worst, cost);
	}
	return c;
}

static void limit_picks(int n)
{
	char cg[64];
	int i;

	for (i = 0; i < nr_picks(n); i++) {
		pick(cg, sizeof(cg), i, n);
		must(cg_write(cg, "memory.high", LIMIT), "memory.high");
	}
}

static double load(void)
{
	uint64_t from = now_ns();

	must(mcx_load(), "cannot load memcg_ext");
	return ms_since(from);
}

static double unload(void)
{
	uint64_t from = now_ns();

	must(mcx_unload(), "cannot unload memcg_ext");
	return ms_since(from);
}

static bool in_force(const char *cg)
{
	return cg_key(cg, "memory.ext.stat", "managed") == 1 &&
	       cg_key(cg, "memory.ext.stat", "attached") == 1;
}

/* All below @cg, and @last of them in particular. */
static void enable_subtree(const char *cg, const char *last)
{
	int i;

	must(cg_write(cg, "memory.ext.enable", "subtree"), "enable");
	for (i = 0; i < 500 && !in_force(last); i++)
		nap_ms(10);
	must(in_force(last) ? 0 : -ETIMEDOUT, "enable");
}

/* TOP is managed as well: one of more than @m->n, which a thousand do not notice. */
static void enable_many(struct many *m)
{
	struct kmem before = kmem_now();
	uint64_t from;
	char last[64];

	member(last, sizeof(last), m->n - 1);
	from = now_ns();
	must(cg_write(TOP, "memory.ext.enable", "subtree"), "enable");
	m->enable = ms_since(from);
	enable_subtree(TOP, last);
	m->attached = ms_since(from);
	m->own = kmem_each(before, kmem_now(), m->n + 1);
}

/* Each write works out everything anew: how long with so many? */
static double enable_one_more(void)
{
	uint64_t from = now_ns();
	double ms;

	must(cg_write(BESIDE, "memory.ext.enable", "1"), "enable");
	ms = ms_since(from);
	must(cg_write(BESIDE, "memory.ext.enable", "0"), "disable");
	return ms;
}

/* All of its output is read, as a person would. */
static double mcxctl_stat(int n)
{
	const char *const argv[] = { "mcxctl", "stat", NULL };
	uint64_t from = now_ns();
	int lines = 0, status;
	struct proc p;
	char line[512];

	must(proc_start(&p, argv), "mcxctl");
	while (proc_line(&p, line, sizeof(line)))
		lines += !!strstr(line, TOP);
	status = proc_wait(&p);
	ktap_ok(!status && lines == n + 1,
		"%d managed: mcxctl stat lists %d cgroups, status %d", n + 1,
		lines, status);
	return ms_since(from);
}

static int count_files(const char *path, const char *prefix)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int n = 0;

	while (dir && (e = readdir(dir)))
		n += e->d_name[0] != '.' &&
		     !strncmp(e->d_name, prefix, strlen(prefix));
	if (dir)
		closedir(dir);
	return n;
}

static void run_many(struct many *m)
{
	make_members(m->n);
	limit_picks(m->n);
	m->none = cost_of_picks(m->n);
	m->beside_none = cost_in(BESIDE);
	m->load = load();
	enable_many(m);
	m->managed = cost_of_picks(m->n);
	m->beside = cost_in(BESIDE);
	m->one_more = enable_one_more();
	m->stat = mcxctl_stat(m->n);
	files_of_ours = count_files(CGROUP_ROOT "/" TOP, "memory.ext.");
	debug_files = count_files(DEBUG_DIR, "");
	m->rmmod = unload();
	m->none_again = cost_of_picks(m->n);
	remove_members(m->n);
}

static void run_unmanaged_cell(struct unmanaged *u, bool counted)
{
	struct kmem before = kmem_now(), mem;
	double made = make_members(UNMANAGED), gone;

	mem = kmem_each(before, kmem_now(), UNMANAGED);
	gone = remove_members(UNMANAGED);
	if (!counted)
		return;
	u->slab += mem.slab / opt.rounds;
	u->mkdir_us += made * 1000 / UNMANAGED / opt.rounds;
	u->rmdir_us += gone * 1000 / UNMANAGED / opt.rounds;
}

static void run_unmanaged(void)
{
	int i;

	/* The first grows what is never given back. */
	run_unmanaged_cell(&unmanaged[NOT_LOADED], false);
	for (i = 0; i < opt.rounds; i++) {
		run_unmanaged_cell(&unmanaged[NOT_LOADED], true);
		load();
		run_unmanaged_cell(&unmanaged[LOADED], true);
		unload();
		run_unmanaged_cell(&unmanaged[NOT_LOADED_AGAIN], true);
	}
}

/* TOP is level 1. Only the last may have processes. */
static void make_chain(char *leaf, size_t size, int depth)
{
	int i;

	snprintf(leaf, size, TOP);
	for (i = 1; i < depth; i++) {
		must(cg_write(leaf, "cgroup.subtree_control", "+memory"),
		     "subtree_control");
		snprintf(leaf + strlen(leaf), size - strlen(leaf), "/d");
		must(cg_create(leaf), "mkdir");
		must(cg_write(leaf, "memory.high", LIMIT), "memory.high");
	}
}

static void remove_chain(char *leaf)
{
	must(batch_leave(), "leaving a cgroup");
	while (strcmp(leaf, TOP)) {
		must(cg_remove(leaf), "rmdir");
		*strrchr(leaf, '/') = '\0';
	}
	cg_write(TOP, "cgroup.subtree_control", "-memory");
}

static void measure_leaf(const char *leaf, struct figure *f)
{
	double cost;

	nap_ms(500);
	cost = cost_in(leaf);
	f->low = f->mean ? fmin(f->low, cost) : cost;
	f->high = fmax(f->high, cost);
	f->mean += cost / opt.rounds;
}

static void run_deep(struct deep *d)
{
	char leaf[128];
	int i;

	make_chain(leaf, sizeof(leaf), d->depth);
	for (i = 0; i < opt.rounds; i++) {
		measure_leaf(leaf, &d->none);
		load();
		must(mcx_manage(TOP), "enable");
		measure_leaf(leaf, &d->top);
		enable_subtree(TOP, leaf);
		measure_leaf(leaf, &d->all);
		unload();
		measure_leaf(leaf, &d->none_again);
	}
	remove_chain(leaf);
}

/* Of a batch, managed, with so many in place of one. */
static double growth(const struct many *m)
{
	return (m->managed.mean / many[0].managed.mean - 1) * 100;
}

static const char *verdict(bool ok)
{
	return ok ? "pass" : "**fail**";
}

static void check_many(const struct many *m)
{
	unsigned int size = (unsigned int)m->own.slab;

	ktap_note("M7 n=%d none=%.1f managed=%.1f worst=%.1f beside=%+.1f none_again=%.1f slab=%.1f percpu=%.1f load_ms=%.2f enable_ms=%.2f attached_ms=%.2f one_more_ms=%.3f stat_ms=%.1f rmmod_ms=%.1f",
		  m->n, m->none.mean, m->managed.mean, m->managed.worst,
		  m->beside - m->beside_none, m->none_again.mean, m->own.slab, m->own.percpu,
		  m->load, m->enable, m->attached, m->one_more, m->stat,
		  m->rmmod);
	if (opt.bench || m->n == 1)
		return;
	ktap_ok(fabs(growth(m)) <= FLAT_BAR,
		"%d managed: a charge batch costs %+.3f %% more than with 1; allowed %.0f",
		m->n, growth(m), FLAT_BAR);
	ktap_ok(size && size <= OWN_BAR,
		"%d managed: %u bytes for each; allowed %d", m->n, size,
		OWN_BAR);
	ktap_ok(m->rmmod <= RMMOD_BAR,
		"%d managed: unloading took %.0f ms; allowed %d", m->n,
		m->rmmod, RMMOD_BAR);
}

/* The report of make bench from here on. */
static double added(double cost, const struct many *m)
{
	return cost - m->none.mean;
}

static void report_bars(unsigned int size)
{
	const struct many *m;

	bench_md("| managed | own bytes for each, allowed %d | a batch against 1 managed, allowed %.0f %% | rmmod, allowed %d ms up to %d |",
		 OWN_BAR, FLAT_BAR, RMMOD_BAR, RMMOD_MANY);
	bench_md("| --: | --- | --- | --- |");
	for (m = many; m < many + MANY && m->n <= opt.most; m++)
		bench_md("| %d | %.0f %s | %+.3f %% %s | %.0f ms %s |", m->n,
			 m->own.slab, m->n < UNMANAGED ? "" :
			 verdict(m->own.slab <= OWN_BAR), growth(m),
			 verdict(fabs(growth(m)) <= FLAT_BAR), m->rmmod,
			 m->n > RMMOD_MANY ? "" :
			 verdict(m->rmmod <= RMMOD_BAR));
	bench_md("%s", "");
	bench_md("Of the own bytes %u are the object (struct mcx_memcg); with few cgroups what is attached once is most of them. Apart from that the counters of each CPU:",
		 size);
	for (m = many; m < many + MANY && m->n <= opt.most; m++)
		if (m->n >= UNMANAGED)
			bench_md("- %d managed: %.0f bytes of per-CPU memory for each, %ld CPU%s",
				 m->n, m->own.percpu,
				 sysconf(_SC_NPROCESSORS_CONF),
				 sysconf(_SC_NPROCESSORS_CONF) > 1 ? "s" : "");
	bench_md("%s", "");
}

static void report_costs(void)
{
	const struct many *m;

	bench_md("Instructions of a charge batch; differences to none.");
	bench_md("%s", "");
	bench_md("| managed | none | none again | managed | least of the picks, to the least of none | worst, to the mean | not managed, beside them |");
	bench_md("| --: | --: | --: | --: | --: | --: | --: |");
	for (m = many; m < many + MANY && m->n <= opt.most; m++) {
		bench_md("| %d | %.0f | %+.1f | %+.1f (%+.3f %%) | %+.1f | %+.1f | %+.1f |",
			 m->n, m->none.mean, added(m->none_again.mean, m),
			 added(m->managed.mean, m),
			 added(m->managed.mean, m) / m->none.mean * 100,
			 m->managed.least - m->none.least,
			 added(m->managed.worst, m), m->beside - m->beside_none);
		bench_data("many", "%d %.2f %.2f %.2f", m->n,
			   added(m->managed.mean, m),
			   m->beside - m->beside_none,
			   added(m->none_again.mean, m));
	}
	bench_md("%s", "");
}

static void report_times(void)
{
	const struct many *m;

	bench_md("Times in ms; one instruction takes 1 ns.");
	bench_md("%s", "");
	bench_md("| managed | insmod, the cgroups being there | enable all (one write) | until in force | enable one more | mcxctl stat | rmmod |");
	bench_md("| --: | --: | --: | --: | --: | --: | --: |");
	for (m = many; m < many + MANY && m->n <= opt.most; m++)
		bench_md("| %d | %.1f | %.2f | %.1f | %.3f | %.1f | %.1f |",
			 m->n, m->load, m->enable, m->attached, m->one_more,
			 m->stat, m->rmmod);
	bench_md("%s", "");
}

/* "+181.0 (+0.074 %; 3.0)" */
static const char *more(const struct figure *f, const struct deep *d, char *buf,
			size_t size)
{
	snprintf(buf, size, "%+.1f (%+.3f %%; %.1f)", f->mean - d->none.mean,
		 (f->mean / d->none.mean - 1) * 100, f->high - f->low);
	return buf;
}

static void report_deep(void)
{
	const struct deep *d, *last = deep + DEEP - 1;
	char top[64], all[64];

	bench_md("Depth: instructions of a charge batch in the lowest of so many levels, mean of %d rounds; differences to none, in brackets in percent and the spread of the rounds.",
		 opt.rounds);
	bench_md("%s", "");
	bench_md("| levels | none | none again | spread of none | the top managed | all managed |");
	bench_md("| --: | --: | --: | --: | --: | --: |");
	for (d = deep; d < deep + DEEP; d++) {
		bench_md("| %d | %.0f | %+.1f | %.1f | %s | %s |", d->depth,
			 d->none.mean, d->none_again.mean - d->none.mean,
			 fmax(d->none.high, d->none_again.high) -
			 fmin(d->none.low, d->none_again.low),
			 more(&d->top, d, top, sizeof(top)),
			 more(&d->all, d, all, sizeof(all)));
		bench_data("deep", "%d %.2f %.2f %.2f", d->depth,
			   d->top.mean - d->none.mean,
			   d->all.mean - d->none.mean,
			   d->none_again.mean - d->none.mean);
	}
	bench_md("%s", "");
	bench_md("A managed level more: %.1f instructions; the kernel's own for a level: %.0f.",
		 (last->all.mean - last->top.mean) / (last->depth - 1),
		 (last->none.mean - deep[0].none.mean) / (last->depth - 1));
	bench_md("%s", "");
}

static void report_unmanaged(void)
{
	static const char *const names[] = {
		"not loaded", "loaded", "not loaded again",
	};
	const struct unmanaged *u = unmanaged;
	int i;

	bench_md("A cgroup that is not managed, mean of %d in each of %d rounds. Loaded it has %d files more; debugfs has %d files, whether none is managed or all are.",
		 UNMANAGED, opt.rounds, files_of_ours, debug_files);
	bench_md("%s", "");
	bench_md("| module | kernfs and all else in slab, bytes | mkdir, us | rmdir, us |");
	bench_md("| --- | --: | --: | --: |");
	for (i = 0; i < CELLS; i++)
		bench_md("| %s | %.0f | %.1f | %.1f |", names[i], u[i].slab,
			 u[i].mkdir_us, u[i].rmdir_us);
	bench_md("| difference of loaded | %+.0f | %+.1f | %+.1f |",
		 u[LOADED].slab - u[NOT_LOADED].slab,
		 u[LOADED].mkdir_us - u[NOT_LOADED].mkdir_us,
		 u[LOADED].rmdir_us - u[NOT_LOADED].rmdir_us);
}

static void report(unsigned int size)
{
	bench_n("%d repeats per batch cost; 1 round of each number of cgroups, with the cost in up to %d of them, %d of what is not managed and of depth",
		opt.repeats, PICKS, opt.rounds);
	report_bars(size);
	report_costs();
	report_times();
	report_deep();
	report_unmanaged();
}

static unsigned int object_size(void)
{
	unsigned int size;

	load();
	size = module_struct_size("mcx_memcg");
	unload();
	return size;
}

static void bench(void)
{
	struct many *m;
	struct deep *d;
	unsigned int size = object_size();

	run_unmanaged();
	for (m = many; m < many + MANY && m->n <= opt.most; m++) {
		run_many(m);
		check_many(m);
	}
	for (d = deep; d < deep + DEEP; d++)
		run_deep(d);
	report(size);
}

static void test(void)
{
	struct many *m;

	for (m = many; m < many + MANY; m++) {
		if (m->n != 1 && m->n != opt.most)
			continue;
		run_many(m);
		check_many(m);
	}
}

static void usage(FILE *out)
{
	fputs("usage: m7 [-B] [-c MOST] [-n REPEATS] [-r ROUNDS]\n"
	      "  -B          all sizes and depths, and a report for make bench; no figure\n"
	      "              is judged by the exit status\n"
	      "  -c MOST     up to so many cgroups, 10 to 10000 (10000; without -B 1000)\n"
	      "  -n REPEATS  of a measurement of two batches (200)\n"
	      "  -r ROUNDS   of depth, and of what is not managed (3)\n", out);
}

static void parse(int argc, char **argv)
{
	int c, most = 0;

	while ((c = getopt(argc, argv, "Bc:n:r:h")) != -1) {
		switch (c) {
		case 'B': opt.bench = true; break;
		case 'c': most = atoi(optarg); break;
		case 'n': opt.repeats = atoi(optarg); break;
		case 'r': opt.rounds = atoi(optarg); break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	opt.most = most ? most : opt.bench ? 10000 : 1000;
	if (opt.most < 10 || opt.most > 10000 || opt.repeats < 4 ||
	    opt.rounds < 1 || opt.rounds > MAX_ROUNDS || optind < argc) {
		usage(stderr);
		exit(2);
	}
}

static void prepare(void)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	must(mcx_unload(), "cannot unload memcg_ext");
	cg_write("", "cgroup.subtree_control", "+memory");
	must(cg_create(TOP), TOP);
	must(cg_create(BESIDE), BESIDE);
	must(cg_write(TOP, "memory.high", LIMIT), "memory.high");
	must(batch_start(), "cannot start a process");
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	ktap_start();
	if (geteuid())
		ktap_skip_all("needs root");
	if (!clock_counts_instructions())
		ktap_skip_all("the clock does not count instructions: needs qemu -icount shift=0");
	prepare();
	if (opt.bench)
		bench();
	else
		test();
	batch_leave();
	batch_stop();
	cg_remove(BESIDE);
	cg_remove(TOP);
	return ktap_end();
}
