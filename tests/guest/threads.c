// SPDX-License-Identifier: GPL-2.0-only
/*
 * threads: memory.ext.threads, and the classes that follow from how a thread is
 * scheduled.
 *
 * What may be written and by whom, what becomes of it when a thread clones, executes,
 * moves, exits; and what a class is good for: a critical thread does not wait beside
 * others of its process that do, but has no blank cheque; a batch thread waits first,
 * and gets on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define TOP	"mcx-test-threads"
#define OURS	TOP "/ours"
#define BELOW	OURS "/below"
#define OTHER	TOP "/other"
#define FILE_	"memory.ext.threads"
#define HOOKS	"/sys/kernel/debug/memcg_ext/hooks"
#define PROBED	"sched_process_fork found=1 attached=1"

#define USER	1234

/* What children tell. */
static struct shared {
	volatile int go;
	volatile int done;
	volatile int written;
	volatile long rounds;
	volatile long waits;
	volatile long others;
} *shared;

static void path_of(char *path, const char *cg)
{
	cg_path(path, 256, cg, FILE_);
}

/* Writes "TID CLASS"; 0 or -errno. */
static int tell(const char *cg, pid_t tid, const char *class)
{
	char text[64];

	snprintf(text, sizeof(text), "%d %s", tid, class);
	return cg_write(cg, FILE_, text);
}

/* Is "TID CLASS" a line of it? */
static bool told(const char *cg, pid_t tid, const char *class)
{
	char path[256], buf[16384] = "\n", line[64];

	path_of(path, cg);
	if (read_file(path, buf + 1, sizeof(buf) - 1) < 0)
		return false;
	snprintf(line, sizeof(line), "\n%d %s\n", tid, class);
	return strstr(buf, line);
}

static bool nobody(const char *cg)
{
	char path[256], buf[256];

	path_of(path, cg);
	return read_file(path, buf, sizeof(buf)) == 0;
}

static bool probed(void)
{
	return file_has(HOOKS, PROBED);
}

/* They stay a while. */
static bool ends_probing(void)
{
	int i;

	for (i = 0; i < 100 && probed(); i++)
		nap_ms(100);
	return !probed();
}

/* A child in @cg that does nothing. */
static pid_t idler(const char *cg)
{
	pid_t pid = fork();

	if (pid) {
		nap_ms(100);
		return pid;
	}
	if (cg_enter(cg))
		_exit(1);
	for (;;)
		pause();
}

static void test_refused(void)
{
	static const char * const bad[] = {
		"", " ", "critical", "0", "0 urgent", "x critical", "-1 normal",
		"0critical", "0 critical normal", "99999999999 normal", "0 \1",
	};
	pid_t pid = idler(OTHER);
	size_t i, n = 0;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (cg_write(OURS, FILE_, bad[i]) == -EINVAL)
			n++;
		else
			ktap_note("taken: \"%s\"", bad[i]);
	/* A write of nothing does not come to the file at all. */
	ktap_ok(n >= i - 1, "nonsense is refused (%zu of %zu)", n, i);
	ktap_ok(tell(OURS, 4194303, "batch") == -ESRCH, "and a TID that is none");
	ktap_ok(tell(OURS, pid, "batch") == -ESRCH, "and one of another cgroup");
	ktap_ok(tell(OURS, 2, "batch") == -ESRCH, "and a kernel thread");
	ktap_ok(nobody(OURS) && !probed(), "nothing is left of that");
	end_task(pid);
}

static void test_told(void)
{
	pid_t pid = idler(OURS);

	ktap_ok(!tell(OURS, pid, "critical") && told(OURS, pid, "critical"),
		"a thread is made critical");
	ktap_ok(probed(), "from then on forks and exits are seen");
	ktap_ok(!tell(OURS, pid, "batch") && told(OURS, pid, "batch") &&
		!told(OURS, pid, "critical"), "then batch instead");
	ktap_ok(!tell(OURS, pid, "default") && nobody(OURS), "then as it was");
	tell(OURS, pid, "normal");
	end_task(pid);
	ktap_ok(nobody(OURS), "one that is gone is forgotten");
}

