// SPDX-License-Identifier: GPL-2.0-only
/*
 * The demo: the same work at the same limits, on the stock kernel and with
 * memcg_ext, side by side. Runs as root, in a VM or on a machine that may be
 * slowed down for two minutes. Needs 300 MB below the folder given with -d.
 *
 * What is measured is what tests M1 and M2 measure, once and short: the numbers
 * are to look at. For figures with statistics run the measurements.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../guest/lib.h"

#define CG		"mcx-test-demo"
#define GATE_LIMIT	(32 * MIB)
#define STALL_LIMIT	(64 * MIB)
#define COLUMNS		4	/* stock and memcg_ext at two limits */

/* What one column of the table shows. */
struct column {
	const char *file;	/* the knob */
	bool ext;
	bool done;
	double gate_mb;		/* MB written a second */
	long long gate_hits;
	double gate_own;	/* part of reclaim done by the writers */
	double p50, p99, max;	/* ms */
	double stall_mb;
	double stall_own;
	double kthread_ms;	/* CPU time of reclaim in the background */
};

static struct column columns[COLUMNS] = {
	{ .file = "memory.high" },
	{ .file = "memory.high", .ext = true },
	{ .file = "memory.max" },
	{ .file = "memory.max", .ext = true },
};

static struct options {
	const char *dir;
	int gate_seconds;
	int stall_seconds;
} opt = { .dir = "/scratch", .gate_seconds = 6, .stall_seconds = 10 };

static struct proc tracer;
static bool traced;		/* memtrace works here */

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

static const char *mode(const struct column *c)
{
	return c->ext ? "memcg_ext" : "stock";
}

/* The tool a user would use; without it the file it writes. */
static int mcxctl(const char *command)
{
	const char *const argv[] = { "mcxctl", command, CG, NULL };
	char line[512];
	struct proc p;
	int ret;

	say("    $ mcxctl %s " CG, command);
	ret = proc_start(&p, argv);
	if (ret)
		return ret;
	while (proc_line(&p, line, sizeof(line)))
		printf("      %s", line);
	return proc_wait(&p);
}

static int enable(void)
{
	int ret = mcxctl("enable");

	if (ret == 127)		/* there is no such program */
		say("    $ echo 1 > " CGROUP_ROOT "/" CG "/memory.ext.enable");
	else if (ret)
		return -1;
	return mcx_manage(CG);	/* the same again: waits for the hooks */
}

static int setup(const struct column *c, unsigned long limit)
{
	char text[32];
	int err;

	err = cg_create(CG);
	snprintf(text, sizeof(text), "%luM", limit / MIB);
	if (!err)
		err = cg_write(CG, c->file, text);
	if (!err && c->ext)
		err = enable();
	if (!err && traced)
		traced = !trace_start(&tracer, CG, limit, CG);
	return err;
}

static double teardown(struct column *c)
{
	struct trace t = { 0 };

	if (traced)
		traced = !trace_stop(&tracer, &t);
	c->kthread_ms += t.kthreads.reclaim_ns / 1e6;
	cg_remove(CG);
	sync();
	return traced ? trace_member_share(&t) : -1;
}

static long long hits(const struct column *c)
{
	/* The keys of memory.events are named like the knobs. */
	return cg_key(CG, "memory.events", c->file + strlen("memory."));
}

static int start_writers(struct proc *p, const char *size, const char *block,
			 int seconds, bool map)
{
	char time[16];
	const char *const argv[] = {
		"filewriter", "-g", CGROUP_ROOT "/" CG, "-d", opt.dir, "-w",
		"2", "-s", size, "-b", block, "-t", time, "-i",
		map ? "-m" : NULL, NULL,
	};

	snprintf(time, sizeof(time), "%d", seconds);
	return proc_start(p, argv);
}

static void gate_live(const struct column *c, const char *line, long long *last)
{
	long long now = hits(c);

	say("    %-9s %2.0f s: %4.0f MB/s written, limit hit %4lld times, using %2.0f of %lu MB",
	    mode(c), kv(line, "seconds", 0), kv(line, "bytes_per_s", 0) / 1e6,
	    now - *last, cg_number(CG, "memory.current") / (double)MIB,
	    GATE_LIMIT / MIB);
	*last = now;
}

