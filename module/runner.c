// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread of a policy: calls those of its members that may sleep, tick and reclaim.
 * The workers serve all cgroups and must not wait for one policy: they only ask here, and
 * read the answer.
 *
 * A call that is not back within timeout_ms has the policy ejected. One that reclaims has
 * more time while that gets on, MCX_STALL_MOST times as much. A program that runs cannot
 * be stopped, though. Its kfuncs refuse from then on, and those it sleeps in come back
 * (errand.c). Nobody waits for it for long, neither who closes the link, under the bpf
 * core's mutex, nor a work item: the last of both, the thread and who ends the policy,
 * calls exit (policy_life.c). Until then the thread has a reference to the policy, one to
 * its programs, and one to this module.
 *
 * Locking: mcx_runner.lock guards what is asked; taken by workers and by the thread.
 * mcx_memcg.policy_lock, inside of it, guards what was answered; a no (MCX_DECLINED) ends
 * with the turn of the workers, too. The rest belongs to the thread alone.
 */
#include <linux/bpf.h>
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/wait.h>

#include "cpu.h"
#include "effect.h"
#include "errand.h"
#include "mark.h"
#include "policy_life.h"
#include "reclaim.h"
#include "runner.h"
#include "symbols.h"

/* How soon tick is called again: bounds, and what 0 means. */
#define MCX_TICK_MS		1000
#define MCX_TICK_MS_MIN		10
#define MCX_TICK_MS_MAX		60000

/* How long the workers leave a cgroup to a policy that has not answered yet. */
#define MCX_ANSWER_TIME		msecs_to_jiffies(20)

/* A call that gets on may take so often timeout_ms. */
#define MCX_STALL_MOST		10

/* Pages of one pass. */
#define MCX_CALL_PASS_MIN	32UL
#define MCX_CALL_PASS_MAX	256UL

static int mcx_runner_main(void *data);

static void mcx_runner_stalls(struct timer_list *t)
{
	struct mcx_policy *p = container_of(t, struct mcx_policy, runner.stall);

	mcx_policy_end(p, MCX_EXIT_ERROR_STALL, p->ops->timeout_ms,
		       "tick or reclaim was not back within timeout_ms");
}

/**
 * mcx_runner_create() - make the thread of a policy that needs one
 * @p: the policy, attached nowhere yet
 *
 * It runs once mcx_runner_go() says so.
 *
 * Context: Process.
 * Return: 0 or -ENOMEM.
 */
int mcx_runner_create(struct mcx_policy *p)
{
	struct mcx_runner *r = &p->runner;
	const void *ops = p->ops;
	struct task_struct *task;

	if (!p->ops->tick && !p->ops->reclaim)
		return 0;
	init_waitqueue_head(&r->wait);
	spin_lock_init(&r->lock);
	INIT_LIST_HEAD(&r->asked);
	timer_setup(&r->stall, mcx_runner_stalls, 0);
	r->tick_at = jiffies;
	task = kthread_create(mcx_runner_main, p, "mcx/%s", p->ops->name);
	if (IS_ERR(task))
		return -ENOMEM;
	/* The caller's link has it, so that it cannot fail. */
	if (WARN_ON_ONCE(!static_call(mcx_struct_ops_get)(ops))) {
		kthread_stop(task);
		return -ENODEV;
	}
	__module_get(THIS_MODULE);
	refcount_inc(&p->ref);
	atomic_inc(&p->parts);
	/* For its number, whenever somebody asks. */
	r->task = get_task_struct(task);
	return 0;
}

/**
 * mcx_runner_destroy() - the policy was not attached
 * @p: the policy; its thread, if it has one, never ran
 *
 * Context: Process.
 */
void mcx_runner_destroy(struct mcx_policy *p)
{
	struct mcx_runner *r = &p->runner;

	if (!r->task)
		return;
	kthread_stop(r->task);
	put_task_struct(r->task);
	r->task = NULL;
	static_call_cond(mcx_struct_ops_put)(p->ops);
	atomic_dec(&p->parts);
	refcount_dec(&p->ref);
	module_put(THIS_MODULE);
}

/**
 * mcx_runner_go() - the policy is attached
 * @p: the policy
 *
 * Context: Process.
 */
void mcx_runner_go(struct mcx_policy *p)
{
	if (p->runner.task)
		wake_up_process(p->runner.task);
}

