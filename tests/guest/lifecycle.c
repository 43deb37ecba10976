// SPDX-License-Identifier: GPL-2.0-only
/*
 * lifecycle: who is managed, from when, until when, and what is left afterwards.
 *
 * Files and their bad input, inheritance, cgroups that come and go, controllers
 * that are switched off, unprivileged writers, and loading and unloading under
 * load. With a number as argument only that last part, so many times.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define TOP	"mcx-test-life"
#define CHILD	TOP "/child"
#define GRAND	CHILD "/grand"
#define RELOADS	10
#define TRACER	"/sys/kernel/tracing/instances/mcx-test"

/* Waits up to 2 s: what is not immediate is done by a work item. */
static bool becomes(const char *cg, const char *key, long long value)
{
	int i;

	for (i = 0; i < 200; i++) {
		if (cg_key(cg, "memory.ext.stat", key) == value)
			return true;
		nap_ms(10);
	}
	return false;
}

static bool reads(const char *cg, const char *file, const char *text)
{
	char path[256], buf[256];

	cg_path(path, sizeof(path), cg, file);
	if (read_file(path, buf, sizeof(buf)) < 0)
		return false;
	buf[strcspn(buf, "\n")] = '\0';
	return !strcmp(buf, text);
}

static bool hooked(void)
{
	static char buf[1 << 20];

	if (read_file("/sys/kernel/tracing/enabled_functions", buf,
		      sizeof(buf)) < 0)
		return true;
	return strstr(buf, "[memcg_ext]");
}

static void test_files(void)
{
	char path[256];

	cg_create(TOP);
	ktap_ok(!mcx_load(), "module loads");
	cg_create(CHILD);
	cg_write(TOP, "cgroup.subtree_control", "+memory +io");
	ktap_ok(cg_has(TOP, "memory.ext.enable") &&
		cg_has(TOP, "memory.ext.stat") &&
		cg_has(TOP, "memory.ext.events"),
		"files in a cgroup that was there before");
	ktap_ok(cg_has(CHILD, "memory.ext.enable"), "files in a new cgroup");
	cg_path(path, sizeof(path), "", "memory.ext.enable");
	ktap_ok(access(path, F_OK), "no files in the root");
	ktap_ok(!hooked(), "loaded and nothing managed: nothing hooked");
}

static void test_bad_input(void)
{
	static const char *const bad[] = {
		"2", "-1", "on", "subtree x", "Subtree", "1 1", " ", "\n",
		"0123456789012345678901234567890123456789",
	};
	size_t i;
	int ret;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ret = cg_write(TOP, "memory.ext.enable", bad[i]);
		ktap_ok(ret == -EINVAL && reads(TOP, "memory.ext.enable", "0"),
			"bad value %zu is refused (%d)", i, ret);
	}
	ktap_ok(cg_write(TOP, "memory.ext.stat", "1") < 0,
		"stat cannot be written");
	ktap_ok(!cg_write(TOP, "memory.ext.enable", " 0 \n"),
		"white space around a value is accepted");
}

