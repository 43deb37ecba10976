// SPDX-License-Identifier: GPL-2.0-only
/*
 * memsw: one limit for memory and swap together.
 *
 * What may be written to memory.ext.memsw.max, and what memory.max says meanwhile; what is
 * killed and what is reclaimed at the limit; that what can go on does, and that nobody is
 * above it: memory and swap are looked at all the time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libmemsw.h"

#define TOP	"mcx-test-memsw"
#define CG	TOP "/a"
#define BELOW	CG "/b"
#define OTHER	TOP "/other"
#define TRACED	"/sys/kernel/tracing/enabled_functions"
#define STAT	"memory.ext.stat"
#define EVENTS	"memory.ext.events"

static void fresh(const char *limit, const char *max)
{
	cg_remove(BELOW);
	memsw_fresh(CG, limit, max);
}

static long long event(const char *key)
{
	return cg_key(CG, EVENTS, key);
}

static void test_values(void)
{
	static const char * const wrong[] = { "nonsense", "64Mx", "-1" };
	bool refused = true;
	size_t i;

	fresh(NULL, "128M");
	ktap_ok(memsw_reads(CG, MEMSW_MAX, "max\n"), "no limit at first");
	for (i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		refused &= cg_write(CG, MEMSW_MAX, wrong[i]) == -EINVAL;
	ktap_ok(refused && memsw_reads(CG, MEMSW_MAX, "max\n"), "nonsense is refused");
	ktap_ok(!cg_write(CG, MEMSW_MAX, "64M") && memsw_reads(CG, MEMSW_MAX, "67108864\n"),
		"a limit is set");
	ktap_ok(cg_key(CG, STAT, "effective_max") == 64 * MIB,
		"and effective (%lld)", cg_key(CG, STAT, "effective_max"));
	ktap_ok(memsw_reads(CG, "memory.max", "134217728\n"),
		"memory.max reads back as it was written");
	ktap_ok(!cg_write(CG, "memory.max", "96M") &&
		memsw_reads(CG, "memory.max", "100663296\n") &&
		cg_key(CG, STAT, "effective_max") == 64 * MIB,
		"and what is written there now");
	ktap_ok(!cg_write(CG, "memory.max", "32M") &&
		cg_key(CG, STAT, "effective_max") == 32 * MIB,
		"the tighter one binds");
	ktap_ok(cg_write(CG, "memory.max", "nonsense") == -EINVAL &&
		memsw_reads(CG, "memory.max", "33554432\n"),
		"nonsense is refused there, too");
	cg_write(CG, "memory.max", "96M");
	ktap_ok(!cg_write(CG, MEMSW_MAX, "max") && memsw_reads(CG, MEMSW_MAX, "max\n"),
		"it is taken away");
	ktap_ok(memsw_reads(CG, "memory.max", "100663296\n") &&
		cg_key(CG, STAT, "effective_max") < 0,
		"memory.max is what was written last");
	nap_ms(3000);
	ktap_ok(memsw_reads(CG, "memory.max", "100663296\n") &&
		!file_has(TRACED, "memory_max_show"),
		"and it is when nothing is hooked any more");
}

/* One cgroup gets its first limit while another one loses its own, or has it anew. */
static void test_others(void)
{
	int i, refused = 0, lost = 0, apart;
	pid_t pid;

	cg_create(OTHER);
	for (i = 0; i < 12; i++) {
		fresh("64M", "96M");
		pid = fork();
		if (!pid) {
			refused = cg_write(OTHER, MEMSW_MAX, "64M");
			_exit(!!refused);
		}
		nap_ms(10 + 30 * (i / 2));
		refused += !!cg_write(CG, MEMSW_MAX, "max");
		if (i % 2)
			refused += !!cg_write(CG, MEMSW_MAX, "48M");
		waitpid(pid, &apart, 0);
		refused += !!apart;
		lost += !memsw_reads(CG, "memory.max", "100663296\n");
		cg_write(CG, MEMSW_MAX, "max");
		cg_write(OTHER, MEMSW_MAX, "max");
		lost += !memsw_reads(CG, "memory.max", "100663296\n");
		nap_ms(100 * (i % 5));
		lost += !memsw_reads(CG, "memory.max", "100663296\n");
	}
	ktap_ok(!lost, "memory.max is what was written, whatever others do (%d times not)",
		lost);
	ktap_ok(!refused, "and no limit is refused (%d)", refused);
	cg_remove(OTHER);
}

