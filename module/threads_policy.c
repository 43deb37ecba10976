// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a policy says of threads. It does so where a page is charged, where nothing may
 * be allocated and no lock taken, so that it is only noted there, and said a moment
 * later by a work item.
 *
 * Locking: none. A request is taken by its bit, and given back by the work item.
 */
#include <linux/bitops.h>
#include <linux/irq_work.h>
#include <linux/llist.h>
#include <linux/sched/task.h>
#include <linux/workqueue.h>

#include "state.h"
#include "threads.h"
#include "threads_policy.h"

#define MCX_REQUESTS	64

struct mcx_request {
	struct llist_node node;
	struct task_struct *task;	/* a reference */
	struct mcx_word word;
};

static void mcx_requests_kick(struct irq_work *work);
static void mcx_requests_work(struct work_struct *work);

static struct mcx_request requests[MCX_REQUESTS];
static DECLARE_BITMAP(taken, MCX_REQUESTS);
static LLIST_HEAD(pending);
static DEFINE_IRQ_WORK(kick, mcx_requests_kick);
static DECLARE_WORK(requests_work, mcx_requests_work);

static void mcx_requests_kick(struct irq_work *work)
{
	queue_work(mcx_wq, &requests_work);
}

static void mcx_requests_work(struct work_struct *work)
{
	struct llist_node *all = llist_reverse_order(llist_del_all(&pending));
	struct mcx_request *r, *next;

	llist_for_each_entry_safe(r, next, all, node) {
		/* Who is gone, or for whom there is no memory, is as before. */
		mcx_threads_set(r->task, MCX_BY_POLICY, &r->word);
		put_task_struct(r->task);
		clear_bit_unlock(r - requests, taken);
	}
}

/**
 * mcx_threads_request() - a policy says how a thread shall be throttled
 * @task: the thread
 * @word: what; MCX_CLASS_NONE for nothing any more
 *
 * Context: Any but NMI.
 * Return: 0, or -EBUSY if too many have been asked for just now.
 */
int mcx_threads_request(struct task_struct *task, const struct mcx_word *word)
{
	struct mcx_request *r;
	int i;

	for (i = 0; i < MCX_REQUESTS; i++)
		if (!test_and_set_bit_lock(i, taken))
			break;
	if (i == MCX_REQUESTS)
		return -EBUSY;
	r = &requests[i];
	r->task = get_task_struct(task);
	r->word = *word;
	llist_add(&r->node, &pending);
	irq_work_queue(&kick);
	return 0;
}

/**
 * mcx_threads_end_policy() - forget what a policy said
 * @id: of the policy, which is not called any more
 *
 * Context: Process. Waits for what it asked for last.
 */
void mcx_threads_end_policy(u64 id)
{
	irq_work_sync(&kick);
	flush_work(&requests_work);
	mcx_threads_forget_policy(id);
}
