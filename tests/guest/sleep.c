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
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
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

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Touches new memory for ever, a batch at a time, with a handler for SIGUSR1. */
static pid_t hog(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	pid_t pid = fork();

	if (pid)
		return pid;
	if (cg_enter(CG))
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
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

static void test_signal(void)
{
	double most = 0;
	uint64_t took[TRIES], from;
	int i, seen = 0;
	pid_t pid;

	fresh("8M");
	pid = hog();
	for (i = 0; i < TRIES; i++) {
		if (!until_it_waits(pid))
			break;
		shared->handled = 0;
		from = now_ns();
		kill(pid, SIGUSR1);
		while (!shared->handled && now_ns() - from < 5 * NSEC)
			nap_ms(1);
		took[i] = now_ns() - from;
		seen += shared->handled > 0;
		if (took[i] / 1e6 > most)
			most = took[i] / 1e6;
		nap_ms(37);
	}
	/* One may be late since the machine is. */
	ktap_ok(seen == TRIES && quantile(took, TRIES, 0.8) <= allowed_ms() * 1e6 &&
		most <= 3 * allowed_ms(),
		"a signal is handled %d times of %d, after %.0f ms at most",
		seen, TRIES, most);
	end(pid);
}

static void test_ptrace(void)
{
	double took, most = 0;
	int i, seen = 0, status = 0;
	uint64_t from;
	pid_t pid;

	fresh("8M");
	pid = hog();
	for (i = 0; i < TRIES; i++) {
		if (!until_it_waits(pid))
			break;
		from = now_ns();
		ptrace(PTRACE_SEIZE, pid, 0, 0);
		ptrace(PTRACE_INTERRUPT, pid, 0, 0);
		while (waitpid(pid, &status, WNOHANG | __WALL) != pid &&
		       now_ns() - from < 5 * NSEC)
			nap_ms(1);
		took = (double)(now_ns() - from) / 1e6;
		seen += WIFSTOPPED(status);
		most = took > most ? took : most;
		ptrace(PTRACE_DETACH, pid, 0, 0);
		nap_ms(37);
	}
	ktap_ok(seen == TRIES && most <= allowed_ms(),
		"a debugger stops it %d times of %d, after %.0f ms at most",
		seen, TRIES, most);
	end(pid);
}

static void test_freeze(void)
{
	double took, most = 0;
	int i, seen = 0;
	uint64_t from;
	long rounds;
	pid_t pid;

	fresh("8M");
	pid = hog();
	for (i = 0; i < TRIES; i++) {
		if (!until_it_waits(pid))
			break;
		from = now_ns();
		cg_write(CG, "cgroup.freeze", "1");
		while (cg_key(CG, "cgroup.events", "frozen") != 1 &&
		       now_ns() - from < 5 * NSEC)
			nap_ms(1);
		took = (double)(now_ns() - from) / 1e6;
		seen += cg_key(CG, "cgroup.events", "frozen") == 1;
		most = took > most ? took : most;
		cg_write(CG, "cgroup.freeze", "0");
		nap_ms(37);
	}
	ktap_ok(seen == TRIES && most <= allowed_ms(),
		"its cgroup freezes %d times of %d, after %.0f ms at most",
		seen, TRIES, most);
	rounds = shared->rounds;
	for (i = 0; i < 100 && shared->rounds == rounds; i++)
		nap_ms(100);
	ktap_ok(shared->rounds > rounds, "and goes on after that");
	end(pid);
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
	end(pid);
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
	pid_t pid = fork();
	char *p;

	if (pid)
		return pid;
	if (cg_enter(CG))
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
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
	end(pid);
	end(holds);
}

/* Bytes taken above memory.high within 6 s, with a signal each @usec if not 0. */
static double taken(int usec)
{
	struct itimerval often = { { 0, usec }, { 0, usec } };
	struct sigaction act = { .sa_handler = on_signal };
	double usage;
	pid_t pid;

	fresh("16M");
	pid = fork();
	if (!pid) {
		if (cg_enter(CG))
			_exit(1);
		sigaction(SIGALRM, &act, NULL);
		setitimer(ITIMER_REAL, &often, NULL);
		for (;;)
			mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	}
	nap_ms(6000);
	usage = cg_number(CG, "memory.current") - 16.0 * MIB;
	end(pid);
	return usage;
}

/* Batches taken in 6 s where they can be swapped out, likewise. */
static double taken_and_swapped(int usec)
{
	struct itimerval often = { { 0, usec }, { 0, usec } };
	struct sigaction act = { .sa_handler = on_signal };
	pid_t pid;
	long from;

	fresh("16M");
	pid = fork();
	if (!pid) {
		char *p = mmap(NULL, RING, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		size_t at;

		if (cg_enter(CG))
			_exit(1);
		sigaction(SIGALRM, &act, NULL);
		setitimer(ITIMER_REAL, &often, NULL);
		for (at = 0;; at = (at + 64 * PAGE) % RING) {
			if (!at)
				madvise(p, RING, MADV_DONTNEED);
			madvise(p + at, 64 * PAGE, MADV_POPULATE_WRITE);
			shared->rounds++;
		}
	}
	nap_ms(3000);
	from = shared->rounds;
	nap_ms(6000);
	from = shared->rounds - from;
	end(pid);
	return from;
}

static void test_swap_storm(void)
{
	double calm, storm;

	if (swap_on()) {
		ktap_skip("no swap device");
		return;
	}
	calm = (taken_and_swapped(0) + taken_and_swapped(0)) / 2;
	storm = taken_and_swapped(1000);
	swap_off();
	ktap_ok(calm > 20 && storm > 0 && storm <= calm * 1.1 + 4,
		"with a signal every ms it takes %.0f batches in 6 s that can be swapped out, without %.0f",
		storm, calm);
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

	if (cg_enter(CG))
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
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
 * How long it takes the kernel to let go of one function for a module that does nothing,
 * beside the same threads; ftrace waits for all of them.
 */
static double ftrace_goes(void)
{
	uint64_t from;

	if (kmod_load("mcx_taker", "page_counter_try_charge"))
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
	double bare;
	pid_t pid;

	fresh("max");
	setting(FOLIOS, "always");
	shared->rounds = 1;
	pid = fork();
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
	ktap_ok(!err && bare > 0 && (from < 5 * NSEC || from < 3 * bare) &&
		n >= nr_threads / 2,
		"with %d threads over the limit, %d waiting, it unloads in %.1f s, a module that does nothing in %.1f (%d)",
		nr_threads, n, from / 1e9, bare / 1e9, err);
	from = now_ns();
	end(pid);
	from = now_ns() - from;
	ktap_ok(from < 10 * NSEC, "they can be killed (%.1f s)", from / 1e9);
	cg_remove(CG);
}

int main(void)
{
	ktap_start();
	thp_off();
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (debug_kernel())
		nr_threads = 100;
	if (mcx_load())
		ktap_skip_all("the module does not load");
	test_signal();
	test_ptrace();
	test_freeze();
	test_cgroup_kill();
	test_core();
	test_room();
	test_storm();
	test_swap_storm();
	test_freezer();
	test_many();
	return ktap_end();
}
