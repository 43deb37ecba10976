// SPDX-License-Identifier: GPL-2.0-only
/*
 * Wakes whoever polls memory.ext.events.
 *
 * The core's way (cftype.file_offset, cgroup_file_notify()) needs a member in
 * struct mem_cgroup, which we cannot add. The file is looked up by its name
 * instead, and kernfs does the waiting and waking: a wait queue of our own
 * would be gone at rmdir while somebody's epoll still refers to it.
 *
 * That lookup takes kernfs_rwsem, which a task that waits for the workers may
 * hold. So it is done by a work item, and, like the core's, at most once in 10 ms.
 *
 * Locking: none of our own. MCX_NOTIFY holds a reference and the place in the
 * list.
 */
#include <linux/cgroup.h>
#include <linux/kernfs.h>
#include <linux/llist.h>
#include <linux/workqueue.h>

#include "events.h"

#define MCX_NOTIFY_DELAY	msecs_to_jiffies(10)

static void mcx_events_work(struct work_struct *work);

static LLIST_HEAD(pending);
static DECLARE_DELAYED_WORK(events_work, mcx_events_work);

static void mcx_events_wake(struct mcx_memcg *m)
{
	struct kernfs_node *kn;

	kn = kernfs_find_and_get(m->memcg->css.cgroup->kn,
				 "memory.ext.events");
	if (!kn)
		return;
	kernfs_notify(kn);
	kernfs_put(kn);
}

static void mcx_events_work(struct work_struct *work)
{
	struct mcx_memcg *m, *next;

	llist_for_each_entry_safe(m, next, llist_del_all(&pending), notify) {
		clear_bit(MCX_NOTIFY, &m->flags);
		/* First: what happens from here on has to be told again. */
		smp_mb__after_atomic();
		mcx_events_wake(m);
		mcx_memcg_put(m);
	}
}

/**
 * mcx_events_notify() - something that memory.ext.events counts has happened
 * @m: the cgroup; the caller has a reference
 *
 * Context: Any that may queue work.
 */
void mcx_events_notify(struct mcx_memcg *m)
{
	if (test_and_set_bit(MCX_NOTIFY, &m->flags))
		return;
	refcount_inc(&m->ref);
	llist_add(&m->notify, &pending);
	queue_delayed_work(mcx_wq, &events_work, MCX_NOTIFY_DELAY);
}

/**
 * mcx_events_exit() - wake the last ones
 *
 * Nobody may call mcx_events_notify() any more.
 *
 * Context: Process, from module exit only.
 */
void mcx_events_exit(void)
{
	flush_delayed_work(&events_work);
}
