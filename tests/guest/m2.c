// SPDX-License-Identifier: GPL-2.0-only
/*
 * M2, the gate: 64 MB of files written, then mapped and read, in a cgroup of
 * 32 MB, on the stock kernel and with memcg_ext. Pass or fail.
 *
 * Every cell runs three times in one boot: stock, memcg_ext, stock again. The
 * stock runs have to FAIL the gate: a gate that stock passes measures nothing.
 * So has a cgroup with no limit at all, judged as if it had one: that is what
 * the tracer would see of a module that merely skips the limit's handling.
 *
 * At memory.high all writers write, then all read, and each phase is judged by
 * what one entry into the kernel may charge in it: a write, or a window of
 * readahead. With -T a task beside them asks for transparent huge pages; of these
 * the kernel may refuse some at memory.max. Such probes, and charges that must
 * not fail, are told apart by the tracer and listed; everything else still counts.
 *
 * Limits on dirty pages are the same in all cells, see dirty_limit_far(). Usage
 * is averaged from when it first came near the limit: filling up would hide an
 * excess. Usage and who reclaims come from load/memtrace (BPF), not from the module.
 */
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib.h"
#include "libbench.h"

#define TOP		"mcx-test-m2"
#define LEAF		TOP "/load"
#define SCRATCH		"/scratch"	/* where filewriter writes */
#define LIMIT		(32 * MIB)
#define TOTAL		(64 * MIB)
#define MAX_CELLS	64
#define RESAMPLES	2000
#define STOCK_MAX	50	/* stock hits memory.max more often than this */
#define READAHEAD_KB	"128"	/* 6.12's default; 7.x has 8192 for this disk */

enum mode { STOCK, EXT, STOCK_AGAIN, MODES };

struct kind {
	const char *name;
	const char *file;	/* the knob that holds the limit */
	bool parent;		/* limit on the parent of the loaded cgroup */
};

static const struct kind kinds[] = {
	{ "memory.max", "memory.max", false },
	{ "memory.high", "memory.high", false },
	{ "parent memory.max", "memory.max", true },
	{ "parent memory.high", "memory.high", true },
};

#define KINDS	(sizeof(kinds) / sizeof(*kinds))

struct result {
	bool ran;
	int status;		/* of the writers */
	double bytes;
	double seconds;		/* of the whole pass */
	double write_s;
	double read_s;
	long long max;		/* events at the limit's cgroup */
	long long high;
	double peak;		/* memory.peak */
	double huge;		/* huge pages asked for */
	double write_peak;	/* while all wrote; bytes, 0: not told apart */
	double read_peak;
	struct trace trace;
};

struct cell {
	const struct kind *kind;
	int writers;
	unsigned long block;
	struct result result[MODES];
};

static struct options {
	bool full;
	bool stock_only;
	bool thp;
	bool load_only;
	bool bench;
	int passes;
	int kind;		/* -1: all */
	int writers;		/* 0: all */
	unsigned long block;	/* 0: all */
} opt = { .passes = 1, .kind = -1 };

static struct cell cells[MAX_CELLS];
static int nr_cells;
static char readahead[128];	/* file with the writers' disk's window in KiB */
static struct proc tracer;

/* Why a result does not pass; empty if it does. */
struct verdict {
	char text[512];
};

static void against(struct verdict *v, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void against(struct verdict *v, const char *fmt, ...)
{
	size_t len = strlen(v->text);
	va_list args;

	if (len)
		len += snprintf(v->text + len, sizeof(v->text) - len, "; ");
	if (len >= sizeof(v->text))
		return;
	va_start(args, fmt);
	vsnprintf(v->text + len, sizeof(v->text) - len, fmt, args);
	va_end(args);
}

static bool is_high(const struct kind *kind)
{
	return !strcmp(kind->file, "memory.high");
}

static const char *label(const struct cell *c)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s, %d writer%s of %luK", c->kind->name,
		 c->writers, c->writers > 1 ? "s" : "", c->block >> 10);
	return text;
}

