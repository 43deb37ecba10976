// SPDX-License-Identifier: GPL-2.0-only
/*
 * M10, precision of a delay that a policy asks for: a task charges a batch or two in a
 * system call, and the policy wants it to wait so long. In turns with clock_nanosleep()
 * of the same length, with nothing else on the machine. In its short form a test, with
 * -B the measure that make bench runs.
 *
 * What such a call takes without a delay is measured first, and taken off.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/types.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "libbench.h"
#include "policy_cases.h"

#define CG		"mcx-test-m10"
#define PAGES		80	/* more than a batch: one is charged in any case */
#define MAX_RUNS	200

static const unsigned int asked_ms[] = { 10, 50, 500, 2000 };

#define NR	(sizeof(asked_ms) / sizeof(*asked_ms))

static struct options {
	int runs;
	bool bench;
} opt = { .runs = 5 };

/* Of one length, in ms. A child takes them. */
struct row {
	int n;
	double ours[MAX_RUNS];
	double sleep[MAX_RUNS];
};

struct figures {
	double mean, least, most;
};

static struct row *rows;	/* the last is without a delay */
static struct policy_cases_bpf *cases;

static double charge_ms(void)
{
	uint64_t from = now_ns();
	void *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	double ms = (now_ns() - from) / 1e6;

	munmap(p, PAGES * PAGE);
	return ms;
}

static double sleep_ms(unsigned int ms)
{
	struct timespec t = {
		.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L,
	};
	uint64_t from = now_ns();

	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
	return (now_ns() - from) / 1e6;
}

static void sample(struct row *r, unsigned int ms, int runs)
{
	for (r->n = 0; r->n < runs; r->n++) {
		cases->bss->fixed_ms = ms;
		r->ours[r->n] = charge_ms();
		/* munmap() may charge for page tables: nobody waits for that. */
		cases->bss->fixed_ms = 0;
		r->sleep[r->n] = sleep_ms(ms);
	}
}

static void sample_all(void)
{
	pid_t pid = cg_fork(CG);
	size_t i;

	if (!pid) {
		sample(&rows[NR], 0, 20);
		for (i = 0; i < NR; i++)
			sample(&rows[i], asked_ms[i], opt.runs);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static struct figures figures_of(const double *v, int n, double off)
{
	struct figures f = { .least = v[0] - off, .most = v[0] - off };
	int i;

	for (i = 0; i < n; i++) {
		f.mean += (v[i] - off) / n;
		f.least = fmin(f.least, v[i] - off);
		f.most = fmax(f.most, v[i] - off);
	}
	return f;
}

/* Returns whether one row is as it shall be. */
static bool judge(const struct row *r, unsigned int ms, double off)
{
	struct figures ours = figures_of(r->ours, r->n, off);
	struct figures raw = figures_of(r->ours, r->n, 0);
	struct figures sleep = figures_of(r->sleep, r->n, 0);
	double bar = fmax(ms * 0.02, 3);
	double allowed = fmax(bar, fabs(sleep.mean - ms));
	bool ok = r->n && fabs(ours.mean - ms) <= allowed && raw.least >= ms;

	ktap_note("%u ms: %.2f [%.2f, %.2f], clock_nanosleep %.2f [%.2f, %.2f], n=%d",
		  ms, ours.mean, ours.least, ours.most, sleep.mean,
		  sleep.least, sleep.most, r->n);
	if (opt.bench)
		bench_md("| %u | %.2f [%.2f, %.2f] | %+.2f | %.2f | %.2f [%.2f, %.2f] | %s |",
			 ms, ours.mean, ours.least, ours.most, ours.mean - ms,
			 allowed, sleep.mean, sleep.least, sleep.most,
			 ok ? "pass" : "**fail**");
	return ok;
}

static void report_head(double off)
{
	bench_n("%d per length", opt.runs);
	bench_md("What the system call takes without a delay, %.2f ms in the mean, is taken off.",
		 off);
	bench_md("%s", "");
	bench_md("| asked for, ms | waited [least, most] | off by | allowed | clock_nanosleep | |");
	bench_md("| --: | --: | --: | --: | --: | --- |");
}

static void judge_all(void)
{
	double off = figures_of(rows[NR].ours, rows[NR].n, 0).mean;
	size_t i;
	bool ok;

	if (opt.bench)
		report_head(off);
	for (i = 0; i < NR; i++) {
		ok = judge(&rows[i], asked_ms[i], off);
		ktap_ok(opt.bench ? rows[i].n == opt.runs : ok,
			"%u ms asked for", asked_ms[i]);
	}
}

static void usage(FILE *out)
{
	fputs("usage: m10 [-B] [-n RUNS]\n"
	      "  -B       report for make bench; no figure is judged by the exit status\n"
	      "  -n RUNS  of each length (5)\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:Bh")) != -1) {
		switch (c) {
		case 'n': opt.runs = atoi(optarg); break;
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
	struct bpf_link *link;

	parse(argc, argv);
	ktap_start();
	thp_off();
	rows = mmap(NULL, sizeof(*rows) * (NR + 1), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mcx_load())
		ktap_skip_all("the module does not load");
	cg_create(CG);
	cases = cases_open(CG);
	cases_only(cases, cases->maps.fixed);
	link = attach(cases->maps.fixed);
	nap_ms(1000);	/* the hooks attach */
	sample_all();
	ktap_ok(link && cases->bss->nr_charged, "the policy is asked (%lld)",
		(long long)cases->bss->nr_charged);
	judge_all();
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(cases);
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
