// SPDX-License-Identifier: GPL-2.0-only
/*
 * One object per cgroup at or below a configured one: who is managed, who is
 * the nearest managed ancestor, and how long all that lives.
 *
 * The objects follow from what was written to memory.ext.enable and from the
 * cgroup tree. Instead of mending them event by event they are worked out anew
 * (mcx_sync()) after every write and whenever a cgroup came or went below a
 * configured one. That walk goes from parents to children, holds no lock of
 * the cgroup core, and runs in the writer or in a work item.
 *
 * Locking: state_mutex guards the table, the list and all fields of struct
 * mcx_memcg that say so. It nests inside cgroup_mutex, which is never taken
 * here. The charge hook reads table and @up under RCU. css_online, css_offline
 * and css_reset only mark and queue: they run in ftrace callbacks, which must
 * not sleep.
 *
 * Lifetime: an object pins its css, so that the key (the address of the memory
 * counter) cannot be reused while it is in the table. It leaves the table at
 * css_offline and is freed, css and all, one grace period after its last user.
 */
#include <uapi/linux/bpf.h>
#include <linux/cgroup.h>
#include <linux/hashtable.h>
#include <linux/mutex.h>
#include <linux/percpu-refcount.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "adapt.h"
#include "budget.h"
#include "call.h"
#include "cpu.h"
#include "hooks.h"
#include "memsw.h"
#include "overrun.h"
#include "policy_delay.h"
#include "policy_wish.h"
#include "protect.h"
#include "reclaim.h"
#include "runner.h"
#include "starve.h"
#include "state.h"

/* How long a cgroup that comes online may take until it is visible. */
#define MCX_SYNC_DELAY	msecs_to_jiffies(10)
/* How long one that is removed may stay while no hook is attached. */
#define MCX_LOOK_DELAY	(5 * HZ)

static void mcx_sync_work(struct work_struct *work);

static DEFINE_MUTEX(state_mutex);
static DECLARE_DELAYED_WORK(sync_work, mcx_sync_work);
/* The same, but later: it must not put that off. */
static DECLARE_DELAYED_WORK(look_work, mcx_sync_work);
static LIST_HEAD(all_memcgs);
/* Of its own: most of 512 bytes would be lost in the next size of kmalloc(). */
static struct kmem_cache *memcg_cache;
static unsigned int walk_nr;
static u64 last_chain;

/*
 * Of fixed size on purpose. A lookup in a bucket that an rhashtable is moving
 * starts again until that is done; one in an NMI on the CPU that moves it would
 * never end, and 7.x charges in NMI. 4096: two or three steps for 10,000 cgroups.
 */
static DEFINE_HASHTABLE(memcg_table, 12);

/**
 * mcx_memcg_find() - our object of a cgroup
 * @counter: address of its memory counter; any other address finds nothing
 *
 * Context: Any, NMI included, inside an RCU read-side section.
 * Return: the object, valid until the end of that section, or NULL.
 */
notrace struct mcx_memcg *mcx_memcg_find(struct page_counter *counter)
{
	struct mcx_memcg *m;

	hash_for_each_possible_rcu_notrace(memcg_table, m, hash,
					   (unsigned long)counter)
		if (m->counter == counter)
			return m;
	return NULL;
}

/**
 * mcx_memcg_lookup() - our object of a cgroup, to keep
 * @memcg: the cgroup
 *
 * Context: Any.
 * Return: the object, to be given back by mcx_memcg_put(), or NULL.
 */
struct mcx_memcg *mcx_memcg_lookup(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m;

	rcu_read_lock();
	m = mcx_memcg_find(&memcg->memory);
	if (m && !mcx_memcg_tryget(m))
		m = NULL;
	rcu_read_unlock();
	return m;
}

static void mcx_memcg_free(struct rcu_head *rcu)
{
	struct mcx_memcg *m = container_of(rcu, struct mcx_memcg, rcu);

	mcx_wish_free(m);
	mcx_memsw_free(m);
	css_put(&m->memcg->css);
	free_percpu(m->stat);
	kmem_cache_free(memcg_cache, m);
}

/**
 * mcx_memcg_put() - done with an object
 * @m: from mcx_memcg_lookup() or mcx_memcg_tryget()
 *
 * Context: Any but NMI.
 */
void mcx_memcg_put(struct mcx_memcg *m)
{
	if (refcount_dec_and_test(&m->ref))
		call_rcu(&m->rcu, mcx_memcg_free);
}

/* Memory for it, charged to the parent as that of the cgroup itself is. */
static struct mcx_memcg *mcx_memcg_alloc(struct mem_cgroup *memcg)
{
	struct mem_cgroup *old = mcx_charge_parent(memcg);
	struct mcx_memcg *m;

	m = kmem_cache_zalloc(memcg_cache, MCX_GFP);
	if (m) {
		m->stat = alloc_percpu_gfp(struct mcx_stat_cpu, MCX_GFP);
		if (!m->stat) {
			kmem_cache_free(memcg_cache, m);
			m = NULL;
		}
	}
	set_active_memcg(old);
	return m;
}

