// SPDX-License-Identifier: GPL-2.0-only
/*
 * M4, the cliff: memory.max 128 MiB, memory.high 0.8 and 0.9 of it, no swap, and
 * one task that touches 10 MiB/s of memory that it never gives back. In its
 * short form a test, with -B the measure that make bench runs.
 *
 * The stock kernel slows it down more and more, to an end that may be far away,
 * which is what its cells show, cut off after a minute. With memcg_ext there is
 * a decision within stuck_ms (5000) of the first pass that frees nothing, and
 * then what is asked for. In some cells the memory is that of a file, which can
 * be reclaimed: without a limit, which is the reference, and with it, where
 * nothing is decided and it is as fast.
 *
 * The OOM killer ends some cells. Its report, with a call trace, is kept from
 * the console.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libbench.h"
#include "libhog.h"

#define CG		"mcx-test-m4"
#define MAX		(128 * MIB)
#define BIG		(512 * MIB)
#define STUCK_MS	5000
#define LEAST		0.9	/* of the rate without a limit */
#define CUT		60.0	/* s */
#define FILE_PATH	"/scratch/m4"
#define MAX_RUNS	8
#define MAX_CELLS	24
#define SAMPLE_MS	100
#define MAX_SAMPLES	1024

struct kind {
	const char *name;
	const char *stuck;	/* NULL: not managed */
	bool file;
	bool bench;		/* in the report only */
	bool big;		/* there with BIG, too */
};

static const struct kind reference = { .name = "unthrottled", .file = true };
static const struct kind again = { .name = "unthrottled again", .file = true };

static const struct kind kinds[] = {
	{ .name = "stock", .big = true },
	{ .name = "stock, reclaimable", .file = true, .bench = true },
	{ .name = "notify", .stuck = "notify" },
	{ .name = "max", .stuck = "max", .big = true },
	{ .name = "kill", .stuck = "kill", .big = true },
	{ .name = "reclaimable", .stuck = "kill", .file = true },
};

#define KINDS	(sizeof(kinds) / sizeof(*kinds))

/* Who ended it. */
enum end { CUT_OFF, FINISHED, OOM_KILLER, MEMCG_EXT, ENDS };

static const char *const end_name[ENDS] = {
	"cut off", "has it all", "OOM killer", "memcg_ext",
};

struct row {
	double seconds;		/* from passing memory.high to the end */
	double rate;		/* bytes a second, until it got the last */
	struct decision decision;
	long long high_events;
	long long stuck;
	long long stuck_kill;
	bool at_limit;
	enum end end;
};

/* What it had, over time. Shared: a child takes the samples. */
struct curve {
	int n;
	struct {
		double s;
		size_t touched;
	} at[MAX_SAMPLES];
};

struct cell {
	const struct kind *kind;
	double part;		/* memory.high, of max; 0: no limit at all */
	size_t max;
	size_t high;
	struct row row[MAX_RUNS];
	int runs;
	struct curve *curve;	/* of the first run */
};

static struct options {
	int runs;
	double budget;		/* seconds for all rounds; 0: none */
	bool bench;
} opt = { .runs = 1 };

static struct cell cells[MAX_CELLS];
static int nr_cells;
static int nr_round;		/* the first so many are run each round */

static void add_cell(const struct kind *kind, double part, size_t max)
{
	cells[nr_cells++] = (struct cell) {
		.kind = kind, .part = part, .max = max,
		.high = (size_t)(max * part) / PAGE * PAGE,
	};
}

static void add_cells(void)
{
	size_t i;

	add_cell(&reference, 0, MAX);
	for (i = 0; i < KINDS; i++) {
		if (kinds[i].bench && !opt.bench)
			continue;
		add_cell(&kinds[i], 0.8, MAX);
		add_cell(&kinds[i], 0.9, MAX);
	}
	if (opt.bench)
		add_cell(&again, 0, MAX);
	nr_round = nr_cells;
	for (i = 0; i < KINDS && opt.bench; i++) {
		if (!kinds[i].big)
			continue;
		add_cell(&kinds[i], 0.8, BIG);
		add_cell(&kinds[i], 0.9, BIG);
	}
}