/* Tells of itself, and hands it on: to a thread, and to a child that executes. */
static void *sleeper(void *tid)
{
	*(volatile pid_t *)tid = gettid();
	for (;;)
		pause();
	return NULL;
}

static void test_inherited(void)
{
	volatile pid_t *tids = (volatile pid_t *)(shared + 1);
	pid_t pid = fork();

	if (!pid) {
		pthread_t thread;
		pid_t child;

		if (cg_enter(OURS) || tell(OURS, 0, "batch"))
			_exit(1);
		pthread_create(&thread, NULL, sleeper, (void *)tids);
		child = fork();
		if (!child)
			execlp("sleep", "sleep", "1000", NULL);
		tids[1] = child;
		for (;;)
			pause();
	}
	nap_ms(500);
	ktap_ok(told(OURS, pid, "batch"), "0 is who writes");
	ktap_ok(tids[0] > 0 && told(OURS, tids[0], "batch"),
		"a thread it makes is as itself is");
	ktap_ok(tids[1] > 0 && told(OURS, tids[1], "batch"),
		"a process, too, and stays so when it executes something");
	end_task(pid);
	ktap_ok(told(OURS, tids[1], "batch") && !told(OURS, tids[0], "batch"),
		"each is forgotten by itself");
	if (tids[1] > 0)
		kill(tids[1], SIGKILL);
	nap_ms(300);
	ktap_ok(nobody(OURS), "the last one, too");
}

static int move(pid_t pid, const char *cg)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	return cg_write(cg, "cgroup.procs", text);
}

static void test_moved(void)
{
	pid_t pid = idler(OURS);

	tell(OURS, pid, "critical");
	move(pid, BELOW);
	ktap_ok(told(OURS, pid, "critical") && !tell(OURS, pid, "batch"),
		"a thread keeps its class further down, where it is still charged here");
	cg_write(OURS, "cgroup.subtree_control", "+memory");
	ktap_ok(told(OURS, pid, "batch") && tell(OURS, pid, "normal") == -ESRCH,
		"and where it is not any more, but then it is told there");
	ktap_ok(tell(BELOW, pid, "critical") == -EPERM &&
		tell(BELOW, pid, "default") == -EPERM && told(OURS, pid, "batch"),
		"which cannot make less of batch");
	cg_write(OURS, "cgroup.subtree_control", "-memory");
	tell(OURS, pid, "normal");
	cg_write(OURS, "cgroup.subtree_control", "+memory");
	ktap_ok(!tell(BELOW, pid, "batch") && told(BELOW, pid, "batch") &&
		nobody(OURS), "otherwise who says it last counts");
	move(pid, OTHER);
	ktap_ok(nobody(BELOW) && nobody(OTHER), "one that leaves has none");
	nap_ms(200);
	move(pid, BELOW);
	ktap_ok(nobody(BELOW), "nor when it comes back");
	ktap_ok(ends_probing(), "it was forgotten, and with the last the probes go");
	end_task(pid);
	cg_write(OURS, "cgroup.subtree_control", "-memory");
}

/* A copy of @fd of @pid. */
static int fd_of(pid_t pid, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);

	return syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

/* In a PID namespace of its own a process is 1, and the file says so. */
static void test_pid_namespace(void)
{
	char path[256], buf[64] = "";
	pid_t outer, pid;
	int fd;

	path_of(path, OURS);
	outer = fork();
	if (!outer) {
		cg_enter(OURS);
		unshare(CLONE_NEWPID);
		shared->done = 0;
		pid = fork();
		if (!pid) {
			fd = open(path, O_RDWR);
			dup2(fd, 100);
			shared->written = dprintf(100, "1 critical");
			for (;;)
				pause();
		}
		shared->done = pid;
		for (;;)
			pause();
	}
	nap_ms(500);
	pid = shared->done;
	ktap_ok(shared->written == 10 && told(OURS, pid, "critical"),
		"a TID is meant in the PID namespace of who opened the file");
	fd = fd_of(pid, 100);
	ktap_ok(dprintf(fd, "1 batch") == 7 && told(OURS, pid, "batch"),
		"whoever writes to it");
	ktap_ok(dprintf(fd, "%d batch", outer) < 0 && errno == ESRCH,
		"who is not in there cannot be named");
	ktap_ok(pread(fd, buf, sizeof(buf) - 1, 0) > 0 && !strcmp(buf, "1 batch\n"),
		"and that is how it reads");
	close(fd);
	end_task(pid);
	end_task(outer);
}

