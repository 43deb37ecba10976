// SPDX-License-Identifier: GPL-2.0-only
/*
 * memsw_levels: a limit for memory and swap together beside other limits, other cgroups
 * and other reclaim.
 *
 * Limits above each other, a memory.max that may be overrun, or binds itself a moment
 * later, huge pages, memory that is short everywhere, charges that nobody else has a CPU to
 * look after, and room that comes late; and who may set a limit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libmemsw.h"

#define TOP	"mcx-test-memsw"
#define CG	TOP "/a"
#define BELOW	CG "/b"
#define BESIDE	CG "/c"
#define EVENTS	"memory.ext.events"
#define STAT	"memory.ext.stat"
#define DIRTY	"/scratch/memsw-dirty"
#define HUGE	"/sys/kernel/mm/transparent_hugepage/enabled"
#define HUGE_SIZE	(2 * (long long)MIB)

static bool slow;	/* it checks itself */

static void put_score(pid_t pid, const char *score)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	write_file(path, score);
}

/* Whoever has the most is not who is to be killed. */
static void never_kill(pid_t pid)
{
	put_score(pid, "-1000");
}

static void remove_all(void)
{
	cg_remove(BELOW);
	cg_remove(BESIDE);
	cg_remove(CG);
}

/* Two below one, all with limits of their own. */
static void fresh_levels(const char *outer, const char *inner)
{
	remove_all();
	memsw_fresh(CG, outer, NULL);
	cg_write(CG, "cgroup.subtree_control", "+memory");
	memsw_fresh(BELOW, inner, "24M");
	memsw_fresh(BESIDE, inner, "24M");
}

static long long oom(const char *cg)
{
	return cg_key(cg, EVENTS, "memsw_oom");
}

static void test_permission(void)
{
	remove_all();
	memsw_fresh(CG, NULL, NULL);
	cg_write(CG, "cgroup.subtree_control", "+memory");
	memsw_fresh(BELOW, NULL, NULL);
	ktap_ok(write_as_nobody(BELOW, MEMSW_MAX, "48M") == EPERM &&
		memsw_reads(BELOW, MEMSW_MAX, "max\n"),
		"a limit needs CAP_SYS_RESOURCE");
	mcx_manage(CG);
	ktap_ok(write_as_nobody(BELOW, MEMSW_MAX, "48M") == EPERM,
		"below a managed cgroup as well, as that has other hooks");
	mcx_unmanage(CG);
	cg_write(CG, MEMSW_MAX, "64M");
	ktap_ok(!write_as_nobody(BELOW, MEMSW_MAX, "48M") &&
		memsw_reads(BELOW, MEMSW_MAX, "50331648\n"),
		"but not below a cgroup with such a limit");
	cg_write(CG, MEMSW_MAX, "max");
	ktap_ok(!write_as_nobody(BELOW, MEMSW_MAX, "max") &&
		memsw_reads(BELOW, MEMSW_MAX, "max\n"),
		"nor to take it away, whatever is above");
	ktap_ok(write_as_nobody(BELOW, MEMSW_MAX, "48M") == EPERM,
		"and without that it does again");
}

static void test_inner(void)
{
	struct memsw_seen seen;

	fresh_levels("96M", "48M");
	seen = memsw_overfill(BELOW, BELOW, 80);
	ktap_ok(memsw_killed_at(&seen, 40, 50) && memsw_within(&seen, 48),
		"48 MiB below 96: killed (status %d) at %zu MiB, never above (%.2f MiB)",
		seen.status, memsw_task->touched / MIB, (double)seen.most / MIB);
	ktap_ok(oom(BELOW) == 1 && cg_key(CG, STAT, "memsw_oom") == 0,
		"which is for the inner limit (%lld), not the outer (%lld)",
		oom(BELOW), cg_key(CG, STAT, "memsw_oom"));
}