/* Part 1: more file data than fits, written and read back. */
static int gate(struct column *c)
{
	long long last = 0;
	struct proc p;
	char line[512];
	int err;

	err = setup(c, GATE_LIMIT);
	if (!err)
		err = start_writers(&p, "32M", "64K", opt.gate_seconds, true);
	if (err) {
		teardown(c);
		return err;
	}
	while (proc_line(&p, line, sizeof(line))) {
		if (!strncmp(line, "tick ", 5))
			gate_live(c, line, &last);
		else if (!strncmp(line, "total ", 6))
			c->gate_mb = kv(line, "bytes_per_s", 0) / 1e6;
	}
	err = proc_wait(&p);
	c->gate_hits = hits(c);
	c->gate_own = teardown(c);
	return err;
}

static void stall_line(struct column *c, const char *line)
{
	if (!strncmp(line, "tick ", 5)) {
		say("    %-9s %2.0f s: usually %4.1f ms, slowest of the second %6.1f ms",
		    mode(c), kv(line, "seconds", 0), kv(line, "p50_ms", 0),
		    kv(line, "max_ms", 0));
	} else {
		c->p50 = kv(line, "p50_ms", 0);
		c->p99 = kv(line, "p99_ms", 0);
		c->max = kv(line, "max_ms", 0);
	}
}

static int run_paced(struct column *c)
{
	char time[16], line[1024];
	const char *const argv[] = {
		"paced", "-g", CGROUP_ROOT "/" CG, "-t", time, "-i", NULL,
	};
	struct proc p;
	int err;

	snprintf(time, sizeof(time), "%d", opt.stall_seconds);
	err = proc_start(&p, argv);
	if (err)
		return err;
	while (proc_line(&p, line, sizeof(line)))
		stall_line(c, line);
	return proc_wait(&p);
}

/* Part 2: a thread that needs a little memory beside two greedy writers. */
static int stall(struct column *c)
{
	struct proc writers;
	char line[512];
	int err;

	err = setup(c, STALL_LIMIT);
	if (!err)
		err = start_writers(&writers, "64M", "4K",
				    opt.stall_seconds + 2, false);
	if (err) {
		teardown(c);
		return err;
	}
	nap_ms(1000);
	err = run_paced(c);
	while (proc_line(&writers, line, sizeof(line)))
		if (!strncmp(line, "total ", 6))
			c->stall_mb = kv(line, "bytes_per_s", 0) / 1e6;
	if (proc_wait(&writers) && !err)
		err = -1;
	c->stall_own = teardown(c);
	return err;
}

static int need_module(bool loaded)
{
	int err = loaded ? mcx_load() : mcx_unload();

	if (err)
		say("cannot %s memcg_ext: %s", loaded ? "load" : "unload",
		    strerror(-err));
	return err;
}

static int run_part(int (*part)(struct column *), const char *file)
{
	struct column *c;

	say("  With %s:", file);
	for (c = columns; c < columns + COLUMNS; c++) {
		if (strcmp(c->file, file))
			continue;
		if (need_module(c->ext))
			return -1;
		if (part(c)) {
			say("    this run failed");
			return -1;
		}
		c->done = true;
	}
	say("%s", "");
	return 0;
}

static void explain(void)
{
	say("memcg_ext: the same work at a memory limit, with and without it\n\n"
	    "A cgroup's memory.high and memory.max say how much memory its programs may\n"
	    "use. When they reach it, the stock kernel makes the program that asked for\n"
	    "memory free some first, in the middle of what it was doing: it stalls. With\n"
	    "memcg_ext, kernel threads free memory in the background, before the limit is\n"
	    "reached. The limits are the ones you know; nothing else is changed.\n");
}

static void explain_gate(void)
{
	say("1. Writing 64 MB of files into a cgroup that may hold 32 MB, and reading\n"
	    "   them back, over and over for %d s.\n"
	    "   \"Limit hit\" counts in memory.events; every hit is a program held up.\n",
	    opt.gate_seconds);
}