static void test_tool(void)
{
	fresh(NULL, "96M");
	ktap_ok(!system("mcxctl set " CG " memsw.max=64M > /dev/null") &&
		memsw_reads(CG, MEMSW_MAX, "67108864\n"), "mcxctl sets it");
	ktap_ok(!system("mcxctl stat " CG " | grep -q '^effective_max *67108864$'"),
		"and shows it");
	ktap_ok(system("mcxctl set " CG " memsw.max=nonsense > /dev/null 2>&1") &&
		system("mcxctl set " CG " memsw.current=1 > /dev/null 2>&1") &&
		memsw_reads(CG, MEMSW_MAX, "67108864\n"), "but no nonsense");
}

/* Pollers are told. */
static void test_poll(void)
{
	struct memsw_seen seen;
	char path[256], text[2048];
	struct pollfd p;

	fresh("32M", NULL);
	cg_path(path, sizeof(path), CG, EVENTS);
	p = (struct pollfd) { .fd = open(path, O_RDONLY), .events = POLLPRI };
	seen = memsw_overfill(CG, CG, 64);
	text[0] = '\0';
	while (p.fd >= 0 && !strstr(text, "memsw_oom_kill 1")) {
		if (pread(p.fd, text, sizeof(text) - 1, 0) < 0 || poll(&p, 1, 5000) <= 0)
			break;
	}
	ktap_ok(memsw_killed(&seen) && strstr(text, "memsw_oom_kill 1"),
		"who polls memory.ext.events is told of the kill");
	if (p.fd >= 0)
		close(p.fd);
}

/* Anonymous memory, with swap beside it. */
static void test_anon(void)
{
	long long before = read_key("/proc/vmstat", "pswpout"), swapped;
	struct memsw_seen seen;

	fresh("64M", NULL);
	seen = memsw_overfill(CG, CG, 96);
	swapped = read_key("/proc/vmstat", "pswpout") - before;
	ktap_ok(swapped < 64, "nothing is swapped for what that would not help (%lld pages)",
		swapped);
	ktap_ok(memsw_killed_at(&seen, 56, 66),
		"96 MiB of 64: killed (status %d) at %zu MiB, after %.1f s",
		seen.status, memsw_task->touched / MIB, seen.seconds);
	ktap_ok(memsw_within(&seen, 64),
		"never above (%.2f MiB)", (double)seen.most / MIB);
	ktap_ok(event("memsw_max") > 0 && event("memsw_oom") == 1 &&
		event("memsw_oom_kill") == 1,
		"events: max %lld, oom %lld, oom_kill %lld", event("memsw_max"),
		event("memsw_oom"), event("memsw_oom_kill"));

	fresh("64M", "32M");
	seen = memsw_overfill(CG, CG, 96);
	ktap_ok(memsw_killed_at(&seen, 56, 66),
		"the same with memory.max of 32: killed (status %d) at %zu MiB, after %.1f s",
		seen.status, memsw_task->touched / MIB, seen.seconds);
	ktap_ok(memsw_within(&seen, 64),
		"never above (%.2f MiB)", (double)seen.most / MIB);
}

/* Swapped out for memory.high, where memory.max is never met. */
static void test_above_high(void)
{
	struct memsw_seen seen;
	pid_t pid;

	fresh("48M", NULL);
	cg_write(CG, "memory.high", "24M");
	pid = memsw_toucher(CG, 96 * MIB, 1);
	seen = memsw_look(CG, pid, 96 * MIB, 1, 90);
	ktap_ok(memsw_killed(&seen) && memsw_task->touched > 40 * MIB &&
		memsw_within(&seen, 48),
		"a limit of 48 MiB beside memory.high of 24: killed (status %d) at %zu MiB, never above (%.2f MiB)",
		seen.status, memsw_task->touched / MIB, (double)seen.most / MIB);
	memsw_end(pid, &seen);
}

/* What fits goes on, however it is swapped in and out. */
static void test_fits(void)
{
	/* A kernel that checks itself swaps a page in a ms or two. */
	int rounds = debug_kernel() ? 2 : 4;
	long long swapped;
	struct memsw_seen seen;
	pid_t pid;

	fresh("64M", "32M");
	pid = memsw_toucher(CG, 56 * MIB, rounds);
	seen = memsw_look(CG, pid, 56 * MIB, rounds, 120);
	swapped = cg_number(CG, "memory.swap.current");
	ktap_ok(seen.status == -1 && memsw_task->rounds == rounds &&
		swapped > 16 * (long long)MIB,
		"56 MiB of 64, 32 in memory: %ld of %d rounds in %.1f s, %lld MiB in swap, status %d",
		memsw_task->rounds, rounds, seen.seconds, swapped / (long long)MIB,
		seen.status);
	ktap_ok(memsw_within(&seen, 64) && !event("memsw_oom"),
		"never above (%.2f MiB), and nothing killed",
		(double)seen.most / MIB);
	end_task(pid);
}

