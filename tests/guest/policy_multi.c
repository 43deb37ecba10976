// SPDX-License-Identifier: GPL-2.0-only
/*
 * policy_multi: several policies in effect for one cgroup (BPF_F_ALLOW_MULTI). All are
 * asked, the nearest first; the longest delay and the lowest limit count, and each has a
 * say about limits at or below its own cgroup only. What one set goes with it, and what
 * the others set stays.
 *
 * With a number: an outer one is attached and detached so often under load, and that is all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "libpolicy.h"
#include "ops.h"
#include "wish.h"
#include "policy_multi.skel.h"

#define TOP	"mcx-test-multi"
#define MID	TOP "/mid"
#define IN	MID "/in"
#define IN_USE	MID "/used"	/* what is there cannot be reclaimed */
#define DEEP	10		/* cgroups one below the other */
#define MOST	8		/* policies of one cgroup */
#define CHURNS	60
#define TASKS	16		/* that are made to wait */
#define PARAM	"/sys/module/memcg_ext/parameters/"
#define BATCH	64
#define NONE	(~0ULL)

struct one {
	struct policy_multi_bpf *p;
	struct bpf_link *link;	/* NULL: it is not attached */
};

static struct policy_multi_bpf *load(const char *name, const char *cg, uint32_t flags)
{
	struct policy_multi_bpf *p = policy_multi_bpf__open();
	struct memcg_ext_ops *ops;
	size_t size;

	if (!p)
		ktap_skip_all("cannot open the policy");
	/* Built from the same header: the layout is ours. */
	ops = bpf_map__initial_value(p->maps.multi, &size);
	ops->cgroup_id = cg_id(cg);
	ops->flags = flags;
	snprintf(ops->name, sizeof(ops->name), "%s", name);
	if (policy_multi_bpf__load(p)) {
		ktap_ok(false, "the policy loads");
		exit(ktap_end());
	}
	return p;
}

/* With errno. */
static struct one attach(const char *name, const char *cg, uint32_t flags)
{
	struct one o = { .p = load(name, cg, flags) };

	o.link = bpf_map__attach_struct_ops(o.p->maps.multi);
	return o;
}

static void end(struct one *o)
{
	int err = errno;

	bpf_link__destroy(o->link);
	policy_multi_bpf__destroy(o->p);
	errno = err;
}

static void charge(const char *cg, size_t mib)
{
	waitpid(charger(cg, mib, BATCH, 1), NULL, 0);
}

/* Seconds that it takes. */
static double charge_time(const char *cg, size_t mib)
{
	uint64_t from = now_ns();

	charge(cg, mib);
	return (now_ns() - from) / 1e9;
}

static int wish(struct one *o, int what, const char *cg, unsigned long long bytes)
{
	return policy_wish(&o->p->bss->request, what, cg, bytes);
}

static bool stat_becomes(const char *line)
{
	char path[256];
	int i;

	cg_path(path, sizeof(path), IN, "memory.ext.stat");
	for (i = 0; i < 300 && !file_has(path, line); i++)
		nap_ms(10);
	return i < 300;
}

static long long batches(void)
{
	return cg_key(IN, "memory.ext.stat", "batches");
}

static void test_flags(void)
{
	struct one o = attach("both", TOP, BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI);

	ktap_ok(!o.link && errno == EINVAL, "not with BPF_F_ALLOW_OVERRIDE as well (%s)",
		strerror(errno));
	end(&o);
}

static void test_all_are_asked(struct one *outer, struct one *inner)
{
	long long i = inner->p->bss->nr_charged, o = outer->p->bss->nr_charged;

	ktap_ok(policy_in_effect(IN, "inner /" IN "\nouter /" TOP "\n") &&
		policy_in_effect(MID, "outer /" TOP "\n"),
		"both are in effect, the nearest first");
	charge(IN, 8);
	i = inner->p->bss->nr_charged - i;
	o = outer->p->bss->nr_charged - o;
	ktap_ok(i >= 32 && i == o, "each batch is told to both (%lld, %lld)", i, o);
}

