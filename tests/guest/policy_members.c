// SPDX-License-Identifier: GPL-2.0-only
/*
 * policy_members: a policy hears of memory that is given back, of cgroups that come and
 * go below its own, and of charges that fail; and says what reclaim shall spare.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/types.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "libpolicy.h"
#include "ops.h"
#include "policy_members.skel.h"

#define CG	"mcx-test-members"
#define A	CG "/a"
#define B	CG "/b"
#define NEW	CG "/new"
#define BELOW	NEW "/below"
#define OTHER	"mcx-test-members-other"
#define HOOKS	"/sys/kernel/debug/memcg_ext/hooks"
#define PROBES	"/sys/kernel/debug/kprobes/list"
#define PROTECT	"page_counter_calculate_protection"
#define BATCH	64
#define FILE_PATH "/scratch/members"
#define CACHE	300		/* MiB */

static struct policy_members_bpf *load(const char *cg)
{
	struct policy_members_bpf *p = policy_members_bpf__open();

	if (!p)
		ktap_skip_all("cannot open the policies");
	p->struct_ops.counts->cgroup_id = cg_id(cg);
	p->struct_ops.tree->cgroup_id = cg_id(cg);
	p->struct_ops.keeps->cgroup_id = cg_id(cg);
	p->struct_ops.hears->cgroup_id = cg_id(cg);
	if (policy_members_bpf__load(p)) {
		ktap_ok(false, "the policies load");
		exit(ktap_end());
	}
	return p;
}

static struct bpf_link *attach(struct bpf_map *map)
{
	struct bpf_link *link = policy_link(map);

	nap_ms(500);		/* and the hooks */
	return link;
}

static bool hook_is(const char *state)
{
	char line[128];
	int i;

	snprintf(line, sizeof(line), "page_counter_uncharge found=1 attached=%s", state);
	for (i = 0; i < 300 && !file_has(HOOKS, line); i++)
		nap_ms(10);
	return file_has(HOOKS, line);
}

static bool probe_is(bool there)
{
	int i;

	for (i = 0; i < 300 && file_has(PROBES, PROTECT) != there; i++)
		nap_ms(10);
	return i < 300;
}

static void test_uncharged(void)
{
	struct policy_members_bpf *p = load(CG);
	long long pages = 32 * MIB / PAGE, charged, given;
	struct bpf_link *link;

	mcx_manage(CG);
	link = attach(p->maps.counts);
	ktap_ok(hook_is("1"), "while a policy wants to hear of it, it is seen");
	waitpid(charger(A, 32, BATCH, 1), NULL, 0);
	nap_ms(1000);
	charged = p->bss->nr_charged;
	given = p->bss->nr_uncharged;
	ktap_ok(charged >= pages && given >= pages * 9 / 10 && given <= charged + BATCH * 8,
		"of %lld pages charged %lld were given back, up to %lld at once", charged,
		given, (long long)p->bss->largest);
	bpf_link__destroy(link);
	ktap_ok(hook_is("0"), "and no longer");
	mcx_unmanage(CG);
	policy_members_bpf__destroy(p);
}

/* Waits until it was told so often, and a moment longer for once more. */
static void told(const char *what, const __u32 *nr, __u32 n)
{
	int i;

	for (i = 0; i < 200 && *(volatile const __u32 *)nr < n; i++)
		nap_ms(10);
	nap_ms(100);
	ktap_ok(*(volatile const __u32 *)nr == n, "%s: told %u times", what, *nr);
}

