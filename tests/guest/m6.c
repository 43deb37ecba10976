// SPDX-License-Identifier: GPL-2.0-only
/*
 * M6: what a page fault and a page cache miss cost, in instructions, without
 * the module, with it loaded and idle, with the cgroup managed, with a policy
 * that is asked and has no opinion, and after that was switched off again.
 *
 * For a VM whose clock counts instructions: qemu -accel tcg,thread=single
 * -icount shift=0,sleep=off -smp 1. There the time stamp counter advances by
 * one per instruction, which this program checks first, with a loop whose
 * instructions it knows. Anywhere else it skips.
 *
 * A cell is many short repeats of one charge batch or a few. The timer
 * interrupt lands in some of them, and work of the kernel that is not ours; so
 * the middle half of the repeats is averaged. Cells alternate.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <x86intrin.h>

#include <bpf/libbpf.h>

#include "lib.h"
#include "libpolicy.h"

#define CG		"mcx-test-m6"
#define PAGES		128	/* of one repeat: two charge batches */
#define MAX_REPEATS	20000
#define MAX_ROUNDS	32
#define IDLE_BAR	0.2	/* instructions per operation that are "0" */
#define POLICY_BAR	0.5	/* percent */
#define FILE_NAME	"/scratch/mcx-m6.sparse"

enum state { NONE, IDLE, MANAGED, POLICY, AFTER, NONE_AGAIN, STATES };

static const char *const state_names[] = {
	"none", "idle", "managed", "managed, no-op policy", "disabled again",
	"none again",
};

struct op {
	const char *name;
	uint64_t (*once)(void);		/* instructions of PAGES operations */
	double cost[STATES];		/* per operation, mean of the rounds */
	double seen[STATES][MAX_ROUNDS];
};

static struct options {
	int repeats;
	int rounds;
	bool stock_only;
} opt = { .repeats = 400, .rounds = 5 };

static volatile char *region;
static int sparse;

static uint64_t fault_once(void)
{
	uint64_t start;
	int i;

	start = __rdtsc();
	for (i = 0; i < PAGES; i++)
		region[(size_t)i * PAGE] = 1;
	start = __rdtsc() - start;
	madvise((void *)region, PAGES * PAGE, MADV_DONTNEED);
	return start;
}

/* Reads holes: a new page cache page each, charged and zeroed, but no I/O. */
static uint64_t read_once(void)
{
	static char buf[PAGE];
	uint64_t start;
	int i;

	start = __rdtsc();
	for (i = 0; i < PAGES; i++)
		if (pread(sparse, buf, PAGE, (off_t)i * PAGE) != PAGE)
			abort();
	start = __rdtsc() - start;
	posix_fadvise(sparse, 0, PAGES * PAGE, POSIX_FADV_DONTNEED);
	return start;
}

static struct op ops[] = {
	{ .name = "page fault (anonymous, 4K)", .once = fault_once },
	{ .name = "file read (4K, not cached)", .once = read_once },
};

#define OPS	(sizeof(ops) / sizeof(*ops))

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Mean of the middle half, per operation. */
static double measure(const struct op *op)
{
	static uint64_t v[MAX_REPEATS];
	double sum = 0;
	int i, from = opt.repeats / 4, to = opt.repeats - from;

	for (i = 0; i < 8; i++)
		op->once();	/* settle caches and per-CPU lists */
	for (i = 0; i < opt.repeats; i++)
		v[i] = op->once();
	qsort(v, opt.repeats, sizeof(*v), by_value);
	for (i = from; i < to; i++)
		sum += v[i];
	return sum / (to - from) / PAGES;
}

static void measure_all(enum state state, int round)
{
	struct op *op;

	for (op = ops; op < ops + OPS; op++) {
		double cost = measure(op);

		if (round < 0)
			continue;
		op->seen[state][round] = cost;
		op->cost[state] += op->seen[state][round] / opt.rounds;
	}
}