/* Takes over the caller's reference to the css if it succeeds. */
static struct mcx_memcg *mcx_memcg_create(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m;

	lockdep_assert_held(&state_mutex);

	m = mcx_memcg_alloc(memcg);
	if (!m)
		return NULL;
	m->memcg = memcg;
	m->counter = &memcg->memory;
	m->conf = MCX_CONF_DEFAULT;
	m->flags = BIT(MCX_NEWS);
	m->left_until = jiffies;
	m->max_events =
		atomic_long_read(&memcg->memory_events_local[MEMCG_MAX]);
	refcount_set(&m->ref, 1);
	init_waitqueue_head(&m->waiters);
	init_waitqueue_head(&m->batch_waiters);
	init_waitqueue_head(&m->light_waiters);
	init_waitqueue_head(&m->delay_waiters);
	mcx_adapt_init_memcg(m);
	mcx_reclaim_init_memcg(m);
	mcx_starve_init_memcg(m);
	mcx_cpu_init_memcg(m);
	mcx_budget_init_memcg(m);
	mcx_overrun_init_memcg(m);
	mcx_wish_init_memcg(m);
	mcx_memsw_init_memcg(m);

	hash_add_rcu(memcg_table, &m->hash, (unsigned long)m->counter);
	list_add_tail(&m->all, &all_memcgs);
	return m;
}

/**
 * mcx_policy_note_task() - who was running when a policy ended
 * @p: the policy; only for who ended it
 *
 * A stalled call is found by a timer, above whoever it met.
 *
 * Context: Any but NMI.
 */
void mcx_policy_note_task(struct mcx_policy *p)
{
	struct task_struct *task = in_task() || !p->runner.task ? current :
				   p->runner.task;

	strscpy(p->exit_task, task->comm, sizeof(p->exit_task));
	p->exit_pid = task->pid;
}

/**
 * mcx_policy_end() - a policy is over: never call it again, and say why
 * @p: the policy
 * @kind: why
 * @code: more of that
 * @msg: the same as a sentence
 *
 * Only the first call counts. The policy's exit is called by a work item.
 *
 * Context: Any but NMI; inside a call of the policy itself, too.
 */
void mcx_policy_end(struct mcx_policy *p, enum mcx_exit_kind kind, s64 code,
		    const char *msg)
{
	/* In one go, for who finds it dead and waits a grace period: mcx_policy_retire(). */
	preempt_disable_notrace();
	if (cmpxchg(&p->dead, MCX_EXIT_NONE, kind) == MCX_EXIT_NONE) {
		p->exit.kind = kind;
		p->exit.code = code;
		strscpy(p->exit.msg, msg, sizeof(p->exit.msg));
		mcx_policy_note_task(p);
		irq_work_queue(&p->kick);
	}
	preempt_enable_notrace();
}

/* The cgroup goes, or its controller: what was attached ends with it. */
static void mcx_memcg_lose_policy(struct mcx_memcg *m)
{
	struct mcx_policy *p = m->attached;

	lockdep_assert_held(&state_mutex);

	if (!p)
		return;
	m->attached = NULL;
	WRITE_ONCE(p->at, NULL);
	mcx_policy_end(p, MCX_EXIT_CGROUP, 0,
		       "its cgroup was removed, or lost the memory controller");
}

static void mcx_memcg_remove(struct mcx_memcg *m)
{
	lockdep_assert_held(&state_mutex);

	set_bit(MCX_DYING, &m->flags);
	mcx_memcg_lose_policy(m);
	mcx_overrun_configure(m, 0);
	mcx_memsw_configure(m, PAGE_COUNTER_MAX);
	list_del(&m->all);
	hash_del_rcu(&m->hash);
	mcx_memcg_wake(m);
	mcx_reclaim_forget(m);
	mcx_memcg_put(m);
}

/* Objects are only removed under the mutex, so none is needed to keep it. */
static struct mcx_memcg *mcx_memcg_locked(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m;

	lockdep_assert_held(&state_mutex);

	rcu_read_lock();
	m = mcx_memcg_find(&memcg->memory);
	rcu_read_unlock();
	return m;
}

static struct mcx_memcg *mcx_memcg_parent(struct mem_cgroup *memcg)
{
	struct cgroup_subsys_state *parent = memcg->css.parent;

	return parent ? mcx_memcg_locked(mem_cgroup_from_css(parent)) : NULL;
}

/* Is there anything here that needs objects from here down? */
static bool mcx_reaches_down(struct mcx_memcg *m)
{
	return m->own != MCX_ENABLE_NO || m->attached;
}

/* Or just its own? */
static bool mcx_keeps_conf(struct mcx_memcg *m)
{
	struct mcx_conf def = MCX_CONF_DEFAULT;

	return mcx_memsw_needs(m) || memcmp(&m->conf, &def, sizeof(def));
}

/* Does a walk from an ancestor come by here? */
static bool mcx_reached_from_above(struct mcx_memcg *m)
{
	do {
		m = mcx_memcg_parent(m->memcg);
	} while (m && !mcx_reaches_down(m));
	return m;
}

