// SPDX-License-Identifier: GPL-2.0-only
/*
 * M6: what a page fault and a page cache miss cost, in instructions, without
 * the module, with it loaded and idle, with the cgroup managed, with a policy
 * that is asked and has no opinion, and after that was switched off again. With
 * -B it is the measure that make bench runs: more operations, and a report.
 *
 * For a VM whose clock counts instructions: qemu -accel tcg,thread=single
 * -icount shift=0,sleep=off -smp 1. There the time stamp counter advances by
 * one per instruction, which this program checks first, with a loop whose
 * instructions it knows. Anywhere else it skips.
 *
 * A cell is many short repeats of one charge batch or a few, of which the middle
 * half is averaged (libcount.h). Cells alternate.
 *
 * That average moves with what the page allocator and the LRU lists happen to do, by
 * up to an instruction on 7.3; the fastest repeat does not there, but on 6.12, where
 * few are that fast. Each repeat has its charge batches, so that a hook shows in both:
 * what shows in one of them only is none.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <x86intrin.h>

#include <bpf/libbpf.h>

#include "lib.h"
#include "libbench.h"
#include "libcount.h"
#include "libpolicy.h"

#define CG		"mcx-test-m6"
#define PAGES		128	/* of one repeat: two charge batches */
#define HUGE_SIZE	(2 * MIB)
#define MAX_REPEATS	20000
#define MAX_ROUNDS	32
#define IDLE_BAR	0.2	/* instructions per operation that are "0" */
#define MANAGED_BAR	0.1	/* percent */
#define POLICY_BAR	0.5
#define FILE_NAME	"/scratch/mcx-m6.sparse"

enum state { NONE, IDLE, MANAGED, POLICY, AFTER, NONE_AGAIN, STATES };

static const char *const state_names[] = {
	"none", "idle", "managed", "managed, no-op policy", "disabled again",
	"none again",
};

struct op {
	const char *name;
	uint64_t (*once)(void);		/* instructions of @n operations */
	int n;
	bool charges;			/* pages: its bars are percents of it */
	bool bench;			/* not in the short form */
	double cost[STATES];		/* per operation, mean of the rounds */
	double seen[STATES][MAX_ROUNDS];
	double least[STATES];		/* the fastest repeat of all rounds */
	double fastest[STATES][MAX_ROUNDS];
};

/* Per operation, of one cell. */
struct sample {
	double cost;
	double least;
};

static struct options {
	int repeats;
	int rounds;
	bool stock_only;
	bool bench;
} opt = { .repeats = 400, .rounds = 5 };

static volatile char *region;
static volatile char *huge_region;	/* aligned; NULL without THP */
static int sparse;
static int sockets[2];
static int to_peer[2], from_peer[2];	/* pipes */

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