static void test_outer(void)
{
	struct memsw_seen seen;
	int status = 0;
	pid_t other;

	fresh_levels("64M", "56M");
	other = memsw_toucher(BESIDE, 24 * MIB, 1);
	memsw_look(CG, other, 24 * MIB, 1, 60);
	seen = memsw_overfill(CG, BELOW, 80);
	ktap_ok(memsw_killed_at(&seen, 30, 42) && memsw_within(&seen, 64),
		"24 MiB beside it, 64 for both: killed (status %d) at %zu MiB, both never above (%.2f MiB)",
		seen.status, memsw_task->touched / MIB, (double)seen.most / MIB);
	ktap_ok(cg_key(CG, STAT, "memsw_oom") == 1 &&
		!cg_key(BELOW, STAT, "memsw_oom"),
		"which is for the outer limit (%lld), not the inner (%lld)",
		cg_key(CG, STAT, "memsw_oom"), cg_key(BELOW, STAT, "memsw_oom"));
	ktap_ok(!waitpid(other, &status, WNOHANG), "and the other one lives");

	ktap_ok(!cg_write(CG, MEMSW_MAX, "max"), "the outer limit is taken away");
	seen = memsw_overfill(BELOW, BELOW, 80);
	ktap_ok(memsw_killed_at(&seen, 48, 58) && memsw_within(&seen, 56),
		"and the inner one is left: killed (status %d) at %zu MiB, never above (%.2f MiB)",
		seen.status, memsw_task->touched / MIB, (double)seen.most / MIB);
	end_task(other);
}

/* memory.max may be exceeded then; the sum must not. */
static void test_overrun(void)
{
	struct memsw_seen seen;
	long long granted;
	pid_t pid, other;

	remove_all();
	memsw_fresh(CG, "64M", "32M");
	/* Large calls with little room before them. */
	cg_write(CG, "memory.ext.reclaim", "headroom=1M overrun=16M");
	mcx_manage(CG);
	other = charger(CG, 24, 768, 5);
	pid = charger(CG, 24, 768, 5);
	seen = memsw_look(CG, pid, SIZE_MAX, 0, 60);
	waitpid(other, NULL, 0);
	granted = cg_key(CG, STAT, "granted");
	ktap_ok(seen.status == 0 && granted > 0 && memsw_within(&seen, 64),
		"overrun=: 48 MiB of 64, 32 in memory: status %d, granted %lld times, never above (%.2f MiB)",
		seen.status, granted, (double)seen.most / MIB);
	seen = memsw_overfill(CG, CG, 96);
	ktap_ok(memsw_killed_at(&seen, 56, 66) && memsw_within(&seen, 64),
		"overrun=: 96 MiB: killed (status %d) at %zu MiB, never above (%.2f MiB)",
		seen.status, memsw_task->touched / MIB, (double)seen.most / MIB);
	mcx_unmanage(CG);
}

static bool huge_pages_are(const char *what)
{
	return !write_file(HUGE, what);
}

/* A batch is 512 pages, and a folio in swap as well. */
static void test_huge(void)
{
	struct memsw_seen seen;
	long long had;
	pid_t pid;

	/* A fault waits for one to be made. */
	setting("/sys/kernel/mm/transparent_hugepage/defrag", "always");
	if (!huge_pages_are("always")) {
		ktap_skip("no huge pages");
		return;
	}
	remove_all();
	memsw_fresh(CG, "64M", NULL);
	pid = memsw_toucher(CG, 48 * MIB, 1);
	memsw_look(CG, pid, 48 * MIB, 1, 60);
	had = cg_key(CG, "memory.stat", "anon_thp");
	end_task(pid);
	seen = memsw_overfill(CG, CG, 96);
	ktap_ok(memsw_killed_at(&seen, 48, 67) && memsw_within(&seen, 64) &&
		had >= 16 * (long long)MIB,
		"huge pages (%lld MiB): killed (status %d) at %zu MiB, never above (%.2f MiB)",
		had / (long long)MIB, seen.status, memsw_task->touched / MIB,
		(double)seen.most / MIB);

	memsw_fresh(CG, "80M", "32M");
	pid = memsw_toucher(CG, 56 * MIB, 2);
	seen = memsw_look(CG, pid, 56 * MIB, 2, 120);
	ktap_ok(seen.status == -1 && !oom(CG) &&
		cg_number(CG, "memory.swap.current") > 16 * (long long)MIB,
		"huge pages: 56 MiB of 80, 32 in memory: two rounds (status %d), %.1f MiB in swap",
		seen.status, (double)cg_number(CG, "memory.swap.current") / MIB);
	memsw_end(pid, &seen);
	seen = memsw_overfill(CG, CG, 120);
	ktap_ok(memsw_killed(&seen) && seen.most <= 80 * (long long)MIB +
		memsw_slack() + 2 * HUGE_SIZE,
		"huge pages: 120 MiB: killed (status %d) at %zu MiB, never more above than documented (%.2f MiB)",
		seen.status, memsw_task->touched / MIB, (double)seen.most / MIB);
	huge_pages_are("never");
}

