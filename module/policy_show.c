// SPDX-License-Identifier: GPL-2.0-only
/*
 * What people can read of policies: those that are there, with what was called of them,
 * and how the last one ended.
 *
 * Locking: exit_mutex guards last_exit; nothing nests inside it.
 */
#include <linux/cgroup.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>

#include "effect.h"
#include "policy.h"
#include "policy_life.h"
#include "show.h"
#define CREATE_TRACE_POINTS
#include "trace.h"

static DEFINE_MUTEX(exit_mutex);
static struct {
	struct mcx_exit_info exit;
	char name[MCX_OPS_NAME_LEN];
	u64 id;
	u64 cgroup_id;
	/* What it was in the middle of. */
	struct mcx_policy_stat stat;
	char task[TASK_COMM_LEN];
	pid_t pid;
	unsigned int lived_ms;
} last_exit;

/* Why a policy ended, as one word. */
static const char *mcx_exit_reason(u32 kind)
{
	switch (kind) {
	case MCX_EXIT_UNREG:		return "unreg";
	case MCX_EXIT_CGROUP:		return "cgroup";
	case MCX_EXIT_ADMIN:		return "admin";
	case MCX_EXIT_ERROR_BPF:	return "error-bpf";
	case MCX_EXIT_ERROR_VALUE:	return "error-value";
	case MCX_EXIT_ERROR_SLOW:	return "error-slow";
	case MCX_EXIT_ERROR_STALL:	return "error-stall";
	case MCX_EXIT_ERROR_STARVE:	return "error-starve";
	case MCX_EXIT_ERROR_DELAY:	return "error-delay";
	default:			return "error";
	}
}

static struct mcx_policy_stat mcx_policy_sum(struct mcx_policy *p)
{
	struct mcx_policy_stat sum = {}, *one;
	int cpu;

	for_each_possible_cpu(cpu) {
		one = per_cpu_ptr(p->stat, cpu);
		sum.high_policy += READ_ONCE(one->high_policy);
		sum.memcg_charged += READ_ONCE(one->memcg_charged);
		sum.level += READ_ONCE(one->level);
		sum.over_high += READ_ONCE(one->over_high);
		sum.memcg_uncharged += READ_ONCE(one->memcg_uncharged);
		sum.below_low += READ_ONCE(one->below_low);
		sum.below_min += READ_ONCE(one->below_min);
		sum.cgroups += READ_ONCE(one->cgroups);
		sum.tick += READ_ONCE(one->tick);
		sum.reclaim += READ_ONCE(one->reclaim);
		sum.skipped += READ_ONCE(one->skipped);
		sum.slow_all += READ_ONCE(one->slow_all);
	}
	return sum;
}

/**
 * mcx_policy_note_exit() - a policy ended: remember how
 * @p: the policy
 *
 * Context: Process.
 */
void mcx_policy_note_exit(struct mcx_policy *p)
{
	mutex_lock(&exit_mutex);
	last_exit.exit = p->exit;
	last_exit.id = p->id;
	last_exit.cgroup_id = p->cgroup_id;
	strscpy(last_exit.name, p->ops->name, sizeof(last_exit.name));
	last_exit.stat = mcx_policy_sum(p);
	strscpy(last_exit.task, p->exit_task, sizeof(last_exit.task));
	last_exit.pid = p->exit_pid;
	last_exit.lived_ms = jiffies_to_msecs(jiffies - p->began);
	mutex_unlock(&exit_mutex);
	trace_memcg_ext_policy_exit(p->ops->name, p->id, p->cgroup_id, &p->exit);
}

/* As the reader's cgroup namespace has it. */
static void mcx_policy_show_path(struct seq_file *s, struct mcx_policy *p)
{
	struct cgroup *cgrp = cgroup_get_from_id(p->cgroup_id);

	if (IS_ERR(cgrp)) {
		seq_puts(s, READ_ONCE(p->dead) == MCX_EXIT_CGROUP ?
			 "(gone)" : "(outside)");
		return;
	}
	mcx_show_path(s, cgrp);
	cgroup_put(cgrp);
}

/* How often each member was called. */
static void mcx_policy_show_calls(struct seq_file *s,
				  const struct mcx_policy_stat *sum)
{
	seq_printf(s, " high_policy=%llu memcg_charged=%llu level=%llu memcg_nr_pages_over_high=%llu",
		   sum->high_policy, sum->memcg_charged, sum->level,
		   sum->over_high);
	seq_printf(s, " memcg_uncharged=%llu below_low=%llu below_min=%llu cgroups=%llu",
		   sum->memcg_uncharged, sum->below_low, sum->below_min,
		   sum->cgroups);
	seq_printf(s, " tick=%llu reclaim=%llu skipped=%llu slow=%llu\n",
		   sum->tick, sum->reclaim, sum->skipped, sum->slow_all);
}

