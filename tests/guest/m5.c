// SPDX-License-Identifier: GPL-2.0-only
/*
 * M5, priority: two workloads that do not fit into memory together, each with a CPU of its
 * own. What does the one that goes first do, in parts of what it does alone; what is left
 * for the other; and how soon has who needs memory what the other one needs no longer?
 *
 * With nothing, with limits that somebody would have to know beforehand, and with
 * mcx_prio. Alone means beside a task that keeps the other CPU busy and uses no memory.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"
#include "libbench.h"
#include "libpolicy.h"
#include "libtouch.h"

#define TOP		"mcx-test-m5"
#define HIGH		TOP "/high"
#define LOW		TOP "/low"
#define POLICY		"/mcx/lib/memcg_ext/mcx_prio.bpf.o"
#define SIZE		550	/* MiB, of 1 GB */
#define SIZE_PAGES	(SIZE * MIB / PAGE)
#define MAX_RUNS	20
#define PATIENCE	30	/* s, to be back */

static const struct cell {
	const char *name;
	const char *cg, *file, *value;
	bool policy;
} cells[] = {
	{ "nothing" },
	{ "nothing (A/A)" },
	{ "memory.low = 700M on high", HIGH, "memory.low", "734003200" },
	{ "memory.high = 150M on low", LOW, "memory.high", "157286400" },
	{ "memory.max = 150M on low", LOW, "memory.max", "157286400" },
	{ "mcx_prio", .policy = true },
};

#define NR	((int)(sizeof(cells) / sizeof(*cells)))

static struct options {
	int runs;
	int seconds;
	bool phases;
	bool bench;
} opt = { .runs = 1, .seconds = 20 };

/* pages/s, of all runs */
static struct {
	double high[MAX_RUNS], low[MAX_RUNS];
} busy[NR];
static double alone_high[MAX_RUNS], again_high[MAX_RUNS], alone_low[MAX_RUNS];

/* The changes of what high does, with nothing and with the policy. */
static struct phases {
	double content[MAX_RUNS];	/* what high does of what it wants to */
	double content_low[MAX_RUNS];	/* pages/s */
	double content_delays[MAX_RUNS];
	double idle_done[MAX_RUNS];	/* delays and pages after two seconds */
	double idle_low[MAX_RUNS];	/* pages/s at the end */
	double low_back[MAX_RUNS];	/* s until low does 95 % of what it does alone */
	double high_back[MAX_RUNS];	/* likewise, when high wakes */
} phases[2];
static double lone_low[MAX_RUNS], lone_high[MAX_RUNS];

/* Are the bars met? */
static bool met = true;

static const char *judge(bool good)
{
	met &= good;
	return good ? "pass" : "**fail**";
}

static double mean(const double *v, int n)
{
	double sum = 0;
	int i;

	for (i = 0; i < n; i++)
		sum += v[i];
	return sum / n;
}

static int policy_on(void)
{
	char cmd[256];

	if (mcx_load() || mcx_manage(LOW))
		return -1;
	snprintf(cmd, sizeof(cmd),
		 "mcxctl load -c %s --set high=%llu --set low=%llu %s > /dev/null", TOP,
		 (unsigned long long)cg_id(HIGH), (unsigned long long)cg_id(LOW), POLICY);
	return system(cmd);
}

static void set_up(const struct cell *c)
{
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory +cpu");
	cg_create(HIGH);
	cg_create(LOW);
	if (c->file && cg_write(c->cg, c->file, c->value))
		ktap_ok(false, "%s", c->name);
	if (c->policy && policy_on())
		ktap_ok(false, "mcx_prio is loaded");
}

static void tear_down(const struct cell *c)
{
	if (c->policy && (system("mcxctl unload --all > /dev/null") || mcx_unload()))
		ktap_ok(false, "mcx_prio is unloaded");
	cg_remove(HIGH);
	cg_remove(LOW);
	cg_remove(TOP);
}

/* One, beside a task that keeps the other CPU busy. */
static void alone_start(const char *cg, int cpu, enum touch_mode mode, struct touch *t,
			struct touch *spinner)
{
	const char *other = strcmp(cg, HIGH) ? HIGH : LOW;

	set_up(&cells[0]);
	*spinner = touch_start(other, !cpu, 1, TOUCH_SPIN);
	*t = touch_start(cg, cpu, SIZE, mode);
	touch_ready(t);
}

static void alone_end(struct touch *t, struct touch *spinner)
{
	touch_end(t);
	touch_end(spinner);
	tear_down(&cells[0]);
}

/* What one does alone. */
static double run_alone(const char *cg, int cpu)
{
	struct touch t, spinner;
	double rate;

	alone_start(cg, cpu, TOUCH_BUSY, &t, &spinner);
	nap_ms(5000);
	rate = touch_rate(&t, opt.seconds * 1000);
	alone_end(&t, &spinner);
	return rate;
}

