// SPDX-License-Identifier: GPL-2.0-only
/*
 * M1: how long a thread that needs a little memory at a fixed pace waits for it,
 * while two writers keep its cgroup at the limit. In its short form a test, with
 * -B the measure that make bench runs. Writers rewrite files, or with -a their
 * own anonymous memory, with swap on. There the stock kernel may not get away
 * without its OOM killer: a run that it ended is counted, and left out.
 *
 * Cells alternate inside one boot: no limit (the reference) twice, stock and
 * memcg_ext under memory.high and under memory.max; each second round goes
 * backwards, so that none has always the same one before it. Samples of a cell's
 * runs are pooled. The reference is void if the machine itself had to reclaim.
 * With -o there is one more, in which the paced thread is in a cgroup without a
 * limit beside the writers' one: what it waits for there is the machine, its disk's
 * interrupts above all, and no limit of its own.
 *
 * With -T all are threads of one process, and where memcg_ext is loaded the paced one is
 * critical and the writers batch: what no other kernel can tell apart.
 *
 * How much two runs of the same thing differ is measured, not assumed: runs of
 * both reference cells are resampled into two groups many times over, and the
 * upper end of 95 % of the ratios of their p99 is what chance alone can do.
 */
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"
#include "libbench.h"

#define CG		"mcx-test-m1"
#define CG_OUTSIDE	"mcx-test-m1-outside"
#define CG_KEPT		"mcx-test-m1-kept"
#define LIMIT		(64 * MIB)
#define MAX_RUNS	64
#define EDGE_NS		20000000ULL
#define SAMPLES_FILE	"/tmp/mcx-m1.samples"

struct cell {
	const char *name;
	const char *label;	/* in the report */
	const char *file;	/* knob with the limit; NULL: none */
	bool ext;
	bool outside;		/* the paced thread is not in the cgroup */
	/* what came out of it */
	struct samples run[MAX_RUNS];
	double rate[MAX_RUNS];	/* writers' bytes per second */
	int runs;
	double bytes;
	double seconds;
	double least;		/* bytes of the writer that wrote least in a run */
	double missed;
	double slept;
	long long high;
	long long max;
	long long oom;
	int killed;		/* runs that the OOM killer ended */
	double peak;		/* memory.peak; the tracer's sees less */
	double waits;		/* memcg_ext's own count */
	double wait_us;
	long long pgscan;	/* of the machine, not of the cgroup */
	double stall_us;	/* memory.pressure, some */
	struct trace trace;
};

/* Those before JUDGED have bars. */
enum {
	NONE, NONE_AGAIN, STOCK_HIGH, STOCK_MAX, EXT_HIGH, EXT_MAX, JUDGED,
	EXT_OUTSIDE = JUDGED, CELLS,
};

static struct cell cells[CELLS] = {
	[NONE]		= { .name = "none", .label = "none" },
	[NONE_AGAIN]	= { .name = "none again", .label = "none again" },
	[STOCK_HIGH]	= { .name = "stock high", .file = "memory.high",
			    .label = "stock memory.high" },
	[STOCK_MAX]	= { .name = "stock max", .file = "memory.max",
			    .label = "stock memory.max" },
	[EXT_HIGH]	= { .name = "ext high", .file = "memory.high",
			    .label = "built-in memory.high", .ext = true },
	[EXT_MAX]	= { .name = "ext max", .file = "memory.max",
			    .label = "built-in memory.max", .ext = true },
	[EXT_OUTSIDE]	= { .name = "ext outside", .file = "memory.high",
			    .label = "paced thread outside, built-in memory.high",
			    .ext = true, .outside = true },
};

static struct options {
	int runs;
	double seconds;
	double budget;		/* seconds for all rounds; 0: none */
	bool stock_only;
	bool bench;
	bool anon;
	bool outside;
	bool threads;
} opt = { .runs = 5, .seconds = 4 };

static struct proc tracer;

/* How many of the cells are run. */
static int used(void)
{
	return opt.outside ? CELLS : JUDGED;
}

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
	bench_sort(s);
	return s->n ? 0 : -1;
}

