// SPDX-License-Identifier: GPL-2.0-only
/*
 * M8, memory.ext.memsw.max: a ladder of combinations of memory.max, memory.swap.max and
 * memory.ext.memsw.max, and of loads, against what a small model of their meaning says:
 * which limit is met, who is killed, whether there is swapping; and how far the sum was
 * above its limit. And what it costs, in instructions: for who has such a limit, and for
 * all others. In its short form a test, with -B the measure that make bench runs.
 *
 * The sum is looked at from outside, by the kernel's own files: memory.current,
 * memory.swap.current and, of memory.stat, swapcached.
 */
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "lib.h"
#include "libbench.h"
#include "libcount.h"
#include "libmemsw.h"

#define TOP	"mcx-test-m8"
#define CG	TOP "/a"
#define BELOW	CG "/b"
#define OTHER	TOP "/other"
#define TMPFS	"/run/mcx-m8"
#define NONE	100000	/* MiB: no such limit */
#define REPEATS	60
#define PAGES	64

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

static struct options {
	bool bench;
	int rungs;
} opt;

/* All in MiB. */
static const struct rung {
	int max, swap, memsw;		/* limits; swap: of CG's, too, if @below */
	int anon, shmem, file;		/* what the load wants */
	bool below;			/* memory.max is that of a cgroup below, with the load */
} ladder[] = {
	{ NONE, NONE, 64, 96, 0, 0 },
	{ 32, NONE, 64, 48, 0, 0 },
	{ NONE, NONE, 48, 32, 0, 64 },
	{ 32, NONE, 64, 0, 96, 0 },
	{ 32, 0, 64, 48, 0, 0 },
	{ NONE, NONE, 64, 48, 0, 0 },
	{ 32, NONE, 64, 96, 0, 0 },
	{ 32, 16, 64, 40, 0, 0 },
	{ 32, 16, 64, 96, 0, 0 },
	{ 32, 16, 40, 96, 0, 0 },
	{ 64, NONE, 32, 48, 0, 0 },
	{ 64, NONE, 32, 24, 0, 48 },
	{ NONE, NONE, 48, 0, 0, 96 },
	{ 32, NONE, 48, 0, 0, 96 },
	{ NONE, NONE, 64, 0, 48, 0 },
	{ NONE, NONE, 64, 0, 96, 0 },
	{ 32, NONE, 64, 0, 48, 0 },
	{ 32, NONE, 64, 24, 24, 0 },
	{ 24, NONE, 48, 96, 0, 0, true },
	{ 24, NONE, 64, 40, 0, 0, true },
};

#define RUNGS	((int)(sizeof(ladder) / sizeof(*ladder)))

enum limit { NO_LIMIT, MEMORY, MEMSW };

static const char * const limit_names[] = { "none", "memory.max", "memsw.max" };

/* What a rung comes to, in the model and in fact. */
struct outcome {
	enum limit met;
	bool killed;
	bool swaps;
	long long least_swapped, most_swapped;	/* MiB, of the model; pages, in fact */
	double over;		/* bytes above memsw.max at most */
};

static int least(int a, int b)
{
	return a < b ? a : b;
}

/* What cannot be dropped has to be in memory or in swap, and both together below memsw. */
static struct outcome model(const struct rung *r)
{
	int kept = r->anon + r->shmem, all = kept + r->file;
	int both = least(r->max + r->swap, NONE);
	struct outcome o = { .most_swapped = NONE };

	o.killed = kept > least(both, r->memsw);
	if (o.killed)
		o.met = r->memsw < both ? MEMSW : MEMORY;
	else if (all > least(r->max, r->memsw))
		o.met = r->memsw <= r->max ? MEMSW : MEMORY;
	/* To swap for memsw is no use; for memory.max what does not fit there has to go. */
	if (r->memsw <= r->max)
		o.most_swapped = 0;
	else if (least(kept, r->memsw) > r->max)
		o.least_swapped = least(least(kept, r->memsw) - r->max, r->swap);
	return o;
}