/*
 * What all writers and CPUs together may have in flight above the limit, when
 * each charges @entry bytes in one entry into the kernel.
 */
static double peak_bound(const struct cell *c, double entry)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return LIMIT + c->writers * entry + 64.0 * PAGE * cpus;
}

static double read_window(void)
{
	char text[32];

	return read_file(readahead, text, sizeof(text)) > 0 ?
	       atof(text) * 1024 : 0;
}

static void judge_peak(const char *phase, double peak, double bound,
		       struct verdict *v)
{
	if (peak > bound)
		against(v, "peak usage while %s %.2f MiB, allowed %.2f", phase,
			peak / MIB, bound / MIB);
}

static void judge_usage(const struct cell *c, const struct result *r,
			struct verdict *v)
{
	double returns;

	if (r->trace.average > LIMIT * 1.01)
		against(v, "average usage %.2f MiB, allowed %.2f",
			r->trace.average / MIB, LIMIT * 1.01 / MIB);
	judge_peak("writing", r->write_peak, peak_bound(c, c->block), v);
	judge_peak("reading", r->read_peak, peak_bound(c, read_window()), v);
	/*
	 * The counter keeps its meaning: a task that returned to user mode over
	 * the limit, with the handler told about it, is a high event. A call from
	 * try_charge_memcg() is none: it is put off until that return.
	 */
	returns = r->trace.members.high_calls - r->trace.members.high_sync;
	if (returns > 0 && !r->high)
		against(v, "%.0f over-limit returns but no high event",
			returns);
}

/*
 * The cgroup's own counter, less what rejected probes added to it. If the tracer
 * did not see every event, the rest is held against the module as well.
 */
static void judge_max(const struct result *r, struct verdict *v)
{
	const struct trace *t = &r->trace;
	double refused = opt.thp ? t->plain_refused : t->refused;

	if (r->max - t->rejected_max)
		against(v, "max moved by %lld, %.0f of it by rejected probes, allowed 0 beside these",
			r->max, t->rejected_max);
	if (refused)
		against(v, "%.0f charges refused", refused);
}

static void judge(const struct cell *c, const struct result *r,
		  struct verdict *v)
{
	double share = trace_member_share(&r->trace);

	v->text[0] = '\0';
	if (r->status || r->bytes < (double)TOTAL * opt.passes)
		against(v, "writers failed (status %d, %.0f bytes)", r->status,
			r->bytes);
	if (!r->trace.batches)
		against(v, "the tracer saw no charge");
	if (is_high(c->kind))
		judge_usage(c, r, v);
	else
		judge_max(r, v);
	if (share > 0.01)
		against(v, "allocating tasks reclaimed %.1f %%, allowed 1",
			share * 100);
}

/* Makes the cgroups of a cell; with @limited false, without the limit. */
static int make_cgroups(const struct cell *c, bool limited)
{
	char text[32];
	int err = cg_create(TOP);

	if (err)
		return err;
	if (c->kind->parent) {
		err = cg_write(TOP, "cgroup.subtree_control", "+memory");
		if (!err)
			err = cg_create(LEAF);
		if (err)
			return err;
	}
	if (!limited)
		return 0;
	snprintf(text, sizeof(text), "%lu", LIMIT);
	return cg_write(TOP, c->kind->file, text);
}

static void remove_cgroups(void)
{
	cg_remove(LEAF);
	if (cg_remove(TOP))
		ktap_note("cannot remove " TOP);
	sync();
}

/* Between two phases: what the tracer saw of the one, and on with the next. */
static int end_phase(const char *line, struct result *r, const char *cg,
		     struct proc *writers)
{
	double *peak = strstr(line, "=read") ? &r->read_peak : &r->write_peak;
	struct trace t;
	int err = trace_stop(&tracer, &t);

	if (!err)
		err = trace_start(&tracer, TOP, LIMIT, cg);
	trace_add(&r->trace, &t);
	if (t.peak > *peak)
		*peak = t.peak;
	fputc('\n', writers->in);
	fflush(writers->in);
	return err;
}