/* At the limit page cache is reclaimed, and anonymous memory is not swapped for it. */
static void test_file(void)
{
	long long before, after;
	struct memsw_seen seen;
	pid_t pid, held;

	fresh("64M", NULL);
	held = memsw_toucher(CG, 40 * MIB, 1);
	seen = memsw_look(CG, held, 40 * MIB, 1, 60);
	before = read_key("/proc/vmstat", "pswpout");
	pid = memsw_reader(CG, 3);
	seen = memsw_look(CG, pid, 0, 4, 120);
	after = read_key("/proc/vmstat", "pswpout");
	ktap_ok(seen.status == 0 && event("memsw_max") > 0 && !event("memsw_oom"),
		"a file of 64 MiB beside 40 of 64: read (status %d), met %lld times, nothing killed",
		seen.status, event("memsw_max"));
	ktap_ok(after - before < 64, "and nothing is swapped for it (%lld pages)",
		after - before);
	ktap_ok(memsw_within(&seen, 64),
		"never above (%.2f MiB)", (double)seen.most / MIB);
	end_task(held);
}

/* A limit on the parent. */
static void test_below(void)
{
	struct memsw_seen seen;

	fresh("48M", NULL);
	cg_write(CG, "cgroup.subtree_control", "+memory");
	cg_create(BELOW);
	cg_write(BELOW, "memory.max", "24M");
	seen = memsw_overfill(CG, BELOW, 96);
	ktap_ok(memsw_killed_at(&seen, 40, 50),
		"a limit of 48 MiB above: killed (status %d) at %zu MiB",
		seen.status, memsw_task->touched / MIB);
	ktap_ok(memsw_within(&seen, 48),
		"never above (%.2f MiB)", (double)seen.most / MIB);
}

/* Lowered below what is used. */
static void test_lowered(void)
{
	struct memsw_seen seen;
	pid_t pid;

	fresh("96M", "48M");
	pid = memsw_toucher(CG, 80 * MIB, 1);
	memsw_look(CG, pid, 80 * MIB, 1, 60);
	ktap_ok(!cg_write(CG, MEMSW_MAX, "64M"), "lowered below usage");
	seen = memsw_look(CG, pid, 200 * MIB, 9, 10);
	ktap_ok(memsw_killed(&seen), "which kills (status %d)", seen.status);
	memsw_end(pid, &seen);
	ktap_ok(cg_number(CG, MEMSW_CURRENT) <= 64 * (long long)MIB, "and is met (%.1f MiB)",
		(double)cg_number(CG, MEMSW_CURRENT) / MIB);
}

/* Managed as well. */
static void test_managed(void)
{
	struct memsw_seen seen;
	pid_t pid;

	fresh("64M", NULL);
	mcx_manage(CG);
	pid = memsw_reader(CG, 3);
	seen = memsw_look(CG, pid, 0, 4, 120);
	ktap_ok(seen.status == 0 && cg_key(CG, STAT, "reclaimed_pages") > 0,
		"managed: the workers reclaim for it (%lld pages), status %d",
		cg_key(CG, STAT, "reclaimed_pages"), seen.status);
	seen = memsw_overfill(CG, CG, 96);
	ktap_ok(memsw_killed(&seen), "and it kills (status %d), after %.1f s",
		seen.status, seen.seconds);
	ktap_ok(memsw_within(&seen, 64),
		"never above (%.2f MiB)", (double)seen.most / MIB);
	mcx_unmanage(CG);
}

/* What the user wrote is there when the module is not. */
static void test_unload(void)
{
	fresh("32M", "96M");
	ktap_ok(cg_key(CG, STAT, "effective_max") == 32 * MIB, "a limit again");
	ktap_ok(!mcx_unload() && memsw_reads(CG, "memory.max", "100663296\n"),
		"unloaded, memory.max is the user's");
}

int main(void)
{
	ktap_start();
	memsw_begin(64);
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	test_values();
	test_others();
	test_poll();
	test_tool();
	test_anon();
	test_above_high();
	test_fits();
	test_file();
	test_below();
	test_lowered();
	test_managed();
	test_unload();
	cg_remove(BELOW);
	cg_remove(CG);
	cg_remove(TOP);
	unlink(MEMSW_FILE);
	return ktap_end();
}