/* Work out who is asked after @p: @above, the first in effect for the parent, or NULL. */
static void mcx_policy_derive(struct mcx_policy *p, struct mcx_policy *above)
{
	u64 chain;

	/* That one is overridden; those above it are not. */
	if (above && !(above->ops->flags & BPF_F_ALLOW_MULTI))
		above = rcu_dereference_protected(above->above,
						  lockdep_is_held(&state_mutex));
	chain = above ? above->chain : 0;
	if (p->chain && above == rcu_access_pointer(p->above) &&
	    chain == p->above_chain)
		return;
	rcu_assign_pointer(p->above, above);
	p->above_chain = chain;
	p->chain = ++last_chain;
}

/* In one go: what a new one says at once counts, and no more what the last one did. */
static void mcx_memcg_set_policy(struct mcx_memcg *m, struct mcx_policy *p)
{
	unsigned long flags;

	spin_lock_irqsave(&m->policy_lock, flags);
	rcu_assign_pointer(m->policy, p);
	mcx_wish_forget(m, false);
	mcx_policy_delay_renew(m);
	spin_unlock_irqrestore(&m->policy_lock, flags);
}

/* The first policy in effect: the nearest that lives. */
static void mcx_memcg_derive_policy(struct mcx_memcg *m,
				    struct mcx_memcg *parent)
{
	struct mcx_policy *p = m->attached, *above = NULL;
	u64 chain;

	if (parent)
		above = rcu_dereference_protected(parent->policy,
						  lockdep_is_held(&state_mutex));
	if (p && !READ_ONCE(p->dead))
		mcx_policy_derive(p, above);
	else
		p = above;
	chain = p ? p->chain : 0;
	if (p == rcu_access_pointer(m->policy) && chain == m->chain)
		return;
	m->chain = chain;
	mcx_memcg_set_policy(m, p);
	mcx_protect_drop(m);
	/* Who waits for what the last one said. */
	mcx_memcg_wake(m);
}

static void mcx_memcg_unmanage(struct mcx_memcg *m)
{
	unsigned long flags;

	/* Else it would be as the policy wished when it is managed once more. */
	spin_lock_irqsave(&m->policy_lock, flags);
	clear_bit(MCX_MANAGED, &m->flags);
	mcx_wish_forget(m, true);
	spin_unlock_irqrestore(&m->policy_lock, flags);
	mcx_reclaim_renew(m);
	mcx_memcg_wake(m);
}

/* Work out one object from what its parent's, already worked out, says. */
static void mcx_memcg_derive(struct mcx_memcg *m)
{
	struct mcx_memcg *parent = mcx_memcg_parent(m->memcg), *up = NULL;
	bool inherit, managed;

	/* Not met by this walk: about to be removed. */
	if (parent && parent->seen != walk_nr)
		parent = NULL;
	inherit = parent && parent->inherit;
	managed = m->own != MCX_ENABLE_NO || inherit;

	if (parent)
		up = test_bit(MCX_MANAGED, &parent->flags) ? parent :
		     rcu_dereference_protected(parent->up,
					       lockdep_is_held(&state_mutex));
	m->inherit = inherit || m->own == MCX_ENABLE_SUBTREE;
	m->seen = walk_nr;
	rcu_assign_pointer(m->up, up);
	mcx_memcg_derive_policy(m, parent);

	if (managed == test_bit(MCX_MANAGED, &m->flags))
		return;
	if (managed) {
		mcx_reclaim_renew(m);
		set_bit(MCX_MANAGED, &m->flags);
		/* It may be over its limit already: no charge would tell. */
		mcx_reclaim_kick(m);
	} else {
		mcx_memcg_unmanage(m);
	}
}

/*
 * css_tryget_online() alone also succeeds while css_online is still running;
 * should that fail, the css is freed whatever references there are.
 */
static bool mcx_css_get(struct cgroup_subsys_state *css)
{
	return READ_ONCE(css->flags) & CSS_ONLINE && css_tryget_online(css);
}

/*
 * Derive everything below one configured cgroup. Returns false if a cgroup
 * there is about to come online, or memory was short: look again soon.
 */
static bool mcx_walk(struct mcx_memcg *top)
{
	struct cgroup_subsys_state *css;
	bool complete = true;

	rcu_read_lock();
	css_for_each_descendant_pre(css, &top->memcg->css) {
		struct mem_cgroup *memcg = mem_cgroup_from_css(css);
		struct mcx_memcg *m, *created;

		if (!mcx_css_get(css)) {
			complete &= !!(READ_ONCE(css->flags) & CSS_DYING);
			continue;
		}
		/* With a reference the walk may leave RCU and go on from here. */
		rcu_read_unlock();
		m = mcx_memcg_locked(memcg);
		created = m ? NULL : mcx_memcg_create(memcg);
		if (created)
			m = created;
		if (m)
			mcx_memcg_derive(m);
		else
			complete = false;
		/* Whoever made the object. */
		if (m && test_and_clear_bit(MCX_NEWS, &m->flags))
			mcx_call_online(m);
		/*
		 * If it went offline before it was in the table, nobody told us. Not
		 * css_is_dying(): that begins with rmdir, and on 7.x lasts until the
		 * last task is gone.
		 */
		complete &= !percpu_ref_is_dying(&css->refcnt);
		cond_resched();
		rcu_read_lock();
		/* The object has a reference now, or RCU holds the place. */
		if (!created)
			css_put(css);
	}
	rcu_read_unlock();
	return complete;
}

