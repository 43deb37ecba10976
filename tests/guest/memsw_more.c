// SPDX-License-Identifier: GPL-2.0-only
/*
 * memsw_more: what a limit for memory and swap together is for all kinds of memory, and
 * what happens to a cgroup meanwhile.
 *
 * tmpfs, zswap, swapoff, memory.high, memory.oom.group, writers that do not want to wait,
 * tasks that come and go, cgroups that go with pages in swap, the controller taken away.
 *
 * Usage: memsw_more | memsw_more lacking
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libmemsw.h"

#define TOP	"mcx-test-memsw"
#define CG	TOP "/a"
#define EVENTS	"memory.ext.events"
#define TMPFS	"/run/mcx-memsw"
#define ZSWAP	"/sys/module/zswap/parameters/enabled"

static long long event(const char *key)
{
	return cg_key(CG, EVENTS, key);
}

/* Writes a file of so much in tmpfs, and ends. */
static pid_t writer(const char *cg, const char *file, size_t mib)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (cg_enter(cg))
		_exit(1);
	_exit(memsw_write(file, mib) ? 0 : 2);
}

static void test_tmpfs(void)
{
	struct memsw_seen seen;
	pid_t pid;

	mkdir(TMPFS, 0700);
	if (mount("none", TMPFS, "tmpfs", 0, "size=256M")) {
		ktap_skip("no tmpfs: %s", strerror(errno));
		return;
	}
	memsw_fresh(CG, "64M", "24M");
	pid = writer(CG, TMPFS "/a", 48);
	seen = memsw_look(CG, pid, SIZE_MAX, 0, 60);
	ktap_ok(seen.status == 0 && memsw_within(&seen, 64),
		"tmpfs: 48 MiB of 64, 24 in memory: written (status %d), never above (%.2f MiB)",
		seen.status, (double)seen.most / MIB);
	pid = writer(CG, TMPFS "/b", 48);
	seen = memsw_look(CG, pid, SIZE_MAX, 0, 60);
	ktap_ok(memsw_killed(&seen) && memsw_within(&seen, 64) && event("memsw_oom") > 0,
		"tmpfs: 48 more: killed (status %d), never above (%.2f MiB)",
		seen.status, (double)seen.most / MIB);
	/* It keeps what is in there. */
	cg_remove(CG);
	ktap_ok(!cg_has(CG, MEMSW_MAX), "tmpfs: its cgroup goes with pages in swap");
	memsw_fresh(CG, "64M", "24M");
	pid = writer(CG, TMPFS "/c", 8);
	seen = memsw_look(CG, pid, SIZE_MAX, 0, 60);
	ktap_ok(seen.status == 0 && seen.most < 24 * (long long)MIB,
		"tmpfs: a new one of that name begins with nothing (%.2f MiB)",
		(double)seen.most / MIB);
	umount(TMPFS);
	rmdir(TMPFS);
}

/* Compressed pages are memory, and in swap as well: as the kernel counts them. */
static void test_zswap(void)
{
	struct memsw_seen seen;
	long long pages;
	char was[8];
	pid_t pid;

	if (read_file(ZSWAP, was, sizeof(was)) <= 0 || write_file(ZSWAP, "Y")) {
		ktap_skip("no zswap");
		return;
	}
	memsw_fresh(CG, "64M", "24M");
	pid = memsw_toucher(CG, 48 * MIB, 3);
	seen = memsw_look(CG, pid, 48 * MIB, 3, 120);
	pages = cg_key(CG, "memory.stat", "zswpout");
	ktap_ok(seen.status == -1 && memsw_within(&seen, 64) && pages > 0,
		"zswap: 48 MiB of 64, 24 in memory: three rounds (status %d), %lld pages compressed, never above (%.2f MiB)",
		seen.status, pages, (double)seen.most / MIB);
	memsw_end(pid, &seen);
	memsw_fresh(CG, "64M", "24M");
	seen = memsw_overfill(CG, CG, 96);
	ktap_ok(memsw_killed_at(&seen, 48, 96) && memsw_within(&seen, 64),
		"zswap: 96 MiB: killed (status %d) at %zu MiB, never above (%.2f MiB)",
		seen.status, memsw_task->touched / MIB, (double)seen.most / MIB);
	write_file(ZSWAP, was);
}