/* memory.ext.reclaim: what is not named stays, and bad input changes nothing. */
static void test_reclaim_file(void)
{
	static const char *const bad[] = {
		" ", "headroom", "headroom=", "headroom=x", "headroom=-1",
		"headroom=1Mx", "headroom=%", "swappiness=-1", "swappiness=1k",
		"swappines=1", "headroom=2M swappiness=x", "headroom=0x100000",
		"cpu=", "cpu=1", "cpu=cgroups", "cpu_max=", "cpu_max=5",
		"cpu_max=-5%", "cpu_max=%", "cpu_max=5%%", "cpu_max=x",
		"cpumax=5%", "cpu=system cpu_max=x%",
		"stuck_ms=", "stuck_ms=1s", "stuck_ms=-1", "stuck=",
		"stuck=killed", "stuck=5", "overrun=x", "overrun=10%",
	};
	static const char *const range[] = {
		"headroom=0", "headroom=0%", "headroom=51%", "swappiness=201",
		"headroom=99999999999999999999999", "headroom=17E",
		"headroom=18014398509482112K", "cpu_max=0%",
		"cpu_max=1000000%", "stuck_ms=99", "stuck_ms=600001",
		"overrun=128K", "overrun=2T",
	};
	const char *def =
		"headroom=auto swappiness=default cpu=system cpu_max=max stuck_ms=5000 stuck=notify overrun=0"
		;
	const char *kept =
		"headroom=8388608 swappiness=7 cpu=cgroup cpu_max=25% stuck_ms=700 stuck=kill overrun=1048576"
		;
	size_t i, good = 0;

	ktap_ok(reads(TOP, "memory.ext.reclaim", def),
		"memory.ext.reclaim: the default");
	cg_write(TOP, "memory.ext.reclaim", "swappiness=7 stuck=kill");
	cg_write(TOP, "memory.ext.reclaim", "cpu_max=25% cpu=cgroup");
	cg_write(TOP, "memory.ext.reclaim", "stuck_ms=700 overrun=1M");
	ktap_ok(!cg_write(TOP, "memory.ext.reclaim", " headroom=8M\n") &&
		reads(TOP, "memory.ext.reclaim", kept),
		"what is not named stays, and unmanaged it is kept, too");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		good += cg_write(TOP, "memory.ext.reclaim", bad[i]) < 0 &&
			reads(TOP, "memory.ext.reclaim", kept);
	ktap_ok(good == i, "%zu of %zu bad lines change nothing", good, i);
	good = 0;
	for (i = 0; i < sizeof(range) / sizeof(range[0]); i++)
		good += cg_write(TOP, "memory.ext.reclaim", range[i]) ==
			-ERANGE && reads(TOP, "memory.ext.reclaim", kept);
	ktap_ok(good == i, "%zu of %zu values out of range neither", good, i);

	cg_write(TOP, "memory.high", "64M");
	cg_write(TOP, "memory.ext.enable", "1");
	ktap_ok(cg_key(TOP, "memory.ext.stat", "wake_mark") == 56LL << 20,
		"headroom=8M: the workers wake 8 MiB below memory.high");
	cg_write(TOP, "memory.ext.reclaim", "headroom=25%");
	cg_write(TOP, "memory.high", "max");
	cg_write(TOP, "memory.max", "64M");
	ktap_ok(cg_key(TOP, "memory.ext.stat", "wake_mark") == 48LL << 20 &&
		cg_key(TOP, "memory.ext.stat", "admit_mark") == 56LL << 20,
		"headroom=25%%: a quarter below memory.max, admission half way");
	cg_write(TOP, "memory.ext.reclaim", "headroom=50%");
	ktap_ok(cg_key(TOP, "memory.ext.stat", "wake_mark") == 32LL << 20 &&
		cg_key(TOP, "memory.ext.stat", "target_mark") >= 20LL << 20,
		"headroom=50%%: the workers stop a little below half");
	cg_write(TOP, "memory.max", "max");
	cg_write(TOP, "memory.ext.enable", "0");
	ktap_ok(!cg_write(TOP, "memory.ext.reclaim", def) &&
		reads(TOP, "memory.ext.reclaim", def),
		"and all of it goes back to the default");
}

