// SPDX-License-Identifier: GPL-2.0-only
/*
 * Passes of reclaim for the sleeping members of a policy, made by a work item in their
 * stead.
 *
 * A BPF program that sleeps is in a read side section of RCU-tasks-trace, bound to its CPU.
 * A pass may block in a file system for as long as that likes; if the program did, so
 * would who detaches a tracepoint (7.x), and who takes the CPU offline. So it only waits
 * for the pass, and no longer than its policy lives, and not while tasks are frozen. What
 * is left behind then has references to all it needs.
 *
 * Locking: none. The result is read after @done.
 */
#include <linux/freezer.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "errand.h"
#include "policy_life.h"
#include "reclaim.h"

struct mcx_errand {
	struct work_struct work;
	refcount_t ref;		/* who waits, and the work item */
	struct mcx_policy *policy;
	struct mcx_memcg *m;
	unsigned long nr_pages;
	int swappiness;
	unsigned long freed;
	bool done;
};

/* Freezable, so that nothing is written while the system's image is made. */
static struct workqueue_struct *errand_wq;

static void mcx_errand_put(struct mcx_errand *e)
{
	if (refcount_dec_and_test(&e->ref))
		kfree(e);
}

static void mcx_errand_work(struct work_struct *work)
{
	struct mcx_errand *e = container_of(work, struct mcx_errand, work);
	struct mcx_policy *p = e->policy;

	e->freed = mcx_reclaim_pass(e->m, e->nr_pages, e->swappiness);
	/* Pairs with mcx_errand_pass(): result and done, done and result. */
	smp_store_release(&e->done, true);
	wake_up(&p->runner.wait);
	mcx_memcg_put(e->m);
	mcx_errand_put(e);
	mcx_policy_put(p);
}

static struct mcx_errand *mcx_errand_make(struct mcx_policy *p, struct mcx_memcg *m,
					  unsigned long nr_pages, int swappiness)
{
	struct mcx_errand *e = kzalloc(sizeof(*e), GFP_KERNEL);

	if (!e)
		return NULL;
	INIT_WORK(&e->work, mcx_errand_work);
	refcount_set(&e->ref, 2);
	refcount_inc(&p->ref);
	refcount_inc(&m->ref);
	e->policy = p;
	e->m = m;
	e->nr_pages = nr_pages;
	e->swappiness = swappiness;
	return e;
}

/**
 * mcx_errand_pass() - a pass of reclaim for the policy that is running here
 * @p: the policy; current is its thread
 * @m: from where
 * @nr_pages: how many
 * @swappiness: 0 to 200, or more where the kernel has more; negative: as the cgroup has it
 *
 * Context: the thread of the policy. Sleeps.
 * Return: pages freed; -ESHUTDOWN: it was ejected meanwhile; -EAGAIN: the system is about
 * to sleep; -ENOMEM.
 */
long mcx_errand_pass(struct mcx_policy *p, struct mcx_memcg *m,
		     unsigned long nr_pages, int swappiness)
{
	struct mcx_errand *e = mcx_errand_make(p, m, nr_pages, swappiness);
	long ret;

	if (!e)
		return -ENOMEM;
	queue_work(errand_wq, &e->work);
	wait_event_idle(p->runner.wait, READ_ONCE(e->done) ||
			READ_ONCE(p->dead) || freezing(current));
	/* Pairs with mcx_errand_work(). */
	if (smp_load_acquire(&e->done))
		ret = e->freed;
	else
		ret = READ_ONCE(p->dead) ? -ESHUTDOWN : -EAGAIN;
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
 * mcx_errand_exit() - wait for what was left behind
 *
 * Context: Process, from module exit only; no policy is left.
 */
void mcx_errand_exit(void)
{
	destroy_workqueue(errand_wq);
}
