// SPDX-License-Identifier: GPL-2.0-only
/*
 * throttle: the over-high handler, redirected.
 *
 * What the module takes over keeps its meaning (memory.events high, the pace of
 * what cannot be reclaimed, signals), and what it does not take over is the
 * kernel's: unmanaged cgroups, an unmanaged ancestor, swap.high. Argument
 * "plain": the module was loaded with hide=ipmodify, as if somebody else had
 * redirected the handler before; argument "none": with the handler hidden; argument
 * "later": what is only attached for a while is detached again.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define TOP	"mcx-test-throttle"
#define OURS	TOP "/ours"
#define THEIRS	TOP "/theirs"
#define BELOW	THEIRS "/below"
#define HOOKS	"/sys/kernel/debug/memcg_ext/hooks"
#define SEEN	"page_counter_uncharge found=1 attached="
#define FEATURES	"/sys/kernel/debug/memcg_ext/features"

/* A task in @cg that touches @mib of anonymous memory, then waits or ends. */
static pid_t hog(const char *cg, size_t mib, bool stay)
{
	pid_t pid = fork();
	char *p;
	size_t i;

	if (pid)
		return pid;
	p = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || cg_enter(cg))
		_exit(1);
	for (i = 0; i < mib * MIB; i += PAGE)
		*(volatile char *)(p + i) = 1;
	if (stay)
		pause();
	_exit(0);
}