static void test_tree(void)
{
	struct policy_members_bpf *p = load(CG), *other;
	struct bpf_link *link = attach(p->maps.tree);
	uint64_t id[2];

	ktap_ok(!p->bss->nr_online, "cgroups that were there are no news");
	cg_create(NEW);
	/* As who makes it may do, before anybody has heard of it. */
	cg_write(NEW, "memory.ext.reclaim", "stuck_ms=1000");
	cg_write(NEW, "cgroup.subtree_control", "+memory");
	cg_create(BELOW);
	id[0] = cg_id(NEW);
	id[1] = cg_id(BELOW);
	told("two that come", &p->bss->nr_online, 2);
	cg_write(NEW, "cgroup.subtree_control", "-memory");
	told("one that loses the controller", &p->bss->nr_offline, 1);
	cg_write(NEW, "cgroup.subtree_control", "+memory");
	told("and gets it again", &p->bss->nr_online, 3);
	cg_remove(BELOW);
	cg_remove(NEW);
	told("both go", &p->bss->nr_offline, 3);
	ktap_ok(p->bss->online[0] == id[0] && p->bss->online[1] == id[1] &&
		p->bss->online[2] == id[1] && p->bss->offline[0] == id[1] &&
		p->bss->offline[1] + p->bss->offline[2] == id[0] + id[1],
		"of these and no others");
	bpf_link__destroy(link);
	ktap_ok(p->bss->nr_offline == 3, "who is left behind by a policy is not gone");

	other = load(OTHER);
	link = attach(other->maps.tree);
	cg_remove(OTHER);
	nap_ms(300);
	ktap_ok(!other->bss->nr_offline, "its own cgroup is not told");
	bpf_link__destroy(link);
	cg_create(OTHER);
	policy_members_bpf__destroy(other);
	policy_members_bpf__destroy(p);
}

/* So often A grows until B has lost enough; how much it is each time is up to reclaim. */
#define ROUNDS	8
#define ENOUGH	(2 * (long long)MIB)

/*
 * Two children below the limit of their parent, and one grows, again and again: what the
 * other one lost. Not again once it lost @enough.
 */
static long long lost_of_b(long long enough, int *rounds)
{
	long long before, lost = 0;
	pid_t a, b;
	int i;

	cg_write(CG, "memory.high", "64M");
	a = cg_keeper(A, 4);
	b = cg_keeper(B, 16);
	cg_fills(A, 4 * (long long)MIB);
	cg_fills(B, 16 * (long long)MIB);
	before = cg_number(B, "memory.current");
	for (i = 0; i < *rounds && lost < enough; i++) {
		waitpid(charger(A, 60, 16, 4), NULL, 0);
		lost = before - cg_number(B, "memory.current");
	}
	*rounds = i;
	cg_write(CG, "memory.high", "max");
	end_task(a);
	end_task(b);
	return lost;
}

/* Protected, when so often is enough without. */
static long long kept_of_b(int rounds)
{
	return lost_of_b(LLONG_MAX, &rounds);
}

/* The same from a policy that is attached to b itself: the limit is not its own. */
static void test_min_above(void)
{
	struct policy_members_bpf *p = load(B);
	struct bpf_link *link = attach(p->maps.keeps);
	int rounds = ROUNDS;
	long long min, low;

	p->bss->min_id = cg_id(B);
	min = lost_of_b(ENOUGH, &rounds);
	p->bss->min_id = 0;
	p->bss->low_id = cg_id(B);
	low = kept_of_b(rounds);
	ktap_ok(min >= ENOUGH && low < min / 4,
		"to a limit above its policy's cgroup it loses %.2f MiB, with below_low %.2f",
		min / (double)MIB, low / (double)MIB);
	bpf_link__destroy(link);
	policy_members_bpf__destroy(p);
}

static void test_protection(void)
{
	struct policy_members_bpf *p = load(CG);
	long long alone, low, min;
	int rounds = ROUNDS, again = ROUNDS;
	struct bpf_link *link;

	mcx_manage(CG);
	alone = lost_of_b(ENOUGH, &rounds);
	ktap_ok(probe_is(false), "without a policy nothing is probed");
	link = attach(p->maps.keeps);
	ktap_ok(probe_is(true), "with it %s is", PROTECT);
	p->bss->low_id = cg_id(B);
	low = kept_of_b(rounds);
	ktap_ok(alone >= ENOUGH && low < alone / 4 && p->bss->nr_asked &&
		p->bss->seen_usage >= 14 * MIB / PAGE,
		"below_low: a child loses %.2f MiB, alone %.2f", low / (double)MIB,
		alone / (double)MIB);
	ktap_ok(!cg_number(B, "memory.low"), "its memory.low is as it was");
	p->bss->low_id = 0;
	p->bss->min_id = cg_id(B);
	min = kept_of_b(rounds);
	ktap_ok(min < alone / 4, "below_min: %.2f MiB", min / (double)MIB);
	bpf_link__destroy(link);
	test_min_above();
	link = attach(p->maps.keeps);
	p->bss->min_id = 0;
	min = lost_of_b(ENOUGH, &again);
	ktap_ok(min >= ENOUGH, "with neither: %.2f MiB", min / (double)MIB);
	bpf_link__destroy(link);
	ktap_ok(probe_is(false), "without it nothing is probed");
	mcx_unmanage(CG);
	policy_members_bpf__destroy(p);
}

