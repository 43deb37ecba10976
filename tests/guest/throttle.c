// SPDX-License-Identifier: GPL-2.0-only
/*
 * throttle: the over-high handler, redirected.
 *
 * What the module takes over keeps its meaning (memory.events high, the pace of
 * what cannot be reclaimed, signals), and what it does not take over is the
 * kernel's: unmanaged cgroups, an unmanaged ancestor, swap.high. Argument
 * "plain": the module was loaded with hide=ipmodify, as if somebody else had
 * redirected the handler before; argument "none": with the handler hidden.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define TOP	"mcx-test-throttle"
#define OURS	TOP "/ours"
#define THEIRS	TOP "/theirs"
#define BELOW	THEIRS "/below"
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

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static long long high_events(const char *cg)
{
	return cg_key(cg, "memory.events.local", "high");
}

static bool feature_is(const char *line)
{
	char buf[4096];

	return read_file(FEATURES, buf, sizeof(buf)) > 0 && strstr(buf, line);
}

/* Nothing can be reclaimed: paced, counted, but never stopped for long. */
static void test_over_high(void)
{
	double took;

	cg_write(OURS, "memory.high", "16M");
	took = ends_within(hog(OURS, 24, false), 60);
	ktap_ok(took >= 0, "8 MiB above memory.high, no swap: got through in %.1f s",
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
		ktap_ok(now_ns() - from < NSEC / 2,
			"%s ends a paced task in %.0f ms", strsignal(sigs[i]),
			(double)(now_ns() - from) / 1e6);
	}
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
	end(pid);
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
	end(pid);
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

static void test_swap_high(void)
{
	long long events;
	int err = swap_on();

	if (err) {
		ktap_skip("no swap device for memory.swap.high: %s",
			  strerror(-err));
		return;
	}
	cg_write(OURS, "memory.high", "16M");
	cg_write(OURS, "memory.swap.high", "1M");
	ends_within(hog(OURS, 32, false), 20);
	events = cg_key(OURS, "memory.swap.events", "high");
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
	} else {
		ktap_ok(feature_is("throttle on"), "features says: throttle on");
		test_over_high();
		test_signals();
		test_freeze();
		test_elsewhere();
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