static double with_delays(struct one *outer, unsigned int above, struct one *inner,
			  unsigned int below)
{
	double seconds;

	outer->p->bss->delay = above;
	inner->p->bss->delay = below;
	seconds = charge_time(IN, 2);
	outer->p->bss->delay = 0;
	inner->p->bss->delay = 0;
	return seconds;
}

/*
 * 2 MiB are eight batches and what the task itself needs, or seven where what the CPU has
 * in stock is of use.
 */
static void test_delays(struct one *outer, struct one *inner)
{
	double none = with_delays(outer, 0, inner, 0), above, below, both;

	above = with_delays(outer, 200, inner, 0) - none;
	below = with_delays(outer, 0, inner, 200) - none;
	both = with_delays(outer, 200, inner, 200) - none;
	ktap_ok(above > 1.3 && below > 1.3, "either can have who charges wait (%.2f, %.2f s)",
		above, below);
	ktap_ok(both > 1.3 && both < 1.5 * above,
		"of two delays the longer counts, not the sum (%.2f s)", both);
}

/* An inner one cannot end what the outer one may have said; that was 400 ms before. */
static void test_wakes(struct one *outer, struct one *inner)
{
	int in = wish(inner, WISH_WAKE, IN, 0), out = wish(outer, WISH_WAKE, IN, 0);

	ktap_ok(in == -EPERM && !out, "who waits is let go by the one further up only (%d, %d)",
		in, out);
}

static void test_limits(struct one *outer, struct one *inner)
{
	int in = wish(inner, WISH_HIGH, IN, 64 * MIB), out = wish(outer, WISH_HIGH, IN, 32 * MIB);

	ktap_ok(!in && !out && stat_becomes("policy_limit 33554432\n"),
		"of two limits the lower counts (%d, %d)", in, out);
	out = wish(outer, WISH_HIGH, IN, NONE);
	ktap_ok(!out && stat_becomes("policy_limit 67108864\n"),
		"then the other one's, when that is taken back (%d)", out);
	wish(outer, WISH_HIGH, IN, 96 * MIB);
	ktap_ok(stat_becomes("policy_limit 67108864\n"), "a higher one changes nothing");
	in = wish(inner, WISH_SHED, IN, 4 * MIB);
	out = wish(outer, WISH_SHED, IN, 8 * MIB);
	ktap_ok(!in && !out && stat_becomes("shed_bytes 8388608\n"),
		"of two requests to shed the larger counts (%d, %d)", in, out);
	wish(outer, WISH_HIGH, IN, 32 * MIB);
}

/* What it set is void, what the other one set is not. */
static void test_replaced(struct one *outer, struct one *inner)
{
	struct one next = { .p = load("outer", TOP, BPF_F_ALLOW_MULTI) };
	long long before = inner->p->bss->nr_charged;
	int err = bpf_link__update_map(outer->link, next.p->maps.multi);

	next.link = outer->link;
	outer->link = NULL;
	ktap_ok(!err && policy_in_effect(IN, "inner /" IN "\nouter /" TOP "\n"),
		"the outer one is replaced (%s)", strerror(-err));
	ktap_ok(stat_becomes("policy_limit 67108864\n") && stat_becomes("shed_bytes 4194304\n"),
		"what it set goes with it, and what the inner one set stays");
	charge(IN, 2);
	ktap_ok(next.p->bss->nr_charged >= 4 && inner->p->bss->nr_charged - before >= 4,
		"both are asked");
	before = wish(inner, WISH_WAKE, IN, 0);
	ktap_ok(!before, "while the outer one says no delays the inner one can let go (%lld)",
		before);
	policy_multi_bpf__destroy(outer->p);
	*outer = next;
	wish(inner, WISH_HIGH, IN, NONE);
	wish(inner, WISH_SHED, IN, 0);
}

/*
 * How many inline calls were put off while a memory.high of @cg was exceeded. There are
 * some only where one system call charges more than a batch above it.
 */