/**
 * mcx_runner_policy() - the policy whose tick or reclaim is running here
 *
 * Context: a kfunc.
 * Return: the policy; NULL: none is, or in an interrupt above it.
 */
struct mcx_policy *mcx_runner_policy(void)
{
	if (!(current->flags & PF_KTHREAD) || interrupt_context_level() ||
	    kthread_func(current) != mcx_runner_main)
		return NULL;
	return kthread_data(current);
}

/*
 * What is asked of it.
 */

/* Of the policies in effect the nearest that has such a member. Under RCU. */
static struct mcx_policy *mcx_runner_whose(struct mcx_memcg *m)
{
	struct mcx_policy *p;

	mcx_for_each_policy(p, m) {
		if (p->ops->reclaim)
			return p;
	}
	return NULL;
}

/* What counts is what @p says from now on: so long it sees to @m. Has the policy_lock. */
static void mcx_runner_leave_locked(struct mcx_policy *p, struct mcx_memcg *m,
				    unsigned long time)
{
	if (m->left_by != p->id)
		clear_bit(MCX_DECLINED, &m->flags);
	WRITE_ONCE(m->left_by, p->id);
	WRITE_ONCE(m->left_until, jiffies + time);
}

/* Has it said no, since the workers began? Caller has the policy_lock. */
static bool mcx_runner_declined(struct mcx_policy *p, struct mcx_memcg *m)
{
	return test_bit(MCX_DECLINED, &m->flags) && m->left_by == p->id;
}

/* It is asked, and has a moment to answer. */
static void mcx_runner_await(struct mcx_policy *p, struct mcx_memcg *m)
{
	unsigned long flags;

	spin_lock_irqsave(&m->policy_lock, flags);
	if (!mcx_runner_declined(p, m))
		mcx_runner_leave_locked(p, m, MCX_ANSWER_TIME);
	spin_unlock_irqrestore(&m->policy_lock, flags);
}

/* Have its reclaim called for @m. Under RCU. */
static void mcx_runner_ask(struct mcx_policy *p, struct mcx_memcg *m)
{
	struct mcx_runner *r = &p->runner;

	if (test_bit(MCX_ASKED, &m->flags) || mcx_runner_left(m) ||
	    test_and_set_bit(MCX_ASKED, &m->flags))
		return;
	spin_lock(&r->lock);
	if (r->closed || !mcx_memcg_tryget(m)) {
		clear_bit(MCX_ASKED, &m->flags);
	} else {
		mcx_runner_await(p, m);
		list_add_tail(&m->asked, &r->asked);
	}
	spin_unlock(&r->lock);
	wake_up(&r->wait);
}

/**
 * mcx_runner_left() - for how long do the workers leave a cgroup to a policy
 * @m: the cgroup
 *
 * What another policy said than the one that would be asked now is void.
 *
 * Context: Any.
 * Return: jiffies, a few at most, since tasks may have come to the pacing mark by then;
 * 0: not any more.
 */
unsigned long mcx_runner_left(struct mcx_memcg *m)
{
	long left = READ_ONCE(m->left_until) - jiffies;
	struct mcx_policy *p;

	if (left <= 0)
		return 0;
	rcu_read_lock();
	p = mcx_runner_whose(m);
	if (!p || p->id != READ_ONCE(m->left_by))
		left = 0;
	rcu_read_unlock();
	return min_t(unsigned long, left, MCX_ANSWER_TIME);
}

/**
 * mcx_runner_reclaims() - does a policy see to a cgroup, so that the workers leave it alone
 * @m: the cgroup, above its wake mark
 *
 * Of several the nearest one is asked: two would free it twice. Only below the pacing
 * mark: where tasks begin to wait the workers help.
 *
 * Context: Process.
 * Return: true if so, for now; in any case it is asked to.
 */
bool mcx_runner_reclaims(struct mcx_memcg *m)
{
	struct mcx_policy *p;

	rcu_read_lock();
	p = mcx_runner_whose(m);
	if (p)
		mcx_runner_ask(p, m);
	rcu_read_unlock();
	if (!p || !mcx_runner_left(m))
		return false;
	/* Batch threads wait from the wake mark on; one that just begins to is seen next time. */
	return !waitqueue_active(&m->batch_waiters) &&
	       page_counter_read(m->counter) <=
	       mcx_mark_pace(m, mcx_mark_admit(m));
}

/* With the reference of who asked. */
static struct mcx_memcg *mcx_runner_next(struct mcx_runner *r)
{
	struct mcx_memcg *m;

