// SPDX-License-Identifier: GPL-2.0-only
/*
 * M1 in its short form: how long a thread that needs a little memory at a fixed
 * pace waits for it, while two writers keep its cgroup at the limit.
 *
 * Cells alternate inside one boot: no limit (the reference) twice, stock and
 * memcg_ext under memory.high and under memory.max. Samples of a cell's runs
 * are pooled. The reference is void if the machine itself had to reclaim.
 *
 * How much two runs of the same thing differ is measured, not assumed: runs of
 * both reference cells are resampled into two groups many times over, and the
 * upper end of 95 % of the ratios of their p99 is what chance alone can do.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"

#define CG		"mcx-test-m1"
#define LIMIT		(64 * MIB)
#define MAX_RUNS	64
#define RESAMPLES	400
#define EDGE_NS		20000000ULL
#define SAMPLES_FILE	"/tmp/mcx-m1.samples"

struct samples {
	uint64_t *ns;
	size_t n;
};

struct cell {
	const char *name;
	const char *file;	/* knob with the limit; NULL: none */
	bool ext;
	/* what came out of it */
	struct samples run[MAX_RUNS];
	double rate[MAX_RUNS];	/* writers' bytes per second */
	int runs;
	double bytes;
	double seconds;
	double missed;
	double slept;
	long long high;
	long long max;
	long long pgscan;	/* of the machine, not of the cgroup */
	double stall_us;	/* memory.pressure, some */
	struct trace trace;
};

enum { NONE, NONE_AGAIN, STOCK_HIGH, STOCK_MAX, EXT_HIGH, EXT_MAX, CELLS };

static struct cell cells[CELLS] = {
	[NONE]		= { .name = "none" },
	[NONE_AGAIN]	= { .name = "none again" },
	[STOCK_HIGH]	= { .name = "stock high", .file = "memory.high" },
	[STOCK_MAX]	= { .name = "stock max", .file = "memory.max" },
	[EXT_HIGH]	= { .name = "ext high", .file = "memory.high",
			    .ext = true },
	[EXT_MAX]	= { .name = "ext max", .file = "memory.max",
			    .ext = true },
};

static struct options {
	int runs;
	double seconds;
	bool stock_only;
} opt = { .runs = 5, .seconds = 4 };

static struct proc tracer;

static long long machine_pgscan(void)
{
	return read_key("/proc/vmstat", "pgscan_kswapd") +
	       read_key("/proc/vmstat", "pgscan_direct");
}

static double pressure_us(void)
{
	char path[256], text[512];

	cg_path(path, sizeof(path), CG, "memory.pressure");
	if (read_file(path, text, sizeof(text)) <= 0)
		return 0;
	return kv(text, "total", 0);	/* the first line is "some" */
}

static int load_samples(struct samples *s)
{
	FILE *f = fopen(SAMPLES_FILE, "r");
	long size;

	if (!f)
		return -1;
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	s->ns = malloc(size);
	s->n = s->ns ? fread(s->ns, sizeof(*s->ns), size / 8, f) : 0;
	fclose(f);
	unlink(SAMPLES_FILE);
	return s->n ? 0 : -1;
}

static int start_writers(struct proc *p)
{
	char seconds[32];
	const char *const argv[] = {
		"filewriter", "-g", CGROUP_ROOT "/" CG, "-w", "2", "-s", "64M",
		"-b", "4K", "-t", seconds, "-W", NULL,
	};
	char line[128];
	int err;

	/* Longer than the paced thread at both ends. */
	snprintf(seconds, sizeof(seconds), "%.1f", opt.seconds + 2.5);
	err = proc_start(p, argv);
	if (err)
		return err;
	if (!proc_line(p, line, sizeof(line)))
		return -1;
	fputs("\n", p->in);
	fflush(p->in);
	return 0;
}

static int run_paced(struct cell *c)
{
	char seconds[32], line[1024];
	const char *const argv[] = {
		"paced", "-g", CGROUP_ROOT "/" CG, "-t", seconds, "-o",
		SAMPLES_FILE, NULL,
	};
	struct proc p;
	int err;

	snprintf(seconds, sizeof(seconds), "%.1f", opt.seconds);
	err = proc_start(&p, argv);
	if (err)
		return err;
	while (proc_line(&p, line, sizeof(line))) {
		c->missed += kv(line, "missed", 0);
		c->slept += kv(line, "slept", 0);
	}
	return proc_wait(&p);
}