/* Why it ended; its own words must not look like keys of ours. */
static void mcx_policy_show_end(struct seq_file *s, const struct mcx_exit_info *exit)
{
	if (!READ_ONCE(exit->kind))
		return;
	seq_printf(s, " reason=%s code=%lld msg=", mcx_exit_reason(exit->kind), exit->code);
	seq_escape(s, exit->msg, "\n \\");
}

static void mcx_policy_show(struct mcx_policy *p, void *arg)
{
	struct seq_file *s = arg;
	struct mcx_policy_stat sum = mcx_policy_sum(p);

	seq_printf(s, "%llu name=%s cgroup=%llu path=", p->id, p->ops->name,
		   p->cgroup_id);
	mcx_policy_show_path(s, p);
	seq_printf(s, " state=%s flags=%u timeout_ms=%u",
		   READ_ONCE(p->dead) ? "ejected" : "active", p->ops->flags,
		   p->ops->timeout_ms);
	mcx_policy_show_end(s, &p->exit);
	mcx_policy_show_calls(s, &sum);
}

/**
 * mcx_policies_show() - print all policies, nested keyed
 * @s: where to
 *
 * Context: Process.
 */
void mcx_policies_show(struct seq_file *s)
{
	mcx_policies_for_each(mcx_policy_show, s);
}

static void mcx_exit_show(struct seq_file *s)
{
	const struct mcx_exit_info *exit = &last_exit.exit;

	/* Several may have one name. */
	seq_printf(s, "name %s\nid %llu\ncgroup %llu\nkind %u\nreason %s\ncode %lld\nmsg ",
		   last_exit.name, last_exit.id, last_exit.cgroup_id,
		   exit->kind, mcx_exit_reason(exit->kind), exit->code);
	/* The policy's own words: they must not look like keys of ours. */
	seq_escape(s, exit->msg, "\n\\");
	seq_puts(s, "\ntask ");
	seq_escape(s, last_exit.task, "\n\\");
	seq_printf(s, "\npid %d\nlived_ms %u\ncalls", last_exit.pid,
		   last_exit.lived_ms);
	mcx_policy_show_calls(s, &last_exit.stat);
}

/**
 * mcx_last_exit_show() - print how the last policy that ended did so
 * @s: where to
 *
 * Context: Process.
 */
void mcx_last_exit_show(struct seq_file *s)
{
	mutex_lock(&exit_mutex);
	if (last_exit.exit.kind)
		mcx_exit_show(s);
	mutex_unlock(&exit_mutex);
}

/* The one to print. */
struct mcx_policy_of {
	struct seq_file *s;
	u64 id;
};

static void mcx_policy_show_effect(struct mcx_policy *p, void *arg)
{
	struct mcx_policy_of *of = arg;

	if (p->id != of->id || READ_ONCE(p->dead))
		return;
	seq_printf(of->s, "%s ", p->ops->name);
	mcx_policy_show_path(of->s, p);
	seq_putc(of->s, '\n');
}

/* Their ids: paths cannot be looked up under RCU. Returns how many. */
static unsigned int mcx_policies_of(struct mcx_memcg *m, u64 ids[MCX_CHAIN_MAX])
{
	struct mcx_policy *p;
	unsigned int n = 0;

	rcu_read_lock();
	mcx_for_each_policy(p, m) {
		if (n < MCX_CHAIN_MAX)
			ids[n++] = p->id;
	}
	rcu_read_unlock();
	return n;
}

/**
 * mcx_policy_show_memcg() - print the policies in effect for a cgroup, as they are asked
 * @s: where to
 * @memcg: the cgroup
 *
 * Context: Process.
 */
void mcx_policy_show_memcg(struct seq_file *s, struct mem_cgroup *memcg)
{
	struct mcx_memcg *m = mcx_memcg_lookup(memcg);
	u64 ids[MCX_CHAIN_MAX];
	unsigned int i, n;

	if (!m)
		return;
	n = mcx_policies_of(m, ids);
	mcx_memcg_put(m);
	for (i = 0; i < n; i++) {
		struct mcx_policy_of of = { .s = s, .id = ids[i] };

		mcx_policies_for_each(mcx_policy_show_effect, &of);
	}
}
