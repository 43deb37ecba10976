// SPDX-License-Identifier: GPL-2.0-only
/*
 * policy_over: what memcg_nr_pages_over_high adds to an overage makes tasks wait as long
 * as the kernel makes them for an overage of that size.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/types.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "ops.h"
#include "policy_cases.h"

#define TOP	"mcx-test-over"
#define CHILD	TOP "/child"
#define HIGH	4096		/* pages; memory.high of both */
#define CALLS	5

/* Milliseconds that a system call waits in which two batches are charged, at least one. */
static double call_ms(void)
{
	double *took = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = cg_fork(CHILD);
	uint64_t from;
	char *p;
	int i;

	if (!pid) {
		p = mmap(NULL, CALLS * 128 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		from = now_ns();
		for (i = 0; i < CALLS; i++)
			madvise(p + i * 128 * PAGE, 128 * PAGE,
				MADV_POPULATE_WRITE);
		*took = (now_ns() - from) / 1e6 / CALLS;
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return *took;
}

/* As the kernel's calculate_high_delay() has it. */
static double formula_ms(double pages, double high, double charged)
{
	double ratio = pages / high;

	return ratio * ratio * 64 * 1000 * (pages > charged ? pages : charged) / 64;
}

static void check(struct policy_cases_bpf *c, const char *cg, uint32_t pages)
{
	double want = formula_ms(pages, HIGH, 64), ms;

	c->bss->over_id = cg_id(cg);
	c->bss->over_pages = pages;
	ms = call_ms();
	c->bss->over_pages = 0;
	if (want > 2000)
		want = 2000;
	ktap_ok(ms >= want * 0.95 && ms < want * 1.25 + 30,
		"%u of %u pages too many %s: %.1f ms a call, by the formula %.1f",
		pages, HIGH, !strcmp(cg, TOP) ? "in the cgroup above" : "in its own",
		ms, want);
}

int main(void)
{
	struct policy_cases_bpf *c;
	/* To take so many pages takes a time as well. */
	const double none = debug_kernel() ? 60 : 20;
	struct bpf_link *link;
	double ms;

	ktap_start();
	thp_off();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	cg_create(CHILD);
	cg_write(TOP, "memory.high", "16M");
	cg_write(CHILD, "memory.high", "16M");
	c = cases_open(TOP);
	cases_only(c, c->maps.over);
	link = attach(c->maps.over);
	nap_ms(500);
	ms = call_ms();
	ktap_ok(link && c->bss->nr_charged && ms < none,
		"it is asked (%lld); without an opinion nobody waits (%.1f ms)",
		(long long)c->bss->nr_charged, ms);
	check(c, CHILD, 128);
	check(c, CHILD, 192);
	check(c, TOP, 192);
	check(c, CHILD, 100000);
	cg_write(CHILD, "memory.high", "max");
	c->bss->over_id = cg_id(CHILD);
	c->bss->over_pages = 1000;
	ms = call_ms();
	ktap_ok(ms < none, "without memory.high there is no delay (%.1f ms)", ms);
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(c);
	cg_remove(CHILD);
	cg_remove(TOP);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