/* The same, and given back: 31 of them at a time. */
static uint64_t unmap_once(void)
{
	uint64_t start;
	int i;

	start = __rdtsc();
	for (i = 0; i < PAGES; i++)
		region[(size_t)i * PAGE] = 1;
	madvise((void *)region, PAGES * PAGE, MADV_DONTNEED);
	return __rdtsc() - start;
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

/*
 * A huge page: charged, cleared, and mapped by one entry. One alone, as clearing
 * it takes so long that the timer would be in every second repeat of a few.
 */
static uint64_t huge_once(void)
{
	uint64_t start;

	start = __rdtsc();
	huge_region[0] = 1;
	start = __rdtsc() - start;
	madvise((void *)huge_region, HUGE_SIZE, MADV_DONTNEED);
	return start;
}

/* A struct file each, which is kernel memory that is charged. */
static uint64_t open_once(void)
{
	uint64_t start;
	int i, fd;

	start = __rdtsc();
	for (i = 0; i < PAGES; i++) {
		fd = open("/dev/null", O_RDONLY);
		if (fd < 0)
			abort();
		close(fd);
	}
	return __rdtsc() - start;
}

/* Socket buffers of a byte each, likewise charged; emptied outside. */
static uint64_t send_once(void)
{
	static char buf[PAGES];
	uint64_t start;
	int i, got;

	start = __rdtsc();
	for (i = 0; i < PAGES; i++)
		if (send(sockets[0], buf, 1, 0) != 1)
			abort();
	start = __rdtsc() - start;
	for (i = 0; i < PAGES; i += got) {
		got = recv(sockets[1], buf, sizeof(buf), 0);
		if (got <= 0)
			abort();
	}
	return start;
}

/* To the peer and back are two switches, with a pipe written and read each. */
static uint64_t switch_once(void)
{
	uint64_t start;
	char c = 0;
	int i;

	start = __rdtsc();
	for (i = 0; i < PAGES / 2; i++)
		if (write(to_peer[1], &c, 1) != 1 ||
		    read(from_peer[0], &c, 1) != 1)
			abort();
	return __rdtsc() - start;
}

static struct op ops[] = {
	{ .name = "page fault (anonymous, 4K)", .once = fault_once,
	  .n = PAGES, .charges = true },
	{ .name = "file read (4K, not cached)", .once = read_once,
	  .n = PAGES, .charges = true },
	{ .name = "page fault and unmapping (anonymous, 4K)",
	  .once = unmap_once, .n = PAGES, .charges = true, .bench = true },
	{ .name = "page fault (anonymous, THP)", .once = huge_once,
	  .n = 1, .charges = true, .bench = true },
	{ .name = "open and close", .once = open_once, .n = PAGES,
	  .bench = true },
	{ .name = "socket send (unix, 1 byte)", .once = send_once, .n = PAGES,
	  .bench = true },
	{ .name = "context switch (pipe)", .once = switch_once, .n = PAGES,
	  .bench = true },
};

#define OPS	(sizeof(ops) / sizeof(*ops))

static bool has_huge;

static bool wanted(const struct op *op)
{
	if (op->once == huge_once && !has_huge)
		return false;
	return !op->bench || opt.bench;
}

static struct sample measure(const struct op *op)
{
	static uint64_t v[MAX_REPEATS];
	struct sample s;
	int i;

	for (i = 0; i < 8; i++)
		op->once();	/* settle caches and per-CPU lists */
	for (i = 0; i < opt.repeats; i++)
		v[i] = op->once();
	s.cost = middle_mean(v, opt.repeats) / op->n;
	s.least = (double)v[0] / op->n;		/* they are in order now */
	return s;
}

/*
 * Measuring is done by a process of its own, in the cgroup. Its address space
 * stays as it is: of this one's, the first policy that libbpf loads changes the
 * tree of mappings for good, and a page fault of 6.12 searched it with 50
 * instructions less from then on.
 */
static int ask[2], answer[2];

struct hello {
	int err;
	bool huge;
};

static struct sample ask_worker(int i)
{
	struct sample s;

	if (write(ask[1], &i, sizeof(i)) != sizeof(i) ||
	    read(answer[0], &s, sizeof(s)) != sizeof(s)) {
		ktap_ok(false, "the measuring process died");
		exit(ktap_end());
	}
	return s;
}

static void note_sample(struct op *op, enum state state, int round,
			const struct sample *s)
{
	op->seen[state][round] = s->cost;
	op->cost[state] += s->cost / opt.rounds;
	op->fastest[state][round] = s->least;
	if (!round || s->least < op->least[state])
		op->least[state] = s->least;
}

static void measure_all(enum state state, int round)
{
	struct sample s;
	struct op *op;

	for (op = ops; op < ops + OPS; op++) {
		if (!wanted(op))
			continue;
		s = ask_worker(op - ops);
		if (round >= 0)
			note_sample(op, state, round, &s);
	}
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

	bool ok = n >= 0 && n == before && !ours;

	if (opt.bench)
		bench_md("- %s: %d functions in enabled_functions, %d without the module: %s",
			 when, n, before, ok ? "pass" : "**fail**");
	else
		ktap_ok(ok, "%s: nothing of ours in enabled_functions (%d functions, %d without the module)",
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
	err = mcx_unload();
	if (err)
		ktap_ok(false, "cannot unload memcg_ext: %s", strerror(-err));
	return !err;
}

static bool run(void)
{
	bool ours;
	int round, before = traced(&ours);

	/* Not counted: open and close cost 6 less from their second time on. */
	measure_all(NONE, -1);
	for (round = 0; round < opt.rounds; round++) {
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
			ktap_note("M6 op=\"%s\" state=\"%s\" instructions=%.2f difference=%+.2f percent=%+.3f spread=%.2f least=%.2f",
				  op->name, state_names[s], op->cost[s],
				  op->cost[s] - none,
				  (op->cost[s] - none) / none * 100,
				  spread(op, s), op->least[s]);
}

/* Between any two rounds without the module. */
static double without(const double seen[STATES][MAX_ROUNDS])
{
	double lo = seen[NONE][0], hi = lo, v;
	int i;

	for (i = 0; i < 2 * opt.rounds; i++) {
		v = seen[i % 2 ? NONE_AGAIN : NONE][i / 2];
		lo = fmin(lo, v);
		hi = fmax(hi, v);
	}
	return hi - lo;
}

static double own_spread(const struct op *op)
{
	return without(op->seen);
}

/* Or nothing is measured. */
static void check_reference(const struct op *op)
{
	double itself = own_spread(op), bar = op->cost[NONE] * MANAGED_BAR / 100;

	ktap_ok(itself <= bar,
		"%s: without the module rounds differ by %.2f instructions; allowed %.2f",
		op->name, itself, bar);
}

static double difference(const struct op *op, enum state state)
{
	return op->cost[state] - op->cost[NONE];
}

static double fastest_difference(const struct op *op, enum state state)
{
	return op->least[state] - op->least[NONE];
}

/* 0 is what cannot be told from what the reference differs by from itself. */
static bool is_zero(const struct op *op, enum state state)
{
	return fabs(difference(op, state)) <= fmax(IDLE_BAR, own_spread(op)) ||
	       fabs(fastest_difference(op, state)) <=
	       fmax(IDLE_BAR, without(op->fastest));
}

static void check_zero(const struct op *op, enum state state)
{
	ktap_ok(is_zero(op, state),
		"%s: %s costs %+.2f instructions in the mean, the fastest %+.2f; allowed in one of them %.1f, or what the reference shows against itself, %.2f and %.2f",
		op->name, state_names[state], difference(op, state),
		fastest_difference(op, state), IDLE_BAR, own_spread(op),
		without(op->fastest));
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

/* The report of make bench from here on. */
static double percent(const struct op *op, enum state state)
{
	return difference(op, state) / op->cost[NONE] * 100;
}

static void report_costs(void)
{
	const struct op *op;
	int s;

	bench_md("%s", "");
	bench_md("Instructions in the mean; differences to none. Fastest: between the fastest repeats of two rounds.");
	bench_md("%s", "");
	bench_md("| operation | none | none again | idle | built-in, managed | no-op policy | disabled again | spread of none | fastest |");
	bench_md("| --- | --: | --: | --: | --: | --: | --: | --: | --: |");
	for (op = ops; op < ops + OPS; op++) {
		if (!wanted(op))
			continue;
		bench_md("| %s | %.2f | %+.2f | %+.2f | %+.2f (%+.3f %%) | %+.2f (%+.3f %%) | %+.2f | %.2f | %.2f |",
			 op->name, op->cost[NONE], difference(op, NONE_AGAIN),
			 difference(op, IDLE), difference(op, MANAGED),
			 percent(op, MANAGED), difference(op, POLICY),
			 percent(op, POLICY), difference(op, AFTER),
			 own_spread(op), without(op->fastest));
		bench_data("ops", "\"%s\" %.4f %.4f %.4f %.4f %.4f", op->name,
			   percent(op, NONE_AGAIN), percent(op, IDLE),
			   percent(op, MANAGED), percent(op, POLICY),
			   percent(op, AFTER));
	}
	bench_md("%s", "");
	/* Charges are made by batches of 64 pages, and the hook is in there. */
	for (s = MANAGED; s <= POLICY; s++)
		bench_md("Per charge batch, 64 of the first operation, %s: %+.0f instructions.",
			 state_names[s], difference(&ops[0], s) * 64);
}

static const char *zero_verdict(const struct op *op, enum state state)
{
	if (fabs(difference(op, state)) <= IDLE_BAR ||
	    fabs(fastest_difference(op, state)) <= IDLE_BAR)
		return "pass";
	return is_zero(op, state) ? "pass (within the spread of none)" :
				    "**fail**";
}

static void report_bars(void)
{
	const struct op *op;

	bench_md("%s", "");
	bench_md("Idle and disabled again: instructions in the mean, and of the fastest repeat; one of them is to be 0.");
	bench_md("%s", "");
	bench_md("| operation | idle, allowed 0.2 | disabled again, allowed 0.2 | managed, allowed 0.1 %% | no-op policy, allowed 0.5 %% |");
	bench_md("| --- | --- | --- | --- | --- |");
	for (op = ops; op < ops + OPS; op++) {
		if (!wanted(op))
			continue;
		if (!op->charges) {
			bench_md("| %s | %+.2f, %+.2f %s | %+.2f, %+.2f %s | | |",
				 op->name, difference(op, IDLE),
				 fastest_difference(op, IDLE),
				 zero_verdict(op, IDLE), difference(op, AFTER),
				 fastest_difference(op, AFTER),
				 zero_verdict(op, AFTER));
			continue;
		}
		bench_md("| %s | %+.2f, %+.2f %s | %+.2f, %+.2f %s | %+.3f %% %s | %+.3f %% %s |",
			 op->name, difference(op, IDLE),
			 fastest_difference(op, IDLE), zero_verdict(op, IDLE),
			 difference(op, AFTER), fastest_difference(op, AFTER),
			 zero_verdict(op, AFTER), percent(op, MANAGED),
			 percent(op, MANAGED) <= MANAGED_BAR ? "pass" :
							       "**fail**",
			 percent(op, POLICY),
			 percent(op, POLICY) <= POLICY_BAR ? "pass" :
							     "**fail**");
	}
}

static void usage(FILE *out)
{
	fputs("usage: m6 [-BS] [-n REPEATS] [-r ROUNDS]\n"
	      "  -n REPEATS  repeats of 128 operations per cell (400)\n"
	      "  -r ROUNDS   how often each cell is measured (5)\n"
	      "  -B          more operations, and a report for make bench; no figure is\n"
	      "              judged by the exit status\n"
	      "  -S          stock only: leave memcg_ext out\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:r:BSh")) != -1) {
		switch (c) {
		case 'n': opt.repeats = atoi(optarg); break;
		case 'r': opt.rounds = atoi(optarg); break;
		case 'B': opt.bench = true; break;
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

/* Takes a byte and gives one back for ever, or until m6 ends. */
static void peer(void)
{
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(to_peer[0], &c, 1) == 1 && write(from_peer[1], &c, 1) == 1)
		;
	_exit(0);
}

/* Memory that gets a huge page when it is touched, or NULL. */
static volatile char *new_huge_region(void)
{
	long long before = read_key("/proc/vmstat", "thp_fault_alloc");
	char *at = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	at += HUGE_SIZE - (uintptr_t)at % HUGE_SIZE;
	madvise(at, HUGE_SIZE, MADV_HUGEPAGE);
	at[0] = 1;
	madvise(at, HUGE_SIZE, MADV_DONTNEED);
	return read_key("/proc/vmstat", "thp_fault_alloc") > before ? at : NULL;
}

/* What only the longer form needs. */
static int prepare_bench(void)
{
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) ||
	    pipe2(to_peer, O_CLOEXEC) || pipe2(from_peer, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (!pid)
		peer();
	if (pid < 0)
		return -errno;
	huge_region = new_huge_region();
	return 0;
}

static int prepare_worker(void)
{
	int err = cg_enter(CG);

	if (err)
		return err;
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
	return opt.bench ? prepare_bench() : 0;
}

static void worker(void)
{
	struct hello hello = { 0 };
	struct sample s;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	hello.err = prepare_worker();
	hello.huge = huge_region;
	if (write(answer[1], &hello, sizeof(hello)) != sizeof(hello))
		_exit(1);
	while (read(ask[0], &i, sizeof(i)) == sizeof(i)) {
		s = measure(&ops[i]);
		if (write(answer[1], &s, sizeof(s)) != sizeof(s))
			break;
	}
	_exit(0);
}

static int start_worker(void)
{
	struct hello hello;
	pid_t pid;

	if (pipe2(ask, O_CLOEXEC) || pipe2(answer, O_CLOEXEC))
		return -errno;
	fflush(stdout);
	pid = fork();
	if (!pid)
		worker();
	if (pid < 0)
		return -errno;
	close(ask[0]);
	close(answer[1]);
	if (read(answer[0], &hello, sizeof(hello)) != sizeof(hello))
		return -EIO;
	has_huge = hello.huge;
	if (opt.bench && !has_huge)
		bench_md("No huge page could be had: that operation is left out.");
	return hello.err;
}

static int prepare(void)
{
	int err;

	if (opt.bench)
		setting("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	else
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	cg_write("", "cgroup.subtree_control", "+memory");
	cg_remove(CG);
	err = cg_create(CG);
	/* Never reached: this is the cost of being watched, not of reclaim. */
	if (!err)
		err = cg_write(CG, "memory.high", "256M");
	if (!err)
		err = mcx_unload();
	return err ? err : start_worker();
}

static void check(const struct op *op)
{
	/* If this one fails, the others say nothing. */
	check_reference(op);
	if (opt.stock_only)
		return;
	check_zero(op, IDLE);
	check_policy(op);
	check_zero(op, AFTER);
}

static long long huge_failed(void)
{
	return read_key("/proc/vmstat", "thp_fault_fallback");
}

static void report_all(long long refused)
{
	ktap_ok(!has_huge || !refused,
		"no huge page was refused (%lld were)", refused);
	bench_n("%d rounds of %d repeats per cell", opt.rounds, opt.repeats);
	report_bars();
	report_costs();
}

int main(int argc, char **argv)
{
	long long refused;
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
	refused = huge_failed();
	done = run();
	cg_remove(CG);
	unlink(FILE_NAME);
	for (op = ops; done && op < ops + OPS; op++) {
		if (!wanted(op))
			continue;
		report(op);
		if (!opt.bench)
			check(op);
	}
	if (done && opt.bench)
		report_all(huge_failed() - refused);
	return ktap_end();
}