/* Swapped out since memory is short everywhere, which changes nothing about the sum. */
static void test_global(void)
{
	long long total = read_key("/proc/meminfo", "MemAvailable:") * 1024, swapped;
	struct memsw_seen seen;
	size_t hog;
	pid_t pid, outside;

	if (slow) {
		ktap_skip("memory that is short everywhere: this kernel needs minutes");
		return;
	}
	remove_all();
	memsw_fresh(CG, "64M", NULL);
	pid = memsw_toucher(CG, 56 * MIB, 1);
	memsw_look(CG, pid, 56 * MIB, 1, 60);
	/* Older than what the other one has. */
	hog = (total / MIB + 96) * MIB;
	outside = memsw_toucher(TOP "/other", hog, 1);
	seen = memsw_look(CG, outside, hog, 1, 120);
	swapped = cg_number(CG, "memory.swap.current");
	ktap_ok(seen.status == -1 && swapped > 4 * (long long)MIB,
		"memory is short everywhere: swaps (%.1f MiB)", (double)swapped / MIB);
	ktap_ok(memsw_within(&seen, 64) && !oom(CG) &&
		cg_key(CG, STAT, "effective_max") >= 0,
		"never above (%.2f MiB), and nobody is killed", (double)seen.most / MIB);
	end_task(outside);
	end_task(pid);
	seen = memsw_overfill(CG, CG, 96);
	ktap_ok(memsw_killed_at(&seen, 56, 66) && memsw_within(&seen, 64),
		"and the limit is where it was: killed (status %d) at %zu MiB, never above (%.2f MiB)",
		seen.status, memsw_task->touched / MIB, (double)seen.most / MIB);
}

/* On that CPU nobody else runs. */
static void be_alone_on(int cpu)
{
	struct sched_param param = { .sched_priority = 50 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) ||
	    sched_setscheduler(0, SCHED_FIFO, &param))
		_exit(1);
}

/* Takes @mib in one call. */
static pid_t taker(const char *cg, size_t mib)
{
	pid_t pid = fork();
	void *p;

	if (pid)
		return pid;
	p = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (cg_enter(cg))
		_exit(1);
	be_alone_on(1);
	_exit(!!madvise(p, mib * MIB, MADV_POPULATE_WRITE));
}

static void spin(const volatile bool *stop)
{
	uint64_t until = now_ns() + 10 * NSEC;

	be_alone_on(0);
	while (!*stop && now_ns() < until)
		;
	_exit(0);
}

/*
 * What was swapped out a moment ago counts for the next charge, whether or not a worker
 * has had a CPU since.
 */
