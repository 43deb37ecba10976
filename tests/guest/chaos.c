// SPDX-License-Identifier: GPL-2.0-only
/*
 * chaos: whatever a policy says, the machine goes on: tasks that allocate are not held
 * for ever, the limit is met again as soon as it is gone, and it goes when it is told to,
 * or is ejected where that was deserved.
 *
 * Usage: chaos [SECONDS]
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
#include "mcx_chaos.h"
#include "ops.h"
#include "mcx_chaos.skel.h"

#define CG	"mcx-test-chaos"
#define LIMIT	(48 * (long long)MIB)
#define TASKS	3
#define ROUND_MS	1500

static const struct kind {
	const char *name;
	uint32_t bit;
	uint32_t end;		/* how it ends: MCX_EXIT_UNREG: when it is unloaded */
} kinds[CHAOS_KINDS] = {
	{ "delays", CHAOS_DELAYS, MCX_EXIT_UNREG },
	{ "overages", CHAOS_OVER, MCX_EXIT_UNREG },
	{ "classes", CHAOS_CLASSES, MCX_EXIT_UNREG },
	{ "protection", CHAOS_PROTECT, MCX_EXIT_UNREG },
	{ "reclaim", CHAOS_RECLAIM, MCX_EXIT_UNREG },
	{ "idleness", CHAOS_IDLE, MCX_EXIT_UNREG },
	{ "wishes", CHAOS_WISHES, MCX_EXIT_UNREG },
	{ "bits", CHAOS_BITS, MCX_EXIT_ERROR_VALUE },
	{ "errors", CHAOS_ERROR, MCX_EXIT_ERROR_BPF },
	{ "slowness", CHAOS_SLOW, MCX_EXIT_ERROR_SLOW },
	{ "stalls", CHAOS_STALL, MCX_EXIT_ERROR_STALL },
};

/* Pages that the tasks have touched; one counter each. */
static volatile uint64_t *touched;
static pid_t tasks[TASKS];
static uint64_t seed = 20261126;

/* Above the limit together, in small steps and, now and then, in one large one. */
static void work(volatile uint64_t *count)
{
	size_t len = 32 * MIB, i;
	char *p;

	for (;;) {
		p = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS |
			 (*count / (len / PAGE) % 4 == 3 ? MAP_POPULATE : 0), -1, 0);
		if (p == MAP_FAILED)
			_exit(1);
		for (i = 0; i < len; i += PAGE) {
			p[i] = 1;
			++*count;
		}
		munmap(p, len);
	}
}

static void tasks_start(void)
{
	int i;

	touched = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		       0);
	for (i = 0; i < TASKS; i++) {
		tasks[i] = cg_fork(CG);
		if (!tasks[i])
			work(&touched[i * 8]);
	}
}

/* Does each of them get on, within as long as one entry into the kernel may take twice? */
static bool tasks_get_on(void)
{
	uint64_t before[TASKS];
	bool all = false;
	int i, n;

	for (i = 0; i < TASKS; i++)
		before[i] = touched[i * 8];
	for (n = 0; n < 800 && !all; n++) {
		nap_ms(10);
		all = true;
		for (i = 0; i < TASKS; i++)
			all &= touched[i * 8] != before[i];
	}
	return all;
}

static bool limit_is_met(void)
{
	int i;

	for (i = 0; i < 300 && cg_number(CG, "memory.current") > LIMIT * 21 / 20; i++)
		nap_ms(10);
	return i < 300;
}

static struct mcx_chaos_bpf *load(uint32_t bits)
{
	struct mcx_chaos_bpf *p = mcx_chaos_bpf__open();

	if (!p)
		return NULL;
	p->rodata->kinds = bits;
	seed = random64() | 1;
	p->data->seed = seed;
	p->struct_ops.chaos->cgroup_id = cg_id(CG);
	if (!mcx_chaos_bpf__load(p))
		return p;
	mcx_chaos_bpf__destroy(p);
	return NULL;
}

struct outcome {
	bool attached, went, on, met;
	uint32_t kind;
	uint64_t calls;
	uint64_t seed;
};

/* @ends: it will be ejected, sooner or later. */
static struct outcome round_of(uint32_t bits, bool ends)
{
	struct mcx_chaos_bpf *p = load(bits);
	struct outcome o = {};
	struct bpf_link *link;
	int i;

	if (!p)
		return o;
	o.seed = seed;
	link = bpf_map__attach_struct_ops(p->maps.chaos);
	o.attached = link;
	nap_ms(ROUND_MS);
	/* While it is there, and whatever it says. */
	o.on = tasks_get_on();
	for (i = 0; i < 1000 && ends && !p->bss->nr_exits; i++)
		nap_ms(10);
	bpf_link__destroy(link);
	for (i = 0; i < 500 && !p->bss->nr_exits; i++)
		nap_ms(10);
	o.went = p->bss->nr_exits == 1 && policy_in_effect(CG, "");
	o.kind = p->data->mcx_exit.kind;
	o.calls = p->bss->calls;
	o.on &= tasks_get_on();
	o.met = limit_is_met();
	mcx_chaos_bpf__destroy(p);
	return o;
}

/* On the kernel that checks itself it is slow, and that is what the kernel looks at. */
static bool is_good(const struct outcome *o)
{
	return o->attached && o->went && ((o->on && o->met) || debug_kernel());
}

static void report(const char *name, const struct outcome *o, bool good)
{
	ktap_ok(good,
		"%s: %llu calls, ended with %u%s%s%s%s (seed %llu)", name,
		(unsigned long long)o->calls, o->kind, o->attached ? "" : ", not attached",
		o->went ? "" : ", did not go", o->on ? "" : ", a task does not get on",
		o->met ? "" : ", the limit is not met", (unsigned long long)o->seed);
}

/* Each by itself. */
static void test_kinds(void)
{
	struct outcome o;
	int i;

	for (i = 0; i < CHAOS_KINDS; i++) {
		o = round_of(kinds[i].bit, kinds[i].end != MCX_EXIT_UNREG);
		report(kinds[i].name, &o, is_good(&o) && o.calls &&
		       (o.kind == kinds[i].end || debug_kernel()));
	}
}

/* All that do not end it at once, until the time is over; then any of them. */
static void test_all(double seconds)
{
	const uint32_t all = (1 << CHAOS_KINDS) - 1;
	uint64_t until = now_ns() + seconds * 1e9;
	struct outcome o, bad = {};
	int n = 0, failed = 0;

	do {
		o = round_of(n++ ? random64() & all : CHAOS_BITS - 1, false);
		if (is_good(&o))
			continue;
		failed++;
		bad = o;
	} while (now_ns() < until);
	ktap_ok(!failed, "%d rounds of several at once, %d of them bad", n, failed);
	if (failed)
		report("the last of these", &bad, false);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 10;
	int i;

	ktap_start();
	thp_off();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	swap_on();
	/* It is ejected more often than anybody would load it again. */
	write_file("/sys/module/memcg_ext/parameters/backoff_ms", "0");
	cg_create(CG);
	cg_write(CG, "memory.high", "48M");
	mcx_manage(CG);
	tasks_start();
	nap_ms(1000);
	test_kinds();
	test_all(seconds);
	for (i = 0; i < TASKS; i++)
		end_task(tasks[i]);
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