static void set(const char *cg, const char *file, int mib)
{
	char text[32];

	snprintf(text, sizeof(text), "%dM", mib);
	cg_write(cg, file, mib == NONE ? "max" : text);
}

static void setup(const struct rung *r)
{
	cg_create(CG);
	if (r->below) {
		cg_write(CG, "cgroup.subtree_control", "+memory");
		cg_create(BELOW);
	}
	set(r->below ? BELOW : CG, "memory.max", r->max);
	set(r->below ? BELOW : CG, "memory.swap.max", r->swap);
	set(CG, MEMSW_MAX, r->memsw);
}

static void read_twice(int mib)
{
	static char buf[MIB];
	int i, j, fd = open(MEMSW_FILE, O_RDONLY);

	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (i = 0; i < 2; i++) {
		lseek(fd, 0, SEEK_SET);
		for (j = 0; j < mib && read(fd, buf, sizeof(buf)) > 0; j++)
			;
	}
	close(fd);
}

/* Does what the rung says, and ends with 0. */
static pid_t load(const struct rung *r)
{
	size_t i, len = r->anon * MIB;
	pid_t pid = fork();
	char *p = NULL;

	if (pid)
		return pid;
	if (cg_enter(r->below ? BELOW : CG))
		_exit(1);
	if (len)
		p = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < len; i += PAGE)
		p[i] = 1;
	if (r->shmem && !memsw_write(TMPFS "/m8", r->shmem))
		_exit(2);
	if (r->file)
		read_twice(r->file);
	_exit(0);
}

static struct outcome look(const struct rung *r)
{
	long long before = read_key("/proc/vmstat", "pswpout"), over;
	struct outcome o = { .over = -1e12 };
	pid_t pid = load(r);
	uint64_t from = now_ns();
	int status = -1;

	while (now_ns() - from < 120 * NSEC) {
		over = memsw_sum(CG) - r->memsw * (long long)MIB;
		o.over = over > o.over ? over : o.over;
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		nap_ms(2);
	}
	if (status == -1)
		end_task(pid);
	o.killed = WIFSIGNALED(status);
	o.most_swapped = read_key("/proc/vmstat", "pswpout") - before;
	if (cg_key(CG, "memory.ext.events", o.killed ? "memsw_oom" : "memsw_max") > 0)
		o.met = MEMSW;
	else if (cg_key(CG, "memory.events", "max") > 0)
		o.met = MEMORY;
	return o;
}

static char *mib_text(int mib)
{
	static char text[8][16];
	static int i;

	i = (i + 1) % 8;
	snprintf(text[i], sizeof(text[i]), mib == NONE ? "max" : "%d", mib);
	return text[i];
}

static void report_rung(const struct rung *r, const struct outcome *m,
			const struct outcome *o, bool ok)
{
	bench_md("| %s%s | %s | %s | %d | %d | %d | %s, %s | %s, %s | %s to %s | %.1f | %+.0f | %s |",
		 mib_text(r->max), r->below ? ", below" : "", mib_text(r->swap),
		 mib_text(r->memsw), r->anon, r->shmem, r->file,
		 limit_names[m->met], m->killed ? "killed" : "goes on",
		 limit_names[o->met], o->killed ? "killed" : "goes on",
		 mib_text(m->least_swapped), mib_text(m->most_swapped),
		 (double)o->most_swapped * PAGE / MIB, o->over / PAGE,
		 ok ? "pass" : "**fail**");
}

/* Within an eighth and a bit: pages of tables, and what the kernel has in hand. */
static bool swapped_as(const struct outcome *m, const struct outcome *o)
{
	long long mib = o->most_swapped * PAGE / (long long)MIB;

	return mib + m->least_swapped / 8 + 1 >= m->least_swapped &&
	       o->most_swapped <= (m->most_swapped ? m->most_swapped * 256 : 64);
}