static void test_inheritance(void)
{
	ktap_ok(!cg_write(TOP, "memory.ext.enable", "1") &&
		reads(TOP, "memory.ext.enable", "1"), "1 reads back");
	ktap_ok(becomes(TOP, "managed", 1) && becomes(TOP, "attached", 1),
		"1: managed, and soon attached");
	ktap_ok(hooked(), "hooks are seen in enabled_functions");
	ktap_ok(cg_key(CHILD, "memory.ext.stat", "managed") == 0,
		"1 does not reach a child");

	cg_write(TOP, "memory.ext.enable", "subtree");
	ktap_ok(reads(TOP, "memory.ext.enable", "subtree"),
		"subtree reads back");
	ktap_ok(becomes(CHILD, "managed", 1), "subtree reaches a child");
	ktap_ok(reads(CHILD, "memory.ext.enable", "0"),
		"what was written to the child still reads back");
	cg_write(CHILD, "cgroup.subtree_control", "+memory");
	cg_create(GRAND);
	ktap_ok(becomes(GRAND, "managed", 1),
		"subtree reaches a grandchild made later");
	cg_write(CHILD, "memory.ext.enable", "0");
	ktap_ok(cg_key(CHILD, "memory.ext.stat", "managed") == 1,
		"a child cannot opt out");

	cg_write(CHILD, "memory.ext.enable", "1");
	cg_write(TOP, "memory.ext.enable", "0");
	ktap_ok(becomes(TOP, "managed", 0) && becomes(GRAND, "managed", 0),
		"0 at the top ends it for whoever had it from there");
	ktap_ok(becomes(CHILD, "managed", 1),
		"not for a child with a value of its own");
	cg_remove(GRAND);
	cg_write(CHILD, "memory.ext.enable", "0");
	cg_write(CHILD, "cgroup.subtree_control", "-memory");
}

static void test_detach(void)
{
	int i;

	ktap_ok(hooked(), "hooks stay for a moment after the last use");
	for (i = 0; i < 50 && hooked(); i++)
		nap_ms(100);
	ktap_ok(!hooked(), "and then are gone");
}

/* While nothing is managed no hook tells that a cgroup is removed. */
static void test_conf_only(void)
{
	long long dying = cg_key(TOP, "cgroup.stat", "nr_dying_descendants");
	int i;

	cg_write(CHILD, "memory.ext.reclaim", "headroom=5%");
	cg_write(CHILD, "cgroup.subtree_control", "+memory");
	cg_create(GRAND);
	ktap_ok(!hooked(), "configuring alone attaches nothing");
	cg_remove(GRAND);
	cg_remove(CHILD);
	for (i = 0; i < 100; i++) {
		if (cg_key(TOP, "cgroup.stat", "nr_dying_descendants") <=
		    dying)
			break;
		nap_ms(100);
	}
	ktap_ok(i < 100, "what is configured and not managed is freed (%.1f s)",
		i / 10.0);
	cg_create(CHILD);
}

/* rmdir must work at once, and leave no more dying cgroups than without us. */
static void test_rmdir(void)
{
	long long dying = cg_key(TOP, "cgroup.stat", "nr_dying_descendants");
	int i;

	cg_write(CHILD, "memory.ext.enable", "subtree");
	becomes(CHILD, "attached", 1);
	for (i = 0; i < 20; i++) {
		cg_create(GRAND);
		cg_remove(GRAND);
	}
	ktap_ok(!cg_remove(CHILD), "a managed cgroup can be removed");
	for (i = 0; i < 50; i++) {
		if (cg_key(TOP, "cgroup.stat", "nr_dying_descendants") <=
		    dying)
			break;
		nap_ms(100);
	}
	ktap_ok(i < 50, "removed cgroups are freed (%lld dying, before %lld)",
		cg_key(TOP, "cgroup.stat", "nr_dying_descendants"), dying);
	cg_create(CHILD);
	ktap_ok(reads(CHILD, "memory.ext.enable", "0"),
		"a new cgroup of the same name is not managed");
}

/* -memory makes the state go; with +io the kernel keeps it (css_reset). */
static void test_controller_off(const char *keep)
{
	cg_write(CHILD, "memory.ext.enable", "1");
	becomes(CHILD, "attached", 1);
	cg_write(TOP, "cgroup.subtree_control", keep);
	cg_write(TOP, "cgroup.subtree_control", "-memory");
	ktap_ok(!cg_has(CHILD, "memory.ext.enable"),
		"no files without the controller (%s)", keep);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	ktap_ok(becomes(CHILD, "managed", 0) &&
		reads(CHILD, "memory.ext.enable", "0"),
		"not managed when the controller is back (%s)", keep);
}