static void both_start(struct touch *high, struct touch *low)
{
	*high = touch_start(HIGH, 0, SIZE, TOUCH_BUSY);
	*low = touch_start(LOW, 1, SIZE, TOUCH_BUSY);
	touch_ready(high);
	nap_ms(10000);
}

static void run_busy(int i, int run)
{
	struct touch high, low;
	uint64_t from, pages;

	set_up(&cells[i]);
	both_start(&high, &low);
	from = now_ns();
	pages = low.state->pages;
	busy[i].high[run] = touch_rate(&high, opt.seconds * 1000);
	busy[i].low[run] = (low.state->pages - pages) * 1e9 / (now_ns() - from);
	touch_end(&high);
	touch_end(&low);
	tear_down(&cells[i]);
	ktap_note("%s: high %.0f, low %.0f pages/s", cells[i].name, busy[i].high[run],
		  busy[i].low[run]);
}

static void run_busy_all(int run)
{
	int i;

	alone_high[run] = run_alone(HIGH, 0);
	alone_low[run] = run_alone(LOW, 1);
	for (i = 0; i < NR; i++)
		run_busy(i, run);
	again_high[run] = run_alone(HIGH, 0);
	ktap_note("alone: high %.0f and %.0f, low %.0f pages/s", alone_high[run],
		  again_high[run], alone_low[run]);
}

static void report_busy(void)
{
	struct interval aa = bench_mean_ratio(again_high, opt.runs, alone_high, opt.runs);
	double solo = mean(alone_high, opt.runs), solo_low = mean(alone_low, opt.runs);
	double bar = aa.low < 0.95 ? aa.low : 0.95;
	struct interval r;
	int i;

	bench_n("%d windows of %d s per cell", opt.runs, opt.seconds);
	bench_md("Alone high does %.0f pages/s (again: ratio %.2f to %.2f), low %.0f. Bar: high does %.2f of that under the policy.",
		 solo, aa.low, aa.high, solo_low, bar);
	bench_md("%s", "");
	bench_md("| cell | high, pages/s | of alone [95 %%] | low, pages/s | of alone | |");
	bench_md("| --- | --: | --: | --: | --: | --- |");
	for (i = 0; i < NR; i++) {
		r = bench_mean_ratio(busy[i].high, opt.runs, alone_high, opt.runs);
		bench_md("| %s | %.0f | %.3f [%.2f, %.2f] | %.0f | %.3f | %s |", cells[i].name,
			 mean(busy[i].high, opt.runs), mean(busy[i].high, opt.runs) / solo,
			 r.low, r.high, mean(busy[i].low, opt.runs),
			 mean(busy[i].low, opt.runs) / solo_low,
			 !cells[i].policy ? "" :
			 judge(mean(busy[i].high, opt.runs) >= bar * solo));
		bench_data("cells", "\"%s\" %.4f %.4f", cells[i].name,
			   mean(busy[i].high, opt.runs) / solo,
			   mean(busy[i].low, opt.runs) / solo_low);
	}
}

/* Seconds until it does 95 % of @rate. */
static double back_after(struct touch *t, double rate)
{
	return touch_reaches(t, rate * 0.95, PATIENCE);
}

/* The same for one that is alone and has nothing in memory. */
static double lone_back(const char *cg, int cpu, double rate)
{
	struct touch t, spinner;
	double seconds;

	alone_start(cg, cpu, TOUCH_IDLE, &t, &spinner);
	cg_write(cg, "memory.reclaim", "1G");
	t.state->mode = TOUCH_BUSY;
	seconds = back_after(&t, rate);
	alone_end(&t, &spinner);
	return seconds;
}

/* Delays of ours, and pages that we took; none without the module. */
static double done_to_low(void)
{
	long long delays = cg_key(LOW, "memory.ext.stat", "policy_delays");
	long long pages = cg_key(LOW, "memory.ext.stat", "reclaimed_pages");

	return (delays > 0 ? delays : 0) + (pages > 0 ? pages : 0);
}

static void run_content(struct phases *p, int run, struct touch *high, struct touch *low)
{
	double done;
	uint64_t pages, from;

	high->state->mode = TOUCH_SLOW;
	nap_ms(10000);
	done = done_to_low();
	pages = low->state->pages;
	from = now_ns();
	p->content[run] = touch_rate(high, opt.seconds * 1000) / (SIZE_PAGES / 10.0);
	p->content_low[run] = (low->state->pages - pages) * 1e9 / (now_ns() - from);
	p->content_delays[run] = done_to_low() - done;
}

static void run_idle(struct phases *p, int run, struct touch *high, struct touch *low,
		     double rate_low)
{
	uint64_t from = now_ns();
	double done;

	high->state->mode = TOUCH_IDLE;
	nap_ms(2000);
	done = done_to_low();
	p->low_back[run] = 2 + back_after(low, rate_low);
	while (now_ns() - from < 20 * NSEC)
		nap_ms(100);
	p->idle_low[run] = touch_rate(low, 2000);
	p->idle_done[run] = done_to_low() - done;
}