static void rung(const struct rung *r)
{
	struct outcome m = model(r), o;
	bool ok;

	mount("none", TMPFS, "tmpfs", 0, "size=256M");
	setup(r);
	o = look(r);
	ok = m.met == o.met && m.killed == o.killed && swapped_as(&m, &o) &&
	     o.over <= memsw_slack();
	if (opt.bench)
		report_rung(r, &m, &o, ok);
	ktap_ok(opt.bench || ok,
		"max %s%s, swap %s, memsw %s; anon %d, shmem %d, file %d: %s, %s (model: %s, %s), %lld pages swapped, %+.0f above",
		mib_text(r->max), r->below ? " below" : "", mib_text(r->swap),
		mib_text(r->memsw), r->anon, r->shmem, r->file,
		limit_names[o.met], o.killed ? "killed" : "goes on",
		limit_names[m.met], m.killed ? "killed" : "goes on",
		o.most_swapped, o.over / PAGE);
	umount(TMPFS);
	cg_remove(BELOW);
	cg_remove(CG);
}

/*
 * Instructions: for a batch of new pages; for a page of zeros to be put into swap, which is
 * a charge of swap and a removal from the swap cache; and to be taken out, which is such a
 * removal. So the difference between these two is what a charge of swap costs.
 */
enum { BATCH, OUT, IN, COSTS };

struct cost {
	double n[COSTS];
};

static uint64_t touch(char *p, size_t len)
{
	uint64_t start = __rdtsc();
	size_t i;

	for (i = 0; i < len; i += PAGE)
		p[i] = 0;
	return __rdtsc() - start;
}

static void cost_take(struct cost *c)
{
	static uint64_t v[COSTS][REPEATS];
	size_t len = PAGES * PAGE;
	uint64_t start;
	char *p;
	int i, j;

	for (i = -8; i < REPEATS; i++) {
		j = i < 0 ? 0 : i;
		p = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		v[BATCH][j] = touch(p, len);
		start = __rdtsc();
		madvise(p, len, MADV_PAGEOUT);
		v[OUT][j] = __rdtsc() - start;
		v[IN][j] = touch(p, len);
		munmap(p, len);
	}
	for (i = 0; i < COSTS; i++)
		c->n[i] = middle_mean(v[i], REPEATS) / (i == BATCH ? 1 : PAGES);
}

static struct cost cost_of(const char *cg)
{
	static struct cost *shared;
	pid_t pid;

