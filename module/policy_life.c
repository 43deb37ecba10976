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
#include <linux/slab.h>

#include "call.h"
#include "policy.h"
#include "policy_life.h"
#include "threads_policy.h"

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

static void mcx_policy_finish(struct mcx_policy *p)
{
	mcx_policy_exit(p);
	mcx_policy_note_exit(p);
	if (p->exit.kind >= MCX_EXIT_ERROR)
		pr_warn("policy %s ejected: %*pE (%lld)\n", p->ops->name,
			(int)strlen(p->exit.msg), p->exit.msg, p->exit.code);
}

static void mcx_policy_end_work(struct work_struct *work)
{
	struct mcx_policy *p = container_of(work, struct mcx_policy, end_work);

	/* An ancestor's policy may be in effect instead from now on. */
	mcx_state_resync();
	synchronize_rcu();
	mcx_policy_finish(p);
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
	p->ejects = atomic_read(&nr_ejects);
	init_irq_work(&p->kick, mcx_policy_kick);
	INIT_WORK(&p->end_work, mcx_policy_end_work);
	INIT_LIST_HEAD(&p->all);
	return p;
}

/**
 * mcx_policy_free() - the opposite of mcx_policy_alloc()
 * @p: the policy, in no list any more
 *
 * Context: Process. Sleeps.
 */
void mcx_policy_free(struct mcx_policy *p)
{
	free_percpu(p->stat);
	/* mcx_policies_eject() may be looking at it. */
	kfree_rcu_mightsleep(p);
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

/* Last: until then nobody may attach the same members anew. */
static void mcx_policy_unlist(struct mcx_policy *p)
{
	mutex_lock(&policy_mutex);
	list_del_rcu(&p->all);
	mutex_unlock(&policy_mutex);
}

/**
 * mcx_policy_retire() - the end of a policy that is not attached any more
 * @p: the policy; only who found it before finds it
 * @msg: why, if it has not ended for another reason, as a sentence
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
		mcx_policy_finish(p);
	}
	mcx_policy_unlist(p);
	mcx_policy_free(p);
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