static void run_phases(int i, struct phases *p, int run, double rate_high, double rate_low)
{
	struct touch high, low;

	set_up(&cells[i]);
	both_start(&high, &low);
	run_content(p, run, &high, &low);
	run_idle(p, run, &high, &low, rate_low);
	high.state->mode = TOUCH_BUSY;
	p->high_back[run] = back_after(&high, rate_high);
	touch_end(&high);
	touch_end(&low);
	tear_down(&cells[i]);
	ktap_note("%s: content %.2f, low %.0f, %.0f done; idle: low back after %.1f s, %.0f, %.0f done; high back after %.1f s",
		  cells[i].name, p->content[run], p->content_low[run],
		  p->content_delays[run], p->low_back[run], p->idle_low[run],
		  p->idle_done[run], p->high_back[run]);
}

static void run_phases_all(int run)
{
	alone_high[run] = run_alone(HIGH, 0);
	alone_low[run] = run_alone(LOW, 1);
	lone_high[run] = lone_back(HIGH, 0, alone_high[run]);
	lone_low[run] = lone_back(LOW, 1, alone_low[run]);
	ktap_note("alone: high %.0f, back after %.1f s, low %.0f, %.1f s", alone_high[run],
		  lone_high[run], alone_low[run], lone_low[run]);
	run_phases(0, &phases[0], run, alone_high[run], alone_low[run]);
	run_phases(NR - 1, &phases[1], run, alone_high[run], alone_low[run]);
}

static void report_phase(const char *name, const struct phases *p, double low, double high)
{
	const int n = opt.runs;

	bench_md("| %s | %.2f | %.0f | %.0f | %.0f | %.1f | %.1f | %.0f | %s |", name,
		 mean(p->content, n), mean(p->content_low, n), mean(p->content_delays, n),
		 mean(p->idle_low, n), mean(p->low_back, n), mean(p->high_back, n),
		 mean(p->idle_done, n),
		 p == phases ? "" :
		 judge(mean(p->idle_done, n) == 0 && mean(p->low_back, n) <= 1.2 * low &&
		       mean(p->high_back, n) <= 1.2 * high));
	bench_data("cells", "\"content: %s\" %.4f %.4f", name, mean(p->content, n),
		   mean(p->content_low, n) / mean(alone_low, n));
	bench_data("cells", "\"idle: %s\" 0 %.4f", name,
		   mean(p->idle_low, n) / mean(alone_low, n));
}

static void report_phases(void)
{
	double low = mean(lone_low, opt.runs), high = mean(lone_high, opt.runs);

	bench_n("%d runs per cell, windows of %d s", opt.runs, opt.seconds);
	bench_md("With nothing in memory and nobody beside it low needs %.1f s until it does 95 %% of what it does alone (%.0f pages/s), high %.1f s (%.0f). Bars: 1.2 times that when high becomes idle, and works again; nothing done to low from two seconds after that on.",
		 low, mean(alone_low, opt.runs), high, mean(alone_high, opt.runs));
	bench_md("%s", "");
	bench_md("| cell | high content: does of what it wants | low then, pages/s | delays and pages taken | high idle: low, pages/s | back after, s | high works again: back after, s | delays and pages taken while idle | |");
	bench_md("| --- | --: | --: | --: | --: | --: | --: | --: | --- |");
	report_phase(cells[0].name, &phases[0], low, high);
	report_phase(cells[NR - 1].name, &phases[1], low, high);
}

static void usage(FILE *out)
{
	fputs("usage: m5 [-BP] [-n RUNS] [-t SECONDS]\n"
	      "  -B          report for make bench; no figure is judged by the exit status\n"
	      "  -P          what changes when high is content, idle, and works again\n"
	      "  -n RUNS     of each cell (1)\n"
	      "  -t SECONDS  a window (20)\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:t:BPh")) != -1) {
		switch (c) {
		case 'n': opt.runs = atoi(optarg); break;
		case 't': opt.seconds = atoi(optarg); break;
		case 'B': opt.bench = true; break;
		case 'P': opt.phases = true; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (opt.runs < 1 || opt.runs > MAX_RUNS || opt.seconds < 1 || optind < argc) {
		usage(stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	int run;

	parse(argc, argv);
	ktap_start();
	thp_off();
	swap_on();
	/* Swapping allocates, too, and 7.x complains where it cannot. */
	setting("/proc/sys/vm/min_free_kbytes", "16384");
	for (run = 0; run < opt.runs; run++) {
		if (opt.phases)
			run_phases_all(run);
		else
			run_busy_all(run);
	}
	if (opt.phases)
		report_phases();
	else
		report_busy();
	ktap_ok(opt.bench || met, "%d runs, bars %s", opt.runs, met ? "met" : "not met");
	return ktap_end();
}