static int run_writers(const struct cell *c, struct result *r, const char *cg)
{
	char dir[128], size[32], block[32], writers[16], passes[16], line[512];
	const char *const argv[] = {
		"filewriter", "-g", dir, "-w", writers, "-s", size, "-b", block,
		"-p", passes, "-t", "60", is_high(c->kind) ? "-mP" : "-m", NULL,
	};
	struct proc p;
	int err;

	snprintf(dir, sizeof(dir), CGROUP_ROOT "/%s", cg);
	snprintf(size, sizeof(size), "%lu", TOTAL / c->writers);
	snprintf(block, sizeof(block), "%lu", c->block);
	snprintf(writers, sizeof(writers), "%d", c->writers);
	snprintf(passes, sizeof(passes), "%d", opt.passes);
	err = proc_start(&p, argv);
	if (err)
		return err;
	while (proc_line(&p, line, sizeof(line))) {
		if (!strncmp(line, "phase=", 6))
			err = end_phase(line, r, cg, &p) ?: err;
		if (strncmp(line, "total ", 6))
			continue;
		r->bytes = kv(line, "bytes", 0);
		r->seconds = kv(line, "seconds", 0);
		r->write_s = kv(line, "write_s", 0);
		r->read_s = kv(line, "read_s", 0);
	}
	r->status = proc_wait(&p);
	return err;
}

static int start_huge(struct proc *p, const char *cg)
{
	char dir[128], line[256];
	const char *const argv[] = { "thptouch", "-g", dir, NULL };

	snprintf(dir, sizeof(dir), CGROUP_ROOT "/%s", cg);
	if (proc_start(p, argv))
		return -1;
	return proc_line(p, line, sizeof(line)) ? 0 : -1;
}

static void stop_huge(struct proc *p, struct result *r)
{
	char line[256];

	kill(p->pid, SIGTERM);
	if (proc_line(p, line, sizeof(line)))
		r->huge = kv(line, "asked", 0);
	if (proc_wait(p))
		r->status = r->status ?: 1;
}

static int measure(const struct cell *c, struct result *r, bool limited)
{
	const char *cg = c->kind->parent ? LEAF : TOP;
	struct proc huge;
	struct trace t;
	int err;

	err = trace_start(&tracer, TOP, LIMIT, cg);
	if (!err && opt.thp)
		err = start_huge(&huge, cg);
	if (err)
		return err;
	err = run_writers(c, r, cg);
	if (opt.thp)
		stop_huge(&huge, r);
	if (trace_stop(&tracer, &t) || err)
		return err ? err : -1;
	trace_add(&r->trace, &t);
	r->max = cg_key(TOP, "memory.events", "max");
	r->high = cg_key(TOP, "memory.events", "high");
	r->peak = cg_number(TOP, "memory.peak");
	r->ran = limited;
	return 0;
}

static bool run_cell(const struct cell *c, struct result *r, enum mode m,
		     bool limited)
{
	int err;

	memset(r, 0, sizeof(*r));
	err = make_cgroups(c, limited);
	if (!err && m == EXT)
		err = mcx_manage(TOP);
	if (!err)
		err = measure(c, r, limited);
	remove_cgroups();
	if (err)
		ktap_ok(false, "%s: could not be run: %s", label(c),
			strerror(-err));
	return !err;
}