static int finish_writers(struct cell *c, struct proc *p)
{
	char line[512];

	while (proc_line(p, line, sizeof(line))) {
		if (strncmp(line, "total ", 6))
			continue;
		c->bytes += kv(line, "bytes", 0);
		c->seconds += kv(line, "seconds", 0);
		c->rate[c->runs] = kv(line, "bytes_per_s", 0);
	}
	return proc_wait(p);
}

static int run_loads(struct cell *c)
{
	struct proc writers;
	struct trace t;
	int err;

	err = start_writers(&writers);
	if (err)
		return err;
	nap_ms(1500);		/* until the cgroup is full */
	err = trace_start(&tracer, CG, c->file ? LIMIT : 0, CG);
	if (!err)
		err = run_paced(c);
	if (!trace_stop(&tracer, &t))
		trace_add(&c->trace, &t);
	if (finish_writers(c, &writers) || err)
		return -1;
	return load_samples(&c->run[c->runs]);
}

static int setup(const struct cell *c)
{
	char text[32];
	int err = cg_create(CG);

	if (!err && c->file) {
		snprintf(text, sizeof(text), "%lu", LIMIT);
		err = cg_write(CG, c->file, text);
	}
	if (!err && c->ext)
		err = mcx_manage(CG);
	return err;
}

static void run_cell(struct cell *c)
{
	long long scanned = machine_pgscan();
	int err = setup(c);

	if (!err)
		err = run_loads(c);
	if (err) {
		ktap_ok(false, "%s: run %d could not be made (%d)", c->name,
			c->runs, err);
	} else {
		c->runs++;
		c->high += cg_key(CG, "memory.events", "high");
		c->max += cg_key(CG, "memory.events", "max");
		c->stall_us += pressure_us();
		c->pgscan += machine_pgscan() - scanned;
	}
	if (cg_remove(CG))
		ktap_note("cannot remove " CG);
	sync();
}

static bool run_round(void)
{
	int i, err;

	for (i = 0; i < EXT_HIGH; i++)
		run_cell(&cells[i]);
	if (opt.stock_only)
		return true;
	err = mcx_load();
	if (err) {
		ktap_ok(false, "cannot load memcg_ext: %s", strerror(-err));
		return false;
	}
	for (i = EXT_HIGH; i < CELLS; i++)
		run_cell(&cells[i]);
	err = mcx_unload();
	if (err) {
		ktap_ok(false, "cannot unload memcg_ext: %s", strerror(-err));
		return false;
	}
	return true;
}

/* Appends a copy of @s to @pool. */
static void pool_add(struct samples *pool, const struct samples *s)
{
	memcpy(pool->ns + pool->n, s->ns, s->n * sizeof(*s->ns));
	pool->n += s->n;
}

static struct samples pool_new(size_t room)
{
	struct samples s = { .ns = malloc(room * sizeof(*s.ns)) };

	if (!s.ns)
		exit(1);
	return s;
}

static size_t count(const struct cell *c)
{
	size_t n = 0;
	int i;

	for (i = 0; i < c->runs; i++)
		n += c->run[i].n;
	return n;
}

static struct samples pooled(const struct cell *c)
{
	struct samples s = pool_new(count(c) + 1);
	int i;

	for (i = 0; i < c->runs; i++)
		pool_add(&s, &c->run[i]);
	return s;
}

/* p99 or p99.9 of @nr runs drawn with replacement from both references. */
static double resampled(struct samples *scratch, int nr, double q)
{
	int i, all = cells[NONE].runs + cells[NONE_AGAIN].runs;

	scratch->n = 0;
	for (i = 0; i < nr; i++) {
		int k = random64() % all;

		if (k < cells[NONE].runs)
			pool_add(scratch, &cells[NONE].run[k]);
		else
			pool_add(scratch,
				 &cells[NONE_AGAIN].run[k - cells[NONE].runs]);
	}
	return quantile(scratch->ns, scratch->n, q);
}

/*
 * Upper end of the 95 % interval of a ratio between two groups that differ by
 * chance alone. Whole runs are drawn: samples of one run are not independent.
 */