static void test_alone(void)
{
	volatile bool *stop = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long long peak, swapped;
	int status = -1;
	pid_t pid, held, spinner;

	setting("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	remove_all();
	memsw_fresh(CG, "64M", "20M");
	held = memsw_toucher(CG, 40 * MIB, 1);
	memsw_look(CG, held, 40 * MIB, 1, 60);
	/* Let the workers be done. */
	cg_write(CG, "memory.max", "max");
	nap_ms(500);
	cg_write(CG, "memory.reclaim", "20M");
	swapped = cg_number(CG, "memory.swap.current");
	never_kill(held);
	pid = taker(CG, 44);
	spinner = fork();
	if (!spinner)
		spin(stop);
	waitpid(pid, &status, 0);
	*stop = true;
	waitpid(spinner, NULL, 0);
	peak = cg_number(CG, "memory.peak");
	ktap_ok(swapped > 36 * (long long)MIB && status,
		"44 MiB in one call beside %.1f in swap do not fit in 64 (status %d)",
		(double)swapped / MIB, status);
	ktap_ok(peak + swapped <= 65 * (long long)MIB + memsw_slack(),
		"which is known to who charges, with no worker about (%.1f MiB in memory)",
		(double)peak / MIB);
	end_task(held);
}

static void ignore(int sig)
{
	(void)sig;
}

/* Writes its file over and over; nothing of it is fsync()ed. Its rounds are MiB. */
static pid_t dirtier(const char *cg, size_t mib)
{
	static char buf[MIB];
	pid_t pid;
	size_t i;
	int fd;

	memset((void *)memsw_task, 0, sizeof(*memsw_task));
	pid = fork();
	if (pid)
		return pid;
	fd = open(DIRTY, O_CREAT | O_RDWR | O_TRUNC, 0600);
	if (fd < 0 || cg_enter(cg))
		_exit(1);
	memset(buf, 'd', sizeof(buf));
	for (;;) {
		lseek(fd, 0, SEEK_SET);
		for (i = 0; i < mib; i++) {
			if (write(fd, buf, sizeof(buf)) != sizeof(buf))
				_exit(2);
			memsw_task->rounds++;
		}
	}
}

/* More dirty page cache than the limit that comes then: it is written, and nobody killed. */
static void test_dirty(void)
{
	struct memsw_seen seen;
	long long dirty = 0;
	long written;
	pid_t pid;
	int i;

	setting("/proc/sys/vm/dirty_ratio", "80");
	setting("/proc/sys/vm/dirty_background_ratio", "70");
	remove_all();
	memsw_fresh(CG, NULL, NULL);
	pid = dirtier(CG, 160);
	for (i = 0; i < 600 && dirty < 96 * (long long)MIB; i++) {
		nap_ms(100);
		dirty = cg_key(CG, "memory.stat", "file_dirty");
	}
	ktap_ok(dirty >= 96 * (long long)MIB && !cg_write(CG, MEMSW_MAX, "64M"),
		"a limit beside %lld MiB of dirty page cache", dirty / (long long)MIB);
	written = memsw_task->rounds;
	seen = memsw_look(CG, pid, 0, written + 128, 120);
	ktap_ok(seen.status == -1 && memsw_task->rounds >= written + 128,
		"whose writer goes on (status %d, %ld MiB more)", seen.status,
		memsw_task->rounds - written);
	ktap_ok(memsw_within(&seen, 64), "never above (%.2f MiB)",
		(double)seen.most / MIB);
	memsw_end(pid, &seen);
	unlink(DIRTY);
}

/* Signals do not take away what was written. */
static void test_signals(void)
{
	struct itimerval often = { { 0, 2000 }, { 0, 2000 } };
	int err = 0, i;
	pid_t pid;

	remove_all();
	memsw_fresh(CG, NULL, NULL);
	/* Hooks are attached anew. */
	nap_ms(3000);
	pid = fork();
	if (!pid) {
		struct sigaction act = { .sa_handler = ignore };

		sigaction(SIGALRM, &act, NULL);
		setitimer(ITIMER_REAL, &often, NULL);
		_exit(-cg_write(CG, MEMSW_MAX, "64M"));
	}
	waitpid(pid, &err, 0);
	for (i = 0; i < 100 && cg_key(CG, STAT, "effective_max") < 0; i++)
		nap_ms(100);
	ktap_ok(!err && cg_key(CG, STAT, "effective_max") == 64 * (long long)MIB,
		"a writer that gets a signal every 2 ms has its limit (status %d)", err);
}

/* Is it told of @key within five seconds. */
static bool told_of(struct pollfd *p, const char *key)
{
	char text[2048];
	ssize_t n;

	do {
		n = pread(p->fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		if (strstr(text, key))
			return true;
	} while (poll(p, 1, 5000) > 0);
	return false;
}

/* Reclaims at the limit now and then, and nothing else happens. */
static void test_told(void)
{
	int i, rounds = slow ? 3 : 10, met = 0, not_told = 0;
	uint64_t from;
	struct pollfd p;
	char path[256], key[64];
	long long max;
	pid_t pid;

	remove_all();
	memsw_fresh(CG, "32M", NULL);
	cg_path(path, sizeof(path), CG, EVENTS);
	p = (struct pollfd) { .fd = open(path, O_RDONLY), .events = POLLPRI };
	for (i = 0; i < rounds; i++) {
		max = cg_key(CG, STAT, "memsw_max");
		pid = dirtier(CG, 48);
		from = now_ns();
		/* A count is never long ago. */
		while (cg_key(CG, STAT, "memsw_max") == max &&
		       now_ns() - from < 20 * NSEC)
			cg_number(CG, MEMSW_PEAK);
		end_task(pid);
		met += cg_key(CG, STAT, "memsw_max") > max;
		snprintf(key, sizeof(key), "memsw_max %lld\n",
			 cg_key(CG, STAT, "memsw_max"));
		not_told += !told_of(&p, key);
	}
	ktap_ok(met == rounds && !not_told,
		"who polls is told when it was met (%d times; %d times not)", met,
		not_told);
	close(p.fd);
	unlink(DIRTY);
}

/* The peak is one. */
static void test_peak(void)
{
	long long peak, after;
	pid_t pid;

	remove_all();
	memsw_fresh(CG, "64M", NULL);
	pid = memsw_toucher(CG, 20 * MIB, 1);
	memsw_look(CG, pid, 20 * MIB, 1, 60);
	peak = cg_number(CG, MEMSW_PEAK);
	end_task(pid);
	after = cg_number(CG, MEMSW_PEAK);
	ktap_ok(peak >= 20 * (long long)MIB && after >= peak,
		"the peak stays (%.2f MiB, then %.2f)", (double)peak / MIB,
		(double)after / MIB);
}

enum { TASKS = 48 };

static pid_t one_of_many(volatile bool *done)
{
	pid_t pid = cg_fork(CG);
	void *p;

	if (pid)
		return pid;
	p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*done = !madvise(p, 4 * MIB, MADV_POPULATE_WRITE);
	for (;;)
		pause();
}

/* How many of them are gone, or have what they want. */
static int settled(pid_t *pid, const volatile bool *done, int *killed)
{
	int i, status, n = 0;

	for (i = 0; i < TASKS; i++) {
		if (pid[i] && waitpid(pid[i], &status, WNOHANG) == pid[i]) {
			(*killed)++;
			pid[i] = 0;
		}
		n += !pid[i] || done[i];
	}
	return n;
}

/* All want at once what there is for a third; that is what is left of them, soon. */
static void test_many(void)
{
	volatile bool *done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* There the kernel needs seconds to tell of one that it kills. */
	const int patience = slow ? 360 : 60;
	int i, killed = 0, all = 0;
	uint64_t from = now_ns();
	pid_t pid[TASKS];
	double seconds;

	remove_all();
	memsw_fresh(CG, "64M", NULL);
	for (i = 0; i < TASKS; i++)
		pid[i] = one_of_many(&done[i]);
	while (all < TASKS && now_ns() - from < patience * NSEC) {
		nap_ms(20);
		all = settled(pid, done, &killed);
	}
	seconds = (now_ns() - from) / 1e9;
	/* One that had it may have been killed for the last. */
	nap_ms(500);
	all = settled(pid, done, &killed);
	ktap_ok(all == TASKS && killed >= TASKS - 16 && killed <= TASKS - 8 &&
		cg_key(CG, STAT, "memsw_oom_kill") == killed,
		"%d tasks with 4 MiB each, 64 for all: %d are killed, %lld for this, %d have what they want after %.1f s",
		TASKS, killed, cg_key(CG, STAT, "memsw_oom_kill"), all - killed,
		seconds);
	ktap_ok(seconds < patience / 2, "which is soon");
	for (i = 0; i < TASKS; i++)
		end_task(pid[i]);
}

/* A limit can be set where what is above is full, and nobody is killed for it. */
static void test_full(void)
{
	long long used;
	pid_t pid;

	fresh_levels(NULL, NULL);
	cg_write(CG, "memory.swap.max", "0");
	pid = cg_keeper(BESIDE, 16);
	cg_fills(BESIDE, 16 * (long long)MIB);
	never_kill(pid);
	cg_write(CG, "memory.max", "8M");
	put_score(pid, "0");
	used = cg_number(CG, "memory.current");
	ktap_ok(used > 12 * (long long)MIB && !cg_write(BELOW, MEMSW_MAX, "4M") &&
		memsw_reads(BELOW, MEMSW_MAX, "4194304\n"),
		"a limit below a cgroup that is full (%.1f MiB of 8)", (double)used / MIB);
	nap_ms(500);
	ktap_ok(!kill(pid, 0) && !cg_key(CG, "memory.events", "oom_kill") &&
		cg_number(CG, "memory.current") > 12 * (long long)MIB,
		"for which nobody is killed");
	end_task(pid);
}

/* Most of it in swap; what went there first it gives back when it is told to. */
static pid_t giver(volatile bool *go, volatile bool *gave)
{
	pid_t pid = cg_fork(CG);
	volatile char *p;
	size_t i;

	if (pid)
		return pid;
	p = mmap(NULL, 56 * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < 56 * MIB; i += PAGE)
		p[i] = 1;
	*gave = true;
	while (!*go)
		nap_ms(10);
	madvise((void *)p, 24 * MIB, MADV_DONTNEED);
	*go = false;
	for (;;)
		pause();
}

static bool becomes(volatile bool *b, bool value)
{
	int i;

	for (i = 0; i < 6000 && *b != value; i++)
		nap_ms(10);
	return *b == value;
}

/* Swap that was freed while somebody waits for its turn to kill. */
static void test_late(void)
{
	volatile bool *b = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct memsw_seen seen;
	long long swapped, left, ooms;
	size_t touched;
	pid_t has, wants;
	bool gave;
	int i, err;

	remove_all();
	memsw_fresh(CG, "64M", "24M");
	has = giver(&b[0], &b[1]);
	gave = becomes(&b[1], true);
	cg_write(CG, "memory.max", "max");
	ooms = cg_key(CG, "memory.events", "oom");
	swapped = cg_number(CG, "memory.swap.current");
	if (kmod_load("mcx_oom", NULL)) {
		ktap_ok(false, "loads what has killers wait");
		return;
	}
	wants = memsw_toucher(CG, 20 * MIB, 1);
	for (i = 0; i < 600 && cg_key(CG, "memory.events", "oom") == ooms; i++)
		nap_ms(100);
	/* It counts, and waits. */
	nap_ms(1000);
	touched = memsw_task->touched;
	b[0] = true;
	gave &= becomes(&b[0], false);
	left = cg_number(CG, "memory.swap.current");
	/* There is room now: what it waits for is that lock. */
	nap_ms(1000);
	gave &= touched == memsw_task->touched;
	err = kmod_unload("mcx_oom");
	ktap_ok(!err && gave && i < 600 && touched < 16 * MIB &&
		swapped - left > 16 * (long long)MIB,
		"about to have somebody killed at %zu MiB after %.1f s, beside %.1f MiB of swap of which %.1f are freed (%d)",
		touched / MIB, i / 10.0, (double)swapped / MIB,
		(double)(swapped - left) / MIB, err);
	seen = memsw_look(CG, wants, 20 * MIB, 1, 60);
	ktap_ok(seen.status == -1 && memsw_task->touched == 20 * MIB &&
		!cg_key(CG, "memory.events", "oom_kill"),
		"who is not then (status %d, %zu MiB of 20; %lld killed)", seen.status,
		memsw_task->touched / MIB, cg_key(CG, "memory.events", "oom_kill"));
	memsw_end(wants, &seen);
	end_task(has);
}

/*
 * It is memory.max that binds by now; but that somebody reclaimed without swapping is not
 * long ago, and may have been for this. So nobody is killed at once; and soon all the same.
 */
static void test_turns(void)
{
	struct memsw_seen first, then;
	double seconds;
	uint64_t from;
	bool killed;

	remove_all();
	memsw_fresh(CG, "32M", NULL);
	cg_write(CG, "memory.swap.max", "0");
	first = memsw_overfill(CG, CG, 40);
	killed = memsw_killed_at(&first, 24, 33);
	cg_write(CG, "memory.max", "16M");
	from = now_ns();
	then = memsw_overfill(CG, CG, 20);
	seconds = (now_ns() - from) / 1e9;
	ktap_ok(killed && memsw_killed(&then) &&
		memsw_task->touched <= 17 * MIB && oom(CG) == 1 &&
		cg_key(CG, "memory.events", "oom_kill") == 2,
		"killed for memory and swap, then for memory.max at %zu MiB of 16 (%lld, %lld)",
		memsw_task->touched / MIB, oom(CG),
		cg_key(CG, "memory.events", "oom_kill"));
	ktap_ok(seconds >= 1.5 && seconds < (slow ? 30 : 8),
		"which took %.1f s, as it was tried with swap first", seconds);
}

int main(void)
{
	ktap_start();
	slow = debug_kernel();
	memsw_begin(0);
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	cg_create(TOP "/other");
	test_permission();
	test_inner();
	test_outer();
	test_overrun();
	test_huge();
	test_global();
	test_alone();
	test_dirty();
	test_signals();
	test_told();
	test_peak();
	test_many();
	test_full();
	test_late();
	test_turns();
	remove_all();
	cg_remove(TOP "/other");
	cg_remove(TOP);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