/* A thousand times two instructions, and a few around them. */
static uint64_t known_loop(void)
{
	uint64_t start = __rdtsc();
	unsigned long n = 1000;

	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r" (n) : : "cc");
	return __rdtsc() - start;
}

static bool clock_counts_instructions(void)
{
	uint64_t v[9];
	double median;
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(*v); i++)
		v[i] = known_loop();
	median = quantile(v, sizeof(v) / sizeof(*v), .5);
	ktap_note("2000 instructions and a few took %.0f ticks", median);
	return median >= 2000 && median < 2020;
}

/* How many functions ftrace holds, and whether one of them is ours. */
static int traced(bool *ours)
{
	FILE *f = fopen("/sys/kernel/tracing/enabled_functions", "r");
	char line[1024];
	int n = 0;

	*ours = false;
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		n++;
		if (strstr(line, "mcx_") || strstr(line, "memcg_ext"))
			*ours = true;
	}
	fclose(f);
	return n;
}

static void check_traced(const char *when, int before)
{
	bool ours;
	int n = traced(&ours);

	ktap_ok(n >= 0 && n == before && !ours,
		"%s: nothing of ours in enabled_functions (%d functions, %d without the module)",
		when, n, before);
}

/* The hooks detach a second after the last use; three are plenty. */
static bool wait_detached(int before)
{
	bool ours;
	int i;

	for (i = 0; i < 300; i++) {
		if (traced(&ours) == before && !ours)
			return true;
		nap_ms(10);
	}
	return false;
}

static int in_cgroup(int (*func)(const char *))
{
	int err = func(CG);

	if (err)
		ktap_ok(false, "memory.ext.enable: %s", strerror(-err));
	return err;
}

/* Every member that is on the way of a page, with no opinion. */
static bool policy_round(int round)
{
	struct bpf_object *obj;
	struct bpf_link *link = policy_attach("mcx_noop.bpf.o", CG, &obj);

	if (!link) {
		ktap_ok(false, "cannot attach mcx_noop: %s", strerror(errno));
		return false;
	}
	nap_ms(500);
	measure_all(POLICY, round);
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return true;
}

static bool module_round(int round, int before)
{
	int err = mcx_load();
	bool ours;

	if (err) {
		ktap_ok(false, "cannot load memcg_ext: %s", strerror(-err));
		return false;
	}
	nap_ms(500);
	if (!round)
		check_traced("idle", before);
	measure_all(IDLE, round);
	if (in_cgroup(mcx_manage))
		return false;
	/* Shows that the checks below would see a hook of ours. */
	if (!round)
		ktap_ok(traced(&ours) > before && ours,
			"managed: our hooks are in enabled_functions");
	nap_ms(500);
	measure_all(MANAGED, round);
	if (!policy_round(round))
		return false;
	if (in_cgroup(mcx_unmanage))
		return false;
	wait_detached(before);
	nap_ms(500);
	if (!round)
		check_traced("disabled again", before);
	measure_all(AFTER, round);
	cg_enter("");
	err = mcx_unload();
	cg_enter(CG);
	if (err)
		ktap_ok(false, "cannot unload memcg_ext: %s", strerror(-err));
	return !err;
}

static bool run(void)
{
	bool ours;
	int round, before = traced(&ours);

	/*
	 * One more in front, which is not counted: the first program of BPF that
	 * this process loads makes each later page fault on 6.12 50 instructions
	 * cheaper, whatever is loaded then.
	 */
	for (round = -1; round < opt.rounds; round++) {
		nap_ms(500);
		measure_all(NONE, round);
		if (!opt.stock_only && !module_round(round, before))
			return false;
		nap_ms(500);
		measure_all(NONE_AGAIN, round);
	}
	return true;
}

static double spread(const struct op *op, enum state state)
{
	double lo = op->seen[state][0], hi = lo;
	int i;

	for (i = 1; i < opt.rounds; i++) {
		lo = op->seen[state][i] < lo ? op->seen[state][i] : lo;
		hi = op->seen[state][i] > hi ? op->seen[state][i] : hi;
	}
	return hi - lo;
}

