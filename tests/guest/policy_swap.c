// SPDX-License-Identifier: GPL-2.0-only
/*
 * policy_swap: a link gets another policy without a moment that has none, and one write
 * or a key of SysRq gets rid of all there are.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/types.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "ops.h"
#include "policy_cases.h"

#define CG	"mcx-test-swap"
#define CHILD	CG "/child"
#define OTHER	"mcx-test-swap-other"
#define EJECT	"/sys/module/memcg_ext/parameters/eject"
#define SYSRQ	"/proc/sysrq-trigger"
#define SWAPS	30
#define BATCH	64

static void charge(const char *cg, size_t mib)
{
	waitpid(charger(cg, mib, BATCH, 1), NULL, 0);
}

static bool ended(struct policy_cases_bpf *c, uint32_t kind, const char *msg)
{
	int i;

	for (i = 0; i < 500 && !c->bss->nr_exits; i++)
		nap_ms(10);
	return c->bss->nr_exits == 1 && c->data->mcx_exit.kind == kind &&
	       !strcmp(c->data->mcx_exit.msg, msg);
}

/* Two take turns. */
static void test_swaps(void)
{
	struct policy_cases_bpf *c[2] = { cases_load(CG), cases_load(CG) };
	long long calls, batches;
	struct bpf_link *link;
	int i, err = 0;
	pid_t pid;

	link = attach(c[0]->maps.fixed);
	nap_ms(500);	/* the hooks attach */
	batches = cg_key(CG, "memory.ext.stat", "batches");
	calls = c[0]->bss->nr_charged;
	pid = charger(CG, 8, BATCH, 1000000);
	for (i = 1; i <= SWAPS && !err; i++) {
		nap_ms(50);
		err = bpf_link__update_map(link, c[i % 2]->maps.fixed);
	}
	nap_ms(200);
	end_task(pid);
	batches = cg_key(CG, "memory.ext.stat", "batches") - batches;
	calls = c[0]->bss->nr_charged + c[1]->bss->nr_charged - calls;
	ktap_ok(link && !err && c[0]->bss->nr_exits == SWAPS / 2 &&
		c[1]->bss->nr_exits == SWAPS / 2,
		"a link gets another policy %d times (%s)", i - 1, strerror(-err));
	ktap_ok(batches > SWAPS && calls == batches,
		"meanwhile each of %lld batches was told to one (%lld)", batches,
		calls);
	ktap_ok(!strcmp(c[1]->data->mcx_exit.msg, "replaced by another") &&
		c[1]->data->mcx_exit.kind == MCX_EXIT_UNREG &&
		policy_in_effect(CG, "fixed /" CG "\n"),
		"an old one hears that it was replaced");
	bpf_link__destroy(link);
	ktap_ok(c[0]->bss->nr_exits == SWAPS / 2 + 1 && policy_in_effect(CG, "") &&
		!strcmp(c[0]->data->mcx_exit.msg, "unloaded"),
		"with the link the last one goes");
	policy_cases_bpf__destroy(c[1]);
	policy_cases_bpf__destroy(c[0]);
}

static void test_refused(void)
{
	struct policy_cases_bpf *c = cases_load(CG), *other = cases_load(OTHER);
	struct bpf_link *link = attach(c->maps.fixed), *second;
	int err;

	err = bpf_link__update_map(link, other->maps.fixed);
	ktap_ok(err == -EINVAL, "one for another cgroup is refused (%s)",
		strerror(-err));
	err = bpf_link__update_map(link, c->maps.refuses);
	ktap_ok(err == -E2BIG, "so is one whose init refuses (%s)",
		strerror(-err));
	second = attach(other->maps.fixed);
	err = bpf_link__update_map(link, other->maps.fixed);
	ktap_ok(second && err == -EBUSY,
		"and one that is attached elsewhere (%s)", strerror(-err));
	c->bss->nr_charged = 0;
	charge(CG, 1);
	ktap_ok(!c->bss->nr_exits && c->bss->nr_charged &&
		policy_in_effect(CG, "fixed /" CG "\n"), "the first one goes on");
	bpf_link__destroy(second);
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(other);
	policy_cases_bpf__destroy(c);
}