	if (!shared)
		shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = cg_fork(cg);
	if (!pid) {
		cost_take(shared);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return *shared;
}

/* What a charge of swap costs more than in the other cell. */
static double swap_charge(const struct cost *c, const struct cost *none)
{
	return (c->n[OUT] - none->n[OUT]) - (c->n[IN] - none->n[IN]);
}

static void report_cost(const char *what, const struct cost *c, const struct cost *none,
			double bar, double noise)
{
	const char *verdict = "";

	if (bar > 0)
		verdict = swap_charge(c, none) <= (bar > noise ? bar : noise) ?
			  "pass" : "**fail**";
	if (opt.bench)
		bench_md("| %s | %.0f (%+.1f, %+.3f %%) | %.0f (%+.1f) | %.0f (%+.1f) | %+.1f %s |",
			 what, c->n[BATCH], c->n[BATCH] - none->n[BATCH],
			 (c->n[BATCH] / none->n[BATCH] - 1) * 100, c->n[OUT],
			 c->n[OUT] - none->n[OUT], c->n[IN], c->n[IN] - none->n[IN],
			 swap_charge(c, none), verdict);
	ktap_note("%s: a batch %.0f (%+.1f), a page to swap %.0f (%+.1f) and back %.0f (%+.1f)",
		  what, c->n[BATCH], c->n[BATCH] - none->n[BATCH], c->n[OUT],
		  c->n[OUT] - none->n[OUT], c->n[IN], c->n[IN] - none->n[IN]);
}

static void costs_head(void)
{
	bench_md("%s", "");
	bench_md("Instructions of a batch of 64 new pages, of a page of zeros put into swap, and of one taken out again; differences to none. A charge of swap is what the second differs by more than the third. Allowed: 0.2 without such a limit, 150 while another cgroup has one; or as much as the cells of none differ by.");
	bench_md("%s", "");
	bench_md("| cell | batch | page to swap | and back | charge of swap |");
	bench_md("| --- | --: | --: | --: | --: |");
}

/* What these differ by at most. */
static double spread(const struct cost *a, const struct cost *b, const struct cost *c)
{
	return fmax(fabs(swap_charge(a, b)),
		    fmax(fabs(swap_charge(b, c)), fabs(swap_charge(a, c))));
}

static void costs(void)
{
	struct cost none, again, idle, elsewhere, own, over, end;
	double noise;

	cg_create(CG);
	cg_create(OTHER);
	none = cost_of(CG);
	again = cost_of(CG);
	mcx_load();
	idle = cost_of(CG);
	cg_write(OTHER, MEMSW_MAX, "1G");
	elsewhere = cost_of(CG);
	cg_write(CG, MEMSW_MAX, "1G");
	own = cost_of(CG);
	cg_write(CG, MEMSW_MAX, "max");
	cg_write(OTHER, MEMSW_MAX, "max");
	nap_ms(3000);
	over = cost_of(CG);
	mcx_unload();
	/* The kernel's own changes while time goes by. */
	end = cost_of(CG);
	noise = spread(&none, &again, &end);
	if (opt.bench)
		costs_head();
	report_cost("none", &none, &none, 0, 0);
	report_cost("none again", &again, &none, 0, 0);
	report_cost("loaded", &idle, &none, .2, noise);
	report_cost("another cgroup has a limit", &elsewhere, &none, 150, noise);
	report_cost("it has one itself", &own, &none, 0, 0);
	report_cost("none has one any more", &over, &none, .2, noise);
	report_cost("none, at the end", &end, &none, 0, 0);
	ktap_ok(opt.bench || swap_charge(&elsewhere, &none) <= 150,
		"a charge of swap elsewhere: %+.1f instructions",
		swap_charge(&elsewhere, &none));
	cg_remove(CG);
	cg_remove(OTHER);
}

static void usage(FILE *out)
{
	fputs("usage: m8 [-B] [-n RUNGS]\n"
	      "  -B        report for make bench; no figure is judged by the exit status\n"
	      "  -n RUNGS  of the ladder (all)\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	opt.rungs = RUNGS;
	while ((c = getopt(argc, argv, "n:Bh")) != -1) {
		switch (c) {
		case 'n': opt.rungs = atoi(optarg); break;
		case 'B': opt.bench = true; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (opt.rungs < 0 || opt.rungs > RUNGS || optind < argc) {
		usage(stderr);
		exit(2);
	}
}

static void head(void)
{
	bench_n("1 run of each combination, %d repeats per cost", REPEATS);
	bench_md("Limits and loads in MiB. Swapped: MiB, as the model has it, and in fact. Above: pages above memsw.max, at most %lld allowed.",
		 memsw_slack() / PAGE);
	bench_md("%s", "");
	bench_md("| memory.max | swap.max | memsw.max | anon | shmem | file | model | in fact | swapped, model | in fact | above | |");
	bench_md("| --: | --: | --: | --: | --: | --: | --- | --- | --: | --: | --: | --- |");
}

int main(int argc, char **argv)
{
	int i;

	parse(argc, argv);
	ktap_start();
	memsw_begin(96);
	mkdir(TMPFS, 0700);
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	if (opt.bench)
		head();
	for (i = 0; i < opt.rungs; i++)
		rung(&ladder[i]);
	mcx_unload();
	if (!clock_counts_instructions())
		ktap_skip("costs: the clock does not count instructions");
	else
		costs();
	cg_remove(TOP);
	rmdir(TMPFS);
	unlink(MEMSW_FILE);
	return ktap_end();
}