static long long deferred(const char *cg, struct one *outer, bool above, struct one *inner,
			  bool below)
{
	long long before = cg_key(IN, "memory.ext.stat", "deferred");

	outer->p->bss->defers = above;
	inner->p->bss->defers = below;
	cg_write(cg, "memory.high", "8M");
	waitpid(charger(IN, 12, 8 * BATCH, 1), NULL, 0);
	cg_write(cg, "memory.high", "max");
	outer->p->bss->defers = 0;
	inner->p->bss->defers = 0;
	return cg_key(IN, "memory.ext.stat", "deferred") - before;
}

/* Nothing is managed here, so that the policies alone decide. */
static void test_defers(struct one *outer, struct one *inner)
{
	long long asked_in = inner->p->bss->nr_high, asked_out = outer->p->bss->nr_high;
	long long none, above, below;

	none = deferred(IN, outer, false, inner, false);
	above = deferred(IN, outer, true, inner, false);
	below = deferred(IN, outer, false, inner, true);
	ktap_ok(!none && above > 0 && below > 0,
		"either can have an inline call put off (%lld, %lld)", above, below);
	asked_in = inner->p->bss->nr_high - asked_in;
	asked_out = outer->p->bss->nr_high - asked_out;
	ktap_ok(asked_in && asked_in == asked_out, "both are asked (%lld, %lld)", asked_in,
		asked_out);
	above = deferred(MID, outer, true, inner, false);
	below = deferred(MID, outer, false, inner, true);
	ktap_ok(above > 0 && !below,
		"for a limit further up the inner one has no say (%lld, %lld)", above, below);
}

/* MiB that reclaim for the sake of MID takes from IN, of up to 24. */
static long long taken(struct one *outer, bool above, struct one *inner, bool below)
{
	long long before = cg_number(IN, "memory.current");

	outer->p->bss->spares = above;
	inner->p->bss->spares = below;
	cg_write(MID, "memory.reclaim", "24M");
	outer->p->bss->spares = 0;
	inner->p->bss->spares = 0;
	return (before - cg_number(IN, "memory.current")) >> 20;
}

static void test_spares(struct one *outer, struct one *inner)
{
	long long asked = inner->p->bss->nr_min, above, below;
	pid_t pid = cg_keeper(IN, 64);

	cg_fills(IN, 64 * (long long)MIB);
	above = taken(outer, true, inner, false);
	below = taken(outer, false, inner, true);
	ktap_ok(above < 4 && outer->p->bss->nr_min,
		"the outer one can have it spared (%lld MiB are taken)", above);
	ktap_ok(below > 16 && inner->p->bss->nr_min == asked,
		"for the sake of one further up the inner one is not asked (%lld MiB)", below);
	end_task(pid);
}

/* Managed: levels, and whom the workers ask. */
static void test_workers(struct one *outer, struct one *inner)
{
	mcx_manage(IN);
	cg_write(IN, "memory.high", "16M");
	charge(IN, 32);
	nap_ms(200);
	ktap_ok(inner->p->bss->nr_level && outer->p->bss->nr_level,
		"levels are told to both (%lld, %lld)",
		(long long)inner->p->bss->nr_level,
		(long long)outer->p->bss->nr_level);
	ktap_ok(inner->p->bss->nr_reclaim && !outer->p->bss->nr_reclaim,
		"to reclaim the nearest alone is asked (%lld, %lld)",
		(long long)inner->p->bss->nr_reclaim,
		(long long)outer->p->bss->nr_reclaim);
	cg_write(IN, "memory.high", "max");
}

/* As what a task in IN was seen that charges all the time, often enough. */
static int seen_as(struct one *o)
{
	int i, class = -1;

	/* What was said counts a moment later. */
	nap_ms(500);
	memset((void *)o->p->bss->nr_seen, 0, sizeof(o->p->bss->nr_seen));
	nap_ms(500);
	for (i = 0; i < 4; i++) {
		if (!o->p->bss->nr_seen[i])
			continue;
		/* Now this, now that. */
		if (class >= 0)
			return -2;
		class = i;
	}
	return class;
}

