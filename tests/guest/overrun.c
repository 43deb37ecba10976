// SPDX-License-Identifier: GPL-2.0-only
/*
 * overrun: overrun= in memory.ext.reclaim.
 *
 * Tasks take more in one system call than is kept free below memory.max. Without
 * overrun= the kernel reclaims in the middle of the call, with it nobody does, usage goes
 * above memory.max by no more than that, memory.max reads as it was written, and usage is
 * below it again when it is over. An independent tracer (load/memtrace) says who reclaimed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define CG	"mcx-test-overrun"
#define MAX	(32 * MIB)
#define OVERRUN	(8 * MIB)
/* memory.peak has what each CPU tried and took back, a batch. */
#define SLACK	(2 * 64 * PAGE)
#define HUGE	(2 * 512 * PAGE)
#define THP	"/sys/kernel/mm/transparent_hugepage/enabled"
#define CHILD	CG "/child"
#define ROOM	"headroom=1M"

static struct proc tracer;

/* What a reader of memory.max saw, and the highest usage. Shared. */
static struct seen {
	volatile bool stop;
	volatile long reads;
	volatile long wrong;
	volatile long long allowed[2];
	volatile long long peak;
} *seen;

static long long stat_of(const char *key)
{
	return cg_key(CG, "memory.ext.stat", key);
}

static void reader(void)
{
	long long max, usage;

	while (!seen->stop) {
		max = cg_number(CG, "memory.max");
		usage = cg_number(CG, "memory.current");
		if (max != seen->allowed[0] && max != seen->allowed[1])
			seen->wrong++;
		if (usage > seen->peak)
			seen->peak = usage;
		seen->reads++;
	}
	_exit(0);
}

static pid_t start_reader(long long max)
{
	pid_t pid;

	memset(seen, 0, sizeof(*seen));
	seen->allowed[0] = max;
	seen->allowed[1] = max;
	pid = fork();
	if (!pid)
		reader();
	return pid;
}

static void end_reader(pid_t pid)
{
	seen->stop = true;
	waitpid(pid, NULL, 0);
}

static void fresh(const char *conf)
{
	cg_remove(CG);
	cg_create(CG);
	cg_write(CG, "memory.max", "33554432");
	/* Room for what is charged ahead, and for nothing else. */
	cg_write(CG, "memory.ext.reclaim", ROOM);
	cg_write(CG, "memory.ext.reclaim", conf);
	mcx_manage(CG);
}

/* Takes @mib of memory in calls of @chunk pages, and stays. */
static pid_t keeper(const char *cg, size_t mib, size_t chunk)
{
	size_t size = chunk * PAGE, at;
	pid_t pid = cg_fork(cg);
	char *p;

	if (pid)
		return pid;
	p = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (at = 0; at + size <= mib * MIB; at += size)
		madvise(p + at, size, MADV_POPULATE_WRITE);
	for (;;)
		pause();
}

/* Two tasks take @mib each in calls of @chunk pages, five times over. */
static struct trace load(const char *cg, size_t mib, size_t chunk)
{
	struct trace trace = {};
	pid_t pid[2];
	int i;

	trace_start(&tracer, CG, MAX, CG);
	for (i = 0; i < 2; i++)
		pid[i] = charger(cg, mib, chunk, 5);
	for (i = 0; i < 2; i++)
		waitpid(pid[i], NULL, 0);
	trace_stop(&tracer, &trace);
	return trace;
}

static void test_without(void)
{
	struct trace t;

	fresh("overrun=0");
	t = load(CG, 24, 768);
	ktap_ok(t.members.reclaim_pages > 0,
		"without overrun= who allocates reclaims (%.0f pages), as it must",
		t.members.reclaim_pages);
	ktap_ok(stat_of("granted") == 0 && cg_number(CG, "memory.peak") <= (long long)MAX,
		"and memory.max is not exceeded");
}