	spin_lock(&r->lock);
	m = list_first_entry_or_null(&r->asked, struct mcx_memcg, asked);
	if (m)
		list_del(&m->asked);
	spin_unlock(&r->lock);
	return m;
}

/* Does the policy still have a say in it? */
static bool mcx_runner_serves(struct mcx_policy *p, struct mcx_memcg *m)
{
	bool serves;

	rcu_read_lock();
	serves = mcx_runner_whose(m) == p;
	rcu_read_unlock();
	return serves;
}

/* Nobody asks any more, or waits for an answer. */
static void mcx_runner_close(struct mcx_runner *r)
{
	struct mcx_memcg *m;

	spin_lock(&r->lock);
	r->closed = true;
	spin_unlock(&r->lock);
	while ((m = mcx_runner_next(r))) {
		/* From here on it may be in another policy's list. */
		clear_bit_unlock(MCX_ASKED, &m->flags);
		mcx_memcg_put(m);
	}
}

/**
 * mcx_runner_stop() - the policy is dead: its thread shall see that
 * @p: the policy
 *
 * Context: Process.
 */
void mcx_runner_stop(struct mcx_policy *p)
{
	if (!p->runner.task)
		return;
	/* It may not get to it for long, and the next policy is to be asked. */
	mcx_runner_close(&p->runner);
	wake_up(&p->runner.wait);
}

/*
 * The thread.
 */

static void mcx_runner_begin(struct mcx_policy *p)
{
	p->runner.began = jiffies;
	mod_timer(&p->runner.stall,
		  jiffies + msecs_to_jiffies(p->ops->timeout_ms));
}

static void mcx_runner_end(struct mcx_policy *p)
{
	timer_delete(&p->runner.stall);
	/* Who reclaims all the time, and is preempted lazily, would never pass one. */
	cond_resched_tasks_rcu_qs();
}

/* The object of the cgroup where it is attached, with a reference; or NULL. */
static struct mcx_memcg *mcx_runner_at(struct mcx_policy *p)
{
	struct mcx_memcg *at;

	rcu_read_lock();
	at = READ_ONCE(p->at);
	if (at && !mcx_memcg_tryget(at))
		at = NULL;
	rcu_read_unlock();
	return at;
}

static void mcx_runner_tick(struct mcx_policy *p)
{
	struct mcx_runner *r = &p->runner;
	unsigned long began = jiffies;
	unsigned int ms = MCX_TICK_MS;
	struct mcx_memcg *at;

	if (!p->ops->tick || time_before(jiffies, r->tick_at) ||
	    READ_ONCE(p->dead))
		return;
	/* Without it the policy is about to end. */
	at = mcx_runner_at(p);
	if (at) {
		this_cpu_inc(p->stat->tick);
		mcx_runner_begin(p);
		ms = p->ops->tick(at->memcg) ?: MCX_TICK_MS;
		mcx_runner_end(p);
		mcx_memcg_put(at);
	}
	ms = clamp(ms, MCX_TICK_MS_MIN, MCX_TICK_MS_MAX);
	/* As long as it took at least: a thread of no cgroup must not take a whole CPU. */
	r->tick_at = jiffies + max(msecs_to_jiffies(ms), jiffies - began);
}

/* How long it sees to @m. */
static void mcx_runner_answer(struct mcx_policy *p, struct mcx_memcg *m,
			      unsigned int ms)
{
	unsigned long flags;

	spin_lock_irqsave(&m->policy_lock, flags);
	/* Another one may have been asked meanwhile, and answered. */
	if (mcx_runner_serves(p, m)) {
		mcx_runner_leave_locked(p, m, msecs_to_jiffies(ms));
		if (!ms)
			set_bit(MCX_DECLINED, &m->flags);
	}
	spin_unlock_irqrestore(&m->policy_lock, flags);
}

/* Asks it. */
static void mcx_runner_reclaim(struct mcx_policy *p, struct mcx_memcg *m)
{
	unsigned long nr_pages = mcx_reclaim_excess(m);
	unsigned int ms;

	/* Another policy may be asked while this one does not come back. */
	clear_bit_unlock(MCX_ASKED, &m->flags);
	if (!nr_pages || !mcx_runner_serves(p, m))
		return;
	this_cpu_inc(p->stat->reclaim);
	mcx_runner_begin(p);
	ms = p->ops->reclaim(m->memcg, nr_pages);
	mcx_runner_end(p);
	mcx_runner_answer(p, m, min(ms, p->ops->timeout_ms));
}