static void test_classes(struct one *outer, struct one *inner)
{
	pid_t pid = charger(IN, 2, BATCH, 1000000);
	int below, both, left;

	inner->p->bss->class = MCX_CLASS_BATCH;
	inner->p->bss->says_class = 1;
	below = seen_as(inner);
	outer->p->bss->class = MCX_CLASS_CRITICAL;
	outer->p->bss->says_class = 1;
	both = seen_as(inner);
	outer->p->bss->class = MCX_NR_CLASSES;
	left = seen_as(inner);
	inner->p->bss->says_class = 0;
	outer->p->bss->says_class = 0;
	end_task(pid);
	ktap_ok(below == MCX_CLASS_BATCH && both == MCX_CLASS_CRITICAL &&
		left == MCX_CLASS_BATCH,
		"of a thread's class the outer one has the say, if it has an opinion (%d, %d, %d)",
		below, both, left);
}

static void test_online(struct one *outer, struct one *inner)
{
	int i;

	cg_write(IN, "cgroup.subtree_control", "+memory");
	cg_create(IN "/new");
	for (i = 0; i < 300 && !*(volatile __s64 *)&outer->p->bss->nr_online; i++)
		nap_ms(10);
	ktap_ok(inner->p->bss->nr_online == 1 && outer->p->bss->nr_online == 1,
		"both hear of a new cgroup");
	cg_remove(IN "/new");
	cg_write(IN, "cgroup.subtree_control", "-memory");
}

/* One with BPF_F_ALLOW_OVERRIDE in between is overridden; not who is above it. */
static void test_overridden(struct one *outer, struct one *inner)
{
	struct one mid = attach("mid", MID, BPF_F_ALLOW_OVERRIDE);
	long long before = mid.p->bss->nr_charged, outside = outer->p->bss->nr_charged;

	ktap_ok(mid.link && policy_in_effect(MID, "mid /" MID "\nouter /" TOP "\n") &&
		policy_in_effect(IN, "inner /" IN "\nouter /" TOP "\n"),
		"one in between that can be overridden is");
	charge(IN, 1);
	ktap_ok(mid.p->bss->nr_charged == before && outer->p->bss->nr_charged > outside,
		"and is not asked");
	bpf_link__destroy(inner->link);
	inner->link = NULL;
	ktap_ok(policy_becomes(IN, "mid /" MID "\nouter /" TOP "\n"),
		"but when the inner one is gone");
	charge(IN, 2);
	ktap_ok(mid.p->bss->nr_charged >= before + 4, "it is");
	end(&mid);
}

/* Ejected, the one below goes on, and the one above. */
static void test_ejected(struct one *outer)
{
	struct one inner = attach("inner", IN, 0);
	long long before;

	wish(outer, WISH_HIGH, IN, 32 * MIB);
	wish(&inner, WISH_HIGH, IN, 64 * MIB);
	outer->p->bss->gives_up = 1;
	ktap_ok(policy_becomes(IN, "inner /" IN "\n") && policy_becomes(MID, ""),
		"the outer one is ejected, the inner one is not");
	before = inner.p->bss->nr_charged;
	charge(IN, 2);
	ktap_ok(inner.p->bss->nr_charged >= before + 4 &&
		stat_becomes("policy_limit 67108864\n"),
		"it is asked as before, and has the limit that it set");
	end(outer);
	*outer = attach("outer", TOP, BPF_F_ALLOW_MULTI);
	ktap_ok(outer->link && policy_in_effect(IN, "inner /" IN "\nouter /" TOP "\n") &&
		stat_becomes("policy_limit 67108864\n"),
		"one that is attached above it later is asked, too");
	inner.p->bss->gives_up = 1;
	ktap_ok(policy_becomes(IN, "outer /" TOP "\n") && stat_becomes("policy_limit max\n"),
		"the inner one is ejected, the outer one is not");
	end(&inner);
}

static double waited(void)
{
	return cg_key(IN, "memory.ext.stat", "policy_delay_usec") / 1e6;
}