/* As if nothing had ever been written. */
static void mcx_memcg_unconfigure(struct mcx_memcg *m)
{
	m->own = MCX_ENABLE_NO;
	mcx_overrun_configure(m, 0);
	mcx_memsw_configure(m, PAGE_COUNTER_MAX);
	m->conf = MCX_CONF_DEFAULT;
}

/* css_reset: what was configured before the controller went is void. */
static void mcx_apply_resets(void)
{
	struct mcx_memcg *m;

	list_for_each_entry(m, &all_memcgs, all)
		if (test_and_clear_bit(MCX_RESET, &m->flags)) {
			mcx_memcg_unconfigure(m);
			mcx_cpu_renew(m);
			mcx_memcg_lose_policy(m);
		}
}

/* Everything from those down that say something about others. */
static bool mcx_sync_walks(void)
{
	struct mcx_memcg *m;
	bool complete = true;

	/*
	 * One with another above it is met by that one's walk, after its parent,
	 * whose values it needs.
	 */
	list_for_each_entry(m, &all_memcgs, all)
		if (mcx_reaches_down(m) && m->seen != walk_nr &&
		    !mcx_reached_from_above(m))
			complete &= mcx_walk(m);

	/* Not managed: kept for what was written, as long as they live. */
	list_for_each_entry(m, &all_memcgs, all)
		if (mcx_keeps_conf(m) && m->seen != walk_nr &&
		    !percpu_ref_is_dying(&m->memcg->css.refcnt))
			mcx_memcg_derive(m);
	return complete;
}

/* Not just out of reach: was the cgroup removed, or did it lose its controller? */
static bool mcx_memcg_gone(struct mcx_memcg *m)
{
	return test_bit(MCX_DYING, &m->flags) ||
	       percpu_ref_is_dying(&m->memcg->css.refcnt);
}

/* What the policies that live want to be told of. */
static void mcx_sync_wants(void)
{
	bool uncharged = false, protection = false;
	const struct memcg_ext_ops *ops;
	struct mcx_memcg *m;

	list_for_each_entry(m, &all_memcgs, all) {
		if (!m->attached || READ_ONCE(m->attached->dead))
			continue;
		ops = m->attached->ops;
		uncharged |= !!ops->memcg_uncharged;
		protection |= ops->below_low || ops->below_min;
	}
	mcx_hooks_hold(uncharged);
	mcx_protect_want(protection);
}

/* Lets go of all that were not met. Returns true if the hooks are needed. */
static bool mcx_sync_sweep(void)
{
	struct mcx_memcg *m, *next;
	bool any = false;

	/*
	 * Nobody may find an object that goes through one that goes later, or that
	 * somebody keeps: cut all their ways up before the first is let go.
	 */
	list_for_each_entry(m, &all_memcgs, all) {
		if (m->seen != walk_nr) {
			if (mcx_memcg_gone(m))
				mcx_call_offline(m);
			RCU_INIT_POINTER(m->up, NULL);
			RCU_INIT_POINTER(m->policy, NULL);
		}
	}
	list_for_each_entry_safe(m, next, &all_memcgs, all) {
		if (m->seen != walk_nr)
			mcx_memcg_remove(m);
		else
			any |= test_bit(MCX_MANAGED, &m->flags) ||
			       m->attached || mcx_memsw_needs(m);
	}
	return any;
}

static void mcx_sync_later(void)
{
	queue_delayed_work(mcx_wq, &sync_work, MCX_SYNC_DELAY);
}

/* Everything anew from what is configured; what cannot be yet, a little later. */
static void mcx_sync(void)
{
	bool complete, any;

	lockdep_assert_held(&state_mutex);

	walk_nr++;
	mcx_apply_resets();
	complete = mcx_sync_walks();
	any = mcx_sync_sweep();
	mcx_sync_wants();
	mcx_hooks_want(any);
	if (!complete)
		mcx_sync_later();
	/* Without hooks nobody tells that one of these is removed: look. */
	if (!any && !list_empty(&all_memcgs))
		queue_delayed_work(mcx_wq, &look_work, MCX_LOOK_DELAY);
}

static void mcx_sync_work(struct work_struct *work)
{
	mcx_state_resync();
}

/**
 * mcx_state_resync() - work out again who is managed
 *
 * Context: Process. May sleep; takes the state mutex.
 */
void mcx_state_resync(void)
{
	mutex_lock(&state_mutex);
	mcx_sync();
	mutex_unlock(&state_mutex);
}

/**
 * mcx_state_clear() - manage nothing any more
 *
 * Context: Process. May sleep; takes the state mutex.
 */
void mcx_state_clear(void)
{
	struct mcx_memcg *m;

	mutex_lock(&state_mutex);
	list_for_each_entry(m, &all_memcgs, all)
		mcx_memcg_unconfigure(m);
	mcx_sync();
	mutex_unlock(&state_mutex);
}