/* Seconds until @pid ended, or -1 after @limit, killed. */
static double ends_within(pid_t pid, double limit)
{
	uint64_t from = now_ns();
	int status;

	while (now_ns() - from < limit * NSEC) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return (double)(now_ns() - from) / NSEC;
		nap_ms(10);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

static long long high_events(const char *cg)
{
	return cg_key(cg, "memory.events.local", "high");
}

static bool feature_is(const char *line)
{
	return file_has(FEATURES, line);
}

/* Nothing can be reclaimed: paced, counted, but never stopped for long. */
static void test_over_high(void)
{
	double took;

	cg_write(OURS, "memory.high", "16M");
	took = ends_within(hog(OURS, 20, false), 30);
	ktap_ok(took >= 0, "4 MiB above memory.high, no swap: got through in %.1f s",
		took);
	ktap_ok(took > 0.5, "but not unpaced");
	ktap_ok(high_events(OURS) > 0, "memory.events counts it (high %lld)",
		high_events(OURS));
	ktap_ok(cg_key(OURS, "memory.ext.stat", "gave_up") > 0,
		"stat says that nothing could be reclaimed");
	ktap_ok(cg_key(OURS, "memory.ext.stat", "paced") > 0 &&
		cg_key(OURS, "memory.ext.stat", "over_high") > 0,
		"and that somebody was paced");
	cg_write(OURS, "memory.high", "max");
}

/* A paced task dies at once, and so does one that is asked to. */
static void test_signals(void)
{
	static const int sigs[] = { SIGKILL, SIGTERM };
	uint64_t from;
	size_t i;
	pid_t pid;

	cg_write(OURS, "memory.high", "8M");
	for (i = 0; i < 2; i++) {
		pid = hog(OURS, 256, true);
		nap_ms(1000);
		from = now_ns();
		kill(pid, sigs[i]);
		waitpid(pid, NULL, 0);
		ktap_ok(now_ns() - from < (debug_kernel() ? 2 * NSEC : NSEC / 2),
			"%s ends a paced task in %.0f ms", strsignal(sigs[i]),
			(double)(now_ns() - from) / 1e6);
	}
	cg_write(OURS, "memory.high", "max");
}

static void on_alarm(int sig)
{
}

/* Takes 3.75 MiB a call, with a signal every millisecond. */
static pid_t interrupted(void)
{
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } };
	struct sigaction act = { .sa_handler = on_alarm };
	pid_t pid = fork();

	if (pid)
		return pid;
	if (cg_enter(OURS))
		_exit(1);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (;;)
		mmap(NULL, 960 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

/* Whose waits are cut short keeps its debt, all of it. */
static void test_interrupted(void)
{
	double most = 0;
	pid_t pid;
	int i;

	cg_write(OURS, "memory.high", "16M");
	pid = interrupted();
	for (i = 0; i < 80 && most < 128 * MIB; i++) {
		nap_ms(50);
		most = cg_number(OURS, "memory.current");
	}
	end_task(pid);
	ktap_ok(most > 17 * MIB && most < 64 * MIB,
		"a task that is interrupted all the time took %.1f MiB over a memory.high of 16",
		most / MIB);
	cg_write(OURS, "memory.high", "max");
}

static void test_freeze(void)
{
	pid_t pid;
	int i;

	cg_write(OURS, "memory.high", "8M");
	pid = hog(OURS, 256, true);
	nap_ms(500);
	cg_write(OURS, "cgroup.freeze", "1");
	for (i = 0; i < 100; i++) {
		if (cg_key(OURS, "cgroup.events", "frozen") == 1)
			break;
		nap_ms(10);
	}
	ktap_ok(i < 100, "a cgroup with a paced task freezes (%d ms)", i * 10);
	cg_write(OURS, "cgroup.freeze", "0");
	end_task(pid);
	cg_write(OURS, "memory.high", "max");
}

/*
 * One system call that takes 256 MiB, in @cg, where only @limited has a limit,
 * which is a memory.high of 16 MiB. The kernel stops it after a batch or two.
 */
static void test_one_call(const char *cg, const char *limited)
{
	long long most = 0, now;
	uint64_t from = now_ns();
	pid_t pid = fork();

	if (!pid) {
		if (!cg_enter(cg))
			mmap(NULL, 256 * MIB, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		_exit(0);
	}
	while (now_ns() - from < 3 * NSEC) {
		now = cg_number(limited, "memory.current");
		most = now > most ? now : most;
		nap_ms(20);
	}
	end_task(pid);
	ktap_ok(most > 0 && most < 40 * (long long)MIB,
		"one system call does not go far above a memory.high that we do not hold: %lld MiB of 16",
		most / (long long)MIB);
}

/* The kernel's own handling beside us: not ours to change. */
static void test_unmanaged(void)
{
	long long before;

	cg_write(THEIRS, "memory.high", "16M");
	before = high_events(THEIRS);
	ends_within(hog(THEIRS, 18, false), 30);
	ktap_ok(high_events(THEIRS) > before,
		"an unmanaged cgroup is handled by the kernel (high %lld)",
		high_events(THEIRS) - before);
	ktap_ok(cg_key(THEIRS, "memory.ext.stat", "managed") == 0,
		"and is not managed");

	/* A managed cgroup below, within its own limits. */
	cg_write(THEIRS, "cgroup.subtree_control", "+memory");
	before = cg_key(THEIRS, "memory.events", "high");
	ktap_ok(!mcx_manage(BELOW), "a cgroup below it can be managed");
	ends_within(hog(BELOW, 18, false), 30);
	ktap_ok(cg_key(THEIRS, "memory.events", "high") > before,
		"an unmanaged ancestor above its memory.high is the kernel's too");
	test_one_call(BELOW, THEIRS);
	cg_write(BELOW, "memory.ext.enable", "0");
	cg_write(THEIRS, "memory.high", "max");
}

/* Pages that the workers swapped out of a hog of 32 MiB over 16 MiB. */
static long long swapped_out(const char *conf)
{
	long long before = read_key("/proc/vmstat", "pswpout");

	cg_write(OURS, "memory.ext.reclaim", conf);
	ends_within(hog(OURS, 32, false), 20);
	return read_key("/proc/vmstat", "pswpout") - before;
}

static void test_swappiness(void)
{
	long long none = swapped_out("swappiness=0");
	long long some = swapped_out("swappiness=default");

	ktap_ok(none == 0 && some > 0,
		"memory.ext.reclaim: swappiness=0 swaps out %lld pages, default %lld",
		none, some);
}

/* In @cg: room for @len bytes of memory, of which nothing is touched. */
static pid_t room(const char *cg, size_t len, void **where)
{
	pid_t pid;

	*where = mmap(NULL, len, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid = fork();
	if (pid)
		return pid;
	if (cg_enter(cg))
		_exit(1);
	for (;;)
		pause();
}

/* Writes @len bytes into new memory of a task in OURS, in calls of @chunk. */
static bool write_elsewhere(size_t len, size_t chunk)
{
	char *buf = calloc(1, chunk);
	struct iovec from = { buf, chunk }, to = { NULL, chunk };
	size_t at = 0;
	void *where;
	pid_t pid;

	pid = room(OURS, len, &where);
	nap_ms(300);
	/* The buffer is ours, and charged to nobody that matters. */
	memset(buf, 1, chunk);
	for (; at < len; at += chunk) {
		to.iov_base = where + at;
		if (process_vm_writev(pid, &from, 1, &to, 1, 0) != (ssize_t)chunk)
			break;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(where, len);
	free(buf);
	return at == len;
}

/*
 * Who writes to the memory of a task in another cgroup charges that one, and waits
 * for it, whatever its own cgroup is: the root here. In a single call it cannot be
 * held, but what it charged is not forgotten.
 */
static void test_elsewhere(void)
{
	long long before, between, after;
	bool done;

	cg_remove(OURS);
	cg_create(OURS);
	cg_write(OURS, "memory.high", "16M");
	mcx_manage(OURS);
	before = cg_key(OURS, "memory.ext.stat", "paced");
	done = write_elsewhere(18 * MIB, MIB);
	between = cg_key(OURS, "memory.ext.stat", "paced");
	ktap_ok(done && between > before,
		"elsewhere: who charges another cgroup waits there (%lld times)",
		between - before);
	done = write_elsewhere(24 * MIB, 24 * MIB);
	after = cg_key(OURS, "memory.ext.stat", "paced");
	ktap_ok(done && after > between,
		"elsewhere: for what it charged in one call, too (%lld times)",
		after - between);
}

/* What children report. */
static volatile double *report;
static volatile bool *may_go;

static void *populate(size_t pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	return p;
}

/* A child in OURS that reports what @work returns. */
static pid_t child(double (*work)(void))
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (cg_enter(OURS))
		_exit(1);
	*report = work();
	_exit(0);
}

static double reported(pid_t pid)
{
	double value;

	waitpid(pid, NULL, 0);
	value = *report;
	*report = -1;
	return value;
}

static double since(uint64_t from)
{
	return (double)(now_ns() - from) / NSEC;
}

/* Seconds for a batch that is kept. */
static double keeps(void)
{
	uint64_t from = now_ns();
	int i;

	for (i = 0; i < 6; i++)
		populate(64);
	return since(from) / 6;
}

/* For one that is given back. */
static double gives_back(void)
{
	uint64_t from = now_ns();
	int i;

	for (i = 0; i < 60; i++)
		munmap(populate(64), 64 * PAGE);
	return since(from) / 60;
}

/* For one that is kept, of twice as many, of which each other page is given back. */
static double gives_half_back(void)
{
	uint64_t from = now_ns();
	char *p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	for (i = 0; i < 2 * 6 * 64; i++) {
		p[i * PAGE] = 1;
		if (i % 2)
			madvise(p + i * PAGE, PAGE, MADV_DONTNEED);
	}
	return since(from) / 6;
}

/* For one that is kept, after more were given back that nobody waited for. */
static double gave_before(void)
{
	void *p = populate(512);
	uint64_t from;
	int i;

	while (!*may_go)
		nap_ms(10);
	populate(64);
	munmap(p, 512 * PAGE);
	from = now_ns();
	for (i = 0; i < 6; i++)
		populate(64);
	return since(from) / 6;
}

/* Seconds that it waits for each of so many batches, whatever else takes its time. */
static double waits(double (*task)(void), int batches)
{
	long long before = cg_key(OURS, "memory.ext.stat", "paced_usec");

	reported(child(task));
	return (double)(cg_key(OURS, "memory.ext.stat", "paced_usec") - before) /
	       1e6 / batches;
}

/*
 * Above memory.high, nothing can be reclaimed: who takes waits; who gives back what
 * it waited for need not do so again, and for nothing else.
 */
static void test_given(void)
{
	double kept, back, half, before;
	pid_t early, pid;
	long long given;
	int i;

	report = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	may_go = (bool *)(report + 2);
	*report = -1;
	cg_remove(OURS);
	cg_create(OURS);
	cg_write(OURS, "memory.high", "32M");
	mcx_manage(OURS);
	early = child(gave_before);
	nap_ms(500);
	pid = hog(OURS, 32, true);
	cg_fills(OURS, 34 * MIB);

	kept = waits(keeps, 6);
	/* It is attached with the first wait, a moment later. */
	for (i = 0; i < 100 && !file_has(HOOKS, SEEN "1"); i++)
		nap_ms(100);
	given = cg_key(OURS, "memory.ext.stat", "given_pages");
	back = waits(gives_back, 60);
	given = cg_key(OURS, "memory.ext.stat", "given_pages") - given;
	ktap_ok(kept > .02, "who takes 64 pages and keeps them waits (%.0f ms)",
		kept * 1e3);
	ktap_ok(back >= 0 && back < kept / 4,
		"who gives back 64 pages need not wait for the next (%.1f ms)",
		back * 1e3);
	ktap_ok(given >= 40 * 64, "which is counted (%lld pages)", given);
	ktap_ok(file_has(HOOKS, SEEN "1"), "and seen while somebody waits");
	half = reported(child(gives_half_back));
	ktap_ok(half > kept / 3,
		"who gives back every other page waits for the rest (%.0f ms)",
		half * 1e3);
	/* As far above it when it has given back 2 MiB. */
	cg_write(OURS, "memory.high", "31M");
	*may_go = true;
	before = reported(early);
	ktap_ok(before > kept / 3,
		"and pages that nobody waited for are worth nothing (%.0f ms)",
		before * 1e3);
	end_task(pid);
}

static void test_not_given(void)
{
	int i;

	for (i = 0; i < 400 && file_has(HOOKS, SEEN "1"); i++)
		nap_ms(100);
	ktap_ok(file_has(HOOKS, SEEN "0"), "and not for long after that (%.1f s)",
		i / 10.);
}

/* Does it give up its CPU to take 64 pages, which it keeps? */
static bool sleeps_taking(void)
{
	struct rusage usage;
	long before;

	getrusage(RUSAGE_SELF, &usage);
	before = usage.ru_nvcsw;
	populate(64);
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_nvcsw > before;
}

#define LIGHT_ROUNDS	24
/* Where a worker frees less than that in a second 64 pages twice in it are not little. */
#define LIGHT_RATE	(15 * (long long)MIB)

/* How often it had to wait for 64 pages, of @batches that it takes each half a second. */
static double takes(int batches)
{
	double n = 0;
	int i, j;

	/* Nothing else of it has to be read in again. */
	mlockall(MCL_CURRENT);
	for (i = 0; i < LIGHT_ROUNDS; i++) {
		nap_ms(500);
		for (j = 1; j < batches; j++)
			populate(64);
		n += sleeps_taking();
	}
	return n;
}

static double takes_little(void)
{
	return takes(1);
}

static double takes_much(void)
{
	return takes(16);
}

/* Takes more than the limit allows, again and again; what it gives back is little of that. */
static pid_t taker(const char *cg, size_t len)
{
	pid_t pid = fork();
	char *p;
	size_t i;

	if (pid)
		return pid;
	if (cg_enter(cg))
		_exit(1);
	for (;;) {
		p = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			_exit(1);
		for (i = 0; i < len; i += PAGE)
			p[i] = 1;
		munmap(p, len);
	}
}

#define TAKERS	3

/* It is others that keep usage where tasks are paced. */
static void test_light(void)
{
	int i, err = swap_on();
	pid_t pid[TAKERS];
	double little, much;
	long long rate;

	if (err) {
		ktap_skip("no swap device: %s", strerror(-err));
		return;
	}
	cg_remove(OURS);
	cg_create(OURS);
	cg_write(OURS, "memory.high", "64M");
	mcx_manage(OURS);
	for (i = 0; i < TAKERS; i++)
		pid[i] = taker(OURS, 160 * MIB);
	cg_fills(OURS, 60 * MIB);
	nap_ms(1000);
	much = reported(child(takes_much));
	little = reported(child(takes_little));
	ktap_ok(much >= 3, "who takes as much as others waits (%.0f times of %d)",
		much, LIGHT_ROUNDS);
	rate = cg_key(OURS, "memory.ext.stat", "rate");
	if (debug_kernel() && rate < LIGHT_RATE)
		ktap_skip("who takes little: workers free %.1f MiB a second", (double)rate / MIB);
	else
		ktap_ok(little >= 0 && little <= much / 3 * 2,
			"who takes little waits less often (%.0f)", little);
	ktap_ok(cg_key(OURS, "memory.ext.stat", "spared") > 0,
		"and is counted as spared (%lld)",
		cg_key(OURS, "memory.ext.stat", "spared"));
	for (i = 0; i < TAKERS; i++)
		end_task(pid[i]);
	cg_write(OURS, "memory.high", "max");
	swap_off();
}

static void test_swap_high(void)
{
	long long events = 0;
	int err = swap_on(), i;
	pid_t pid;

	if (err) {
		ktap_skip("no swap device for memory.swap.high: %s",
			  strerror(-err));
		return;
	}
	cg_write(OURS, "memory.high", "16M");
	cg_write(OURS, "memory.swap.high", "1M");
	pid = hog(OURS, 32, true);
	for (i = 0; i < 200 && events <= 0; i++) {
		nap_ms(100);
		events = cg_key(OURS, "memory.swap.events", "high");
	}
	end_task(pid);
	ktap_ok(events > 0, "memory.swap.high is still enforced (high %lld)",
		events);
	cg_write(OURS, "memory.swap.high", "max");
	test_swappiness();
	cg_write(OURS, "memory.high", "max");
	swap_off();
}

/* With the stock handler in place again, nobody is worse off than without us. */
static void test_degraded(const char *feature)
{
	double took;

	ktap_ok(feature_is(feature), "features says: %s", feature);
	cg_write(OURS, "memory.high", "16M");
	took = ends_within(hog(OURS, 18, false), 60);
	ktap_ok(took >= 0, "2 MiB above memory.high: got through in %.1f s",
		took);
	ktap_ok(high_events(OURS) > 0, "the kernel counts it (high %lld)",
		high_events(OURS));
	test_one_call(OURS, OURS);
	cg_write(OURS, "memory.high", "max");
}

static void setup(void)
{
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	cg_create(OURS);
	cg_create(THEIRS);
	cg_create(BELOW);
	if (mcx_load())
		ktap_skip_all("the module does not load");
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	ktap_start();
	thp_off();
	setup();
	ktap_ok(!mcx_manage(OURS), "managed");
	if (!strcmp(mode, "plain")) {
		test_degraded("throttle degraded");
	} else if (!strcmp(mode, "none")) {
		test_degraded("throttle off");
	} else if (!strcmp(mode, "later")) {
		test_given();
		test_not_given();
	} else {
		ktap_ok(feature_is("throttle on"), "features says: throttle on");
		test_over_high();
		test_signals();
		test_interrupted();
		test_freeze();
		test_elsewhere();
		test_given();
		test_light();
		test_swap_high();
		test_unmanaged();
	}
	cg_remove(BELOW);
	cg_remove(OURS);
	cg_remove(THEIRS);
	ktap_ok(!mcx_unload(), "unloads");
	cg_remove(TOP);
	return ktap_end();
}