static void set_limit(const char *file, size_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", bytes);
	cg_write(CG, file, text);
}

/* Anew: pages of the cell before would not be charged to this one. */
static int make_file(size_t len)
{
	int fd, ret;

	unlink(FILE_PATH);
	fd = open(FILE_PATH, O_RDWR | O_CREAT, 0600);
	ret = fd < 0 ? -1 : ftruncate(fd, len);
	close(fd);
	return ret;
}

static int cell_setup(const struct cell *c, size_t len)
{
	char conf[64];
	int err;

	cg_remove(CG);
	err = c->kind->stuck ? mcx_load() : mcx_unload();
	if (!err)
		err = cg_create(CG);
	if (!err && c->kind->file)
		err = make_file(len);
	if (err)
		return err;
	if (c->high) {
		set_limit("memory.high", c->high);
		set_limit("memory.max", c->max);
	}
	if (!c->kind->stuck)
		return 0;
	snprintf(conf, sizeof(conf), "stuck=%s", c->kind->stuck);
	cg_write(CG, "memory.ext.reclaim", conf);
	return mcx_manage(CG);
}

/* In a child, as the test waits for other things meanwhile. */
static pid_t start_curve(struct cell *c, const struct hog *h)
{
	uint64_t begin = now_ns();
	struct curve *v;
	pid_t pid;

	if (!opt.bench || c->curve || c->kind->file)
		return 0;
	v = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (v == MAP_FAILED)
		return 0;
	c->curve = v;
	pid = fork();
	if (pid)
		return pid;
	while (v->n < MAX_SAMPLES) {
		v->at[v->n].s = (double)(now_ns() - begin) / NSEC;
		v->at[v->n].touched = *h->touched;
		v->n++;
		nap_ms(SAMPLE_MS);
	}
	_exit(0);
}

