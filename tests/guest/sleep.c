// SPDX-License-Identifier: GPL-2.0-only
/*
 * sleep: who is made to wait on its return to user mode is not out of reach.
 *
 * A signal, a debugger, either freezer, cgroup.kill and a core dump come to it at once;
 * it goes on when there is room again; it gains nothing by being interrupted; and a
 * thousand of them are gone when the module is unloaded.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define CG		"mcx-test-sleep"
#define FREEZER		"/tmp/mcx-freezer"
#define CORE		"/scratch/mcx-core"
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define FOLIOS		"/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled"
#define MAX_THREADS	1000
#define TRIES		10

/* What tasks in the cgroup tell. */
static struct shared {
	volatile uint64_t handled;	/* when the signal's handler ran */
	volatile long rounds;
	volatile bool go;
} *shared;

static pthread_barrier_t all_made;
/* Fewer on the debug kernel, which is slow. */
static int nr_threads = MAX_THREADS;

#define RING	(128 * MIB)	/* what is taken over and over where there is swap */

static void on_signal(int sig)
{
	shared->handled = now_ns();
}

static void fresh(const char *high)
{
	cg_remove(CG);
	cg_create(CG);
	cg_write(CG, "memory.high", high);
	mcx_manage(CG);
	memset(shared, 0, sizeof(*shared));
}

/* Touches new memory for ever, a batch at a time, with a handler for SIGUSR1. */
static pid_t hog(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	pid_t pid = cg_fork(CG);

	if (pid)
		return pid;
	sigaction(SIGUSR1, &act, NULL);
	/* What the handler needs is charged before it has to wait for that. */
	raise(SIGUSR1);
	for (;;) {
		mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		shared->rounds++;
	}
}