/* The object of one cgroup, made if need be. Or -errno. */
static struct mcx_memcg *mcx_memcg_get_locked(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m = mcx_memcg_locked(memcg);

	if (m)
		return m;
	if (!mcx_css_get(&memcg->css))
		return ERR_PTR(-ENODEV);
	m = mcx_memcg_create(memcg);
	if (m)
		return m;
	css_put(&memcg->css);
	return ERR_PTR(-ENOMEM);
}

/* What is there costs its manager nothing more: no privilege is needed. */
static bool mcx_below_managed(struct mem_cgroup *memcg)
{
	struct mcx_memcg *parent = mcx_memcg_parent(memcg);

	return parent && (test_bit(MCX_MANAGED, &parent->flags) ||
			  rcu_access_pointer(parent->up));
}

/* The same of a limit for memory and swap, whose hooks are others. */
static bool mcx_below_limited(struct mem_cgroup *memcg)
{
	while ((memcg = parent_mem_cgroup(memcg))) {
		if (mcx_memsw_given(memcg) < PAGE_COUNTER_MAX)
			return true;
	}
	return false;
}

/* Before anything is written about a cgroup. */
static int mcx_state_begin(bool allowed)
{
	if (!allowed)
		return -EPERM;
	/* A reset was before this. */
	mcx_apply_resets();
	return 0;
}

static int mcx_state_set_locked(struct mem_cgroup *memcg, enum mcx_enable own,
				bool privileged)
{
	int ret = mcx_state_begin(privileged || mcx_below_managed(memcg));
	struct mcx_memcg *m;

	if (ret)
		return ret;
	m = mcx_memcg_locked(memcg);
	if (!m && own == MCX_ENABLE_NO)
		return 0;
	/* The whole tree is not worked out anew for nothing. */
	if (m && m->own == own)
		return 0;
	if (css_is_dying(&memcg->css))
		return -ENODEV;
	m = mcx_memcg_get_locked(memcg);
	if (IS_ERR(m))
		return PTR_ERR(m);
	m->own = own;
	mcx_sync();
	return 0;
}

/**
 * mcx_state_set() - configure one cgroup
 * @memcg: the cgroup
 * @own: what it shall be
 * @privileged: the writer has CAP_SYS_RESOURCE; without it only cgroups below
 *	a managed one can be configured
 *
 * Takes effect at once but for the hooks, which a work item attaches.
 *
 * Context: Process, under a write to a cgroup file. May sleep.
 * Return: 0, -EPERM, -ENODEV (the cgroup is going), -ENOMEM, -EINTR, or
 * -EOPNOTSUPP if this kernel lacks what managing needs.
 */
int mcx_state_set(struct mem_cgroup *memcg, enum mcx_enable own,
		  bool privileged)
{
	int ret;

	if (own != MCX_ENABLE_NO && !(mcx_hooks_possible() &&
				      mcx_feature_is_on(MCX_FEAT_RECLAIM)))
		return -EOPNOTSUPP;

	if (mutex_lock_killable(&state_mutex))
		return -EINTR;
	ret = mcx_state_set_locked(memcg, own, privileged);
	mutex_unlock(&state_mutex);
	return ret;
}

/**
 * mcx_state_get() - what was written to memory.ext.enable
 * @memcg: the cgroup
 *
 * Context: Process. May sleep.
 * Return: the value.
 */
enum mcx_enable mcx_state_get(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m = mcx_memcg_lookup(memcg);
	enum mcx_enable own = MCX_ENABLE_NO;

	if (m) {
		own = READ_ONCE(m->own);
		mcx_memcg_put(m);
	}
	return own;
}

/* Member by member: the charge hook reads them without a lock. */
static void mcx_memcg_configure(struct mcx_memcg *m, const struct mcx_conf *conf)
{
	WRITE_ONCE(m->conf.headroom, conf->headroom);
	WRITE_ONCE(m->conf.percent, conf->percent);
	WRITE_ONCE(m->conf.swappiness, conf->swappiness);
	if (conf->cpu != m->conf.cpu || conf->cpu_max != m->conf.cpu_max) {
		WRITE_ONCE(m->conf.cpu, conf->cpu);
		WRITE_ONCE(m->conf.cpu_max, conf->cpu_max);
		mcx_cpu_renew(m);
	}
	WRITE_ONCE(m->conf.stuck_ms, conf->stuck_ms);
	WRITE_ONCE(m->conf.stuck, conf->stuck);
	mcx_overrun_configure(m, conf->overrun);
	/* Who may be killed is looked for anew. */
	clear_bit(MCX_NO_VICTIM, &m->flags);
	/* More headroom may be wanted now: no charge would tell. */
	if (mcx_memcg_managed(m))
		mcx_reclaim_kick(m);
}

static int mcx_state_configure_locked(struct mem_cgroup *memcg,
				      const struct mcx_conf *conf,
				      bool privileged)
{
	int ret = mcx_state_begin(privileged || mcx_below_managed(memcg));
	struct mcx_memcg *m;

	if (ret)
		return ret;
	m = mcx_memcg_get_locked(memcg);
	if (IS_ERR(m))
		return PTR_ERR(m);
	mcx_memcg_configure(m, conf);
	mcx_sync();
	return 0;
}