static void test_unprivileged(void)
{
	ktap_ok(write_as_nobody(CHILD, "memory.ext.enable", "1") == EPERM &&
		becomes(CHILD, "managed", 0),
		"enabling needs CAP_SYS_RESOURCE");
	ktap_ok(write_as_nobody(CHILD, "memory.ext.reclaim", "headroom=5%") ==
		EPERM, "so does configuring, which costs memory, too");
	cg_write(TOP, "memory.ext.enable", "1");
	ktap_ok(!write_as_nobody(CHILD, "memory.ext.enable", "1") &&
		becomes(CHILD, "managed", 1) &&
		!write_as_nobody(CHILD, "memory.ext.reclaim", "headroom=auto"),
		"but not below a managed cgroup");
	cg_write(CHILD, "memory.ext.enable", "0");
	cg_write(TOP, "memory.ext.enable", "0");
}

static bool charge_and_free(const char *cg, size_t mib)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		char *p = malloc(mib * MIB);

		if (!p || cg_enter(cg))
			_exit(1);
		memset(p, 1, mib * MIB);
		/* Looked at, so that the compiler cannot drop all of it. */
		_exit(*(volatile char *)(p + mib * MIB - 1) != 1);
	}
	return waitpid(pid, &status, 0) == pid && !status;
}

static void test_poll(void)
{
	struct pollfd pfd = { .events = POLLPRI };
	char path[256], buf[512];

	cg_path(path, sizeof(path), CHILD, "memory.ext.events");
	pfd.fd = open(path, O_RDONLY);
	cg_write(CHILD, "memory.ext.enable", "1");
	becomes(CHILD, "attached", 1);
	/* What happened until now has been seen. */
	nap_ms(200);
	if (pread(pfd.fd, buf, sizeof(buf), 0) <= 0)
		buf[0] = '\0';
	ktap_ok(poll(&pfd, 1, 0) == 0, "no event, no wake-up");
	cg_write(CHILD, "memory.high", "16M");
	charge_and_free(CHILD, 17);
	ktap_ok(poll(&pfd, 1, 2000) == 1 && pfd.revents & POLLPRI,
		"poll() tells that the workers were woken");
	ktap_ok(cg_key(CHILD, "memory.ext.events", "wakeups") > 0,
		"and events says how often");
	close(pfd.fd);
	cg_write(CHILD, "memory.high", "max");
}

static void test_unload_with_open_file(void)
{
	char path[256], buf[64];
	int fd;

	cg_path(path, sizeof(path), CHILD, "memory.ext.stat");
	fd = open(path, O_RDONLY);
	ktap_ok(fd >= 0 && !mcx_unload(),
		"unloads with a file open and a cgroup managed");
	ktap_ok(read(fd, buf, sizeof(buf)) < 0 && errno == ENODEV,
		"the open file says that it is gone");
	close(fd);
	ktap_ok(!cg_has(CHILD, "memory.ext.stat"), "no files are left");
	ktap_ok(!hooked(), "no hooks are left");
}

static bool limits_as_written(void)
{
	return reads(CHILD, "memory.max", "33554432") &&
	       reads(CHILD, "memory.high", "29360128") &&
	       reads(CHILD, "memory.low", "8388608") &&
	       reads(CHILD, "memory.min", "4194304") &&
	       reads(CHILD, "memory.swap.high", "max");
}

/*
 * The yardstick: how long the kernel needs to take a hook of its own off the same
 * function, under the same load. It waits for RCU-tasks as long as for ours, of
 * which there are two. Nanoseconds; 0: this kernel cannot.
 */
static uint64_t timed_stock_unhook(void)
{
	uint64_t from, took = 0;

	if (mkdir(TRACER, 0700))
		return 0;
	if (!write_file(TRACER "/set_ftrace_filter",
			"page_counter_try_charge") &&
	    !write_file(TRACER "/current_tracer", "function")) {
		nap_ms(200);
		from = now_ns();
		if (!write_file(TRACER "/current_tracer", "nop"))
			took = now_ns() - from;
	}
	rmdir(TRACER);
	return took;
}