/* As @uid in @cg: what opening and writing the file comes to. */
static int as_user(const char *cg, uid_t uid)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (cg_enter(cg) || setresgid(uid, uid, uid) ||
		    setresuid(uid, uid, uid))
			_exit(255);
		_exit(-tell(cg, 0, "critical"));
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void test_owner(void)
{
	char path[256];

	cg_path(path, sizeof(path), OURS, "");
	ktap_ok(as_user(OURS, USER) == EACCES, "not everybody may write it");
	chown(path, USER, USER);
	ktap_ok(as_user(OURS, USER) == 0, "who owns the folder may");
	ktap_ok(as_user(OURS, USER + 1) == EACCES, "and nobody else");
	chown(path, 0, 0);
}

/* The root of a cgroup namespace: configuration is the host's, its threads are not. */
static int delegated(const char *file, const char *text)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (cg_enter(OURS) || unshare(CLONE_NEWCGROUP))
			_exit(255);
		_exit(-cg_write(OURS, file, text));
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void test_cgroup_namespace(void)
{
	if (mount(NULL, CGROUP_ROOT, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV |
		  MS_NOEXEC, "nsdelegate")) {
		ktap_skip("nsdelegate: %s", strerror(errno));
		return;
	}
	ktap_ok(delegated(FILE_, "0 critical") == 0,
		"in a container it can be written");
	ktap_ok(delegated("memory.ext.reclaim", "stuck_ms=1000") == EPERM,
		"other than what the host configures");
	mount(NULL, CGROUP_ROOT, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV |
	      MS_NOEXEC, "");
}

static long long stat_of(const char *key)
{
	return cg_key(OURS, "memory.ext.stat", key);
}