static void test_with(void)
{
	struct trace t;
	pid_t pid;

	fresh("overrun=8M");
	nap_ms(500);
	pid = start_reader(MAX);
	t = load(CG, 24, 768);
	end_reader(pid);
	ktap_ok(stat_of("granted") > 0 && stat_of("granted_pages") > 0 &&
		cg_key(CG, "memory.ext.events", "granted") == stat_of("granted"),
		"charges beyond memory.max are granted (%lld, %lld pages)",
		stat_of("granted"), stat_of("granted_pages"));
	ktap_ok(cg_key(CG, "memory.events", "max") == 0,
		"and are not among those that met it (max %lld)",
		cg_key(CG, "memory.events", "max"));
	/* On a slow machine it may do so on its way out, after 2 s. */
	ktap_ok(t.members.reclaim_pages <= (double)stat_of("repaid_pages") &&
		t.members.sync_sleeps == 0,
		"and nobody reclaims or sleeps in the middle of a call (%.0f pages, %lld of them after it; %.0f times)",
		t.members.reclaim_pages, stat_of("repaid_pages"),
		t.members.sync_sleeps);
	ktap_ok(cg_number(CG, "memory.peak") > (long long)MAX &&
		cg_number(CG, "memory.peak") <= (long long)(MAX + OVERRUN + SLACK),
		"usage went %.1f MiB above it, of 8",
		(cg_number(CG, "memory.peak") - (double)MAX) / MIB);
	ktap_ok(seen->reads > 50 && seen->wrong == 0,
		"memory.max reads as it was written (%ld of %ld reads differ)",
		seen->wrong, seen->reads);
}

/* Huge pages, for which the kernel would reclaim before it takes small ones. */
static void test_huge(void)
{
	long long above, may = 0;
	struct trace t;

	fresh("overrun=8M");
	nap_ms(500);
	setting(THP, "always");
	t = load(CG, 24, 768);
	thp_off();
	above = cg_number(CG, "memory.peak") - (long long)MAX;
	/* Who finds that the others have used it up reclaims, as the rule is. */
	if (above > (long long)(OVERRUN * 3 / 4 - HUGE))
		may = stat_of("granted_pages") / 50;
	ktap_ok(stat_of("granted") > 0 &&
		t.members.reclaim_pages <= (double)(stat_of("repaid_pages") + may) &&
		above <= (long long)(OVERRUN + HUGE),
		"with huge pages, too, nobody reclaims in a call (%lld pages granted, %.0f reclaimed, %lld after it, %lld allowed as %.1f MiB above were used)",
		stat_of("granted_pages"), t.members.reclaim_pages,
		stat_of("repaid_pages"), may, (double)above / MIB);
}

/*
 * Killed in the middle of a call that goes beyond memory.max: gone at once, and what was
 * granted is taken back with all the rest.
 */
static void test_killed(void)
{
	long long granted;
	uint64_t from;
	pid_t pid[4];
	int i;

	fresh("overrun=8M");
	nap_ms(500);
	for (i = 0; i < 4; i++)
		pid[i] = charger(CG, 24, 6144, 1000);
	nap_ms(3000);
	granted = stat_of("granted");
	from = now_ns();
	for (i = 0; i < 4; i++)
		kill(pid[i], SIGKILL);
	for (i = 0; i < 4; i++)
		waitpid(pid[i], NULL, 0);
	from = now_ns() - from;
	ktap_ok(granted > 0 && from < (debug_kernel() ? 10 : 3) * NSEC,
		"four tasks killed beyond memory.max are gone in %.0f ms (%lld granted)",
		from / 1e6, granted);
	for (i = 0; i < 100 && cg_number(CG, "memory.current") > (long long)MIB; i++)
		nap_ms(50);
	ktap_ok(cg_number(CG, "memory.current") <= (long long)MIB,
		"and nothing stays charged (%.2f MiB)",
		(double)cg_number(CG, "memory.current") / MIB);
}