static void explain_stall(void)
{
	say("2. In a cgroup of 64 MB two programs write files as fast as they can. A third\n"
	    "   one needs 256 KB of new memory every 5 ms, and measures how long it waits\n"
	    "   for it: most of the time the few ms that the work itself takes here, but\n"
	    "   now and then it has to free memory for everybody.\n");
}

static void row(const char *what, double (*value)(const struct column *),
		const char *unit, int digits)
{
	int i;

	printf("  %-32s", what);
	for (i = 0; i < COLUMNS; i++) {
		double v = value(&columns[i]);

		if (!columns[i].done || v < 0)
			printf(" %10s", "-");
		else
			printf(" %10.*f", digits, v);
	}
	printf("  %s\n", unit);
}

static double row_hits(const struct column *c) { return c->gate_hits; }
static double row_gate_mb(const struct column *c) { return c->gate_mb; }
static double row_p50(const struct column *c) { return c->p50; }
static double row_p99(const struct column *c) { return c->p99; }
static double row_max(const struct column *c) { return c->max; }
static double row_stall_mb(const struct column *c) { return c->stall_mb; }
static double row_cpu(const struct column *c) { return c->kthread_ms; }

static double percent(double part)
{
	return part < 0 ? part : part * 100;
}

static double row_gate_own(const struct column *c)
{
	return percent(c->gate_own);
}

static double row_stall_own(const struct column *c)
{
	return percent(c->stall_own);
}

static void print_table(void)
{
	say("What came out of it:\n");
	say("  %-32s %21s %21s", "", "memory.high", "memory.max");
	say("  %-32s %10s %10s %10s %10s", "", "stock", "memcg_ext", "stock",
	    "memcg_ext");
	say("  1. files larger than the limit");
	row("limit hit", row_hits, "times", 0);
	row("written", row_gate_mb, "MB/s", 0);
	row("freed by the writers themselves", row_gate_own, "%", 0);
	say("  2. the program that needs a little");
	row("waits usually (median)", row_p50, "ms", 1);
	row("waits at most, 99 of 100 times", row_p99, "ms", 1);
	row("waits at most", row_max, "ms", 1);
	row("written beside it", row_stall_mb, "MB/s", 0);
	row("freed by the programs themselves", row_stall_own, "%", 0);
	row("kernel threads freed memory for", row_cpu, "ms", 0);
	say("\nOne short run of each: expect such numbers to differ from run to run,\n"
	    "the longest wait most of all. The measurements in tests/ repeat them.");
}

static void usage(FILE *out)
{
	fputs("usage: demo [-d DIR] [-t SECONDS]\n"
	      "  -d DIR      folder on a disk, for the files (/scratch)\n"
	      "  -t SECONDS  length of a run of the second part (10)\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "d:t:h")) != -1) {
		switch (c) {
		case 'd': opt.dir = optarg; break;
		case 't': opt.stall_seconds = atoi(optarg); break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (opt.stall_seconds < 1 || optind < argc) {
		usage(stderr);
		exit(2);
	}
}

static int run(void)
{
	explain_gate();
	if (run_part(gate, "memory.high") || run_part(gate, "memory.max"))
		return 1;
	explain_stall();
	if (run_part(stall, "memory.high") || run_part(stall, "memory.max"))
		return 1;
	return 0;
}

int main(int argc, char **argv)
{
	bool was_loaded = mcx_loaded();
	int ret;

	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid()) {
		fprintf(stderr, "demo: needs root\n");
		return 1;
	}
	cg_write("", "cgroup.subtree_control", "+memory");
	cg_remove(CG);
	thp_off();
	dirty_limit_far();
	explain();
	if (need_module(false))
		return 1;
	traced = !trace_open(&tracer);
	if (!traced)
		say("(who frees memory cannot be traced here: shown as -)\n");
	ret = run();
	if (traced)
		proc_wait(&tracer);
	if (!ret)
		print_table();
	need_module(was_loaded);
	return ret;
}
