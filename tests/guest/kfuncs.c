// SPDX-License-Identifier: GPL-2.0-only
/*
 * kfuncs: what a policy reads by the kernel's kfuncs for memory cgroups is what the
 * cgroup's files say, on kernels that have them and on those where they are ours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/types.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "libpolicy.h"
#include "ops.h"
#include "kfuncs.skel.h"

#define CG	"mcx-test-kfuncs"
#define NONE	((__u64)-1)

/* Keeps so much, and charges a little more whenever it is told to. */
static pid_t keeper(size_t mib, volatile int *more)
{
	pid_t pid = cg_fork(CG);

	if (pid)
		return pid;
	mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	for (;;) {
		if (*more) {
			mmap(NULL, MIB, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
			*more = 0;
		}
		nap_ms(5);
	}
}

static bool near(double a, double b, double by)
{
	return a >= b - by && a <= b + by;
}

/* The kernel sums memory.stat up every other second, and whenever it is read. */
static void test_values(struct kfuncs_bpf *p)
{
	volatile int *more = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double anon, faults, high;
	pid_t pid = keeper(32, more);
	int i;

	cg_fills(CG, 32 * (long long)MIB);
	cg_write(CG, "memory.high", "20M");
	*more = 1;
	nap_ms(1000);
	cg_write(CG, "memory.high", "max");
	ktap_ok(p->bss->memsw_max == NONE, "no limit for memory and swap");
	cg_write(CG, "memory.ext.memsw.max", "128M");
	anon = cg_key(CG, "memory.stat", "anon");
	*more = 1;
	for (i = 0; i < 1000 && *more; i++)
		nap_ms(10);
	faults = cg_key(CG, "memory.stat", "pgfault");
	high = cg_key(CG, "memory.events", "high");
	ktap_ok(near(p->bss->usage, cg_number(CG, "memory.current"), 2 * MIB),
		"usage: %.2f MiB, memory.current %.2f", p->bss->usage / (double)MIB,
		cg_number(CG, "memory.current") / (double)MIB);
	ktap_ok(p->bss->memsw_max == 128 * MIB &&
		near(p->bss->memsw, cg_number(CG, "memory.ext.memsw.current"),
		     2 * MIB) &&
		(p->bss->memsw > p->bss->usage + MIB ||
		 !cg_number(CG, "memory.swap.current")),
		"one: %.0f MiB, and %.2f MiB used, memory.ext.memsw.current %.2f",
		p->bss->memsw_max / (double)MIB, p->bss->memsw / (double)MIB,
		cg_number(CG, "memory.ext.memsw.current") / (double)MIB);
	ktap_ok(high > 0 && p->bss->high_events == high,
		"memory.events, high: %lld and %.0f", (long long)p->bss->high_events,
		high);
	ktap_ok(anon > 15 * MIB && near(p->bss->anon, anon, 3 * MIB),
		"anonymous memory: %.2f MiB, memory.stat %.2f",
		p->bss->anon / (double)MIB, anon / MIB);
	ktap_ok(p->bss->file < 64 * MIB, "file pages: %.2f MiB",
		p->bss->file / (double)MIB);
	ktap_ok(p->bss->faults && near(p->bss->faults, faults, faults / 4),
		"page faults: %lld, memory.stat %.0f", (long long)p->bss->faults,
		faults);
	ktap_ok(p->bss->bad_event == NONE, "there is no event 1000");
	ktap_ok(p->bss->nr_states >= 25 && p->bss->nr_states < 100 &&
		p->bss->nr_events >= 10 && p->bss->nr_events < 100,
		"of 301 items of each kind %u amounts and %u events are counted",
		p->bss->nr_states, p->bss->nr_events);
	end_task(pid);
}

int main(void)
{
	struct kfuncs_bpf *p = NULL;
	struct bpf_link *link = NULL;

	ktap_start();
	thp_off();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	swap_on();
	cg_create(CG);
	p = kfuncs_bpf__open();
	if (p)
		p->struct_ops.reads->cgroup_id = cg_id(CG);
	if (p && !kfuncs_bpf__load(p))
		link = bpf_map__attach_struct_ops(p->maps.reads);
	if (ktap_ok(link, "a policy that reads all there is attaches (%s)",
		    strerror(errno))) {
		ktap_ok(p->bss->root_id == cg_id("") && p->bss->same_id == cg_id(CG),
			"root and itself: %lld and %lld, in the file system %lld and %lld",
			(long long)p->bss->root_id, (long long)p->bss->same_id,
			(long long)cg_id(""), (long long)cg_id(CG));
		nap_ms(500);
		test_values(p);
	}
	bpf_link__destroy(link);
	kfuncs_bpf__destroy(p);
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
