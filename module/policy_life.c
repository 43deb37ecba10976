// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of one policy: from before it is attached until nobody has it any more.
 *
 * An attached policy lives until its link is gone. If it ends before that, for an error
 * or with its cgroup, it is never called again, and its link, which does nothing any
 * more, still has to be closed by its owner.
 *
 * Locking: policy_mutex guards the list of all, which is read under RCU as well. The
 * state mutex does not nest inside it.
 */
#include <linux/atomic.h>
#include <linux/bpf.h>
#include <linux/cgroup.h>
#include <linux/mutex.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "backoff.h"
#include "call.h"
#include "policy.h"
#include "policy_life.h"
#include "runner.h"
#include "threads_policy.h"

/* How long who closes a link waits for the thread of its policy. */
#define MCX_OVER_TIME	HZ

static DEFINE_MUTEX(policy_mutex);
static LIST_HEAD(all_policies);
static atomic64_t last_id;
/* How often all were ejected. */
static atomic_t nr_ejects;

/**
 * mcx_policy_exit() - its last word, after which it has said nothing
 * @p: the policy, of which nobody is in a call any more
 *
 * Context: Process.
 */
void mcx_policy_exit(struct mcx_policy *p)
{
	mcx_call_exit(p);
	mcx_threads_end_policy(p->id);
}

/*
 * It is never asked again, whatever its thread is in the middle of: what it said counts no
 * more, and people are told.
 */
static void mcx_policy_over(struct mcx_policy *p)
{
	mcx_threads_end_policy(p->id);
	mcx_policy_note_exit(p);
	if (p->exit.kind < MCX_EXIT_ERROR)
		return;
	mcx_backoff_strike(p->ops->name, p->cgroup_id);
	pr_warn("policy %s ejected: %*pE (%lld)\n", p->ops->name,
		(int)strlen(p->exit.msg), p->exit.msg, p->exit.code);
}

/**
 * mcx_policy_part() - one of those who had to let go of a dead policy has
 * @p: the policy
 *
 * Context: Process.
 */
void mcx_policy_part(struct mcx_policy *p)
{
	if (!atomic_dec_and_test(&p->parts))
		return;
	mcx_policy_exit(p);
	complete_all(&p->over);
}

static void mcx_policy_end_work(struct work_struct *work)
{
	struct mcx_policy *p = container_of(work, struct mcx_policy, end_work);

	/* An ancestor's policy may be in effect instead from now on. */
	mcx_state_resync();
	synchronize_rcu();
	mcx_policy_over(p);
	mcx_runner_stop(p);
	mcx_policy_part(p);
}

static void mcx_policy_kick(struct irq_work *kick)
{
	struct mcx_policy *p = container_of(kick, struct mcx_policy, kick);

	queue_work(mcx_wq, &p->end_work);
}

/**
 * mcx_policy_alloc() - make what a policy is to us
 * @ops: its members
 * @link: its link
 * @memcg: where it will be attached
 *
 * Context: Process.
 * Return: the policy, or NULL for want of memory.
 */
struct mcx_policy *mcx_policy_alloc(const struct memcg_ext_ops *ops,
				    const struct bpf_link *link,
				    struct mem_cgroup *memcg)
{
	struct mcx_policy *p = kzalloc(sizeof(*p), GFP_KERNEL);

	if (!p)
		return NULL;
	p->stat = alloc_percpu(struct mcx_policy_stat);
	if (!p->stat) {
		kfree(p);
		return NULL;
	}
	p->id = atomic64_inc_return(&last_id);
	p->ops = ops;
	p->link = link;
	p->cgroup_id = cgroup_id(memcg->css.cgroup);
	p->began = jiffies;
	p->ejects = atomic_read(&nr_ejects);
	init_irq_work(&p->kick, mcx_policy_kick);
	INIT_WORK(&p->end_work, mcx_policy_end_work);
	INIT_LIST_HEAD(&p->all);
	atomic_set(&p->parts, 1);
	init_completion(&p->over);
	refcount_set(&p->ref, 1);
	return p;
}

static void mcx_policy_free(struct mcx_policy *p)
{
	free_percpu(p->stat);
	if (p->runner.task)
		put_task_struct(p->runner.task);
	/* mcx_policies_eject() and the workers may be looking at it. */
	kfree_rcu_mightsleep(p);
}

/**
 * mcx_policy_put() - done with a policy
 * @p: the policy; the last one frees it
 *
 * Context: Process. Sleeps.
 */
void mcx_policy_put(struct mcx_policy *p)
{
	if (!refcount_dec_and_test(&p->ref))
		return;
	/* Not before: until then nobody may attach the same members anew. */
	mutex_lock(&policy_mutex);
	list_del_rcu(&p->all);
	mutex_unlock(&policy_mutex);
	mcx_policy_free(p);
}