/**
 * mcx_state_configure() - set how the workers reclaim from a cgroup
 * @memcg: the cgroup; it need not be managed
 * @conf: all of it
 * @privileged: as for mcx_state_set()
 *
 * Context: Process, under a write to a cgroup file. May sleep.
 * Return: 0, -EPERM, -ENODEV (the cgroup is going), -ENOMEM or -EINTR.
 */
int mcx_state_configure(struct mem_cgroup *memcg, const struct mcx_conf *conf,
			bool privileged)
{
	int ret;

	if (mutex_lock_killable(&state_mutex))
		return -EINTR;
	ret = mcx_state_configure_locked(memcg, conf, privileged);
	mutex_unlock(&state_mutex);
	return ret;
}

static int mcx_state_limit_locked(struct mem_cgroup *memcg, unsigned long limit,
				  bool privileged)
{
	int ret = mcx_state_begin(privileged || limit >= PAGE_COUNTER_MAX ||
				  mcx_below_limited(memcg));
	struct mcx_memcg *m;

	if (ret)
		return ret;
	m = mcx_memcg_locked(memcg);
	if (!m && limit >= PAGE_COUNTER_MAX)
		return 0;
	if (css_is_dying(&memcg->css))
		return -ENODEV;
	m = mcx_memcg_get_locked(memcg);
	if (IS_ERR(m))
		return PTR_ERR(m);
	ret = mcx_memsw_configure(m, limit);
	mcx_sync();
	return ret;
}

/**
 * mcx_state_limit() - set one limit for memory and swap of a cgroup
 * @memcg: the cgroup; it need not be managed, and is not for that
 * @limit: pages; PAGE_COUNTER_MAX: none
 * @privileged: the writer has CAP_SYS_RESOURCE; without it only cgroups below one with
 *	such a limit can have one, though any may be without
 *
 * Context: Process, under a write to a cgroup file. May sleep.
 * Return: 0, -EPERM, -ENODEV (the cgroup is going), -ENOMEM, -EINTR, or -EOPNOTSUPP if
 * this kernel lacks what that needs.
 */
int mcx_state_limit(struct mem_cgroup *memcg, unsigned long limit,
		    bool privileged)
{
	int ret;

	if (limit < PAGE_COUNTER_MAX && !mcx_memsw_possible())
		return -EOPNOTSUPP;
	if (mutex_lock_killable(&state_mutex))
		return -EINTR;
	ret = mcx_state_limit_locked(memcg, limit, privileged);
	mutex_unlock(&state_mutex);
	return ret;
}

/**
 * mcx_state_unlimit() - take such a limit away again
 * @memcg: the cgroup
 * @limit: pages; if it has another one by now that stays
 *
 * Context: Process. May sleep.
 */
void mcx_state_unlimit(struct mem_cgroup *memcg, unsigned long limit)
{
	struct mcx_memcg *m;

	mutex_lock(&state_mutex);
	m = mcx_memcg_locked(memcg);
	if (m && m->memsw->given == limit && !mcx_memsw_limited(m)) {
		mcx_memsw_configure(m, PAGE_COUNTER_MAX);
		mcx_sync();
	}
	mutex_unlock(&state_mutex);
}

/**
 * mcx_state_conf() - how the workers reclaim from a cgroup
 * @memcg: the cgroup
 *
 * Context: Process. May sleep.
 * Return: what was set, or the default.
 */
struct mcx_conf mcx_state_conf(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m = mcx_memcg_lookup(memcg);
	struct mcx_conf conf = MCX_CONF_DEFAULT;

	if (m) {
		mutex_lock(&state_mutex);
		conf = m->conf;
		mutex_unlock(&state_mutex);
		mcx_memcg_put(m);
	}
	return conf;
}

/* What the live policy of one cgroup allows; -1: there is none. */
static int mcx_allows(struct cgroup_subsys_state *css)
{
	struct mcx_memcg *m = mcx_memcg_locked(mem_cgroup_from_css(css));

	return m && m->attached && !READ_ONCE(m->attached->dead) ?
		m->attached->ops->flags : -1;
}

/*
 * Whoever is attached above, and lives, must allow it. Of cgroup programs only the nearest
 * has to; these may have been attached above it later, and mean it, too.
 */
static int mcx_allowed_above(struct mem_cgroup *memcg)
{
	struct cgroup_subsys_state *css;

	for (css = memcg->css.parent; css; css = css->parent)
		if (!mcx_allows(css))
			return -EPERM;
	return 0;
}

/* How many policies above one are asked, too. */
static unsigned int mcx_chain_above(struct mem_cgroup *memcg)
{
	struct cgroup_subsys_state *css;
	unsigned int n = 0;
	int flags;

	for (css = memcg->css.parent; css; css = css->parent) {
		flags = mcx_allows(css);
		n += flags > 0 && flags & BPF_F_ALLOW_MULTI;
	}
	return n;
}