static void test_swapoff(void)
{
	struct memsw_seen seen;
	pid_t pid, off;

	memsw_fresh(CG, "64M", "24M");
	pid = memsw_toucher(CG, 56 * MIB, 1);
	memsw_look(CG, pid, 56 * MIB, 1, 60);
	cg_write(CG, "memory.max", "max");
	off = fork();
	if (!off) {
		swap_off();
		_exit(0);
	}
	seen = memsw_look(CG, off, SIZE_MAX, 0, 120);
	ktap_ok(seen.status == 0 && memsw_within(&seen, 64) && !event("memsw_oom") &&
		!cg_number(CG, "memory.swap.current"),
		"swapoff: all of it comes back (%.1f s), never above (%.2f MiB)",
		seen.seconds, (double)seen.most / MIB);
	ktap_ok(cg_number(CG, "memory.current") > 50 * (long long)MIB,
		"swapoff: and is memory");
	end_task(pid);
	swap_off();
	swap_on();
}

enum { CACHED = 40 * MIB };

/* Has so much in swap and in memory; and then, if @gone, in swap only, and takes @more. */
static pid_t cacher(bool gone, size_t more)
{
	volatile char *p, sum = 0;
	pid_t pid = fork();
	size_t i;

	if (pid)
		return pid;
	p = mmap(NULL, CACHED + more, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (cg_enter(CG))
		_exit(1);
	for (i = 0; i < CACHED; i += PAGE)
		p[i] = 1;
	cg_write(CG, "memory.reclaim", "40M");
	for (i = 0; i < CACHED; i += PAGE)
		sum += p[i];
	/* Has it counted: it looks as if that were more than ever. */
	for (i = 0; i < MIB; i += PAGE)
		p[CACHED + i] = 1;
	nap_ms(200);
	if (gone)
		cg_write(CG, "memory.reclaim", "40M");
	for (i = MIB; i < more; i += PAGE)
		p[CACHED + i] = 1;
	memsw_task->rounds = 2;
	for (;;)
		pause();
}

/* What is read in again stays in the swap cache, and counts once. */
static void test_cache(void)
{
	struct memsw_seen seen;
	long long peak;
	pid_t pid;

	memsw_fresh(CG, "64M", NULL);
	memsw_task->rounds = 0;
	pid = cacher(false, 4 * MIB);
	seen = memsw_look(CG, pid, 0, 2, 60);
	peak = cg_number(CG, MEMSW_PEAK);
	ktap_ok(memsw_task->rounds == 2 && !event("memsw_oom"),
		"swap cache: 44 MiB of 64, all of it read in again");
	ktap_ok(peak < 56 * (long long)MIB,
		"swap cache: counted once, in peak, too (%.2f MiB)", (double)peak / MIB);
	memsw_end(pid, &seen);

	memsw_fresh(CG, "64M", NULL);
	memsw_task->rounds = 0;
	pid = cacher(true, 40 * MIB);
	seen = memsw_look(CG, pid, 0, 2, 60);
	ktap_ok(memsw_killed(&seen) && memsw_within(&seen, 64),
		"swap cache that is gone: 80 MiB: killed (status %d), never above (%.2f MiB)",
		seen.status, (double)seen.most / MIB);
	memsw_end(pid, &seen);
}

/* To swap does not change the sum: for memory.high it is done. */
static void test_high(void)
{
	struct memsw_seen seen;
	pid_t pid;

	memsw_fresh(CG, "64M", NULL);
	cg_write(CG, "memory.high", "24M");
	pid = memsw_toucher(CG, 48 * MIB, 1);
	seen = memsw_look(CG, pid, 48 * MIB, 1, 120);
	ktap_ok(seen.status == -1 && !event("memsw_max") &&
		cg_number(CG, "memory.swap.current") > 16 * (long long)MIB,
		"memory.high: swaps (%.1f MiB)",
		(double)cg_number(CG, "memory.swap.current") / MIB);
	memsw_end(pid, &seen);
}

static void test_group(void)
{
	struct memsw_seen seen;
	int status = -1;
	pid_t other;

	memsw_fresh(CG, "64M", NULL);
	cg_write(CG, "memory.oom.group", "1");
	other = cg_keeper(CG, 4);
	seen = memsw_overfill(CG, CG, 96);
	nap_ms(500);
	ktap_ok(memsw_killed(&seen) && waitpid(other, &status, WNOHANG) == other &&
		WIFSIGNALED(status),
		"memory.oom.group: all are killed (status %d and %d)",
		seen.status, status);
	if (status == -1)
		end_task(other);
	/* The kernel counts the one that it chose first twice. */
	ktap_ok(event("memsw_oom_kill") >= 2 && event("memsw_oom_kill") ==
		cg_key(CG, "memory.events", "oom_kill"),
		"and counted as the kernel does (%lld)", event("memsw_oom_kill"));
}

/* The kernel's memory.max knows O_NONBLOCK since 7.0: then nothing is reclaimed. */
static void test_nonblock(void)
{
	char path[256];
	bool wrote, lazy = kernel_has("__swap_cache_del_folio");
	long long left;
	pid_t pid;
	int fd;

	memsw_fresh(CG, "96M", NULL);
	pid = memsw_toucher(CG, 64 * MIB, 1);
	memsw_look(CG, pid, 64 * MIB, 1, 60);
	cg_path(path, sizeof(path), CG, MEMSW_MAX);
	fd = open(path, O_WRONLY | O_NONBLOCK);
	wrote = fd >= 0 && write(fd, "32M", 3) == 3;
	left = cg_number(CG, MEMSW_CURRENT);
	ktap_ok(wrote && (left > 60 * (long long)MIB) == lazy,
		"O_NONBLOCK: %s (%.1f MiB)", lazy ? "nobody is killed for it" :
		"as without", (double)left / MIB);
	if (fd >= 0)
		close(fd);
	end_task(pid);
}

/* A task that has a little, and goes. */
static void visitor(void)
{
	char *p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;
	pid_t pid;

	for (i = 0; i < 4 * MIB; i += PAGE)
		p[i] = 1;
	pid = fork();
	/* Copies half of it. */
	for (i = 0; i < 2 * MIB; i += PAGE)
		p[i] = 2;
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	_exit(0);
}

static void test_churn(void)
{
	enum { TASKS = 8 };
	/* One takes a minute there. */
	const int rounds = debug_kernel() ? 2 : 12;
	pid_t pid, keeper;
	int i, j, status, failed = 0;
	long long most = 0, sum;

	memsw_fresh(CG, "64M", "16M");
	keeper = memsw_toucher(CG, 12 * MIB, 1);
	memsw_look(CG, keeper, 12 * MIB, 1, 60);
	for (i = 0; i < rounds; i++) {
		for (j = 0; j < TASKS; j++) {
			pid = fork();
			if (!pid) {
				if (cg_enter(CG))
					_exit(1);
				visitor();
			}
		}
		for (j = 0; j < TASKS; j++) {
			sum = cg_number(CG, MEMSW_CURRENT);
			most = sum > most ? sum : most;
			wait(&status);
			failed += status != 0;
		}
	}
	ktap_ok(!failed && !event("memsw_oom"),
		"tasks that come and go: all do what they want (%d failed)", failed);
	ktap_ok(most <= 64 * (long long)MIB + memsw_slack(),
		"never above (%.2f MiB)", (double)most / MIB);
	end_task(keeper);
	for (i = 0; i < 50 && cg_number(CG, MEMSW_CURRENT) > 2 * (long long)MIB; i++)
		nap_ms(100);
	ktap_ok(cg_number(CG, MEMSW_CURRENT) <= 2 * (long long)MIB,
		"and nothing of theirs is left (%.2f MiB)",
		(double)cg_number(CG, MEMSW_CURRENT) / MIB);
	ktap_ok(cg_number(CG, MEMSW_PEAK) >= most - (long long)MIB &&
		cg_number(CG, MEMSW_PEAK) <= 64 * (long long)MIB + memsw_slack(),
		"peak has seen that (%.2f MiB)", (double)cg_number(CG, MEMSW_PEAK) / MIB);
}

/* The controller goes and comes back: there is no limit. */
static void test_reset(void)
{
	char path[256];
	bool reset;
	int fd;

	/* io needs memory: without memory in subtree_control css_reset is what is called. */
	cg_write(TOP, "cgroup.subtree_control", "+io");
	memsw_fresh(CG, "64M", "96M");
	cg_path(path, sizeof(path), CG, "memory.current");
	fd = open(path, O_RDONLY);
	cg_write(TOP, "cgroup.subtree_control", "-memory");
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	reset = fd >= 0 && !cg_key(CG, "memory.ext.stat", "managed");
	close(fd);
	ktap_ok(reset, "the controller goes for a moment");
	ktap_ok(memsw_reads(CG, MEMSW_MAX, "max\n") &&
		memsw_reads(CG, "memory.max", "max\n"),
		"the controller taken away and given again: no limit");
	cg_write(CG, "memory.max", "80M");
	nap_ms(2500);
	ktap_ok(memsw_reads(CG, "memory.max", "83886080\n"),
		"and what is written then stays");
	ktap_ok(!cg_write(CG, MEMSW_MAX, "48M") &&
		cg_key(CG, "memory.ext.stat", "effective_max") == 48 * (long long)MIB,
		"and a limit is one again");
}

/* Loaded anew with a limit on and a load in it, nothing is left. */
static void test_reload(void)
{
	struct memsw_seen seen;
	pid_t pid;

	memsw_fresh(CG, "64M", "24M");
	pid = memsw_toucher(CG, 40 * MIB, 1000000);
	memsw_look(CG, pid, 40 * MIB, 1, 60);
	nap_ms(1000);
	ktap_ok(!waitpid(pid, NULL, WNOHANG), "a load goes on");
	ktap_ok(!mcx_unload() && memsw_reads(CG, "memory.max", "25165824\n"),
		"unloaded under load: memory.max is the user's");
	ktap_ok(!waitpid(pid, NULL, WNOHANG), "and the load goes on");
	ktap_ok(!mcx_load() && memsw_reads(CG, MEMSW_MAX, "max\n"),
		"loaded again: no limit");
	ktap_ok(!cg_write(CG, MEMSW_MAX, "64M"), "and one again");
	ktap_ok(!waitpid(pid, NULL, WNOHANG), "the load still goes on");
	seen = memsw_look(CG, pid, SIZE_MAX, 0, 3);
	ktap_ok(seen.status == -1 && memsw_within(&seen, 64), "never above (%.2f MiB)",
		(double)seen.most / MIB);
	memsw_end(pid, &seen);
}

static int the_end(void)
{
	cg_remove(CG);
	cg_remove(TOP);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}

/* Something that this needs is not there, or somebody else's. */
static int lacking(void)
{
	memsw_fresh(CG, NULL, "96M");
	ktap_ok(cg_write(CG, MEMSW_MAX, "64M") == -EOPNOTSUPP,
		"a limit is refused");
	ktap_ok(memsw_reads(CG, MEMSW_MAX, "max\n") &&
		memsw_reads(CG, "memory.max", "100663296\n"),
		"and nothing has changed");
	return the_end();
}

int main(int argc, char **argv)
{
	bool lacks = argc > 1;

	ktap_start();
	if (!lacks)
		memsw_begin(0);
	else if (mcx_load())
		ktap_skip_all("the module does not load");
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	if (lacks)
		return lacking();
	test_tmpfs();
	test_zswap();
	test_swapoff();
	test_cache();
	test_high();
	test_group();
	test_nonblock();
	test_churn();
	test_reset();
	test_reload();
	return the_end();
}