/* Until tasks have waited so many seconds more, all of them together. */
static void wait_longer(double seconds)
{
	double from = waited();
	int i;

	for (i = 0; i < 1000 && waited() - from < seconds; i++)
		nap_ms(10);
}

/* Who has tasks wait for long is ejected, not who has them wait often. */
static void test_budget(void)
{
	struct one outer = attach("outer", TOP, BPF_F_ALLOW_MULTI),
		   inner = attach("inner", IN, 0);
	double before, took;
	pid_t pids[TASKS];
	int i;

	inner.p->bss->delay = 100;
	for (i = 0; i < TASKS; i++)
		pids[i] = charger(IN, 1, BATCH, 1000000);
	wait_longer(25);
	ktap_ok(policy_in_effect(IN, "inner /" IN "\nouter /" TOP "\n"),
		"100 ms for each batch may be waited for as long as anybody likes");
	outer.p->bss->delay = 1000;
	for (i = 0; i < 500 && !*(volatile __u32 *)&outer.p->data->mcx_exit.kind; i++)
		nap_ms(10);
	ktap_ok(policy_in_effect(IN, "inner /" IN "\n") &&
		outer.p->data->mcx_exit.kind == MCX_EXIT_ERROR_DELAY &&
		outer.p->data->mcx_exit.code > 500,
		"who says a second is ejected (%lld ms in the mean)",
		(long long)outer.p->data->mcx_exit.code);
	write_file(PARAM "delay_mean_ms", "0");
	inner.p->bss->delay = 1000;
	wait_longer(25);
	ktap_ok(policy_in_effect(IN, "inner /" IN "\n"), "but not where that is allowed");
	for (i = 0; i < TASKS; i++)
		end_task(pids[i]);
	write_file(PARAM "delay_ms", "100");
	inner.p->bss->delay = 2000;
	before = waited();
	took = charge_time(IN, 1);
	ktap_ok(took < 2 && waited() - before >= 0.3,
		"nor does a task wait longer than root says (%.2f of %.2f s)",
		waited() - before, took);
	write_file(PARAM "delay_ms", "2000");
	write_file(PARAM "delay_mean_ms", "500");
	end(&inner);
	end(&outer);
}

/* Both have something spared from one limit, but only the older one what can be reclaimed. */
static void test_starves(void)
{
	struct one older = attach("older", TOP, BPF_F_ALLOW_MULTI), newer;
	pid_t spared, used;

	cg_create(IN_USE);
	cg_write(IN_USE, "memory.swap.max", "0");
	newer = attach("newer", MID, 0);
	older.p->bss->spares_id = cg_id(IN);
	newer.p->bss->spares_id = cg_id(IN_USE);
	cg_write(MID, "memory.ext.reclaim", "stuck=kill stuck_ms=1000");
	cg_write(MID, "memory.high", "24M");
	mcx_manage(MID);
	used = cg_keeper(IN_USE, 8);
	spared = cg_keeper(IN, 64);
	ktap_ok(policy_becomes(IN, "newer /" MID "\n"),
		"of two who spare that one is ejected who keeps a limit from being met");
	ktap_ok(cg_falls(MID, 24 * MIB) && !waitpid(spared, NULL, WNOHANG) &&
		!waitpid(used, NULL, WNOHANG) && policy_in_effect(IN, "newer /" MID "\n"),
		"not the other one, nor is anybody killed (%lld MiB)",
		cg_number(MID, "memory.current") >> 20);
	end_task(spared);
	end_task(used);
	mcx_unmanage(MID);
	cg_write(MID, "memory.high", "max");
	end(&newer);
	end(&older);
	cg_remove(IN_USE);
}