/* Is this thread made to wait by us? */
static bool waits(pid_t pid, const char *tid)
{
	char path[64], where[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%s/wchan", pid, tid);
	return read_file(path, where, sizeof(where)) > 0 &&
	       !strncmp(where, "mcx_", 4);
}

/* Until it waits, and has for a moment: most of a slice is ahead, or all of the next. */
static bool until_it_waits(pid_t pid)
{
	char tid[16];
	int i;

	snprintf(tid, sizeof(tid), "%d", pid);
	for (i = 0; i < 1000; i++) {
		if (waits(pid, tid))
			return true;
		nap_ms(10);
	}
	return false;
}

/* The kernel that checks itself is slow, and TCG late by itself. */
static double allowed_ms(void)
{
	return debug_kernel() ? 1000 : 200;
}

/* A way to reach a task that waits. */
struct reach {
	const char *what;
	void (*ask)(pid_t pid);
	bool (*answered)(pid_t pid);
	void (*let_go)(pid_t pid);
	double late;	/* one may be late by that factor since the machine is */
};

static void ask_signal(pid_t pid)
{
	shared->handled = 0;
	kill(pid, SIGUSR1);
}

static bool handled(pid_t pid)
{
	return shared->handled;
}

static void ask_ptrace(pid_t pid)
{
	ptrace(PTRACE_SEIZE, pid, 0, 0);
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
}

static bool is_stopped(pid_t pid)
{
	int status = 0;

	return waitpid(pid, &status, WNOHANG | __WALL) == pid && WIFSTOPPED(status);
}

static void detach(pid_t pid)
{
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void ask_freeze(pid_t pid)
{
	cg_write(CG, "cgroup.freeze", "1");
}

static bool is_frozen(pid_t pid)
{
	return cg_key(CG, "cgroup.events", "frozen") == 1;
}

static void thaw(pid_t pid)
{
	cg_write(CG, "cgroup.freeze", "0");
}

static const struct reach reaches[] = {
	{ "a signal is handled", ask_signal, handled, NULL, 3 },
	{ "a debugger stops it", ask_ptrace, is_stopped, detach, 1 },
	{ "its cgroup freezes", ask_freeze, is_frozen, thaw, 1 },
};

static void test_reach(const struct reach *r)
{
	uint64_t took[TRIES] = {}, from;
	double most = 0;
	int i, seen = 0;
	long rounds;
	pid_t pid;
	bool done;

	fresh("8M");
	pid = hog();
	for (i = 0; i < TRIES && until_it_waits(pid); i++) {
		from = now_ns();
		r->ask(pid);
		while (!(done = r->answered(pid)) && now_ns() - from < 5 * NSEC)
			nap_ms(1);
		took[i] = now_ns() - from;
		seen += done;
		if (took[i] / 1e6 > most)
			most = took[i] / 1e6;
		if (r->let_go)
			r->let_go(pid);
		nap_ms(37);
	}
	ktap_ok(seen == TRIES && quantile(took, TRIES, 0.8) <= allowed_ms() * 1e6 &&
		most <= r->late * allowed_ms(),
		"%s %d times of %d, after %.0f ms at most", r->what, seen, TRIES,
		most);
	rounds = shared->rounds;
	for (i = 0; i < 100 && shared->rounds == rounds; i++)
		nap_ms(100);
	ktap_ok(shared->rounds > rounds, "and it goes on after that");
	end_task(pid);
}

/* cgroup v1's, which freezes wherever a task says that it may be frozen. */
static void test_freezer(void)
{
	char tid[16], state[32] = "";
	uint64_t from;
	double took;
	bool waited;
	pid_t pid;
	int err;

	mkdir(FREEZER, 0700);
	if (mount("none", FREEZER, "cgroup", 0, "freezer")) {
		ktap_skip("no freezer of cgroup v1 (%s)", strerror(errno));
		return;
	}
	mkdir(FREEZER "/one", 0700);
	fresh("8M");
	pid = hog();
	snprintf(tid, sizeof(tid), "%d", pid);
	write_file(FREEZER "/one/tasks", tid);
	waited = until_it_waits(pid);
	from = now_ns();
	write_file(FREEZER "/one/freezer.state", "FROZEN");
	while (now_ns() - from < 5 * NSEC) {
		read_file(FREEZER "/one/freezer.state", state, sizeof(state));
		if (!strncmp(state, "FROZEN", 6))
			break;
		nap_ms(1);
	}
	took = (double)(now_ns() - from) / 1e6;
	ktap_ok(waited && !strncmp(state, "FROZEN", 6) && took <= allowed_ms(),
		"the freezer of cgroup v1 freezes it after %.0f ms", took);
	from = now_ns();
	err = mcx_unload();
	from = now_ns() - from;
	ktap_ok(!err && from < (debug_kernel() ? 20 : 5) * NSEC,
		"the module is unloaded while it is frozen (%.1f s)", from / 1e9);
	write_file(FREEZER "/one/freezer.state", "THAWED");
	end_task(pid);
	rmdir(FREEZER "/one");
	umount(FREEZER);
	mcx_load();
}

static void test_cgroup_kill(void)
{
	pid_t pid[50];
	int i, n = debug_kernel() ? 10 : 50;
	uint64_t from;
	bool waited;

	fresh("8M");
	for (i = 0; i < n; i++)
		pid[i] = hog();
	nap_ms(1000);
	waited = until_it_waits(pid[0]);
	from = now_ns();
	cg_write(CG, "cgroup.kill", "1");
	while (cg_key(CG, "cgroup.events", "populated") != 0 &&
	       now_ns() - from < 10 * NSEC)
		nap_ms(2);
	from = now_ns() - from;
	ktap_ok(waited && from < (debug_kernel() ? 8 : 2) * NSEC,
		"cgroup.kill ends %d of them in %.0f ms", n, from / 1e6);
	for (i = 0; i < n; i++)
		waitpid(pid[i], NULL, 0);
}

static void test_core(void)
{
	struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
	struct stat st = {};
	int status = 0;
	uint64_t from;
	bool waited;
	pid_t pid;

	setting(CORE_PATTERN, CORE);
	setrlimit(RLIMIT_CORE, &any);
	fresh("8M");
	/* Without one, a dump of more than 4 MiB is left to the kernel's own handler. */
	cg_write(CG, "memory.max", "256M");
	pid = hog();
	waited = until_it_waits(pid);
	from = now_ns();
	kill(pid, SIGQUIT);
	while (waitpid(pid, &status, WNOHANG) != pid && now_ns() - from < 60 * NSEC)
		nap_ms(5);
	from = now_ns() - from;
	stat(CORE, &st);
	ktap_ok(waited && WIFSIGNALED(status) && WCOREDUMP(status) &&
		st.st_size > 8 * (long long)MIB &&
		from < (debug_kernel() ? 60 : 5) * NSEC,
		"it dumps a core of %.1f MiB within %.0f ms",
		(double)st.st_size / MIB, from / 1e6);
	unlink(CORE);
	any.rlim_cur = 0;
	setrlimit(RLIMIT_CORE, &any);
}

/* Frees @mib of memory when told. */
static pid_t holder(size_t mib)
{
	pid_t pid = cg_fork(CG);
	char *p;

	if (pid)
		return pid;
	p = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	shared->rounds = -1;
	while (!shared->go)
		nap_ms(1);
	munmap(p, mib * MIB);
	for (;;)
		pause();
}

static void test_room(void)
{
	pid_t holds, pid;
	uint64_t from;
	bool waited;
	long rounds;

	fresh("max");
	holds = holder(32);
	while (shared->rounds >= 0)
		nap_ms(5);
	shared->rounds = 0;
	cg_write(CG, "memory.high", "24M");
	pid = hog();
	nap_ms(1000);
	waited = until_it_waits(pid);
	from = now_ns();
	rounds = shared->rounds;
	shared->go = true;
	while (shared->rounds < rounds + 3 && now_ns() - from < 10 * NSEC)
		nap_ms(1);
	from = now_ns() - from;
	ktap_ok(waited && from < allowed_ms() * 1e6,
		"it goes on %.0f ms after somebody else made room", from / 1e6);
	end_task(pid);
	end_task(holds);
}

/* A fresh task over 16 MiB, with a signal each @usec if not 0. Returns as fork() does. */
static pid_t signalled(int usec)
{
	struct itimerval often = { { 0, usec }, { 0, usec } };
	struct sigaction act = { .sa_handler = on_signal };
	pid_t pid;

	fresh("16M");
	pid = cg_fork(CG);
	if (!pid) {
		sigaction(SIGALRM, &act, NULL);
		setitimer(ITIMER_REAL, &often, NULL);
	}
	return pid;
}

/* Bytes taken above memory.high within 6 s. */
static double taken(int usec)
{
	double usage;
	pid_t pid = signalled(usec);

	while (!pid)
		mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	nap_ms(6000);
	usage = cg_number(CG, "memory.current") - 16.0 * MIB;
	end_task(pid);
	return usage;
}

static void take_and_swap(void)
{
	char *p = mmap(NULL, RING, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t at;

	for (at = 0;; at = (at + 64 * PAGE) % RING) {
		if (!at)
			madvise(p, RING, MADV_DONTNEED);
		madvise(p + at, 64 * PAGE, MADV_POPULATE_WRITE);
		shared->rounds++;
	}
}

/* Batches taken in 4 s where they can be swapped out, and waits, and those cut short. */
static double taken_and_swapped(int usec, long long *waits, long long *cut)
{
	pid_t pid = signalled(usec);
	long from;

	if (!pid)
		take_and_swap();
	nap_ms(2000);
	from = shared->rounds;
	nap_ms(4000);
	from = shared->rounds - from;
	*waits += cg_key(CG, "memory.ext.stat", "paced");
	*cut += cg_key(CG, "memory.ext.stat", "paced_interrupted");
	end_task(pid);
	return from;
}

/*
 * How much is swapped out differs by a factor of two between runs of the same thing: they
 * alternate, and one with signals must lie within 10 % of what one without shows, or more
 * are made; where signals gain none ever does. Whether they ended waits early, which is
 * how one would gain, is exact.
 */
static void test_swap_storm(void)
{
	double calm, storm, most = 0, least = 0;
	long long waits = 0, cut = 0, ignored = 0;
	int i;

	if (swap_on()) {
		ktap_skip("no swap device");
		return;
	}
	for (i = 0; i < 2 || (i < 6 && least > most * 1.1 + 4); i++) {
		calm = taken_and_swapped(0, &ignored, &ignored);
		most = calm > most ? calm : most;
		storm = taken_and_swapped(1000, &waits, &cut);
		least = !i || storm < least ? storm : least;
	}
	swap_off();
	ktap_ok(waits > (debug_kernel() ? 5 : 20) && cut * 10 <= waits,
		"where memory can be swapped out a signal every ms cuts %lld of %lld waits short",
		cut, waits);
	ktap_ok(most > 20 && least > 0 && least <= most * 1.1 + 4,
		"with a signal every ms it takes as few as %.0f batches in 4 s that can be swapped out, without as many as %.0f (%d runs each)",
		least, most, i);
}

/* 10 % is what a signal may gain, and a batch for each CPU. */
static void test_storm(void)
{
	double calm = (taken(0) + taken(0)) / 2, storm = taken(1000);

	ktap_ok(calm > 2 * MIB && storm > 0 && storm <= calm * 1.1 + 2 * 64 * PAGE,
		"with a signal every ms it takes %.2f MiB above memory.high in 6 s, without %.2f",
		storm / MIB, calm / MIB);
}

/* Takes a little until it is held for that, and gives it back: usage does not grow. */
static void *taker(void *arg)
{
	char *p = mmap(NULL, 80 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* To where a folio of 16 pages fits: a batch is four faults then. */
	p = (char *)(((uintptr_t)p + 16 * PAGE - 1) & ~(uintptr_t)(16 * PAGE - 1));
	pthread_barrier_wait(&all_made);
	for (;;) {
		madvise(p, 64 * PAGE, MADV_POPULATE_WRITE);
		madvise(p, 64 * PAGE, MADV_DONTNEED);
		/* Whoever was not held leaves the CPU to the others. */
		nap_ms(20);
	}
	return NULL;
}

static void many_threads(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int i;

	pthread_barrier_init(&all_made, NULL, nr_threads + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16 * PAGE);
	for (i = 0; i < nr_threads; i++)
		if (pthread_create(&thread, &attr, taker, NULL))
			_exit(1);
	/* So far above memory.high that waits are as long as they get, whatever is given back. */
	mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	     MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	shared->rounds = -1;
	while (!shared->go)
		nap_ms(5);
	pthread_barrier_wait(&all_made);
	for (;;)
		pause();
}

/* Is this thread in our code, asleep or about to look whether it may go on? */
static bool inside(pid_t pid, const char *tid)
{
	char path[64], stack[4096];

	snprintf(path, sizeof(path), "/proc/%d/task/%s/stack", pid, tid);
	return read_file(path, stack, sizeof(stack)) > 0 && strstr(stack, "mcx_pay");
}

/* Threads of @pid that are made to wait. */
static int count_inside(pid_t pid)
{
	struct dirent *e;
	char path[64];
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		n += e->d_name[0] != '.' && inside(pid, e->d_name);
	if (dir)
		closedir(dir);
	return n;
}

/*
 * How long it takes the kernel to let go of what we attach to, for a module that does
 * nothing, beside the same threads; ftrace waits for all of them, for each ftrace_ops.
 */
static double ftrace_goes(void)
{
	char funcs[96];
	uint64_t from;

	snprintf(funcs, sizeof(funcs), "page_counter_try_charge,%s", over_high_name());
	if (kmod_load("mcx_taker", funcs))
		return 0;
	from = now_ns();
	if (kmod_unload("mcx_taker"))
		return 0;
	return (double)(now_ns() - from);
}

static void test_many(void)
{
	struct sched_param first = { .sched_priority = 1 }, normal = {};
	int i, n = 0, err;
	uint64_t from;
	double bare, again;
	pid_t pid;

	fresh("max");
	setting(FOLIOS, "always");
	shared->rounds = 1;
	pid = cg_fork(CG);
	if (!pid)
		many_threads();
	for (i = 0; i < 3000 && shared->rounds >= 0; i++)
		nap_ms(10);
	cg_write(CG, "memory.high", "8M");
	shared->go = true;
	/* Counting must not wait for a thousand others, nor keep them from beginning. */
	sched_setscheduler(0, SCHED_FIFO, &first);
	for (i = 0; i < 8 && n < nr_threads * 9 / 10; i++) {
		nap_ms(2000);
		n = count_inside(pid);
	}
	sched_setscheduler(0, SCHED_OTHER, &normal);
	from = now_ns();
	err = mcx_unload();
	from = now_ns() - from;
	ktap_ok(!mcx_loaded() && !waitpid(pid, NULL, WNOHANG), "and they live on");
	bare = ftrace_goes();
	again = ftrace_goes();
	/* 5 s are what is allowed; what ftrace takes comes to that, and varies by twice. */
	ktap_ok(!err && bare > 0 && again > 0 && from < 5 * NSEC + 2 * fmax(bare, again) &&
		n >= nr_threads / (debug_kernel() ? 5 : 2),
		"with %d threads over the limit, %d waiting, it unloads in %.1f s, a module that does nothing in %.1f and %.1f (%d)",
		nr_threads, n, from / 1e9, bare / 1e9, again / 1e9, err);
	from = now_ns();
	end_task(pid);
	from = now_ns() - from;
	ktap_ok(from < 10 * NSEC, "they can be killed (%.1f s)", from / 1e9);
	cg_remove(CG);
}

int main(void)
{
	size_t i;

	ktap_start();
	thp_off();
	/* Or the core's writer may sleep for its dirty pages, which is not ours. */
	dirty_limit_far();
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (debug_kernel())
		nr_threads = 100;
	if (mcx_load())
		ktap_skip_all("the module does not load");
	for (i = 0; i < sizeof(reaches) / sizeof(*reaches); i++)
		test_reach(&reaches[i]);
	test_cgroup_kill();
	test_core();
	test_room();
	test_storm();
	test_swap_storm();
	test_freezer();
	test_many();
	return ktap_end();
}