static void populate(size_t pages)
{
	if (mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
		_exit(1);
}

/* Begin anew: usage and counters. */
static void fresh(const char *high)
{
	cg_remove(BELOW);
	cg_remove(OURS);
	cg_create(OURS);
	cg_create(BELOW);
	cg_write(OURS, "memory.high", high);
	mcx_manage(OURS);
}

/* How often this thread has given up its CPU, as it does to wait. */
static long sleeps(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/* A task of @class in OURS that takes @batches of 64 pages: how often it waits. */
static long waits(const char *class, int batches)
{
	pid_t pid = fork();

	if (!pid) {
		long before;

		cg_enter(OURS);
		tell(OURS, 0, class);
		shared->waits = 0;
		while (batches-- && !stat_of("stuck")) {
			before = sleeps();
			populate(64);
			shared->waits += sleeps() > before;
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return shared->waits;
}

/*
 * Above a memory.high that cannot be met. 1/32 of 64 MiB are 8 batches that a critical
 * thread does not wait for.
 */
static void test_budget(void)
{
	long normal, critical, after;
	pid_t hog;

	fresh("64M");
	/* A slow machine takes longer for what follows than until it is found stuck. */
	cg_write(OURS, "memory.ext.reclaim", "stuck_ms=60000");
	hog = fork();
	if (!hog) {
		cg_enter(OURS);
		populate(64 * MIB / PAGE);
		for (;;)
			pause();
	}
	cg_fills(OURS, 64 * MIB);
	normal = waits("normal", 6);
	critical = waits("critical", 6);
	ktap_ok(normal > 1 && critical == 0,
		"6 batches above memory.high: %ld waits, a critical thread's %ld",
		normal, critical);
	ktap_ok(stat_of("critical_pages") >= 5 * 64 && !stat_of("critical_over"),
		"which is counted (%lld pages)", stat_of("critical_pages"));
	after = waits("critical", 12);
	ktap_ok(after > 3, "beyond its budget it waits like others (%ld of 12)",
		after);
	ktap_ok(stat_of("critical_over") == 1 &&
		cg_key(OURS, "memory.ext.events", "critical_over") == 1,
		"and that is an event, one (%lld)", stat_of("critical_over"));
	cg_write(OURS, "memory.ext.reclaim", "stuck_ms=5000");
	after = waits("critical", 600);
	ktap_ok(stat_of("stuck") > 0,
		"that the limit cannot be met is found beside critical threads, too (after %ld waits)",
		after);
	end_task(hog);
}

/*
 * Nothing can be reclaimed, and usage is below memory.high, but not by much: half of a
 * gap, which is what a batch thread waits for and nobody else.
 */
static void test_batch(void)
{
	long long size;
	long batch, normal;
	pid_t hog;

	fresh("64M");
	/* 256 KiB above the pacing mark, 256 below the limit, or more. */
	size = stat_of("pace_mark") + MIB / 8;
	hog = fork();
	if (!hog) {
		cg_enter(OURS);
		populate(size / PAGE - cg_number(OURS, "memory.current") / PAGE);
		for (;;)
			pause();
	}
	cg_fills(OURS, size - 64 * PAGE);
	normal = waits("normal", 1);
	batch = waits("batch", 1);
	ktap_ok(normal == 0 && batch == 1,
		"half a gap below the limit a batch thread waits (%ld), a normal one does not (%ld)",
		batch, normal);
	end_task(hog);
}

/* Who is asleep and told that it is critical goes on. */
static void test_woken(void)
{
	uint64_t from;
	pid_t pid;

	fresh("16M");
	pid = fork();
	if (!pid) {
		cg_enter(OURS);
		populate(15 * MIB / PAGE + 128);
		shared->go = 1;
		populate(448);
		shared->go = 2;
		for (;;)
			pause();
	}
	shared->go = 0;
	while (!shared->go)
		nap_ms(5);
	nap_ms(150);
	ktap_ok(shared->go == 1, "one that takes 1.75 MiB there waits");
	from = now_ns();
	tell(OURS, pid, "critical");
	while (shared->go != 2 && now_ns() - from < 5 * NSEC)
		nap_ms(1);
	ktap_ok(now_ns() - from < NSEC / 5,
		"made critical, it goes on after %.0f ms",
		(double)(now_ns() - from) / 1e6);
	end_task(pid);
}

/* What is written to the file of a cgroup is not the say of those above it. */
static void test_above(void)
{
	long long paced;

	fresh("max");
	cg_write(TOP, "memory.high", "16M");
	mcx_manage(TOP);
	waits("critical", 68);
	paced = cg_key(TOP, "memory.ext.stat", "paced");
	ktap_ok(paced > 0 && !cg_key(TOP, "memory.ext.stat", "critical_pages"),
		"at a limit above it a thread is as others are (%lld waits)",
		paced);
	mcx_unmanage(TOP);
	cg_write(TOP, "memory.high", "max");
}

/* Uses 64 MiB again and again; counts MiB. */
static void *user(void *class)
{
	char *p = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t at = 0;

	tell(OURS, 0, class);
	while (!shared->go) {
		*(volatile char *)(p + at) = 1;
		at += PAGE;
		if (at % MIB == 0)
			__atomic_fetch_add(&shared->rounds, 1, __ATOMIC_RELAXED);
		if (at == 64 * MIB)
			at = 0;
	}
	return NULL;
}

/* Two threads of @class that use twice the cgroup's limit until all is over. */
static void users(const char *class, pthread_t *threads)
{
	int i;

	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, user, (void *)class);
}

/* Waits of others than batch threads. */
static long other_waits(void)
{
	return stat_of("paced") - stat_of("paced_batch");
}

/* Takes a batch each 10 ms, 350 times; told are the waits of the last 300. */
static void take_regularly(void)
{
	long before, others = 0;
	int i;

	for (i = 0; i < 350; i++) {
		/* Until the first pages are written to swap all wait. */
		if (i == 50)
			others = other_waits();
		before = sleeps();
		populate(64);
		shared->waits += i >= 50 && sleeps() > before;
		nap_ms(10);
	}
	shared->others = other_waits() - others;
	shared->go = 1;
}

/* With swap: threads of @batch, and one of @class, of one process or of two. */
static void beside(const char *class, const char *batch, bool one)
{
	pthread_t threads[2];
	pid_t pid, apart = 0;
	int i;

	fresh("64M");
	shared->go = 0;
	shared->rounds = 0;
	shared->waits = 0;
	shared->others = -1;
	pid = fork();
	if (!pid) {
		cg_enter(OURS);
		tell(OURS, 0, class);
		if (!one)
			apart = fork();
		if (!one && apart) {
			take_regularly();
			waitpid(apart, NULL, 0);
			_exit(0);
		}
		users(batch, threads);
		if (one)
			take_regularly();
		for (i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void test_beside(void)
{
	long first, most;

	if (swap_on()) {
		ktap_skip("no swap device");
		return;
	}
	beside("critical", "batch", true);
	most = debug_kernel() ? 300 : 9;
	ktap_ok(shared->others >= 0 && shared->others <= most &&
		stat_of("paced_batch") > 30,
		"beside threads of its process that wait %lld times a critical one waits %ld times of 300",
		stat_of("paced_batch"), shared->others);
	ktap_ok(shared->rounds > 32, "which get on all the same (%ld MiB)",
		shared->rounds);
	ktap_note("critical_pages %lld, critical_over %lld",
		  stat_of("critical_pages"), stat_of("critical_over"));
	beside("normal", "batch", false);
	first = shared->waits;
	ktap_note("batch threads wait %lld times, and do %ld MiB",
		  stat_of("paced_batch"), shared->rounds);
	beside("normal", "normal", false);
	ktap_note("normal ones do %ld MiB", shared->rounds);
	ktap_note("a normal one waits %ld times of 300 beside batch threads, %ld times beside normal ones",
		  first, shared->waits);
	swap_off();
}

/* Not told, but scheduled: how many pages critical, how often batch. */
static void scheduled(int policy, int nice)
{
	pid_t pid;
	int i;

	fresh("16M");
	pid = fork();
	if (!pid) {
		struct sched_param param = {
			.sched_priority = policy == SCHED_FIFO,
		};

		cg_enter(OURS);
		sched_setscheduler(0, policy, &param);
		setpriority(PRIO_PROCESS, 0, nice);
		for (i = 0; i < 68; i++)
			populate(64);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void test_scheduled(void)
{
	scheduled(SCHED_FIFO, 0);
	ktap_ok(stat_of("critical_pages") > 0 && !stat_of("paced_batch"),
		"SCHED_FIFO is critical (%lld pages)", stat_of("critical_pages"));
	scheduled(SCHED_BATCH, 0);
	ktap_ok(!stat_of("critical_pages") && stat_of("paced_batch") > 0,
		"SCHED_BATCH is batch (%lld waits)", stat_of("paced_batch"));
	scheduled(SCHED_OTHER, 10);
	ktap_ok(!stat_of("critical_pages") && stat_of("paced_batch") > 0,
		"nice 10 is batch (%lld waits)", stat_of("paced_batch"));
	scheduled(SCHED_OTHER, 9);
	ktap_ok(!stat_of("critical_pages") && !stat_of("paced_batch") &&
		stat_of("paced") > 0, "nice 9 is normal (%lld waits)",
		stat_of("paced"));
}

int main(void)
{
	pid_t pid;

	ktap_start();
	thp_off();
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	cg_create(OURS);
	cg_create(OTHER);
	cg_create(BELOW);
	if (mcx_load())
		ktap_skip_all("the module does not load");
	test_refused();
	test_told();
	test_inherited();
	test_moved();
	test_pid_namespace();
	test_owner();
	test_cgroup_namespace();
	test_budget();
	test_batch();
	test_woken();
	test_above();
	test_beside();
	test_scheduled();
	/* Unloading forgets all of it. */
	pid = idler(OURS);
	tell(OURS, pid, "critical");
	cg_remove(BELOW);
	cg_write(OURS, "memory.ext.enable", "0");
	ktap_ok(!mcx_unload(), "unloads");
	ktap_ok(!mcx_load() && nobody(OURS) && !probed() && !mcx_unload(),
		"and has forgotten when it is loaded again");
	end_task(pid);
	cg_remove(OURS);
	cg_remove(OTHER);
	cg_remove(TOP);
	return ktap_end();
}