static void end_curve(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* When it has so much; or is dead, or takes too long. */
static uint64_t reaches(struct hog *h, size_t bytes)
{
	uint64_t begin = now_ns();

	while (*h->touched < bytes && hog_lives(h) &&
	       now_ns() - begin < CUT * NSEC)
		nap_ms(5);
	return now_ns();
}

/* Until it has all, is dead, or the time is up. */
static void measure(struct row *r, struct hog *h, size_t len)
{
	uint64_t start = now_ns();
	size_t at, first = *h->touched, last = first;
	double seconds = 0;

	do {
		at = *h->touched;
		seconds = (double)(now_ns() - start) / NSEC;
		/* The OOM killer takes its time, too. */
		if (at > last && seconds > 0)
			r->rate = (at - first) / seconds;
		last = at;
		if (at >= len || !hog_lives(h))
			return;
		nap_ms(5);
	} while (seconds < CUT);
}

static enum end who_ended(const struct row *r, struct hog *h, size_t len)
{
	if (hog_killed(h, 200))
		return r->stuck_kill > 0 ? MEMCG_EXT : OOM_KILLER;
	return *h->touched >= len ? FINISHED : CUT_OFF;
}

static void note_row(const struct cell *c, const struct row *r)
{
	ktap_note("%-18s max=%lu high=%.1f decided_ms=%.0f seconds=%.1f rate=%.2f MiB/s high_events=%lld stuck=%lld stuck_kill=%lld end=%s",
		  c->kind->name, c->max / MIB, c->part, r->decision.after,
		  r->seconds, r->rate / MIB, r->high_events, r->stuck,
		  r->stuck_kill, end_name[r->end]);
}

static void count(const struct cell *c, struct row *r)
{
	long long reclaimed = cg_key(CG, "memory.ext.stat", "reclaimed_pages");

	r->high_events = cg_key(CG, "memory.events", "high");
	r->stuck = cg_key(CG, "memory.ext.events", "stuck");
	r->stuck_kill = cg_key(CG, "memory.ext.events", "stuck_kill");
	/* Workers that are in time raise no event. */
	r->at_limit = !c->high || r->high_events > 0 || reclaimed > 0;
}

static void run_hog(struct cell *c, struct row *r, size_t len)
{
	size_t from = (c->high ? c->high : c->max / 10 * 8) - MIB;
	uint64_t passed;
	struct hog h;
	pid_t pid;

	h = c->kind->file ? hog_start_file(CG, FILE_PATH, len) :
			    hog_start(CG, c->high - 16 * MIB, len, 0);
	pid = start_curve(c, &h);
	passed = reaches(&h, from);
	if (c->kind->stuck && !c->kind->file)
		r->decision = decision_wait(CG, c->high, CUT, &h);
	measure(r, &h, len);
	r->seconds = (double)(now_ns() - passed) / NSEC;
	end_curve(pid);
	count(c, r);
	r->end = who_ended(r, &h, len);
	hog_end(&h);
}

static void run_cell(struct cell *c)
{
	size_t len = c->kind->file ? c->max * 2 : c->max / 2 * 3;
	struct row *r = &c->row[c->runs];
	int err;

	*r = (struct row) { .decision.after = -1 };
	err = cell_setup(c, len);
	if (err) {
		ktap_ok(false, "%s, %.1f: cannot be set up (%d)", c->kind->name,
			c->part, err);
		return;
	}
	run_hog(c, r, len);
	note_row(c, r);
	if (!r->at_limit)
		ktap_ok(false, "%s, %.1f: did not come to its limit",
			c->kind->name, c->part);
	else
		c->runs++;
}

/* Each second one backwards, so that none has always the same before it. */
static void run_round(int round)
{
	int i;

	for (i = 0; i < nr_round; i++)
		run_cell(&cells[round % 2 ? nr_round - 1 - i : i]);
}

static void run_rounds(void)
{
	uint64_t start = now_ns();
	double spent;
	int i;

	for (i = nr_round; i < nr_cells; i++)
		run_cell(&cells[i]);
	for (i = 0; i < opt.runs; i++) {
		uint64_t round = now_ns();

		run_round(i);
		spent = (double)(2 * now_ns() - round - start) / NSEC;
		if (opt.budget && i + 1 < opt.runs && spent > opt.budget) {
			ktap_note("no time for more than %d rounds", i + 1);
			break;
		}
	}
}

static double mean_rate(const struct cell *c)
{
	double sum = 0;
	int i;

	for (i = 0; i < c->runs; i++)
		sum += c->row[i].rate;
	return sum / c->runs;
}

static bool decided(const struct row *r)
{
	return r->decision.after >= 0 && r->decision.after <= STUCK_MS &&
	       r->stuck == 1;
}

/* The test: one run of each. */
static void check_decided(const struct cell *c)
{
	ktap_ok(decided(c->row), "%s, %.1f: decided once, after %.0f ms",
		c->kind->name, c->part, c->row->decision.after);
}

static void check_stock(const struct cell *c, double unthrottled)
{
	const struct row *r = c->row;

	ktap_ok(r->seconds > 2 * STUCK_MS / 1000 && r->rate < unthrottled / 2,
		"stock, %.1f: %.2f MiB/s of %.2f, for %.0f s at least", c->part,
		r->rate / MIB, unthrottled / MIB, r->seconds);
}

static void check_file(const struct cell *c, double unthrottled)
{
	const struct row *r = c->row;

	ktap_ok(!r->stuck && r->end == FINISHED &&
		r->rate >= LEAST * unthrottled,
		"reclaimable, %.1f: nothing to decide, %.2f MiB/s of %.2f",
		c->part, r->rate / MIB, unthrottled / MIB);
}

static void check_managed(const struct cell *c, double unthrottled)
{
	const struct row *r = c->row;

	check_decided(c);
	if (!strcmp(c->kind->stuck, "notify"))
		ktap_ok(r->end == OOM_KILLER,
			"notify, %.1f: the OOM killer decides", c->part);
	else if (!strcmp(c->kind->stuck, "max"))
		ktap_ok(r->end == OOM_KILLER && r->rate >= LEAST * unthrottled,
			"max, %.1f: and then %.2f MiB/s of %.2f up to memory.max",
			c->part, r->rate / MIB, unthrottled / MIB);
	else
		ktap_ok(r->end == MEMCG_EXT && r->stuck_kill == 1,
			"kill, %.1f: killed", c->part);
}

static void check(double unthrottled)
{
	const struct cell *c;

	for (c = cells + 1; c < cells + nr_cells; c++) {
		if (!c->runs)
			continue;
		if (c->kind->file)
			check_file(c, unthrottled);
		else if (c->kind->stuck)
			check_managed(c, unthrottled);
		else
			check_stock(c, unthrottled);
	}
}

/* The report of make bench from here on. */

/* A cell of the table in pieces, each a text. */
struct texts {
	char label[64];
	char decided[64];
	char seconds[32];
	char rate[64];
	char ratio[64];
	char high[32];
	char end[96];
};

static const char *verdict(bool ok)
{
	return ok ? "pass" : "**fail**";
}

/* Of several runs the longest; a single one without a decision is enough. */
static void text_decided(struct texts *t, const struct cell *c)
{
	double longest = 0;
	bool ok = true;
	int i, never = 0;

	if (c->kind->file)
		return;
	for (i = 0; i < c->runs; i++) {
		const struct row *r = &c->row[i];

		never += r->decision.after < 0;
		ok &= decided(r);
		if (r->decision.after > longest)
			longest = r->decision.after;
	}
	if (never)
		snprintf(t->decided, sizeof(t->decided), "never%s **fail**",
			 never < c->runs ? " in some" : "");
	else
		snprintf(t->decided, sizeof(t->decided), "%.0f %s", longest,
			 verdict(ok));
}

static void text_rate(struct texts *t, const struct cell *c, double unthrottled)
{
	double low = c->row->rate, high = low;
	bool judged = c->high && (c->kind->file || (c->kind->stuck &&
			!strcmp(c->kind->stuck, "max")));
	int i;

	/* Who is killed at once has none. */
	if (!unthrottled || (c->kind->stuck && !c->kind->file &&
			     !strcmp(c->kind->stuck, "kill")))
		return;
	for (i = 1; i < c->runs; i++) {
		low = c->row[i].rate < low ? c->row[i].rate : low;
		high = c->row[i].rate > high ? c->row[i].rate : high;
	}
	if (c->runs > 1)
		snprintf(t->rate, sizeof(t->rate), "%.2f [%.2f, %.2f]",
			 mean_rate(c) / MIB, low / MIB, high / MIB);
	else
		snprintf(t->rate, sizeof(t->rate), "%.2f", low / MIB);
	snprintf(t->ratio, sizeof(t->ratio), "%.3f%s%s", low / unthrottled,
		 judged ? " " : "",
		 judged ? verdict(low >= LEAST * unthrottled) : "");
}

static void text_counts(struct texts *t, const struct cell *c)
{
	int i, e, by[ENDS] = { 0 };
	double seconds = 0, high = 0;
	size_t len = 0;

	for (i = 0; i < c->runs; i++) {
		seconds += c->row[i].seconds / c->runs;
		high += (double)c->row[i].high_events / c->runs;
		by[c->row[i].end]++;
	}
	snprintf(t->seconds, sizeof(t->seconds), "%.1f", seconds);
	snprintf(t->high, sizeof(t->high), "%.0f", high);
	for (e = 0; e < ENDS; e++) {
		if (!by[e])
			continue;
		len += snprintf(t->end + len, sizeof(t->end) - len, "%s%s",
				len ? ", " : "", end_name[e]);
		if (by[e] < c->runs)
			len += snprintf(t->end + len, sizeof(t->end) - len,
					" %d", by[e]);
	}
}

static void report_cell(const struct cell *c, double unthrottled)
{
	struct texts t = { 0 };

	if (!c->runs)
		return;
	if (c->part)
		snprintf(t.label, sizeof(t.label), "%s, %.1f", c->kind->name,
			 c->part);
	else
		snprintf(t.label, sizeof(t.label), "%s", c->kind->name);
	text_decided(&t, c);
	text_rate(&t, c, unthrottled);
	text_counts(&t, c);
	bench_md("| %s | %s | %s | %s | %s | %s | %s |", t.label, t.decided,
		 t.seconds, t.rate, t.ratio, t.high, t.end);
}

static void report_head(void)
{
	bench_md("| cell | decided after, ms: longest (allowed %d) | s from memory.high to the end | MiB/s [lowest, highest] | lowest to unthrottled (allowed %.1f) | high events | ended by |",
		 STUCK_MS, LEAST);
	bench_md("| --- | --: | --: | --: | --: | --: | --- |");
}

/* Thinned out where nothing happens: two of the same are a line. */
static void report_curve(const struct cell *c)
{
	const struct curve *v = c->curve;
	double zero = 0;
	int i;

	for (i = 0; i < v->n && v->at[i].touched < c->high; i++)
		zero = v->at[i].s;
	bench_data("usage", "\"%s, %.1f\"", c->kind->name, c->part);
	for (i = 0; i < v->n; i++) {
		if (i && i < v->n - 1 &&
		    v->at[i].touched == v->at[i - 1].touched &&
		    v->at[i].touched == v->at[i + 1].touched)
			continue;
		bench_data("usage", "%.1f %.2f", v->at[i].s - zero,
			   (double)v->at[i].touched / MIB);
	}
	/* Two empty lines end a block of gnuplot's. */
	bench_data("usage", "%s", "");
	bench_data("usage", "%s", "");
}

static void report(double unthrottled)
{
	int i;

	bench_n("%d per cell, 1 with %lu MiB", cells[0].runs, BIG / MIB);
	report_head();
	for (i = 0; i < nr_round; i++)
		report_cell(&cells[i], unthrottled);
	bench_md("%s", "");
	bench_md("memory.max %lu MiB, one run each:", BIG / MIB);
	bench_md("%s", "");
	report_head();
	for (; i < nr_cells; i++)
		report_cell(&cells[i], unthrottled);
	for (i = 0; i < nr_cells; i++)
		if (cells[i].curve)
			report_curve(&cells[i]);
}

static bool all_ran(void)
{
	bool ok = true;
	int i;

	for (i = 0; i < nr_cells; i++)
		ok &= ktap_ok(cells[i].runs, "%s, %.1f of %lu MiB: %d runs",
			      cells[i].kind->name, cells[i].part,
			      cells[i].max / MIB, cells[i].runs);
	return ok;
}

static void usage(FILE *out)
{
	fputs("usage: m4 [-B] [-n RUNS] [-m SECONDS]\n"
	      "  -B          report for make bench; no figure is judged by the exit status\n"
	      "  -n RUNS     runs of each cell (1)\n"
	      "  -m SECONDS  start no round that would end later than this\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:m:Bh")) != -1) {
		switch (c) {
		case 'n': opt.runs = atoi(optarg); break;
		case 'm': opt.budget = atof(optarg); break;
		case 'B': opt.bench = true; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (opt.runs < 1 || opt.runs > MAX_RUNS || optind < argc) {
		usage(stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	uint64_t start = now_ns();

	parse(argc, argv);
	add_cells();
	ktap_start();
	thp_off();
	setting("/proc/sys/kernel/printk", "1");
	if (make_file(2 * MAX))
		ktap_skip_all("no room for a file");
	run_rounds();
	if (opt.bench && all_ran())
		report(mean_rate(&cells[0]));
	else if (!opt.bench && ktap_ok(cells[0].runs, "the reference ran"))
		check(mean_rate(&cells[0]));
	unlink(FILE_PATH);
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	ktap_note("took %.0f s", (double)(now_ns() - start) / NSEC);
	return ktap_end();
}
