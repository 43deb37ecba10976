// SPDX-License-Identifier: GPL-2.0-only
/*
 * hierarchy: one limit above several cgroups, and limits within limits.
 *
 * Two siblings that grow together below a parent's limit; a sibling with
 * memory.low or memory.min beside one that fills the rest, against the same
 * without protection; and a child above its own limit, for which nobody else may
 * lose a page.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define TOP	"mcx-test-hierarchy"
#define A	TOP "/a"
#define B	TOP "/b"
#define LIMIT	(48 * MIB)
#define KEPT	20	/* MiB that a sibling holds */
#define FILE_A	"/scratch/hierarchy.a"

static struct proc tracer;

static int setup(const char *limit, const char *manage)
{
	if (cg_create(TOP) || cg_write(TOP, "cgroup.subtree_control", "+memory") ||
	    cg_create(A) || cg_create(B) || cg_write(TOP, limit, "48M") ||
	    mcx_manage(TOP) || cg_write(TOP, "memory.ext.enable", manage)) {
		ktap_ok(false, "cannot set up " TOP);
		return -1;
	}
	return 0;
}

static void clean_up(void)
{
	cg_remove(A);
	cg_remove(B);
	cg_remove(TOP);
	unlink(FILE_A);
}

/* Two writers in @cg, together 64 MiB round and round. */
static int writers_start(struct proc *p, const char *cg, const char *seconds)
{
	char dir[128];
	const char *const argv[] = {
		"filewriter", "-g", dir, "-w", "2", "-s", "32M", "-b", "64K",
		"-t", seconds, NULL,
	};

	snprintf(dir, sizeof(dir), CGROUP_ROOT "/%s", cg);
	return proc_start(p, argv);
}

/* Bytes written; 0 if they failed. */
static double writers_end(struct proc *p)
{
	char line[512];
	double bytes = 0;

	while (proc_line(p, line, sizeof(line)))
		if (!strncmp(line, "total ", 6))
			bytes = kv(line, "bytes", 0);
	return proc_wait(p) ? 0 : bytes;
}

static void judge_siblings(const char *limit, const struct trace *t, double a,
			   double b)
{
	double share = trace_member_share(t);

	if (!strcmp(limit, "memory.high"))
		ktap_ok(t->batches && t->average <= LIMIT * 1.01,
			"%s of two that grow: usage is %.2f MiB on average, of %lu",
			limit, t->average / MIB, LIMIT / MIB);
	else
		ktap_ok(t->batches && !cg_key(TOP, "memory.events", "max"),
			"%s of two that grow: it is not met (%lld)", limit,
			cg_key(TOP, "memory.events", "max"));
	ktap_ok(t->kthreads.reclaim_pages && share <= 0.01,
		"%s: and their tasks reclaim %.2f %%", limit, share * 100);
	ktap_ok(a > 0 && b > 0 && a <= 2 * b && b <= 2 * a,
		"%s: and neither starves: %.0f and %.0f MiB", limit, a / MIB,
		b / MIB);
}

static void test_siblings(const char *limit)
{
	struct proc a, b;
	double bytes_a, bytes_b;
	struct trace t;

	if (!setup(limit, "1")) {
		if (trace_start(&tracer, TOP, LIMIT, A " " B) ||
		    writers_start(&a, A, "6") || writers_start(&b, B, "6")) {
			ktap_ok(false, "cannot start writers");
			exit(1);
		}
		bytes_a = writers_end(&a);
		bytes_b = writers_end(&b);
		if (trace_stop(&tracer, &t))
			ktap_ok(false, "the tracer failed");
		else
			judge_siblings(limit, &t, bytes_a, bytes_b);
	}
	clean_up();
}

/* In @cg: so much page cache, clean, which nobody touches again. */
static int fill(const char *cg, size_t mib)
{
	char *buf = calloc(1, MIB);
	pid_t pid = fork();
	int fd, status;
	size_t i;

	if (!pid) {
		fd = open(FILE_A, O_RDWR | O_CREAT | O_TRUNC, 0600);
		if (!buf || fd < 0 || cg_enter(cg))
			_exit(1);
		for (i = 0; i < mib; i++)
			if (write(fd, buf, MIB) != (ssize_t)MIB)
				_exit(1);
		_exit(!!fsync(fd));
	}
	free(buf);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

/* What is left of A's pages, in MiB, when B has filled the rest; -1: no idea. */
static double left_beside(const char *knob)
{
	double bytes, left = -1;
	struct proc b;

	if (setup("memory.high", "1"))
		return -1;
	if (knob && cg_write(A, knob, "24M"))
		ktap_note("cannot set %s", knob);
	if (!fill(A, KEPT) && !writers_start(&b, B, "6")) {
		bytes = writers_end(&b);
		left = (double)cg_number(A, "memory.current") / MIB;
		ktap_note("%s: the other wrote %.0f MiB, top has %.1f MiB",
			  knob ?: "nothing", bytes / MIB,
			  (double)cg_number(TOP, "memory.current") / MIB);
		if (!bytes)
			left = -1;
	}
	clean_up();
	return left;
}

static void test_protected(void)
{
	double none = left_beside(NULL);
	double low = left_beside("memory.low");
	double min = left_beside("memory.min");

	ktap_ok(none >= 0 && none < KEPT / 2,
		"a sibling that nobody protects loses its memory: %.1f MiB left of %d",
		none, KEPT);
	ktap_ok(low >= KEPT * 0.95, "memory.low: it keeps it: %.1f MiB", low);
	ktap_ok(min >= KEPT * 0.95, "memory.min: it keeps it: %.1f MiB", min);
}

/* B's own limit binds, not TOP's: A has nothing to do with it. */
static void test_own_limit(void)
{
	long long usage;
	double bytes;
	struct proc b;

	if (setup("memory.high", "subtree"))
		return;
	if (cg_write(B, "memory.high", "16M") || fill(A, KEPT) ||
	    writers_start(&b, B, "5")) {
		ktap_ok(false, "cannot start writers");
		exit(1);
	}
	bytes = writers_end(&b);
	usage = cg_number(A, "memory.current");
	ktap_ok(bytes > 64.0 * MIB &&
		cg_key(B, "memory.ext.stat", "reclaimed_pages") > 0,
		"a child above its own limit is reclaimed from (%lld pages)",
		cg_key(B, "memory.ext.stat", "reclaimed_pages"));
	ktap_ok(usage >= (long long)(KEPT * MIB) &&
		!cg_key(A, "memory.stat", "pgsteal") &&
		!cg_key(TOP, "memory.ext.stat", "reclaimed_pages"),
		"and nobody else: the sibling has %.1f MiB, %lld pages were taken from it",
		(double)usage / MIB, cg_key(A, "memory.stat", "pgsteal"));
	clean_up();
}

int main(void)
{
	ktap_start();
	dirty_limit_far();
	thp_off();
	if (trace_open(&tracer))
		ktap_skip_all("the tracer does not start");
	if (!ktap_ok(!mcx_load(), "loads"))
		return ktap_end();
	clean_up();
	test_siblings("memory.high");
	test_siblings("memory.max");
	test_protected();
	test_own_limit();
	proc_wait(&tracer);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