static void mcx_runner_serve(struct mcx_policy *p)
{
	struct mcx_memcg *m;

	while (!READ_ONCE(p->dead) && (m = mcx_runner_next(&p->runner))) {
		mcx_runner_reclaim(p, m);
		mcx_memcg_put(m);
		/* However much is asked. */
		mcx_runner_tick(p);
	}
}

static bool mcx_runner_has_work(struct mcx_policy *p)
{
	return READ_ONCE(p->dead) || !list_empty_careful(&p->runner.asked);
}

/* Jiffies until the next tick. */
static long mcx_runner_rest(struct mcx_policy *p)
{
	if (!p->ops->tick)
		return MAX_SCHEDULE_TIMEOUT;
	return max((long)(p->runner.tick_at - jiffies), 0L);
}

static int mcx_runner_main(void *data)
{
	struct mcx_policy *p = data;
	struct mcx_runner *r = &p->runner;
	const void *ops = p->ops;

	set_freezable();
	while (!READ_ONCE(p->dead)) {
		mcx_runner_tick(p);
		mcx_runner_serve(p);
		wait_event_freezable_timeout(r->wait, mcx_runner_has_work(p),
					     mcx_runner_rest(p));
	}
	mcx_runner_close(r);
	timer_shutdown_sync(&r->stall);
	mcx_policy_part(p);
	mcx_policy_put(p);
	static_call_cond(mcx_struct_ops_put)(ops);
	module_put_and_kthread_exit(0);
}

/*
 * What it does for a policy.
 */

/* Is that in the policy's cgroup, or below? */
static bool mcx_runner_may_act(struct mcx_policy *p, struct mem_cgroup *memcg)
{
	struct mcx_memcg *at;
	bool may;

	rcu_read_lock();
	at = READ_ONCE(p->at);
	may = at && mem_cgroup_is_descendant(memcg, at->memcg);
	rcu_read_unlock();
	return may;
}

/* A call that gets on is not stalled, up to a point. */
static void mcx_runner_gets_on(struct mcx_policy *p)
{
	unsigned long time = msecs_to_jiffies(p->ops->timeout_ms);
	unsigned long end = p->runner.began + MCX_STALL_MOST * time;

	if (time_before(jiffies + time, end))
		mod_timer_pending(&p->runner.stall, jiffies + time);
}

/*
 * Up to @nr_pages, until a pass frees nothing, or cpu_max= of the cgroup is used up. Returns
 * how many, or -errno.
 */
static long mcx_runner_passes(struct mcx_policy *p, struct mcx_memcg *m,
			      unsigned long nr_pages, int swappiness)
{
	unsigned long freed = 0;
	long pass;

	do {
		if (mcx_cpu_rest(m))
			return freed ?: -EAGAIN;
		pass = mcx_errand_pass(p, m->memcg,
				       clamp(nr_pages - freed, MCX_CALL_PASS_MIN,
					     MCX_CALL_PASS_MAX), swappiness);
		if (pass < 0)
			return freed ?: pass;
		freed += pass;
		if (pass)
			mcx_runner_gets_on(p);
		/* Who wants ftrace's code to be gone waits for each task to pass here. */
		cond_resched_tasks_rcu_qs();
	} while (pass && freed < nr_pages);
	return freed;
}

/**
 * mcx_runner_free() - reclaim for a policy
 * @p: the policy
 * @memcg: from where: its cgroup, or one below
 * @nr_pages: how many
 * @swappiness: 0 to 200, or -1: the cgroup's own
 *
 * Context: the thread of the policy. Sleeps.
 * Return: pages freed; -EPERM: not its cgroup; -ENODEV: the cgroup is going;
 * -ESHUTDOWN: it was ejected; -EAGAIN: its cpu_max= is used up, the system is about to
 * sleep, or the CPU to go.
 */
long mcx_runner_free(struct mcx_policy *p, struct mem_cgroup *memcg,
		     unsigned long nr_pages, int swappiness)
{
	struct mcx_memcg *m;
	long freed;

	if (READ_ONCE(p->dead))
		return -ESHUTDOWN;
	if (!mcx_runner_may_act(p, memcg))
		return -EPERM;
	m = mcx_memcg_lookup(memcg);
	if (!m)
		return -ENODEV;
	freed = mcx_runner_passes(p, m, nr_pages, swappiness);
	mcx_memcg_put(m);
	return freed;
}