/* A child that says where its parent is, if it lives for long. */
static pid_t where_am_i(void)
{
	pid_t pid, parent = getpid();
	char path[64], stack[4096], *p;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	snprintf(path, sizeof(path), "/proc/%d/stack", parent);
	for (;;) {
		nap_ms(3000);
		if (read_file(path, stack, sizeof(stack)) <= 0)
			continue;
		/* One line. */
		for (p = stack; (p = strchr(p, '\n')); p++)
			*p = ' ';
		ktap_note("unloading still: %s", stack);
	}
}

/* Nanoseconds, or 0: it failed. */
static uint64_t timed_unload(void)
{
	pid_t pid = where_am_i();
	uint64_t from = now_ns();
	bool bad = mcx_unload();
	uint64_t took = now_ns() - from;

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return bad ? 0 : took;
}

static void test_reload_under_load(int reloads)
{
	char seconds[16];
	const char *const argv[] = {
		"filewriter", "-g", CGROUP_ROOT "/" CHILD, "-w", "4", "-s",
		"16M", "-b", "64K", "-t", seconds, "-m", NULL,
	};
	uint64_t *took = calloc(reloads, sizeof(*took));
	uint64_t *stock = calloc(reloads, sizeof(*stock));
	struct proc load;
	int i, bad = 0;
	double worst, limit, least = debug_kernel() ? 15 : 5;

	/*
	 * khugepaged, at nice 19, gets no CPU beside this load; preempted in the
	 * middle of a page it holds up RCU-tasks, and with that any user of ftrace
	 * that goes, for as long as the load lasts.
	 */
	thp_off();
	/* For longer than all of it takes, on a slow machine, too. */
	snprintf(seconds, sizeof(seconds), "%d", 60 * reloads);

	cg_write(CHILD, "memory.max", "32M");
	cg_write(CHILD, "memory.high", "28M");
	cg_write(CHILD, "memory.low", "8M");
	cg_write(CHILD, "memory.min", "4M");
	if (proc_start(&load, argv)) {
		ktap_ok(false, "the load starts");
		return;
	}
	for (i = 0; i < reloads; i++) {
		bad += !!mcx_load();
		bad += !!cg_write(CHILD, "memory.ext.enable",
				  i & 1 ? "subtree" : "1");
		/* From long attached to just about to. */
		nap_ms(i % 4 * 150);
		took[i] = timed_unload();
		bad += !took[i];
		stock[i] = timed_stock_unhook();
	}
	ktap_ok(!bad, "loaded, managed and unloaded %d times under load (%d failures)",
		reloads, bad);
	ktap_ok(!waitpid(load.pid, NULL, WNOHANG), "which went on all the time");
	worst = quantile(took, reloads, 1) / NSEC;
	limit = 3 * quantile(stock, reloads, 1) / NSEC;
	if (limit < least)
		limit = least;
	ktap_note("unloading: %.2f s in the median, %.2f s at most; the kernel unhooks in %.2f s and %.2f s",
		  quantile(took, reloads, 0.5) / NSEC, worst,
		  quantile(stock, reloads, 0.5) / NSEC,
		  quantile(stock, reloads, 1) / NSEC);
	ktap_ok(worst < limit, "unloading took %.1f s at most, of %.1f s",
		worst, limit);
	free(stock);
	free(took);
	ktap_ok(limits_as_written(), "limits and protection are as written");
	ktap_ok(!hooked(), "no hooks are left");
	kill(load.pid, SIGTERM);
	proc_wait(&load);
}

static void setup_reloads(void)
{
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory +io");
	cg_create(CHILD);
}

static void test_all(void)
{
	test_files();
	test_bad_input();
	test_reclaim_file();
	test_inheritance();
	test_detach();
	test_conf_only();
	test_rmdir();
	test_controller_off("-io");
	test_controller_off("+io");
	test_unprivileged();
	test_poll();
	test_unload_with_open_file();
}

int main(int argc, char **argv)
{
	int reloads = argc > 1 ? atoi(argv[1]) : 0;

	ktap_start();
	if (reloads > 0)
		setup_reloads();
	else
		test_all();
	test_reload_under_load(reloads > 0 ? reloads : RELOADS);
	cg_remove(CHILD);
	cg_remove(TOP);
	return ktap_end();
}