static double chance(double q)
{
	uint64_t ratio[RESAMPLES];
	struct samples s = pool_new((cells[NONE].run[0].n + 1000) * 2 *
				    opt.runs);
	double a, b;
	int i;

	for (i = 0; i < RESAMPLES; i++) {
		a = resampled(&s, opt.runs, q);
		b = resampled(&s, opt.runs, q);
		ratio[i] = b > 0 ? a / b * 1e6 : 0;
	}
	free(s.ns);
	return quantile(ratio, RESAMPLES, .975) / 1e6;
}

static double cell_quantile_ms(const struct cell *c, double q)
{
	struct samples s = pooled(c);
	double ns = quantile(s.ns, s.n, q);

	free(s.ns);
	return ns / 1e6;
}

static double cell_over(const struct cell *c)
{
	size_t i, over = 0, n = 0;
	int r;

	for (r = 0; r < c->runs; r++) {
		for (i = 0; i < c->run[r].n; i++)
			over += c->run[r].ns[i] > EDGE_NS;
		n += c->run[r].n;
	}
	return n ? over * 10000.0 / n : 0;
}

static void print_table(void)
{
	const struct cell *c;

	ktap_note("cell         runs     n   p50    p99  p99.9    max >20ms/10k  MB/s  high   max alloc%% avg-over%%");
	for (c = cells; c < cells + CELLS; c++) {
		if (!c->runs)
			continue;
		ktap_note("%-12s %4d %5zu %5.1f %6.1f %6.1f %6.1f %9.1f %5.1f %5lld %5lld %6.2f %9.2f",
			  c->name, c->runs, count(c), cell_quantile_ms(c, .5),
			  cell_quantile_ms(c, .99), cell_quantile_ms(c, .999),
			  cell_quantile_ms(c, 1), cell_over(c),
			  c->bytes / c->seconds / 1e6, c->high, c->max,
			  trace_member_share(&c->trace) * 100,
			  c->file ? (c->trace.average / LIMIT - 1) * 100 : 0);
	}
}

/* One line per cell, for tools; ms unless the key says otherwise. */
static void print_lines(void)
{
	const struct cell *c;

	for (c = cells; c < cells + CELLS; c++) {
		const struct trace *t = &c->trace;

		if (!c->runs)
			continue;
		ktap_note("M1 mode=%s limit=%s run=%d runs=%d seconds=%.0f n=%zu p50=%.3f p99=%.3f p999=%.3f max=%.3f over20ms_per_10000=%.2f missed=%.0f slept=%.0f writers_bytes_per_s=%.0f high=%lld max_events=%lld average=%.0f peak=%.0f member_pages=%.0f kthread_pages=%.0f other_pages=%.0f member_reclaim_ms=%.1f kthread_reclaim_ms=%.1f throttle_sleeps=%.0f throttle_ms=%.1f sync_sleeps=%.0f psi_some_ms=%.1f pgscan=%lld misses=%.0f",
			  c->ext ? "memcg_ext" : c->file ? "stock" : "none",
			  c->file ? c->file : "none", c == &cells[NONE_AGAIN],
			  c->runs, opt.seconds, count(c),
			  cell_quantile_ms(c, .5), cell_quantile_ms(c, .99),
			  cell_quantile_ms(c, .999), cell_quantile_ms(c, 1),
			  cell_over(c), c->missed, c->slept,
			  c->bytes / c->seconds, c->high, c->max, t->average,
			  t->peak, t->members.reclaim_pages,
			  t->kthreads.reclaim_pages, t->others.reclaim_pages,
			  t->members.reclaim_ns / 1e6,
			  t->kthreads.reclaim_ns / 1e6, t->members.sleeps,
			  t->members.sleep_ns / 1e6, t->members.sync_sleeps,
			  c->stall_us / 1e3, c->pgscan, t->misses);
	}
}

static bool reference_is_good(void)
{
	long long scanned = cells[NONE].pgscan + cells[NONE_AGAIN].pgscan;

	if (!cells[NONE].runs || !cells[NONE_AGAIN].runs)
		return false;
	return ktap_ok(!scanned,
		       "reference: the machine itself did not reclaim (pgscan moved by %lld)",
		       scanned);
}