static void print_result(const struct cell *c, enum mode m,
			 const struct result *r)
{
	static const char *const names[] = { "stock", "memcg_ext", "stock" };
	const struct trace *t = &r->trace;

	ktap_note("M2 mode=%s run=%d limit=%s parent=%d writers=%d block=%lu seconds=%.3f write_s=%.3f read_s=%.3f max=%lld high=%lld average=%.0f peak=%.0f memory_peak=%.0f batches=%.0f refused=%.0f member_pages=%.0f kthread_pages=%.0f other_pages=%.0f high_calls=%.0f high_sync=%.0f sleep_ms=%.1f sync_sleeps=%.0f misses=%.0f write_peak=%.0f write_bound=%.0f read_peak=%.0f read_bound=%.0f",
		  names[m], m, c->kind->file, c->kind->parent, c->writers,
		  c->block, r->seconds, r->write_s, r->read_s, r->max, r->high,
		  t->average, t->peak, r->peak, t->batches, t->refused,
		  t->members.reclaim_pages, t->kthreads.reclaim_pages,
		  t->others.reclaim_pages, t->members.high_calls,
		  t->members.high_sync,
		  t->members.sleep_ns / 1e6, t->members.sync_sleeps, t->misses,
		  r->write_peak, peak_bound(c, c->block), r->read_peak,
		  peak_bound(c, read_window()));
	if (opt.thp)
		ktap_note("M2 mode=%s thp asked=%.0f rejected=%.0f max=%lld rejected_max=%.0f forced=%.0f forced_max=%.0f plain_max=%.0f plain_refused=%.0f",
			  names[m], r->huge, t->rejected, r->max,
			  t->rejected_max, t->forced, t->forced_max,
			  t->plain_max, t->plain_refused);
}

/* A stock run is right if the gate rejects it, and for the right reason. */
static void check_stock(const struct cell *c, const struct result *r)
{
	struct verdict v;
	bool fails;

	judge(c, r, &v);
	fails = v.text[0] && !r->status;
	if (!is_high(c->kind))
		fails = fails && r->max - r->trace.rejected_max > STOCK_MAX;
	if (fails && !is_high(c->kind))
		ktap_ok(true,
			"%s: stock fails the gate as expected (max moved by %lld)",
			label(c), r->max);
	else if (fails)
		ktap_ok(true, "%s: stock fails the gate as expected (%s)",
			label(c), v.text);
	else
		ktap_ok(false,
			"%s: stock should fail the gate, but max moved by %lld (%s)",
			label(c), r->max, v.text[0] ? v.text : "no complaint");
}

static void check_ext(const struct cell *c, const struct result *r)
{
	struct verdict v;

	judge(c, r, &v);
	if (v.text[0])
		ktap_ok(false, "%s: memcg_ext: %s", label(c), v.text);
	else if (is_high(c->kind))
		ktap_ok(true,
			"%s: memcg_ext: average %.2f MiB, peak %.2f MiB writing (allowed %.2f), %.2f reading (%.2f), allocating tasks reclaimed %.2f %%",
			label(c), r->trace.average / MIB, r->write_peak / MIB,
			peak_bound(c, c->block) / MIB, r->read_peak / MIB,
			peak_bound(c, read_window()) / MIB,
			trace_member_share(&r->trace) * 100);
	else
		ktap_ok(true,
			"%s: memcg_ext: max %lld (%.0f by rejected probes), average %.2f MiB, peak %.2f MiB, allocating tasks reclaimed %.2f %%",
			label(c), r->max, r->trace.rejected_max,
			r->trace.average / MIB, r->trace.peak / MIB,
			trace_member_share(&r->trace) * 100);
	if (opt.thp)
		ktap_ok(r->huge > 0 && r->max == r->trace.rejected_max +
			r->trace.forced_max + r->trace.plain_max,
			"%s: huge pages asked for %.0f times, %.0f probes rejected; the tracer saw who raised each of %lld max events",
			label(c), r->huge, r->trace.rejected, r->max);
}

/* For kernels that are slowed down by checks: did the cell run to its end? */
static void check_ran(const struct cell *c, const struct result *r)
{
	ktap_ok(!r->status && r->bytes > 0 && r->trace.batches &&
		r->trace.kthreads.reclaim_pages,
		"%s: memcg_ext: writers ended well, %.0f MiB in %.0f s",
		label(c), r->bytes / MIB, r->seconds);
}

static void run_mode(enum mode m)
{
	struct cell *c;

	for (c = cells; c < cells + nr_cells; c++) {
		struct result *r = &c->result[m];

		if (!run_cell(c, r, m, true))
			continue;
		print_result(c, m, r);
		if (opt.bench)
			ktap_ok(r->ran, "%s: ran", label(c));
		else if (opt.load_only)
			check_ran(c, r);
		else if (m == EXT)
			check_ext(c, r);
		else if (m == STOCK)
			check_stock(c, r);
	}
}

