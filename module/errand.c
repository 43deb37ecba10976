// SPDX-License-Identifier: GPL-2.0-only
/*
 * Passes of reclaim for BPF programs that sleep, made by a work item in their stead.
 *
 * Such a program is in a read side section of RCU-tasks-trace, bound to its CPU. A pass
 * may block in a file system for as long as that likes; if the program did, so would who
 * detaches a tracepoint (7.x), and who takes the CPU offline. So it only waits for the
 * pass: no longer than its policy lives, and neither while tasks are frozen nor when its
 * CPU goes. A pass that has begun by then is left behind, with references to all it
 * needs; one that has not is not made.
 *
 * Locking: none. The result is read after @done.
 */
#include <linux/cgroup.h>
#include <linux/freezer.h>
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "errand.h"
#include "reclaim.h"

/* How soon it is seen that the waiter's CPU goes, or that tasks are frozen. */
#define MCX_ERRAND_SLICE	(HZ / 10)

struct mcx_errand {
	struct work_struct work;
	refcount_t ref;		/* who waits, and the work item */
	struct task_struct *task;
	struct mem_cgroup *memcg;
	struct mcx_memcg *m;	/* or NULL */
	unsigned long nr_pages;
	int swappiness;
	long result;
	bool done;
};

/* Freezable, so that nothing is written while the system's image is made. */
static struct workqueue_struct *errand_wq;

static void mcx_errand_put(struct mcx_errand *e)
{
	if (!refcount_dec_and_test(&e->ref))
		return;
	put_task_struct(e->task);
	if (e->m)
		mcx_memcg_put(e->m);
	css_put(&e->memcg->css);
	kfree(e);
	/* Who waits for the queue to be empty waits for our return as well. */
	module_put(THIS_MODULE);
}

static void mcx_errand_work(struct work_struct *work)
{
	struct mcx_errand *e = container_of(work, struct mcx_errand, work);

	e->result = mcx_reclaim_pass(e->memcg, e->m, e->nr_pages,
				     e->swappiness);
	/* Pairs with mcx_errand_result(): result and done, done and result. */
	smp_store_release(&e->done, true);
	wake_up_process(e->task);
	mcx_errand_put(e);
}

/* It must not reclaim itself for that. */
static struct mcx_errand *mcx_errand_make(struct mem_cgroup *memcg,
					  unsigned long nr_pages, int swappiness)
{
	struct mcx_errand *e = kzalloc(sizeof(*e), GFP_NOWAIT | __GFP_NOWARN);

	if (!e)
		return NULL;
	/* Whose program this is has one. */
	__module_get(THIS_MODULE);
	INIT_WORK(&e->work, mcx_errand_work);
	refcount_set(&e->ref, 2);
	e->task = get_task_struct(current);
	css_get(&memcg->css);
	e->memcg = memcg;
	e->m = mcx_memcg_lookup(memcg);
	e->nr_pages = nr_pages;
	e->swappiness = swappiness;
	return e;
}

/* No reason to wait on? */
static bool mcx_errand_over(struct mcx_errand *e, struct mcx_policy *p)
{
	return READ_ONCE(e->done) || (p && READ_ONCE(p->dead)) ||
	       freezing(current) || !cpu_active(raw_smp_processor_id());
}

static void mcx_errand_wait_for_policy(struct mcx_errand *e, struct mcx_policy *p)
{
	while (!mcx_errand_over(e, p))
		wait_event_idle_timeout(p->runner.wait, mcx_errand_over(e, p),
					MCX_ERRAND_SLICE);
}

/* A program of somebody's own: until that is killed. */
static void mcx_errand_wait(struct mcx_errand *e)
{
	DECLARE_WAIT_QUEUE_HEAD_ONSTACK(queue);

	while (!mcx_errand_over(e, NULL) && !fatal_signal_pending(current))
		wait_event_killable_timeout(queue, mcx_errand_over(e, NULL),
					    MCX_ERRAND_SLICE);
}

static long mcx_errand_result(struct mcx_errand *e, struct mcx_policy *p)
{
	/* Pairs with mcx_errand_work(). */
	if (smp_load_acquire(&e->done))
		return e->result;
	/* If nobody has begun it, nobody needs it. */
	if (cancel_work(&e->work))
		mcx_errand_put(e);
	if (p && READ_ONCE(p->dead))
		return -ESHUTDOWN;
	return fatal_signal_pending(current) ? -EINTR : -EAGAIN;
}

/**
 * mcx_errand_pass() - a pass of reclaim for the BPF program that is running here
 * @p: the policy whose thread this is; NULL: it is no policy's
 * @memcg: from where
 * @nr_pages: how many
 * @swappiness: 0 to 200, or more where the kernel has more; negative: as the cgroup has it
 *
 * Context: Process; no lock that reclaim needs. Sleeps.
 * Return: pages freed; -ESHUTDOWN: the policy was ejected meanwhile; -EAGAIN: the system is
 * about to sleep, or the CPU to go; -EINTR: a fatal signal; -ENOMEM.
 */
long mcx_errand_pass(struct mcx_policy *p, struct mem_cgroup *memcg,
		     unsigned long nr_pages, int swappiness)
{
	struct mcx_errand *e;
	long ret;

	if (freezing(current))
		return -EAGAIN;
	e = mcx_errand_make(memcg, nr_pages, swappiness);
	if (!e)
		return -ENOMEM;
	queue_work(errand_wq, &e->work);
	if (p)
		mcx_errand_wait_for_policy(e, p);
	else
		mcx_errand_wait(e);
	ret = mcx_errand_result(e, p);
	mcx_errand_put(e);
	return ret;
}

/**
 * mcx_errand_init() - get ready for that
 *
 * Context: Process, from module init only.
 * Return: 0 or -ENOMEM.
 */
int mcx_errand_init(void)
{
	errand_wq = alloc_workqueue("memcg_ext_policy",
				    WQ_UNBOUND | WQ_FREEZABLE | WQ_MEM_RECLAIM, 0);
	return errand_wq ? 0 : -ENOMEM;
}

/**
 * mcx_errand_exit() - wait for the last one to return
 *
 * Context: Process, from module exit only; none is left that has not finished its pass.
 */
void mcx_errand_exit(void)
{
	destroy_workqueue(errand_wq);
}