/* Clean page cache of a file, charged to @cg. */
static void fill_cache(const char *cg, size_t mib)
{
	pid_t pid = cg_fork(cg);
	static char block[1 << 20];
	size_t i;
	int fd;

	if (pid) {
		waitpid(pid, NULL, 0);
		return;
	}
	fd = open(FILE_PATH, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	for (i = 0; i < mib; i++)
		if (write(fd, block, sizeof(block)) != sizeof(block))
			_exit(1);
	fsync(fd);
	_exit(0);
}

/*
 * The whole machine is out of memory but for what a policy keeps: it is taken from there,
 * and nobody is killed for it.
 */
static void test_out_of_memory(void)
{
	struct policy_members_bpf *p;
	long long before, after, need;
	struct bpf_link *link;
	int status = -1;
	pid_t pid;

	if (debug_kernel()) {
		ktap_skip("out of memory: that kernel has none to spare");
		return;
	}
	swap_off();
	p = load(CG);
	link = attach(p->maps.keeps);
	p->bss->min_id = cg_id(B);
	fill_cache(B, CACHE);
	before = cg_number(B, "memory.current");
	need = read_key("/proc/meminfo", "MemAvailable:") / 1024 - CACHE / 2;
	/* That one, and not us. */
	write_file("/proc/self/oom_score_adj", "1000");
	pid = charger(OTHER, need, 256, 1);
	write_file("/proc/self/oom_score_adj", "-1000");
	waitpid(pid, &status, 0);
	after = cg_number(B, "memory.current");
	ktap_ok(before > CACHE * (long long)MIB * 3 / 4 && p->bss->nr_asked && !status &&
		!cg_key(OTHER, "memory.events", "oom_kill") && after < before * 3 / 4,
		"out of memory: who takes %lld MiB is not killed (status %d), and who is kept has %lld of %lld MiB",
		need, status, after >> 20, before >> 20);
	write_file("/proc/self/oom_score_adj", "0");
	unlink(FILE_PATH);
	bpf_link__destroy(link);
	policy_members_bpf__destroy(p);
}

static bool exits(struct policy_members_bpf *p)
{
	int i;

	for (i = 0; i < 1000 && !*(volatile __u32 *)&p->bss->keeps_end.kind; i++)
		nap_ms(10);
	return i < 1000;
}

/* Waits until @key of its stat is at least that. */
static bool becomes(const char *key, long long least)
{
	int i;

	for (i = 0; i < 1000 && cg_key(CG, "memory.ext.stat", key) < least; i++)
		nap_ms(10);
	return i < 1000;
}

/* The limit alone nobody hears of who has nothing to charge. */
static pid_t charges;

/* A task in A that has 64 MiB, then a limit of 24; what it has can go if there is swap. */
static pid_t exceed(const char *stuck, const char *swap)
{
	pid_t pid;

	cg_write(A, "memory.swap.max", swap);
	cg_write(CG, "memory.ext.reclaim", stuck);
	cg_write(CG, "memory.ext.reclaim", "stuck_ms=1000");
	mcx_manage(CG);
	pid = cg_keeper(A, 64);
	cg_fills(A, 64 * (long long)MIB);
	cg_write(CG, "memory.high", "24M");
	charges = cg_keeper(A, 1);
	return pid;
}

/* Nor has it a policy. */
static void exceed_no_more(pid_t pid, struct policy_members_bpf *p,
			   struct bpf_link *link)
{
	end_task(charges);
	end_task(pid);
	cg_write(CG, "memory.high", "max");
	cg_write(A, "memory.swap.max", "max");
	cg_write(CG, "memory.ext.reclaim", "stuck=notify stuck_ms=5000");
	mcx_unmanage(CG);
	bpf_link__destroy(link);
	policy_members_bpf__destroy(p);
}

/* A policy spares A. */
static void test_starves(void)
{
	struct policy_members_bpf *p = load(CG);
	struct bpf_link *link = attach(p->maps.keeps);
	bool ejected, lives;
	long long usage;
	pid_t pid;

	p->bss->min_id = cg_id(A);
	pid = exceed("stuck=kill", "max");
	ejected = exits(p);
	cg_falls(CG, 24 * MIB);
	usage = cg_number(CG, "memory.current");
	lives = !waitpid(pid, NULL, WNOHANG);
	ktap_ok(ejected && p->bss->keeps_end.kind == MCX_EXIT_ERROR_STARVE &&
		p->bss->keeps_end.code == 1000 && policy_in_effect(CG, ""),
		"who keeps a limit from being met is ejected (kind %u, %lld)",
		p->bss->keeps_end.kind, (long long)p->bss->keeps_end.code);
	ktap_ok(usage <= 24 * (long long)MIB && lives &&
		!cg_key(CG, "memory.ext.stat", "stuck"),
		"it is met then (%lld MiB), and nobody is killed", usage >> 20);
	exceed_no_more(pid, p, link);
}

/* What below_low spares the kernel takes where there is nothing else. */
static void test_low_gives_way(void)
{
	struct policy_members_bpf *p = load(CG);
	struct bpf_link *link = attach(p->maps.keeps);
	bool met;
	pid_t pid;

	p->bss->low_id = cg_id(A);
	pid = exceed("stuck=kill", "max");
	met = cg_falls(CG, 24 * MIB);
	ktap_ok(met && p->bss->nr_asked && !p->bss->keeps_end.kind &&
		policy_in_effect(CG, "keeps /" CG "\n") &&
		!waitpid(pid, NULL, WNOHANG) && !cg_key(CG, "memory.ext.stat", "stuck_kill"),
		"below_low keeps no limit from being met (%lld MiB), and the policy stays",
		cg_number(CG, "memory.current") >> 20);
	exceed_no_more(pid, p, link);
}

static void test_does_not_starve(void)
{
	struct policy_members_bpf *p = load(CG);
	struct bpf_link *link = attach(p->maps.keeps);
	bool ejected;
	pid_t pid;

	p->bss->min_id = cg_id(A);
	pid = exceed("stuck=notify", "0");
	ktap_ok(becomes("stuck", 1) && p->bss->nr_asked && !p->bss->keeps_end.kind &&
		policy_in_effect(CG, "keeps /" CG "\n"),
		"where there is nothing to reclaim that is not the policy's fault");
	cg_write(A, "memory.swap.max", "max");
	cg_write(CG, "memory.ext.reclaim", "stuck=kill");
	ejected = exits(p) && cg_falls(CG, 24 * MIB);
	ktap_ok(ejected && !waitpid(pid, NULL, WNOHANG) &&
		!cg_key(CG, "memory.ext.stat", "stuck_kill"),
		"once there is it is, and nobody is killed for that (%lld MiB)",
		cg_number(CG, "memory.current") >> 20);
	exceed_no_more(pid, p, link);
}

static void test_limit(void)
{
	struct policy_members_bpf *p = load(CG);
	struct bpf_link *link;
	long long events;

	mcx_manage(CG);
	link = attach(p->maps.hears);
	waitpid(charger(A, 8, BATCH, 1), NULL, 0);
	ktap_ok(!p->bss->nr_limits, "no charge fails, and none is told");
	cg_write(CG, "memory.max", "16M");
	/* Too much at once for pacing, and nobody to help. */
	cg_write(CG, "memory.ext.reclaim", "cpu_max=1%");
	waitpid(charger(A, 64, 64 * MIB / PAGE, 1), NULL, 0);
	nap_ms(500);
	events = cg_key(CG, "memory.events.local", "max");
	ktap_ok(events > 0 && p->bss->nr_limits && p->bss->nr_after == p->bss->nr_limits &&
		p->bss->nr_limits <= events && !p->bss->nr_same,
		"%lld charges did not fit, told %u times, and what came then %u times",
		events, p->bss->nr_limits, p->bss->nr_after);
	bpf_link__destroy(link);
	cg_write(CG, "memory.ext.reclaim", "cpu_max=100%");
	cg_write(CG, "memory.max", "max");
	mcx_unmanage(CG);
	policy_members_bpf__destroy(p);
}

int main(void)
{
	ktap_start();
	thp_off();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	swap_on();
	cg_create(CG);
	cg_create(OTHER);
	cg_write(CG, "cgroup.subtree_control", "+memory");
	cg_create(A);
	cg_create(B);
	test_uncharged();
	test_tree();
	test_protection();
	test_starves();
	test_low_gives_way();
	test_does_not_starve();
	test_limit();
	test_out_of_memory();
	cg_remove(A);
	cg_remove(B);
	cg_remove(CG);
	cg_remove(OTHER);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