static double rate(const struct result *r)
{
	return r->seconds > 0 ? r->bytes / r->seconds : 0;
}

/*
 * Stock over stock, as logarithms, of all cells and both ways round: what one
 * run differs from another by without any cause.
 */
static int stock_ratios(double *ratio)
{
	int i, n = 0;

	for (i = 0; i < nr_cells; i++) {
		const struct result *r = cells[i].result;

		if (!r[STOCK].ran || !r[STOCK_AGAIN].ran)
			continue;
		ratio[n] = log(rate(&r[STOCK_AGAIN]) / rate(&r[STOCK]));
		ratio[n + 1] = -ratio[n];
		n += 2;
	}
	return n;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof(*v), by_size);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/*
 * Lower end of the 95 % interval of a median of @n ratios that differ by chance
 * alone. A/A is one run over one run, what it is compared with one run over the
 * mean of two: its spread is smaller by the root of 3/4.
 */
static double chance(int n)
{
	double aa[2 * MAX_CELLS], drawn[MAX_CELLS], medians[RESAMPLES];
	int i, k, all = stock_ratios(aa);

	for (i = 0; i < RESAMPLES; i++) {
		for (k = 0; k < n; k++)
			drawn[k] = aa[random64() % all] * sqrt(.75);
		medians[i] = median(drawn, n);
	}
	qsort(medians, RESAMPLES, sizeof(*medians), by_size);
	return exp(medians[RESAMPLES / 40]);
}

/* Over the geometric mean of the two stock runs, as a logarithm. */
static double rate_ratio(const struct result *r)
{
	return log(rate(&r[EXT])) -
	       (log(rate(&r[STOCK])) + log(rate(&r[STOCK_AGAIN]))) / 2;
}

static bool all_ran(const struct result *r)
{
	return r[EXT].ran && r[STOCK].ran && r[STOCK_AGAIN].ran;
}

/* Writers' bytes of the cells with the limit in one file, to stock. */
struct rates {
	double ratio;		/* median over the cells */
	double aa;		/* of stock itself */
	double lower;		/* what chance alone may do */
	int n;
};

static struct rates compare_rates(const char *file)
{
	double ratios[MAX_CELLS], aa[MAX_CELLS];
	struct rates found = { 0 };
	int i, n = 0;

	for (i = 0; i < nr_cells; i++) {
		const struct result *r = cells[i].result;

		if (strcmp(cells[i].kind->file, file) || !all_ran(r))
			continue;
		ratios[n] = rate_ratio(r);
		aa[n] = log(rate(&r[STOCK_AGAIN]) / rate(&r[STOCK]));
		n++;
	}
	if (!n)
		return found;
	found.ratio = exp(median(ratios, n));
	found.aa = exp(median(aa, n));
	found.lower = chance(n);
	found.n = n;
	return found;
}

static bool rates_pass(const struct rates *r)
{
	return r->ratio >= 0.95 || r->ratio >= r->lower;
}

static void check_rate(const char *file)
{
	struct rates r = compare_rates(file);

	if (r.n)
		ktap_ok(rates_pass(&r),
			"%s: writers' bytes per second are %.2f of stock; needed: 0.95 or the lower end of A/A %.2f (A/A here %.2f, n=%d)",
			file, r.ratio, r.lower, r.aa, r.n);
}

/* The report of make bench from here on. */
static void report_peak(const struct cell *c, const struct result *r,
			char *text, size_t size)
{
	if (is_high(c->kind))
		snprintf(text, size, "%.2f (%.2f), %.2f (%.2f)",
			 r->write_peak / MIB, peak_bound(c, c->block) / MIB,
			 r->read_peak / MIB,
			 peak_bound(c, read_window()) / MIB);
	else
		snprintf(text, size, "%.2f (32.00)", r->trace.peak / MIB);
}