/**
 * mcx_policy_is_listed() - is there a policy with these members
 * @ops: the members
 *
 * The bpf core makes as many links of one map as it is asked for. They would
 * share the policy's globals, and init would reset those of the one that runs.
 *
 * Context: Process.
 * Return: true if so.
 */
bool mcx_policy_is_listed(const struct memcg_ext_ops *ops)
{
	struct mcx_policy *p;
	bool found = false;

	mutex_lock(&policy_mutex);
	list_for_each_entry(p, &all_policies, all)
		found |= p->ops == ops;
	mutex_unlock(&policy_mutex);
	return found;
}

/**
 * mcx_policy_list() - it is attached
 * @p: the policy
 *
 * Context: Process.
 */
void mcx_policy_list(struct mcx_policy *p)
{
	mutex_lock(&policy_mutex);
	list_add_tail_rcu(&p->all, &all_policies);
	mutex_unlock(&policy_mutex);
	/* Pairs with mcx_policies_eject(): listed and count, count and list. */
	smp_mb();
	if (atomic_read(&nr_ejects) != p->ejects)
		mcx_policy_end(p, MCX_EXIT_ADMIN, 0,
			       "all policies were ejected when it was attached");
}

/**
 * mcx_policy_find() - the policy of a link
 * @link: the link
 *
 * Context: Process.
 * Return: the policy, which stays until somebody retires it; or NULL.
 */
struct mcx_policy *mcx_policy_find(const struct bpf_link *link)
{
	struct mcx_policy *p, *found = NULL;

	mutex_lock(&policy_mutex);
	list_for_each_entry(p, &all_policies, all)
		if (p->link == link)
			found = p;
	mutex_unlock(&policy_mutex);
	return found;
}

/* Its link is about to go, and another may be made in the same place. */
static void mcx_policy_unlink(struct mcx_policy *p)
{
	mutex_lock(&policy_mutex);
	p->link = NULL;
	mutex_unlock(&policy_mutex);
}

/**
 * mcx_policy_retire() - the end of a policy that is not attached any more
 * @p: the policy; only who found it before finds it
 * @msg: why, if it has not ended for another reason, as a sentence
 *
 * What its thread is in the middle of may outlast this, see runner.c.
 *
 * Context: Process. Sleeps.
 */
void mcx_policy_retire(struct mcx_policy *p, const char *msg)
{
	bool ended = cmpxchg(&p->dead, MCX_EXIT_NONE, MCX_EXIT_UNREG) !=
		     MCX_EXIT_NONE;

	synchronize_rcu();
	if (ended) {
		irq_work_sync(&p->kick);
		flush_work(&p->end_work);
	} else {
		p->exit.kind = MCX_EXIT_UNREG;
		strscpy(p->exit.msg, msg, sizeof(p->exit.msg));
		mcx_policy_note_task(p);
		mcx_policy_over(p);
		mcx_runner_stop(p);
		mcx_policy_part(p);
	}
	if (!wait_for_completion_timeout(&p->over, MCX_OVER_TIME))
		pr_warn("policy %s: its thread %d is in a call that is not back yet; nobody waits for it, but until then the module cannot be unloaded, nor the same object attached again\n",
			p->ops->name, task_pid_nr(p->runner.task));
	mcx_policy_unlink(p);
	mcx_policy_put(p);
}

/**
 * mcx_policies_eject() - eject every policy that is attached
 * @msg: why, as a sentence
 *
 * Context: Any but NMI.
 */
void mcx_policies_eject(const char *msg)
{
	struct mcx_policy *p;

	atomic_inc(&nr_ejects);
	/* Pairs with mcx_policy_list(): count and list, listed and count. */
	smp_mb__after_atomic();
	rcu_read_lock();
	list_for_each_entry_rcu(p, &all_policies, all)
		mcx_policy_end(p, MCX_EXIT_ADMIN, 0, msg);
	rcu_read_unlock();
}

/**
 * mcx_policies_end() - end a policy, if it is still there
 * @id: of the policy
 * @kind: why, as for mcx_policy_end()
 * @code: more of that
 * @msg: the same as a sentence
 *
 * Context: Any but NMI.
 */
void mcx_policies_end(u64 id, enum mcx_exit_kind kind, s64 code, const char *msg)
{
	struct mcx_policy *p;

	rcu_read_lock();
	list_for_each_entry_rcu(p, &all_policies, all)
		if (p->id == id)
			mcx_policy_end(p, kind, code, msg);
	rcu_read_unlock();
}

/**
 * mcx_policies_for_each() - call a function for every policy
 * @fn: the function; the policy stays meanwhile
 * @arg: passed through
 *
 * Context: Process. Takes the mutex.
 */
void mcx_policies_for_each(void (*fn)(struct mcx_policy *p, void *arg), void *arg)
{
	struct mcx_policy *p;

	mutex_lock(&policy_mutex);
	list_for_each_entry(p, &all_policies, all)
		fn(p, arg);
	mutex_unlock(&policy_mutex);
}