/* Each is asked about each batch, so there cannot be any number of them. */
static int mcx_chains_fit(struct mem_cgroup *memcg, const struct mcx_policy *p)
{
	struct mcx_memcg *m;

	if (mcx_chain_above(memcg) + 1 > MCX_CHAIN_MAX)
		return -E2BIG;
	if (!(p->ops->flags & BPF_F_ALLOW_MULTI))
		return 0;
	list_for_each_entry(m, &all_memcgs, all)
		if (m->attached && !READ_ONCE(m->attached->dead) &&
		    m->memcg != memcg && !mcx_memcg_gone(m) &&
		    mem_cgroup_is_descendant(m->memcg, memcg) &&
		    mcx_chain_above(m->memcg) + 2 > MCX_CHAIN_MAX)
			return -E2BIG;
	return 0;
}

/*
 * A live one above or beside it was asked when @old was attached. One that is over has no
 * say in what is attached above it, so that taking its place is like attaching anew; and
 * what people ejected by hand stays so until its link is closed.
 */
static int mcx_may_replace(struct mcx_policy *old)
{
	u32 dead = READ_ONCE(old->dead);

	if (!old->at)
		return -ENODEV;
	if (dead == MCX_EXIT_ADMIN)
		return -EPERM;
	return dead ? mcx_allowed_above(old->at->memcg) : 0;
}

/* It makes no chain longer that is as long already with the one that it replaces. */
static bool mcx_was_in_chains(const struct mcx_policy *old)
{
	return old && !READ_ONCE(old->dead) &&
	       old->ops->flags & BPF_F_ALLOW_MULTI;
}

static int mcx_may_attach(struct mem_cgroup *memcg, const struct mcx_policy *p,
			  struct mcx_policy *old)
{
	struct mcx_memcg *m = mcx_memcg_locked(memcg);
	int ret;

	if (!old && !mcx_hooks_possible())
		return -EOPNOTSUPP;
	if (!old && m && m->attached)
		return -EBUSY;
	ret = old ? mcx_may_replace(old) : mcx_allowed_above(memcg);
	if (ret || mcx_was_in_chains(old))
		return ret;
	return mcx_chains_fit(memcg, p);
}

static int mcx_state_attach_locked(struct mem_cgroup *memcg,
				   struct mcx_policy *p, struct mcx_policy *old)
{
	struct mcx_memcg *m;
	int ret;

	/* A reset was before this. */
	mcx_apply_resets();
	ret = mcx_may_attach(memcg, p, old);
	if (ret)
		return ret;
	m = old ? old->at : mcx_memcg_get_locked(memcg);
	if (IS_ERR(m))
		return PTR_ERR(m);
	m->attached = p;
	WRITE_ONCE(p->at, m);
	if (old)
		WRITE_ONCE(old->at, NULL);
	mcx_sync();
	WRITE_ONCE(p->settled, true);
	return 0;
}

/**
 * mcx_state_may_attach() - would a policy be refused here
 * @memcg: the cgroup
 * @p: the policy
 * @old: the one that is there and shall be replaced, or NULL
 *
 * Context: Process. May sleep.
 * Return: as mcx_state_attach(), which may fail all the same.
 */
int mcx_state_may_attach(struct mem_cgroup *memcg, const struct mcx_policy *p,
			 struct mcx_policy *old)
{
	int ret;

	if (mutex_lock_killable(&state_mutex))
		return -EINTR;
	ret = mcx_may_attach(memcg, p, old);
	mutex_unlock(&state_mutex);
	return ret;
}

/**
 * mcx_state_attach() - have a policy asked about a cgroup and all below
 * @memcg: the cgroup
 * @p: the policy
 * @old: the one that is there and shall be replaced, as for mcx_state_detach(); or NULL
 *
 * Takes effect at once but for the hooks, which a work item attaches. Of each cgroup one
 * of the two is asked at any moment, unless @old is over already.
 *
 * Context: Process. May sleep.
 * Return: 0; -EBUSY, there is one already; -EPERM, one above does not allow it, or @old
 * was ejected by hand; -E2BIG, too many would be asked; -ENODEV, the cgroup is going;
 * -ENOMEM; -EINTR; -EOPNOTSUPP if this kernel lacks what that needs.
 */
int mcx_state_attach(struct mem_cgroup *memcg, struct mcx_policy *p,
		     struct mcx_policy *old)
{
	int ret;

	if (mutex_lock_killable(&state_mutex))
		return -EINTR;
	ret = mcx_state_attach_locked(memcg, p, old);
	mutex_unlock(&state_mutex);
	return ret;
}

/**
 * mcx_state_detach() - the opposite of mcx_state_attach()
 * @p: the policy; whoever finds it still has it until a grace period of RCU
 *	is over
 *
 * Context: Process. May sleep.
 */
void mcx_state_detach(struct mcx_policy *p)
{
	mutex_lock(&state_mutex);
	if (p->at)
		p->at->attached = NULL;
	WRITE_ONCE(p->at, NULL);
	mcx_sync();
	mutex_unlock(&state_mutex);
}

