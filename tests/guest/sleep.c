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
#define THREADS		1000
#define TRIES		10

/* What tasks in the cgroup tell. */
static struct shared {
	volatile uint64_t handled;	/* when the signal's handler ran */
	volatile long rounds;
	volatile bool go;
} *shared;

static pthread_barrier_t all_made;

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
	return debug_kernel() ? 1000 : 120;
}

static void test_signal(void)
{
	double took, most = 0;
	uint64_t from;
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
		took = (double)(now_ns() - from) / 1e6;
		seen += shared->handled > 0;
		most = took > most ? took : most;
		nap_ms(37);
	}
	ktap_ok(seen == TRIES && most <= allowed_ms(),
		"a signal is handled %d times of %d, after %.0f ms at most",
		seen, TRIES, most);
	end(pid);
}

static void test_ptrace(void)
{
	double took, most = 0;
	int i, seen = 0, status;
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
	pid_t pid;

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
	until_it_waits(pid);
	from = now_ns();
	write_file(FREEZER "/one/freezer.state", "FROZEN");
	while (now_ns() - from < 5 * NSEC) {
		read_file(FREEZER "/one/freezer.state", state, sizeof(state));
		if (!strncmp(state, "FROZEN", 6))
			break;
		nap_ms(1);
	}
	took = (double)(now_ns() - from) / 1e6;
	ktap_ok(!strncmp(state, "FROZEN", 6) && took <= allowed_ms(),
		"the freezer of cgroup v1 freezes it after %.0f ms", took);
	from = now_ns();
	ktap_ok(!mcx_unload() && now_ns() - from < 5 * NSEC,
		"the module is unloaded while it is frozen (%.1f s)",
		(double)(now_ns() - from) / 1e9);
	write_file(FREEZER "/one/freezer.state", "THAWED");
	end(pid);
	rmdir(FREEZER "/one");
	umount(FREEZER);
	mcx_load();
}

static void test_cgroup_kill(void)
{
	pid_t pid[50];
	uint64_t from;
	size_t i;

	fresh("8M");
	for (i = 0; i < sizeof(pid) / sizeof(*pid); i++)
		pid[i] = hog();
	until_it_waits(pid[0]);
	nap_ms(1000);
	from = now_ns();
	cg_write(CG, "cgroup.kill", "1");
	while (cg_key(CG, "cgroup.events", "populated") != 0 &&
	       now_ns() - from < 10 * NSEC)
		nap_ms(2);
	from = now_ns() - from;
	ktap_ok(from < (debug_kernel() ? 8 : 2) * NSEC,
		"cgroup.kill ends fifty of them in %.0f ms", from / 1e6);
	for (i = 0; i < sizeof(pid) / sizeof(*pid); i++)
		waitpid(pid[i], NULL, 0);
}

static void test_core(void)
{
	struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
	struct stat st = {};
	int status = 0;
	uint64_t from;
	pid_t pid;

	setting(CORE_PATTERN, CORE);
	setrlimit(RLIMIT_CORE, &any);
	fresh("8M");
	pid = hog();
	until_it_waits(pid);
	from = now_ns();
	kill(pid, SIGQUIT);
	while (waitpid(pid, &status, WNOHANG) != pid && now_ns() - from < 30 * NSEC)
		nap_ms(5);
	from = now_ns() - from;
	stat(CORE, &st);
	ktap_ok(WIFSIGNALED(status) && WCOREDUMP(status) &&
		st.st_size > 8 * (long long)MIB &&
		from < (debug_kernel() ? 20 : 5) * NSEC,
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
	long rounds;

	fresh("max");
	holds = holder(32);
	while (shared->rounds >= 0)
		nap_ms(5);
	shared->rounds = 0;
	cg_write(CG, "memory.high", "24M");
	pid = hog();
	until_it_waits(pid);
	nap_ms(500);
	until_it_waits(pid);
	from = now_ns();
	rounds = shared->rounds;
	shared->go = true;
	while (shared->rounds < rounds + 3 && now_ns() - from < 10 * NSEC)
		nap_ms(1);
	from = now_ns() - from;
	ktap_ok(from < allowed_ms() * 1e6,
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

/* The kernel's own bound for what a signal may gain is 10 %; a batch is 0.25 MiB. */
static void test_storm(void)
{
	double calm = (taken(0) + taken(0)) / 2, storm = taken(1000);

	ktap_ok(calm > 0 && storm <= calm * 1.1 + 2 * 64 * PAGE,
		"with a signal every ms it takes %.2f MiB above memory.high in 6 s, without %.2f",
		storm / MIB, calm / MIB);
}

static void *taker(void *arg)
{
	pthread_barrier_wait(&all_made);
	for (;;) {
		mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
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
	pthread_barrier_init(&all_made, NULL, THREADS + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16 * PAGE);
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&thread, &attr, taker, NULL))
			_exit(1);
	shared->rounds = THREADS;
	while (!shared->go)
		nap_ms(5);
	pthread_barrier_wait(&all_made);
	for (;;)
		pause();
}

/* Threads of @pid that wait for us. */
static int count_waits(pid_t pid)
{
	struct dirent *e;
	char path[64];
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		n += e->d_name[0] != '.' && waits(pid, e->d_name);
	if (dir)
		closedir(dir);
	return n;
}

static void test_many(void)
{
	int i, n = 0, left;
	uint64_t from;
	pid_t pid;

	fresh("max");
	pid = fork();
	if (!pid)
		many_threads();
	for (i = 0; i < 3000 && shared->rounds != THREADS; i++)
		nap_ms(10);
	cg_write(CG, "memory.high", "8M");
	shared->go = true;
	for (i = 0; i < 60 && n < THREADS * 9 / 10; i++) {
		nap_ms(500);
		n = count_waits(pid);
	}
	from = now_ns();
	ktap_ok(!mcx_unload() && now_ns() - from < (debug_kernel() ? 20 : 5) * NSEC &&
		n >= THREADS * 9 / 10,
		"with %d threads made to wait it unloads in %.1f s", n,
		(double)(now_ns() - from) / 1e9);
	left = count_waits(pid);
	ktap_ok(!left && !kill(pid, 0), "and nobody is left behind (%d)", left);
	from = now_ns();
	end(pid);
	ktap_ok(now_ns() - from < 10 * NSEC, "they can be killed (%.1f s)",
		(double)(now_ns() - from) / 1e9);
	cg_remove(CG);
}

int main(void)
{
	ktap_start();
	thp_off();
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mcx_load())
		ktap_skip_all("the module does not load");
	test_signal();
	test_ptrace();
	test_freeze();
	test_cgroup_kill();
	test_core();
	test_room();
	test_storm();
	test_freezer();
	test_many();
	return ktap_end();
}