/* An outer one comes and goes; the inner one is told of every batch all the same. */
static void test_churn(int churns)
{
	struct one inner = attach("inner", IN, 0), outer;
	int i, attached = 0;
	long long told;
	pid_t pid;

	nap_ms(500);	/* the hooks attach */
	told = batches() - inner.p->bss->nr_charged;
	pid = charger(IN, 8, BATCH, 1000000);
	outer.p = load("outer", TOP, BPF_F_ALLOW_MULTI);
	for (i = 0; i < churns; i++) {
		outer.link = bpf_map__attach_struct_ops(outer.p->maps.multi);
		/* Its thread may have to let go of it first. */
		if (!outer.link && errno == EBUSY)
			i--;
		attached += !!outer.link;
		nap_ms(20);
		bpf_link__destroy(outer.link);
	}
	outer.link = NULL;
	end_task(pid);
	told = batches() - inner.p->bss->nr_charged - told;
	ktap_ok(attached == churns && outer.p->bss->nr_charged && !told,
		"one above comes and goes %d times, and no batch is missed below (%lld told, %lld missed)",
		attached, (long long)outer.p->bss->nr_charged, told);
	end(&outer);
	end(&inner);
}

static void deep(char *path, size_t size, int depth)
{
	int i;

	snprintf(path, size, TOP);
	for (i = 0; i < depth; i++)
		strcat(path, "/d");
}

static void make_deep(void)
{
	char path[256];
	int i;

	for (i = 1; i <= DEEP; i++) {
		deep(path, sizeof(path), i);
		cg_create(path);
		cg_write(path, "cgroup.subtree_control", "+memory");
	}
}

static void remove_deep(void)
{
	char path[256];
	int i;

	for (i = DEEP; i; i--) {
		deep(path, sizeof(path), i);
		cg_remove(path);
	}
}

/* One in each cgroup from the first below TOP on, but for the second one. */
static void test_most(void)
{
	struct one o[MOST], more;
	int i, attached = 0, below, between, third;
	char path[256];

	make_deep();
	for (i = 0; i < MOST; i++) {
		deep(path, sizeof(path), i ? i + 2 : 1);
		o[i] = attach("deep", path, BPF_F_ALLOW_MULTI);
		attached += !!o[i].link;
	}
	deep(path, sizeof(path), MOST + 2);
	more = attach("more", path, 0);
	below = more.link ? 0 : errno;
	end(&more);
	deep(path, sizeof(path), 2);
	more = attach("more", path, BPF_F_ALLOW_MULTI);
	between = more.link ? 0 : errno;
	end(&more);
	more = attach("more", path, BPF_F_ALLOW_OVERRIDE);
	third = more.link ? 0 : errno;
	end(&more);
	ktap_ok(attached == MOST && below == E2BIG && between == E2BIG && !third,
		"there are %d at most, and who can be overridden does not count (%s, %s, %s)",
		attached, strerror(below), strerror(between), strerror(third));
	for (i = 0; i < MOST; i++)
		end(&o[i]);
	remove_deep();
}

static void test_together(void)
{
	struct one outer = attach("outer", TOP, BPF_F_ALLOW_MULTI),
		   inner = attach("inner", IN, 0);

	if (!ktap_ok(outer.link && inner.link, "one attaches below BPF_F_ALLOW_MULTI (%s)",
		     strerror(errno)))
		return;
	nap_ms(500);	/* the hooks attach */
	test_all_are_asked(&outer, &inner);
	test_delays(&outer, &inner);
	test_defers(&outer, &inner);
	test_spares(&outer, &inner);
	test_workers(&outer, &inner);
	test_wakes(&outer, &inner);
	test_limits(&outer, &inner);
	test_classes(&outer, &inner);
	test_replaced(&outer, &inner);
	test_online(&outer, &inner);
	test_overridden(&outer, &inner);
	end(&inner);
	test_ejected(&outer);
	end(&outer);
}

int main(int argc, char **argv)
{
	int churns = argc > 1 ? atoi(argv[1]) : 0;

	ktap_start();
	thp_off();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	swap_on();
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	cg_create(MID);
	cg_write(MID, "cgroup.subtree_control", "+memory");
	cg_create(IN);
	if (churns) {
		mcx_manage(IN);
		cg_write(IN, "memory.high", "6M");
		test_churn(churns);
	} else {
		test_flags();
		test_together();
		test_starves();
		test_budget();
		test_churn(CHURNS);
		test_most();
	}
	cg_remove(IN);
	cg_remove(MID);
	cg_remove(TOP);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