/**
 * mcx_memcg_stat() - sum of a counter over all CPUs
 * @m: the cgroup
 * @i: the counter
 *
 * Context: Any.
 * Return: the sum; while it is counted elsewhere, any value of late.
 */
u64 mcx_memcg_stat(struct mcx_memcg *m, enum mcx_stat i)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(m->stat, cpu)->v[i]);
	return sum;
}

/**
 * mcx_state_for_each() - call a function for every object
 * @fn: the function; may sleep, must not take the state mutex
 * @arg: passed through
 *
 * Context: Process. Takes the state mutex.
 */
void mcx_state_for_each(void (*fn)(struct mcx_memcg *m, void *arg), void *arg)
{
	struct mcx_memcg *m;

	mutex_lock(&state_mutex);
	list_for_each_entry(m, &all_memcgs, all)
		fn(m, arg);
	mutex_unlock(&state_mutex);
}

/**
 * mcx_state_visit() - the same where nothing may be waited for
 * @fn: the function; must not sleep
 *
 * Context: Any but NMI. Objects that come or go meanwhile may be met or not.
 */
void mcx_state_visit(void (*fn)(struct mcx_memcg *m))
{
	struct mcx_memcg *m;
	int bucket;

	rcu_read_lock();
	hash_for_each_rcu(memcg_table, bucket, m, hash)
		fn(m);
	rcu_read_unlock();
}

/*
 * The hooks below run in ftrace callbacks, at the entry of functions that are
 * called under cgroup_mutex: they must not sleep, and cannot know whether the
 * function will succeed.
 */

static struct page_counter *mcx_hooked_counter(struct ftrace_regs *fregs,
					       bool of_parent)
{
	struct cgroup_subsys_state *css =
		(void *)ftrace_regs_get_argument(fregs, 0);

	if (of_parent)
		css = css->parent;
	return css ? &mem_cgroup_from_css(css)->memory : NULL;
}

/* Is it below a configured one? It becomes visible a little later. */
static void notrace mcx_online(struct ftrace_regs *fregs)
{
	struct page_counter *parent = mcx_hooked_counter(fregs, true);
	bool ours;

	rcu_read_lock();
	ours = parent && mcx_memcg_find(parent);
	rcu_read_unlock();
	if (ours)
		mcx_sync_later();
}

static void notrace mcx_ended(struct ftrace_regs *fregs,
			      enum mcx_memcg_flag how)
{
	struct page_counter *counter = mcx_hooked_counter(fregs, false);
	struct mcx_memcg *m;

	rcu_read_lock();
	m = mcx_memcg_find(counter);
	if (m) {
		/* Not managed any more from here on; many may go at once. */
		set_bit(how, &m->flags);
		if (how == MCX_RESET)
			mcx_memsw_reset(m);
		mcx_sync_later();
	}
	rcu_read_unlock();
}

/**
 * mcx_state_hook() - a cgroup comes, goes, or loses the controller
 * @ip: which of the hooks below
 * @fregs: arguments of the function that was entered
 *
 * Context: an ftrace callback; must not sleep.
 */
void notrace mcx_state_hook(unsigned long ip, struct ftrace_regs *fregs)
{
	if (ip == mcx_hook_offline.addr)
		mcx_ended(fregs, MCX_DYING);
	else if (ip == mcx_hook_reset.addr)
		mcx_ended(fregs, MCX_RESET);
	else
		mcx_online(fregs);
}

struct mcx_hook mcx_hook_online = {
	.symbols = { "mem_cgroup_css_online" },
	.with = &mcx_hook_charge,
	.feature = MCX_FEAT_LIFETIME,
};

struct mcx_hook mcx_hook_offline = {
	.symbols = { "mem_cgroup_css_offline" },
	.with = &mcx_hook_charge,
	.feature = MCX_FEAT_LIFETIME,
};

struct mcx_hook mcx_hook_reset = {
	.symbols = { "mem_cgroup_css_reset" },
	.with = &mcx_hook_charge,
	.feature = MCX_FEAT_LIFETIME,
};

/**
 * mcx_state_stop() - let go of all cgroups for good
 *
 * Files and hooks must be gone, so that nobody configures any more and no work
 * is queued.
 *
 * Context: Process, from module exit only.
 */
void mcx_state_stop(void)
{
	mcx_state_clear();
	/* With nothing left to look after neither queues the other any more. */
	cancel_delayed_work_sync(&sync_work);
	cancel_delayed_work_sync(&look_work);
}

/**
 * mcx_state_init() - get ready to make objects
 *
 * Context: Process, from module init only.
 * Return: 0 or -ENOMEM.
 */
int mcx_state_init(void)
{
	memcg_cache = KMEM_CACHE(mcx_memcg, SLAB_ACCOUNT | SLAB_HWCACHE_ALIGN);
	return memcg_cache ? 0 : -ENOMEM;
}

/**
 * mcx_state_exit() - free what is left
 *
 * Hooks, files and workers must be gone.
 *
 * Context: Process, from module exit only.
 */
void mcx_state_exit(void)
{
	/* Waits for the callbacks that free the last objects. */
	rcu_barrier();
	kmem_cache_destroy(memcg_cache);
}