/* One call that needs more than that: the rest is the kernel's. */
static void test_beyond(void)
{
	struct trace t;

	fresh("overrun=8M");
	nap_ms(500);
	t = load(CG, 48, 6144);
	ktap_ok(t.members.reclaim_pages > 0 && stat_of("granted") > 0,
		"24 MiB in one call: some is granted (%lld pages), the kernel does the rest (%.0f)",
		stat_of("granted_pages"), t.members.reclaim_pages);
	ktap_ok(cg_number(CG, "memory.peak") <= (long long)(MAX + OVERRUN + SLACK),
		"and no more than that is exceeded (%.1f MiB)",
		(cg_number(CG, "memory.peak") - (double)MAX) / MIB);
}

/* A child's charges, with the limit above it: the child's, or not that of all. */
static void test_above(void)
{
	struct trace t;

	fresh("overrun=8M");
	cg_write(CG, "cgroup.subtree_control", "+memory");
	cg_create(CHILD);
	nap_ms(500);
	t = load(CHILD, 24, 768);
	ktap_ok(stat_of("granted") > 0 &&
		t.members.reclaim_pages <= (double)stat_of("repaid_pages"),
		"what a child charges is granted above it (%lld, reclaimed %.0f)",
		stat_of("granted"), t.members.reclaim_pages);

	cg_remove(CHILD);
	fresh("overrun=0");
	cg_write(CG, "cgroup.subtree_control", "+memory");
	cg_create(CHILD);
	cg_write(CHILD, "memory.max", "32M");
	cg_write(CHILD, "memory.ext.reclaim", ROOM);
	cg_write(CHILD, "memory.ext.reclaim", "overrun=8M");
	mcx_manage(CHILD);
	nap_ms(500);
	load(CHILD, 24, 768);
	ktap_ok(cg_number(CG, "memory.peak") <= (long long)(MAX + SLACK) &&
		cg_key(CG, "memory.events", "max") > 0,
		"but not beyond a limit above it that does not allow that (max %lld)",
		cg_key(CG, "memory.events", "max"));
	cg_remove(CHILD);
}

/* The user's word counts, also while usage is above it. */
static void test_written(void)
{
	long long granted;
	pid_t pid, reads;
	int i;

	fresh("overrun=8M");
	nap_ms(500);
	reads = start_reader(MAX);
	seen->allowed[1] = 24 * MIB;
	pid = charger(CG, 24, 768, 1000);
	nap_ms(2000);
	cg_write(CG, "memory.max", "25165824");
	seen->allowed[0] = 24 * MIB;
	granted = stat_of("granted");
	nap_ms(2000);
	seen->peak = 0;
	nap_ms(2000);
	for (i = 0; i < 200 && stat_of("granted") == granted; i++)
		nap_ms(100);
	granted = stat_of("granted") - granted;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	end_reader(reads);
	ktap_ok(seen->wrong <= 1 && seen->reads > 50,
		"memory.max, written meanwhile, reads as what was written last (%ld of %ld)",
		seen->wrong, seen->reads);
	ktap_ok(granted > 0, "charges are granted beyond that, then (%lld)",
		granted);
	ktap_ok(seen->peak > 0 && seen->peak <= (long long)(24 * MIB + OVERRUN),
		"and is the limit from then on (%.1f MiB)",
		(double)seen->peak / MIB);
}