/* What was ejected, or has lost its cgroup. */
static void test_dead(void)
{
	struct policy_cases_bpf *c = cases_load(CG), *next = cases_load(CG);
	struct bpf_link *link = attach(c->maps.gives_up);
	int err;

	charge(CG, 1);
	ktap_ok(ended(c, MCX_EXIT_ERROR_BPF, "had enough\nname forged"),
		"a policy gives up");
	err = bpf_link__update_map(link, next->maps.fixed);
	charge(CG, 1);
	ktap_ok(!err && next->bss->nr_charged && c->bss->nr_exits == 1 &&
		policy_in_effect(CG, "fixed /" CG "\n"),
		"another one takes its place (%s)", strerror(-err));
	policy_cases_bpf__destroy(c);

	c = cases_load(CG);
	cg_remove(CG);
	ktap_ok(ended(next, MCX_EXIT_CGROUP,
		      "its cgroup was removed, or lost the memory controller"),
		"a policy's cgroup goes");
	err = bpf_link__update_map(link, c->maps.fixed);
	ktap_ok(err == -ENOENT && !c->bss->nr_exits,
		"it cannot be replaced then (%s)", strerror(-err));
	bpf_link__destroy(link);
	cg_create(CG);
	mcx_manage(CG);
	policy_cases_bpf__destroy(next);
	policy_cases_bpf__destroy(c);
}

/* It has no say any more, but one above it has. */
static void test_outranked(void)
{
	struct policy_cases_bpf *c = cases_load(CHILD), *next = cases_load(CHILD);
	struct policy_cases_bpf *above = cases_load(CG);
	struct bpf_link *link = attach(c->maps.gives_up), *upper;
	int err;

	charge(CHILD, 1);
	ended(c, MCX_EXIT_ERROR_BPF, "had enough\nname forged");
	upper = attach(above->maps.fixed);
	err = bpf_link__update_map(link, next->maps.fixed);
	ktap_ok(link && upper && err == -EPERM && policy_in_effect(CHILD, "fixed /" CG "\n"),
		"what was ejected is not replaced where one above allows none (%s)",
		strerror(-err));
	bpf_link__destroy(upper);
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(above);
	policy_cases_bpf__destroy(next);
	policy_cases_bpf__destroy(c);
}

static void check_ejected(const char *how, const char *file, const char *text,
			  const char *msg)
{
	struct policy_cases_bpf *c[2] = { cases_load(CG), cases_load(OTHER) };
	struct policy_cases_bpf *spare;
	struct bpf_link *link[2], *again;
	pid_t pid;
	int err;

	link[0] = attach(c[0]->maps.fixed);
	link[1] = attach(c[1]->maps.fixed);
	nap_ms(500);
	c[0]->bss->fixed_ms = 1000;
	pid = charger(CG, 8, BATCH, 1000000);
	nap_ms(500);
	err = write_file(file, text);
	ktap_ok(link[0] && link[1] && !err && ended(c[0], MCX_EXIT_ADMIN, msg) &&
		ended(c[1], MCX_EXIT_ADMIN, msg) && policy_in_effect(CG, "") &&
		policy_in_effect(OTHER, ""),
		"%s ejects all policies (%s)", how, strerror(-err));
	c[0]->bss->nr_charged = 0;
	nap_ms(2000);
	ktap_ok(!c[0]->bss->nr_charged && !waitpid(pid, NULL, WNOHANG),
		"they are not asked any more");
	end_task(pid);
	spare = cases_load(CG);
	err = bpf_link__update_map(link[0], spare->maps.fixed);
	ktap_ok(err == -EPERM && !spare->bss->nr_exits && policy_in_effect(CG, ""),
		"nor replaced by others (%s)", strerror(-err));
	policy_cases_bpf__destroy(spare);
	bpf_link__destroy(link[0]);
	again = attach(c[0]->maps.fixed);
	ktap_ok(again, "with its link closed one can be attached again");
	bpf_link__destroy(again);
	bpf_link__destroy(link[1]);
	policy_cases_bpf__destroy(c[0]);
	policy_cases_bpf__destroy(c[1]);
}

static void test_eject(void)
{
	struct policy_cases_bpf *c = cases_load(CG);
	struct bpf_link *link = attach(c->maps.fixed);
	int err[3];

	err[0] = write_file(EJECT, "0");
	err[1] = write_file(EJECT, "yes");
	err[2] = write_file(EJECT, "11");
	nap_ms(500);
	ktap_ok(err[0] == -EINVAL && err[1] == -EINVAL && err[2] == -EINVAL &&
		!c->bss->nr_exits, "nothing but 1 can be written to eject");
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(c);
	check_ejected("a write of 1", EJECT, "1\n",
		      "all policies were ejected by a write to eject");
	check_ejected("SysRq-M", SYSRQ, "M",
		      "all policies were ejected by sysrq");
	ktap_ok(!write_file(EJECT, "1") && !write_file(SYSRQ, "M"),
		"without a policy nothing happens");
}

int main(void)
{
	ktap_start();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	cg_create(CG);
	cg_create(OTHER);
	mcx_manage(CG);
	test_swaps();
	test_refused();
	test_dead();
	cg_write(CG, "cgroup.subtree_control", "+memory");
	cg_create(CHILD);
	test_outranked();
	cg_remove(CHILD);
	cg_write(CG, "cgroup.subtree_control", "-memory");
	test_eject();
	cg_remove(CG);
	cg_remove(OTHER);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