static void report_cell(const struct cell *c)
{
	const struct result *r = c->result;
	struct verdict stock, ext;
	char peak[128];

	if (!all_ran(r))
		return;
	judge(c, &r[STOCK], &stock);
	judge(c, &r[EXT], &ext);
	report_peak(c, &r[EXT], peak, sizeof(peak));
	bench_md("| %s | %lld / %lld | %lld / %lld | %.2f | %s | %.1f %% | %.1f %% | %.2f | %s | %s%s |",
		 label(c), r[STOCK].max, r[STOCK].high, r[EXT].max, r[EXT].high,
		 r[EXT].trace.average / MIB, peak,
		 trace_member_share(&r[STOCK].trace) * 100,
		 trace_member_share(&r[EXT].trace) * 100, exp(rate_ratio(r)),
		 stock.text[0] ? "rejected" : "**not rejected**",
		 ext.text[0] ? "**fail**: " : "pass", ext.text);
	bench_data("cells", "\"%s, %d of %luK\" %lld %lld %.3f",
		   c->kind->name, c->writers, c->block >> 10,
		   is_high(c->kind) ? r[STOCK].high : r[STOCK].max,
		   is_high(c->kind) ? r[EXT].high : r[EXT].max,
		   exp(rate_ratio(r)));
}

static void report_rate(const char *file)
{
	struct rates r = compare_rates(file);

	if (!r.n)
		return;
	bench_md("| %s, %d cells | %.2f | %.2f | %.2f | %s |", file, r.n,
		 r.ratio, r.aa, r.lower, rates_pass(&r) ? "pass" : "**fail**");
}

static void report(void)
{
	int i;

	bench_n("%d passes over 64 MB in one run per cell, two of stock",
		opt.passes);
	bench_md("| cell | stock max / high | built-in max / high | built-in usage, MiB | peak (allowed); memory.high: writing, reading | reclaimed by tasks, stock | built-in | bytes to stock | stock at the gate | built-in |");
	bench_md("| --- | --: | --: | --: | --: | --: | --: | --: | --- | --- |");
	for (i = 0; i < nr_cells; i++)
		report_cell(&cells[i]);
	bench_md("%s", "");
	bench_md("| writers' bytes to stock | median | stock to itself | A/A's lower end (or 0.95) | |");
	bench_md("| --- | --: | --: | --: | --- |");
	report_rate("memory.max");
	report_rate("memory.high");
}

/*
 * No limit at all is what the tracer would see of a module that switches the
 * over-high handler off and does nothing in its stead.
 */
static void check_skipping(void)
{
	struct cell c = {
		.kind = &kinds[1], .writers = 1, .block = MIB,
	};
	struct result r;
	struct verdict v = { 0 };

	if (!run_cell(&c, &r, STOCK, false))
		return;
	judge_usage(&c, &r, &v);
	if (opt.bench) {
		bench_md("A module that skips the handling and does nothing in its stead is %s (%s).",
			 v.text[0] ? "rejected" : "**not rejected**", v.text);
		bench_md("%s", "");
	}
	ktap_ok(v.text[0] && r.trace.batches,
		"handling skipped, nothing in its stead: the gate rejects it (%s)",
		v.text[0] ? v.text : "it does not");
}

static void add_cells(void)
{
	static const unsigned long quick[] = { 4096, MIB, 0 };
	static const unsigned long full[] = { 4096, 65536, 262144, MIB, 0 };
	const unsigned long *block;
	size_t k;
	int w;

	for (k = 0; k < KINDS; k++) {
		if (opt.kind >= 0 && (size_t)opt.kind != k)
			continue;
		if (opt.thp && is_high(&kinds[k]))
			continue;
		for (w = 1; w <= 8; w += 7) {
			if (opt.writers && opt.writers != w)
				continue;
			for (block = opt.full ? full : quick; *block; block++) {
				if (opt.block && opt.block != *block)
					continue;
				cells[nr_cells++] = (struct cell) {
					.kind = &kinds[k], .writers = w,
					.block = *block,
				};
			}
		}
	}
}