/* Stock has to show the stall, or there is nothing to be better than. */
static void check_stock(void)
{
	const struct cell *c;

	for (c = &cells[STOCK_HIGH]; c <= &cells[STOCK_MAX]; c++)
		ktap_ok(trace_member_share(&c->trace) > .5,
			"%s: the tasks reclaim for themselves, as expected (%.1f %% of the pages)",
			c->name, trace_member_share(&c->trace) * 100);
}

/* Spread of single stock runs beside it: five runs make no statistics. */
static void print_rates(const struct cell *ext, const struct cell *stock)
{
	double low = 0, high = 0;
	int i;

	for (i = 0; i < stock->runs; i++) {
		if (!i || stock->rate[i] < low)
			low = stock->rate[i];
		if (stock->rate[i] > high)
			high = stock->rate[i];
	}
	ktap_note("%s: writers' bytes per second are %.2f of stock; single stock runs are %.2f to %.2f of their mean",
		  ext->name,
		  ext->bytes / ext->seconds / (stock->bytes / stock->seconds),
		  low / (stock->bytes / stock->seconds),
		  high / (stock->bytes / stock->seconds));
}

static void check_ext(const struct cell *c)
{
	double none = cell_quantile_ms(&cells[NONE], .99);
	double again = cell_quantile_ms(&cells[NONE_AGAIN], .99);
	double p99 = cell_quantile_ms(c, .99), aa = chance(.99);
	double bar = aa > 2 ? aa : 2;

	ktap_note("p99: none %.2f ms, none again %.2f ms, upper end of A/A's 95 %% interval x%.2f",
		  none, again, aa);
	ktap_ok(p99 <= bar * none,
		"%s: pooled p99 %.2f ms is x%.2f of none; allowed x%.2f",
		c->name, p99, p99 / none, bar);
	ktap_ok(trace_member_share(&c->trace) <= .01,
		"%s: allocating tasks reclaimed %.2f %% of the pages; allowed 1",
		c->name, trace_member_share(&c->trace) * 100);
	ktap_ok(c->trace.average <= LIMIT * 1.01,
		"%s: usage averaged %.2f MiB; allowed %.2f", c->name,
		c->trace.average / MIB, LIMIT * 1.01 / MIB);
}

static void usage(FILE *out)
{
	fputs("usage: m1 [-n RUNS] [-t SECONDS] [-S]\n"
	      "  -n RUNS     runs of each cell (5)\n"
	      "  -t SECONDS  length of the paced thread's run (4)\n"
	      "  -S          stock only: leave memcg_ext out\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:t:Sh")) != -1) {
		switch (c) {
		case 'n': opt.runs = atoi(optarg); break;
		case 't': opt.seconds = atof(optarg); break;
		case 'S': opt.stock_only = true; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (opt.runs < 1 || opt.runs > MAX_RUNS || opt.seconds <= 0 ||
	    optind < argc) {
		usage(stderr);
		exit(2);
	}
}

static void prepare(void)
{
	int err;

	if (geteuid())
		ktap_skip_all("needs root");
	if (!cg_has("", "cgroup.controllers"))
		ktap_skip_all("no cgroup2 at " CGROUP_ROOT);
	cg_write("", "cgroup.subtree_control", "+memory");
	cg_remove(CG);
	thp_off();
	err = mcx_unload();
	if (!err)
		err = trace_open(&tracer);
	if (err) {
		ktap_ok(false, "cannot unload memcg_ext or start memtrace: %s",
			strerror(-err));
		exit(ktap_end());
	}
}

int main(int argc, char **argv)
{
	uint64_t start = now_ns();
	int i;

	parse(argc, argv);
	ktap_start();
	prepare();
	for (i = 0; i < opt.runs; i++)
		if (!run_round())
			break;
	proc_wait(&tracer);
	print_table();
	print_lines();
	if (reference_is_good()) {
		check_stock();
		if (cells[EXT_HIGH].runs) {
			print_rates(&cells[EXT_HIGH], &cells[STOCK_HIGH]);
			print_rates(&cells[EXT_MAX], &cells[STOCK_MAX]);
			check_ext(&cells[EXT_HIGH]);
		}
	}
	ktap_note("took %.0f s", (now_ns() - start) / 1e9);
	return ktap_end();
}