/* Not managed any more, memory.max is the kernel's at once. */
static void test_end(void)
{
	pid_t pid;
	int i;

	fresh("overrun=8M");
	nap_ms(500);
	pid = charger(CG, 48, 768, 1000);
	for (i = 0; i < 100 && stat_of("granted") <= 0; i++)
		nap_ms(50);
	cg_write(CG, "memory.ext.enable", "0");
	nap_ms(1000);
	seen->peak = 0;
	for (i = 0; i < 200; i++) {
		long long usage = cg_number(CG, "memory.current");

		seen->peak = usage > seen->peak ? usage : seen->peak;
		nap_ms(5);
	}
	/* A batch that is just being tried is seen for a moment. */
	ktap_ok(i > 0 && seen->peak > 0 && seen->peak <= (long long)(MAX + 64 * PAGE) &&
		cg_number(CG, "memory.max") == (long long)MAX,
		"not managed any more it is the limit at once (%.1f MiB)",
		(double)seen->peak / MIB);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/*
 * What nobody can reclaim: it is the kernel that decides, at memory.max, and not
 * somewhere above it.
 */
static void test_decided(void)
{
	pid_t pid[2];
	int i, status;
	uint64_t from;

	swap_off();
	fresh("overrun=8M");
	nap_ms(500);
	/* 30 MiB that stay, and one who takes 6 more at once and nothing after that. */
	pid[0] = keeper(CG, 30, 64);
	nap_ms(2000);
	pid[1] = keeper(CG, 6, 6 * 256);
	from = now_ns();
	while (now_ns() - from < 20 * NSEC &&
	       cg_key(CG, "memory.events", "oom_kill") == 0)
		nap_ms(20);
	ktap_ok(cg_key(CG, "memory.events", "oom_kill") > 0,
		"where nothing can be reclaimed somebody is killed after %.1f s",
		(double)(now_ns() - from) / 1e9);
	nap_ms(1000);
	ktap_ok(cg_number(CG, "memory.current") <= (long long)MAX,
		"and usage is below memory.max again (%.1f MiB)",
		(double)cg_number(CG, "memory.current") / MIB);
	for (i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], &status, 0);
	}
	swap_on();
}