static void usage(FILE *out)
{
	fputs("usage: m2 [-BfSTl] [-p PASSES] [-k KIND] [-w 1|8] [-b BYTES]\n"
	      "  -f         full: also write sizes 64K and 256K\n"
	      "  -B         report for make bench; no figure is judged by the exit status\n"
	      "  -S         stock only: leave memcg_ext out\n"
	      "  -T         THP on, and a task that uses it; memory.max only\n"
	      "  -l         load only, with memcg_ext; no figure is judged\n"
	      "  -p PASSES  write and read the files this often (1)\n"
	      "  -k KIND    0 max, 1 high, 2 parent max, 3 parent high only\n"
	      "  -w, -b     cells with this many writers, this write size only\n",
	      out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "BfSTlp:k:w:b:h")) != -1) {
		switch (c) {
		case 'B': opt.bench = true; break;
		case 'f': opt.full = true; break;
		case 'S': opt.stock_only = true; break;
		case 'T': opt.thp = true; break;
		case 'l': opt.load_only = true; break;
		case 'p': opt.passes = atoi(optarg); break;
		case 'k': opt.kind = atoi(optarg); break;
		case 'w': opt.writers = atoi(optarg); break;
		case 'b': opt.block = strtoul(optarg, NULL, 0); break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (opt.passes < 1 || optind < argc) {
		usage(stderr);
		exit(2);
	}
	add_cells();
	if (!nr_cells) {
		usage(stderr);
		exit(2);
	}
}

/*
 * What one fault may bring in: not more than the limit can hold of all readers
 * together, and the same on all kernels.
 */
static void limit_readahead(void)
{
	struct stat st;

	if (stat(SCRATCH, &st))
		return;
	snprintf(readahead, sizeof(readahead),
		 "/sys/dev/block/%u:%u/bdi/read_ahead_kb",
		 major(st.st_dev), minor(st.st_dev));
	setting(readahead, READAHEAD_KB);
}

static void prepare(void)
{
	int err;

	if (geteuid())
		ktap_skip_all("needs root");
	if (!cg_has("", "cgroup.controllers"))
		ktap_skip_all("no cgroup2 at " CGROUP_ROOT);
	cg_write("", "cgroup.subtree_control", "+memory");
	remove_cgroups();
	if (opt.thp)
		setting("/sys/kernel/mm/transparent_hugepage/enabled", "always");
	else
		thp_off();
	dirty_limit_far();
	limit_readahead();
	err = mcx_unload();
	if (err) {
		ktap_ok(false, "cannot unload memcg_ext for the stock runs: %s",
			strerror(-err));
		exit(ktap_end());
	}
	err = opt.thp ? trace_open_attempts(&tracer) : trace_open(&tracer);
	if (err) {
		ktap_ok(false, "cannot start memtrace: %s", strerror(-err));
		exit(ktap_end());
	}
}

/* Between the stock runs; the rest makes sense without it, the verdict not. */
static void run_ext(void)
{
	int err = mcx_load();

	if (err) {
		ktap_ok(false, "cannot load memcg_ext: %s", strerror(-err));
		return;
	}
	run_mode(EXT);
	err = mcx_unload();
	if (err)
		ktap_ok(false, "cannot unload memcg_ext: %s", strerror(-err));
}

int main(int argc, char **argv)
{
	uint64_t start = now_ns();

	parse(argc, argv);
	ktap_start();
	prepare();
	if (!opt.thp && !opt.load_only)
		check_skipping();
	if (!opt.load_only)
		run_mode(STOCK);
	if (!opt.stock_only)
		run_ext();
	/* With THP it is about the counter; rates are judged without. */
	if (!opt.thp && !opt.load_only)
		run_mode(STOCK_AGAIN);
	if (opt.bench) {
		report();
	} else if (!opt.thp && !opt.load_only) {
		check_rate("memory.max");
		check_rate("memory.high");
	}
	proc_wait(&tracer);
	ktap_note("took %.0f s", (now_ns() - start) / 1e9);
	return ktap_end();
}