/* More than fits under the limit, either way, and less than 1/4 of RAM. */
static int start_writers(struct proc *p)
{
	char seconds[32];
	const char *const argv[] = {
		"filewriter", "-g", CGROUP_ROOT "/" CG, "-w", "2", "-s",
		opt.anon ? "96M" : "64M", "-b", "4K", "-t", seconds, "-W",
		opt.anon ? "-a" : NULL, NULL,
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

/* What a load said on a line of its own. */
static void take_line(struct cell *c, const char *line)
{
	double least;

	if (strncmp(line, "total ", 6)) {
		c->missed += kv(line, "missed", 0);
		c->slept += kv(line, "slept", 0);
		return;
	}
	c->bytes += kv(line, "bytes", 0);
	c->seconds += kv(line, "seconds", 0);
	c->rate[c->runs] = kv(line, "bytes_per_s", 0);
	least = kv(line, "least", 0);
	if (!c->runs || least < c->least)
		c->least = least;
}

static int finish(struct cell *c, struct proc *p)
{
	char line[1024];

	while (proc_line(p, line, sizeof(line)))
		take_line(c, line);
	return proc_wait(p);
}

static int run_paced(struct cell *c)
{
	char seconds[32];
	const char *const argv[] = {
		"paced", "-g", c->outside ? CGROUP_ROOT "/" CG_OUTSIDE :
					    CGROUP_ROOT "/" CG,
		"-t", seconds, "-o", SAMPLES_FILE, NULL,
	};
	struct proc p;
	int err;

	snprintf(seconds, sizeof(seconds), "%.1f", opt.seconds);
	err = proc_start(&p, argv);
	return err ?: finish(c, &p);
}

/* All of it as one process: the writers run when this is back. */
static int start_process(struct proc *p)
{
	char seconds[32], line[128];
	const char *const argv[] = {
		"paced", "-g", CGROUP_ROOT "/" CG, "-t", seconds, "-o",
		SAMPLES_FILE, "-T", "critical", "-w", "2", "-s", "64", "-W",
		NULL,
	};
	int err;

	snprintf(seconds, sizeof(seconds), "%.1f", opt.seconds);
	err = proc_start(p, argv);
	if (err)
		return err;
	return proc_line(p, line, sizeof(line)) ? 0 : -1;
}

static int run_process(struct cell *c, struct proc *p)
{
	fputs("\n", p->in);
	fflush(p->in);
	return finish(c, p);
}

static int run_loads(struct cell *c)
{
	struct proc load;
	struct trace t;
	int err, end = 0;

	err = opt.threads ? start_process(&load) : start_writers(&load);
	if (err)
		return err;
	nap_ms(1500);		/* until the cgroup is full */
	err = trace_start(&tracer, CG, c->file ? LIMIT : 0, CG);
	if (!err)
		err = opt.threads ? run_process(c, &load) : run_paced(c);
	if (!trace_stop(&tracer, &t))
		trace_add(&c->trace, &t);
	if (!opt.threads)
		end = finish(c, &load);
	if (end || err)
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
	if (!err && c->outside)
		err = cg_create(CG_OUTSIDE);
	return err;
}

static void note_counters(struct cell *c)
{
	double peak = cg_number(CG, "memory.peak");

	c->high += cg_key(CG, "memory.events", "high");
	c->max += cg_key(CG, "memory.events", "max");
	c->oom += cg_key(CG, "memory.events", "oom");
	c->stall_us += pressure_us();
	if (peak > c->peak)
		c->peak = peak;
	if (!c->ext)
		return;
	c->waits += cg_key(CG, "memory.ext.stat", "paced");
	c->wait_us += cg_key(CG, "memory.ext.stat", "paced_usec");
}

/* Such a run tells nothing but that: it is counted, and left out. */
static bool was_killed(struct cell *c, const struct cell *before)
{
	if (cg_key(CG, "memory.events", "oom_kill") <= 0)
		return false;
	*c = *before;
	c->killed++;
	ktap_note("%s: the OOM killer ended a run", c->name);
	return true;
}

static void run_cell(struct cell *c)
{
	long long scanned = machine_pgscan();
	struct cell before = *c;
	int err = setup(c);

	if (!err)
		err = run_loads(c);
	if (!err) {
		c->runs++;
		note_counters(c);
		c->pgscan += machine_pgscan() - scanned;
	} else if (!was_killed(c, &before)) {
		ktap_ok(false, "%s: run %d could not be made (%d)", c->name,
			c->runs, err);
	}
	if (cg_remove(CG))
		ktap_note("cannot remove " CG);
	if (c->outside && cg_remove(CG_OUTSIDE))
		ktap_note("cannot remove " CG_OUTSIDE);
	sync();
}

/* Cells @from to @to, either way round. */
static void run_cells(int from, int to)
{
	int i, step = from <= to ? 1 : -1;

	for (i = from; i != to + step; i += step)
		run_cell(&cells[i]);
}

static bool run_ext(bool backwards)
{
	int last = opt.outside ? EXT_OUTSIDE : EXT_MAX;
	int err = mcx_load();

	if (err) {
		ktap_ok(false, "cannot load memcg_ext: %s", strerror(-err));
		return false;
	}
	/*
	 * Hooks are attached once, and go once, while nothing runs, not even what waits for
	 * that: emulated CPUs that do may take what is being patched for a breakpoint
	 * (tests/vm/run).
	 */
	cg_create(CG_KEPT);
	cg_write(CG_KEPT, "memory.ext.enable", "1");
	nap_ms(1500);
	run_cells(backwards ? last : EXT_HIGH, backwards ? EXT_HIGH : last);
	cg_remove(CG_KEPT);
	nap_ms(2500);
	err = mcx_unload();
	if (err)
		ktap_ok(false, "cannot unload memcg_ext: %s", strerror(-err));
	return !err;
}

static bool run_round(int round)
{
	bool backwards = round % 2;

	if (backwards && !opt.stock_only && !run_ext(true))
		return false;
	run_cells(backwards ? STOCK_MAX : NONE, backwards ? NONE : STOCK_MAX);
	return backwards || opt.stock_only || run_ext(false);
}

/* As many rounds as asked for, or as there is time for. */
static void run_rounds(uint64_t start)
{
	double spent;
	int i;

	for (i = 0; i < opt.runs; i++) {
		spent = (now_ns() - start) / 1e9;
		if (opt.budget && i && spent + spent / i > opt.budget) {
			ktap_note("no time for more than %d rounds: %.0f s of %.0f",
				  i, spent, opt.budget);
			break;
		}
		if (!run_round(i))
			break;
	}
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

/*
 * 95 % intervals of the ratios between two groups that differ by chance alone;
 * computed once.
 */
static const struct interval *chance(void)
{
	static struct interval ratio[TAILS];

	if (!ratio[0].high)
		bench_tail_chance(cells[NONE].run, cells[NONE].runs,
				  cells[NONE_AGAIN].run,
				  cells[NONE_AGAIN].runs, ratio);
	return ratio;
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
	for (c = cells; c < cells + used(); c++) {
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

	for (c = cells; c < cells + used(); c++) {
		const struct trace *t = &c->trace;

		if (!c->runs)
			continue;
		ktap_note("M1%s mode=%s limit=%s run=%d runs=%d seconds=%.0f n=%zu p50=%.3f p99=%.3f p999=%.3f max=%.3f over20ms_per_10000=%.2f missed=%.0f slept=%.0f writers_bytes_per_s=%.0f high=%lld max_events=%lld average=%.0f peak=%.0f member_pages=%.0f kthread_pages=%.0f other_pages=%.0f member_reclaim_ms=%.1f kthread_reclaim_ms=%.1f throttle_sleeps=%.0f throttle_ms=%.1f sync_sleeps=%.0f psi_some_ms=%.1f pgscan=%lld misses=%.0f",
			  opt.anon ? "-anon" : opt.threads ? "-threads" : "",
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
	double p99 = cell_quantile_ms(c, .99), aa = chance()[P99].high;
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

static void check(void)
{
	check_stock();
	if (!cells[EXT_HIGH].runs)
		return;
	print_rates(&cells[EXT_HIGH], &cells[STOCK_HIGH]);
	print_rates(&cells[EXT_MAX], &cells[STOCK_MAX]);
	check_ext(&cells[EXT_HIGH]);
}

/* The report of make bench from here on. */

/* How long the tracer watched a cell: while the paced thread ran. */
static double traced_s(const struct cell *c)
{
	return c->runs * opt.seconds;
}

static void tails(const struct cell *c, double *v)
{
	const struct samples *runs[MAX_RUNS];
	int i;

	for (i = 0; i < c->runs; i++)
		runs[i] = &c->run[i];
	bench_tails(runs, i, v);
}

static const struct cell *stock_of(const struct cell *c)
{
	return &cells[c->file && !strcmp(c->file, "memory.max") ? STOCK_MAX :
								  STOCK_HIGH];
}

/* What is judged of a cell. */
struct figures {
	double tail[TAILS];		/* ratios to none */
	struct interval tail_ci[TAILS];
	double rate;			/* writers' bytes, ratio to stock */
	struct interval rate_ci;
	double peak;
};

static struct figures figures[CELLS];

static double mean(const double *v, int n)
{
	double sum = 0;
	int i;

	for (i = 0; i < n; i++)
		sum += v[i];
	return sum / n;
}

static void compute_figures(void)
{
	const struct cell *none = &cells[NONE], *stock;
	double reference[TAILS];
	int i, t;

	tails(none, reference);
	for (i = 0; i < used(); i++) {
		const struct cell *c = &cells[i];
		struct figures *f = &figures[i];

		tails(c, f->tail);
		for (t = 0; t < TAILS; t++)
			f->tail[t] /= reference[t];
		bench_tail_ratios(c->run, c->runs, none->run, none->runs,
				  f->tail_ci);
		stock = stock_of(c);
		f->rate = mean(c->rate, c->runs) /
			  mean(stock->rate, stock->runs);
		f->rate_ci = bench_mean_ratio(c->rate, c->runs, stock->rate,
					      stock->runs);
		f->peak = fmax(c->peak, c->trace.peak);
	}
}

static void report_latencies(void)
{
	const struct cell *c;

	bench_md("| cell | runs | samples | rounds missed | slept in | p50, ms | p99 | p99.9 | max | above 20 ms, per 10,000 | p99 to none [95 %%] | p99.9 to none [95 %%] |");
	bench_md("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
	for (c = cells; c < cells + used(); c++) {
		const struct figures *f = &figures[c - cells];
		const struct interval *ci = f->tail_ci;

		bench_md("| %s | %d | %zu | %.0f | %.0f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f [%.2f, %.2f] | %.2f [%.2f, %.2f] |",
			 c->label, c->runs, count(c), c->missed, c->slept,
			 cell_quantile_ms(c, .5), cell_quantile_ms(c, .99),
			 cell_quantile_ms(c, .999), cell_quantile_ms(c, 1),
			 cell_over(c), f->tail[P99], ci[P99].low, ci[P99].high,
			 f->tail[P999], ci[P999].low, ci[P999].high);
	}
	bench_md("%s", "");
}

static void report_memory(void)
{
	const struct cell *c;

	bench_md("| cell | writers, MB/s | to stock [95 %%] | usage, MiB | peak, MiB | events high | max | oom |");
	bench_md("| --- | --: | --: | --: | --: | --: | --: | --: |");
	for (c = cells; c < cells + used(); c++) {
		const struct figures *f = &figures[c - cells];

		if (!c->file) {
			bench_md("| %s | %.1f | | %.2f | %.2f | %lld | %lld | %lld |",
				 c->label, mean(c->rate, c->runs) / 1e6,
				 c->trace.average / MIB, f->peak / MIB, c->high,
				 c->max, c->oom);
			continue;
		}
		bench_md("| %s | %.1f | %.2f [%.2f, %.2f] | %.2f | %.2f | %lld | %lld | %lld |",
			 c->label, mean(c->rate, c->runs) / 1e6, f->rate,
			 f->rate_ci.low, f->rate_ci.high,
			 c->trace.average / MIB, f->peak / MIB, c->high, c->max,
			 c->oom);
	}
	bench_md("%s", "");
}

static void report_reclaim(void)
{
	const struct cell *c;

	bench_md("Milliseconds per second; tasks are those in the cgroup.");
	bench_md("%s", "");
	bench_md("| cell | pages reclaimed by tasks | tasks in reclaim | of it on a CPU | kernel threads in reclaim | of it on a CPU | tasks asleep over memory.high | with the charge on the stack | waits by memcg_ext's own count | PSI some |");
	bench_md("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
	for (c = &cells[STOCK_HIGH]; c < cells + used(); c++) {
		const struct trace *t = &c->trace;
		double s = traced_s(c) * 1e6;	/* ns to ms per second */

		bench_md("| %s | %.2f %% | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f |",
			 c->label, trace_member_share(t) * 100,
			 t->members.reclaim_ns / s,
			 t->members.reclaim_cpu_ns / s,
			 t->kthreads.reclaim_ns / s,
			 t->kthreads.reclaim_cpu_ns / s,
			 t->members.sleep_ns / s, t->members.sync_sleep_ns / s,
			 c->wait_us / 1e3 / c->seconds,
			 c->stall_us / 1e3 / c->seconds);
	}
	bench_md("%s", "");
}

/* One bar: a line of the table, a column for each limited cell. */
struct bar {
	char allowed[80];
	char cell[CELLS][40];
};

static void judge(struct bar *b, int cell, bool ok, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void judge(struct bar *b, int cell, bool ok, const char *fmt, ...)
{
	char value[24];
	va_list args;

	va_start(args, fmt);
	vsnprintf(value, sizeof(value), fmt, args);
	va_end(args);
	snprintf(b->cell[cell], sizeof(b->cell[cell]), "%s %s", value,
		 ok ? "pass" : "**fail**");
}

/* Prints the bar, and empties it for the next one. */
static void print_bar(struct bar *b, const char *what)
{
	bench_md("| %s | %s | %s | %s | %s | %s |", what, b->allowed,
		 b->cell[STOCK_HIGH], b->cell[EXT_HIGH], b->cell[STOCK_MAX],
		 b->cell[EXT_MAX]);
	memset(b, 0, sizeof(*b));
}

static void bar_tail(int tail, const char *what)
{
	double by_chance = chance()[tail].high, allowed = fmax(1.2, by_chance);
	struct bar b = { 0 };
	int i;

	snprintf(b.allowed, sizeof(b.allowed), "%.2f (1.2, A/A %.2f)", allowed,
		 by_chance);
	for (i = STOCK_HIGH; i < JUDGED; i++)
		judge(&b, i, figures[i].tail[tail] <= allowed, "%.2f",
		      figures[i].tail[tail]);
	print_bar(&b, what);
}

/* What no limit of its own can be blamed for, see -o. */
static void bar_outside(int tail, const char *what)
{
	double by_chance = chance()[tail].high, allowed = fmax(1.2, by_chance);
	struct bar b = { 0 };
	double ratio;
	int i;

	if (!opt.outside)
		return;
	snprintf(b.allowed, sizeof(b.allowed), "%.2f (1.2, A/A %.2f)", allowed,
		 by_chance);
	for (i = STOCK_HIGH; i < JUDGED; i++) {
		ratio = figures[i].tail[tail] / figures[EXT_OUTSIDE].tail[tail];
		judge(&b, i, ratio <= allowed, "%.2f", ratio);
	}
	print_bar(&b, what);
}

static void bar_over(void)
{
	double allowed = cell_over(&cells[NONE]) + 1;
	struct bar b = { 0 };
	int i;

	snprintf(b.allowed, sizeof(b.allowed), "%.2f (none and one more)",
		 allowed);
	for (i = STOCK_HIGH; i < JUDGED; i++)
		judge(&b, i, cell_over(&cells[i]) <= allowed, "%.2f",
		      cell_over(&cells[i]));
	print_bar(&b, "samples above 20 ms, per 10,000");
}

/*
 * The lower end of the interval decides; or the ratio, as of the tails, by what stock's own
 * runs differ. Of two that do the same that end lies below stock's own every other time.
 */
static void bar_rates(void)
{
	double itself = fmin(figures[STOCK_HIGH].rate_ci.low,
			     figures[STOCK_MAX].rate_ci.low);
	struct bar b = { 0 };
	int i;

	snprintf(b.allowed, sizeof(b.allowed),
		 "from 0.95 on, or itself at least %.2f (A/A)", itself);
	for (i = EXT_HIGH; i < JUDGED; i++) {
		const struct figures *f = &figures[i];

		judge(&b, i, f->rate_ci.low >= .95 || f->rate >= itself,
		      "%.2f [%.2f, %.2f]", f->rate, f->rate_ci.low,
		      f->rate_ci.high);
	}
	print_bar(&b, "writers' bytes to stock [95 %]");
}

static void bar_limits(void)
{
	struct bar b = { .allowed = "1 %" };
	double over;
	int i;

	for (i = STOCK_HIGH; i < JUDGED; i++) {
		if (!strcmp(cells[i].file, "memory.max"))
			continue;
		over = (cells[i].trace.average / LIMIT - 1) * 100;
		judge(&b, i, over <= 1, "%+.2f %%", over);
	}
	print_bar(&b, "average usage above memory.high");
	snprintf(b.allowed, sizeof(b.allowed), "0");
	for (i = STOCK_HIGH; i < JUDGED; i++) {
		if (strcmp(cells[i].file, "memory.max"))
			continue;
		over = fmax(0, figures[i].peak - LIMIT) / 1024;
		judge(&b, i, over <= 0, "%.0f KiB", over);
	}
	print_bar(&b, "peak above memory.max");
}

static void bar_killed(void)
{
	struct bar b = { .allowed = "0" };
	int i;

	for (i = STOCK_HIGH; i < JUDGED; i++)
		judge(&b, i, !cells[i].killed, "%d", cells[i].killed);
	print_bar(&b, "runs ended by the OOM killer");
}

static void bar_share(void)
{
	struct bar b = { .allowed = "1 %" };
	double share;
	int i;

	for (i = STOCK_HIGH; i < JUDGED; i++) {
		share = trace_member_share(&cells[i].trace) * 100;
		judge(&b, i, share <= 1, "%.2f %%", share);
	}
	print_bar(&b, "reclaimed by allocating tasks");
}

/* Pacing them must not be starving them: each has rewritten its file. */
static void bar_batch(void)
{
	struct bar b = { .allowed = "64 MiB" };
	int i;

	if (!opt.threads)
		return;
	for (i = STOCK_HIGH; i < JUDGED; i++)
		judge(&b, i, cells[i].least >= 64 * MIB, "%.0f MiB",
		      cells[i].least / MIB);
	print_bar(&b, "written by each batch thread in each run, at least");
}

static void report_bars(void)
{
	bench_md("| bar | allowed | stock memory.high | built-in memory.high | stock memory.max | built-in memory.max |");
	bench_md("| --- | --: | --: | --: | --: | --: |");
	bar_tail(P99, "p99 to none");
	bar_tail(P999, "p99.9 to none");
	bar_outside(P99, "p99 to the same thread outside");
	bar_outside(P999, "p99.9 to the same thread outside");
	bar_over();
	if (!opt.threads)
		bar_rates();
	bar_limits();
	bar_share();
	bar_killed();
	bar_batch();
	bench_md("%s", "");
	bench_md("A/A: none again to none is %.2f at p99 and %.2f at p99.9; chance alone does [%.2f, %.2f] and [%.2f, %.2f] in 95 %% of all draws of whole runs.",
		 figures[NONE_AGAIN].tail[P99], figures[NONE_AGAIN].tail[P999],
		 chance()[P99].low, chance()[P99].high, chance()[P999].low,
		 chance()[P999].high);
}

/*
 * How many samples are longer than so much: a few points of the curve, as close
 * as a plot with logarithmic axes can show.
 */
static void report_curve(const struct cell *c)
{
	struct samples s = pooled(c);
	size_t i, rank, last = s.n;
	double part;

	bench_sort(&s);
	bench_data("ccdf", "\"%s\"", c->label);
	for (i = 0; i < 200; i++) {
		part = pow(10, i / -12.0);
		rank = s.n - part * s.n;
		if (rank >= s.n || rank == last)
			continue;
		bench_data("ccdf", "%.4f %.3e", s.ns[rank] / 1e6,
			   (double)(s.n - rank) / s.n);
		last = rank;
	}
	bench_data("ccdf", "%.4f %.3e", s.ns[s.n - 1] / 1e6, 1.0 / s.n);
	/* Two empty lines end a block of gnuplot's. */
	bench_data("ccdf", "%s", "");
	bench_data("ccdf", "%s", "");
	free(s.ns);
}

/*
 * Stock that did not come to its limit, on a machine with too much else to do,
 * would look better than it is. (memcg_ext may hold its writers back below: that
 * shows in their bytes.)
 */
static bool was_at_limit(const struct cell *c)
{
	double mib = (c->trace.members.reclaim_pages +
		      c->trace.kthreads.reclaim_pages +
		      c->trace.others.reclaim_pages) * PAGE / MIB;
	bool ok = c->runs;

	if (c->file && !c->ext)
		ok = ok && mib > c->runs * LIMIT / MIB / 4;
	return ktap_ok(ok, "%s: %d runs, %.0f MiB reclaimed", c->name, c->runs,
		       mib);
}

static void report(void)
{
	bool good = true;
	int i;

	for (i = 0; i < used(); i++)
		good &= was_at_limit(&cells[i]);
	if (!good)
		return;
	compute_figures();
	bench_n("%d runs of %.0f s per cell", cells[NONE].runs, opt.seconds);
	report_bars();
	bench_md("%s", "");
	report_latencies();
	report_memory();
	report_reclaim();
	for (i = 0; i < used(); i++)
		report_curve(&cells[i]);
}

static void usage(FILE *out)
{
	fputs("usage: m1 [-BSaoT] [-n RUNS] [-t SECONDS] [-m SECONDS]\n"
	      "  -n RUNS     runs of each cell (5)\n"
	      "  -t SECONDS  length of the paced thread's run (4)\n"
	      "  -m SECONDS  start no round that would end later than this\n"
	      "  -a          writers of anonymous memory, with swap\n"
	      "  -o          one more cell, with the paced thread outside\n"
	      "  -T          all are threads of one process, the paced one critical, writers batch\n"
	      "  -B          report for make bench; no figure is judged by the exit status\n"
	      "  -S          stock only: leave memcg_ext out\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:t:m:BSaoTh")) != -1) {
		switch (c) {
		case 'n': opt.runs = atoi(optarg); break;
		case 't': opt.seconds = atof(optarg); break;
		case 'm': opt.budget = atof(optarg); break;
		case 'B': opt.bench = true; break;
		case 'a': opt.anon = true; break;
		case 'o': opt.outside = true; break;
		case 'S': opt.stock_only = true; break;
		case 'T': opt.threads = true; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (opt.runs < 1 || opt.runs > MAX_RUNS || opt.seconds <= 0 ||
	    (opt.threads && (opt.anon || opt.outside)) || optind < argc) {
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
	cg_remove(CG_OUTSIDE);
	thp_off();
	err = opt.anon ? swap_on() : 0;
	if (err)
		ktap_skip_all("no swap disk: %s", strerror(-err));
	/* The OOM killer's report has a call trace: not for the console. */
	if (opt.anon)
		setting("/proc/sys/kernel/printk", "1");
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

	parse(argc, argv);
	ktap_start();
	prepare();
	run_rounds(start);
	proc_wait(&tracer);
	print_table();
	print_lines();
	if (reference_is_good())
		opt.bench ? report() : check();
	ktap_note("took %.0f s", (now_ns() - start) / 1e9);
	return ktap_end();
}