/* Lowered below usage, memory.max is to be met before anything is granted above it. */
static void test_lowered(void)
{
	pid_t pid;
	int i;

	swap_off();
	fresh("overrun=8M");
	nap_ms(500);
	pid = keeper(CG, 24, 64);
	nap_ms(1500);
	seen->peak = 0;
	/* Nothing can be reclaimed, so that the write ends with somebody killed. */
	cg_write(CG, "memory.max", "20M");
	for (i = 0; i < 100 && cg_number(CG, "memory.current") > 20 * (long long)MIB; i++)
		nap_ms(50);
	ktap_ok(stat_of("granted") == 0 &&
		cg_number(CG, "memory.current") <= 20 * (long long)MIB,
		"memory.max lowered below usage is met (%.1f MiB, %lld granted)",
		(double)cg_number(CG, "memory.current") / MIB, stat_of("granted"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	swap_on();
}

/* Nobody may be killed: it comes back from its call all the same, and memory stays. */
static void test_unkillable(void)
{
	pid_t pid[2];
	int i;

	swap_off();
	fresh("overrun=8M");
	nap_ms(500);
	write_file("/proc/self/oom_score_adj", "-1000");
	pid[0] = keeper(CG, 30, 64);
	nap_ms(2000);
	memset(seen, 0, sizeof(*seen));
	pid[1] = fork();
	if (!pid[1]) {
		if (cg_enter(CG))
			_exit(1);
		madvise(mmap(NULL, 6 * MIB, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 6 * MIB,
			MADV_POPULATE_WRITE);
		for (;; nap_ms(20))
			seen->reads++;
	}
	write_file("/proc/self/oom_score_adj", "0");
	for (i = 0; i < 200 && seen->reads < 10; i++)
		nap_ms(100);
	ktap_ok(seen->reads >= 10 && stat_of("granted") > 0 &&
		cg_key(CG, "memory.events", "oom_kill") == 0,
		"where nobody may be killed a call beyond memory.max ends (after %.1f s at most, %lld granted)",
		i / 10.0, stat_of("granted"));
	for (i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	swap_on();
}

/*
 * Whoever writes the same memory.max again, as systemd does, or another one, has nobody
 * killed by that, and is done soon.
 */
static void test_rewritten(void)
{
	uint64_t from, longest = 0;
	long long granted;
	int i, errors = 0;
	pid_t pid[2];

	fresh("overrun=8M");
	nap_ms(500);
	for (i = 0; i < 2; i++)
		pid[i] = charger(CG, 24, 768, 1000);
	nap_ms(1000);
	for (i = 0; i < 40; i++) {
		from = now_ns();
		errors += !!cg_write(CG, "memory.max",
				     i % 4 ? "33554432" : "34M");
		from = now_ns() - from;
		longest = from > longest ? from : longest;
		nap_ms(50);
	}
	granted = stat_of("granted");
	for (i = 0; i < 300 && stat_of("granted") <= granted; i++)
		nap_ms(100);
	granted = stat_of("granted") - granted;
	ktap_ok(!errors && cg_key(CG, "memory.events", "oom_kill") == 0 &&
		longest < 5 * NSEC,
		"memory.max written anew 40 times: nobody is killed (%lld), no write takes longer than %.0f ms",
		cg_key(CG, "memory.events", "oom_kill"), longest / 1e6);
	ktap_ok(granted > 0, "and charges beyond it are granted after that (%lld)",
		granted);
	for (i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
}

/* 24 MiB, @times over, in calls of @size. Runs in a child. */
static int write_anew(const char *cg, const char *path, char *from, size_t size,
		      int times)
{
	size_t at;
	int fd;

	if (cg_enter(cg))
		return 1;
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	for (; fd >= 0 && times; times--) {
		for (at = 0; at < 24 * MIB; at += size)
			if (pwrite(fd, from, size, at) != (ssize_t)size)
				return 1;
		if (ftruncate(fd, 0))
			return 1;
	}
	return fd < 0;
}

/* A file, the buffers of which are charged on behalf of its cgroup. */
static void test_file(void)
{
	size_t size = 3 * MIB;
	struct trace t = {};
	char path[2][32], *from;
	pid_t pid[2];
	int i, status, errors = 0;

	from = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	memset(from, 1, size);
	fresh("overrun=8M");
	nap_ms(500);
	trace_start(&tracer, CG, MAX, CG);
	for (i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "/scratch/overrun%d", i);
		pid[i] = fork();
		if (!pid[i])
			_exit(write_anew(CG, path[i], from, size, 8));
	}
	for (i = 0; i < 2; i++) {
		waitpid(pid[i], &status, 0);
		errors += status;
		unlink(path[i]);
	}
	trace_stop(&tracer, &t);
	/*
	 * On the debug kernel the disk is as fast as they are. Large folios, which 7.3
	 * tries first, have half of overrun= only: 2 % of what is written; it was five
	 * times that without them.
	 */
	ktap_ok(!errors && (stat_of("granted") > 0 || debug_kernel()) &&
		t.members.reclaim_pages <= (double)stat_of("repaid_pages") +
					   2 * 8 * 24 * MIB / PAGE / 50,
		"who writes a file hardly reclaims for it (%lld granted, %.0f pages, %lld of them after the call)",
		stat_of("granted"), t.members.reclaim_pages, stat_of("repaid_pages"));
	munmap(from, size);
}

static void test_values(void)
{
	static const char * const bad[] = {
		"overrun=", "overrun=max", "overrun=-1", "overrun=8MB",
		"overrun=10%",
	};
	size_t i, n = 0;

	fresh("overrun=0");
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		n += cg_write(CG, "memory.ext.reclaim", bad[i]) == -EINVAL;
	ktap_ok(n == i && cg_write(CG, "memory.ext.reclaim", "overrun=2T") == -ERANGE &&
		cg_write(CG, "memory.ext.reclaim", "overrun=4K") == -ERANGE,
		"nonsense is refused (%zu of %zu)", n, i);
}

int main(void)
{
	ktap_start();
	thp_off();
	seen = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mcx_load())
		ktap_skip_all("the module does not load");
	if (trace_open(&tracer))
		ktap_skip_all("no tracer");
	if (swap_on())
		ktap_skip_all("no swap device");
	test_values();
	test_without();
	test_with();
	test_huge();
	test_killed();
	test_beyond();
	test_above();
	test_written();
	test_end();
	test_decided();
	test_lowered();
	test_rewritten();
	test_file();
	test_unkillable();
	proc_wait(&tracer);
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	swap_off();
	return ktap_end();
}