static void report(const struct op *op)
{
	double none = op->cost[NONE];
	int s;

	for (s = 0; s < STATES; s++)
		if (op->cost[s])
			ktap_note("M6 op=\"%s\" state=\"%s\" instructions=%.2f difference=%+.2f percent=%+.3f spread=%.2f",
				  op->name, state_names[s], op->cost[s],
				  op->cost[s] - none,
				  (op->cost[s] - none) / none * 100,
				  spread(op, s));
}

static void check_zero(const struct op *op, enum state state)
{
	double diff = op->cost[state] - op->cost[NONE];
	/* What the reference shows against itself, if that is wider. */
	double self = fmax(spread(op, NONE), spread(op, NONE_AGAIN));
	double bar = fmax(IDLE_BAR, self);

	ktap_ok(fabs(diff) <= bar,
		"%s: %s costs %+.2f instructions; allowed %.2f (bar %.1f, reference against itself %.2f)",
		op->name, state_names[state], diff, bar, IDLE_BAR, self);
}

static void check_policy(const struct op *op)
{
	double none = op->cost[NONE];
	double percent = (op->cost[POLICY] - none) / none * 100;

	ktap_ok(op->cost[POLICY] > op->cost[MANAGED],
		"%s: the policy is asked (%+.2f instructions more than managed)",
		op->name, op->cost[POLICY] - op->cost[MANAGED]);
	ktap_ok(percent <= POLICY_BAR,
		"%s: a no-op policy costs %.3f %%; allowed %.1f", op->name,
		percent, POLICY_BAR);
}

static void usage(FILE *out)
{
	fputs("usage: m6 [-n REPEATS] [-r ROUNDS] [-S]\n"
	      "  -n REPEATS  repeats of 128 operations per cell (400)\n"
	      "  -r ROUNDS   how often each cell is measured (5)\n"
	      "  -S          stock only: leave memcg_ext out\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:r:Sh")) != -1) {
		switch (c) {
		case 'n': opt.repeats = atoi(optarg); break;
		case 'r': opt.rounds = atoi(optarg); break;
		case 'S': opt.stock_only = true; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (opt.repeats < 4 || opt.repeats > MAX_REPEATS || opt.rounds < 1 ||
	    opt.rounds > MAX_ROUNDS || optind < argc) {
		usage(stderr);
		exit(2);
	}
}

static int prepare(void)
{
	int err;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	region = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (region == MAP_FAILED)
		return -errno;
	madvise((void *)region, PAGES * PAGE, MADV_NOHUGEPAGE);
	sparse = open(FILE_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (sparse < 0 || ftruncate(sparse, PAGES * PAGE))
		return -errno;
	/* One page a time: readahead would make large folios on 7.x. */
	posix_fadvise(sparse, 0, 0, POSIX_FADV_RANDOM);
	cg_write("", "cgroup.subtree_control", "+memory");
	cg_remove(CG);
	err = cg_create(CG);
	/* Never reached: this is the cost of being watched, not of reclaim. */
	if (!err)
		err = cg_write(CG, "memory.high", "256M");
	if (!err)
		err = mcx_unload();
	return err ? err : cg_enter(CG);
}

int main(int argc, char **argv)
{
	struct op *op;
	bool done;
	int err;

	parse(argc, argv);
	ktap_start();
	if (geteuid())
		ktap_skip_all("needs root");
	if (!clock_counts_instructions())
		ktap_skip_all("the clock does not count instructions: needs qemu -icount shift=0");
	err = prepare();
	if (err) {
		ktap_ok(false, "cannot prepare: %s", strerror(-err));
		return ktap_end();
	}
	done = run();
	cg_enter("");
	cg_remove(CG);
	unlink(FILE_NAME);
	for (op = ops; done && op < ops + OPS; op++) {
		report(op);
		/* If this one fails, the others say nothing. */
		check_zero(op, NONE_AGAIN);
		if (opt.stock_only)
			continue;
		check_zero(op, IDLE);
		check_policy(op);
		check_zero(op, AFTER);
	}
	return ktap_end();
}
