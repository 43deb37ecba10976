// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks that own what others wait for.
 *
 * A task that waits on its return to user mode holds no lock of the kernel's, but it may
 * own a priority-inheriting futex. The kernel queues with the owner who waits for that,
 * and calls rt_mutex_setprio() for it: the owner is woken, and goes on as a critical
 * thread would, out of a budget for such (budget.c). Of any other futex the kernel does
 * not know who owns it: whoever takes such a lock has to say that it is critical.
 *
 * In the middle of the kernel a task is made to reclaim at memory.max with what it holds,
 * where overrun= is used up. A quarter of overrun= is kept for those that own a mutex or
 * rwsem for which somebody else went to sleep lately, which the tracepoint for contention
 * tells, with the lock. The owner is in the lock. It is a task that may be gone, or of
 * several readers the last that came, which may have let go: it is compared and never
 * followed, and being wrong costs no more than what overrun= allows. On its way to user
 * mode, where it owns nothing, a task is not wanted any more.
 *
 * Both are remembered by where a task's address hashes to. Where another waiter is at
 * that place already, one waits until the end of its slice; of two owners the later one is
 * remembered.
 *
 * With PREEMPT_RT, where these locks are others and rt_mutex_setprio() is called for each
 * of them, there is none of this.
 *
 * Locking: none. The callback and the probe run under the locks of who calls them,
 * p->pi_lock and a wait lock among them: they store, and queue irq_work, which wakes
 * under RCU: a task that it finds in the table has not exited when it is found.
 */
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/hash.h>
#include <linux/irq_work.h>
#include <linux/jiffies.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/tracepoint.h>
#include <trace/events/lock.h>

#include "feature.h"
#include "hooks.h"
#include "owner.h"

#define MCX_OWNER_BITS	10
/* So long at most is it believed that who owned a lock still does. */
#define MCX_WANTED_TIME	HZ
/* Low bits of a lock's owner are flags, of both kinds. */
#define MCX_OWNER_FLAGS	7UL

/* Who waits on its return to user mode. */
static struct task_struct *waiters[1 << MCX_OWNER_BITS];
/* Of those, who is to be woken. */
static DECLARE_BITMAP(wake, 1 << MCX_OWNER_BITS);

/* Who owned a lock when another task went to sleep for it. */
static struct mcx_wanted {
	struct task_struct *task;
	unsigned long at;	/* jiffies */
} wanted[1 << MCX_OWNER_BITS];

static bool watched;

static notrace unsigned int mcx_owner_place(struct task_struct *task)
{
	return hash_ptr(task, MCX_OWNER_BITS);
}

static void mcx_owner_wake(struct irq_work *work)
{
	struct task_struct *task;
	unsigned long word, bit;
	int i;

	rcu_read_lock();
	for (i = 0; i < ARRAY_SIZE(wake); i++) {
		word = READ_ONCE(wake[i]) ? xchg(&wake[i], 0) : 0;
		for_each_set_bit(bit, &word, BITS_PER_LONG) {
			task = READ_ONCE(waiters[i * BITS_PER_LONG + bit]);
			/* If it left just now, somewhere else, which is allowed. */
			if (task)
				wake_up_process(task);
		}
	}
	rcu_read_unlock();
}

static DEFINE_IRQ_WORK(wake_work, mcx_owner_wake);

/**
 * mcx_owner_begin() - current is about to wait on its return to user mode
 *
 * Context: Process.
 * Return: false if it cannot be woken, and need not call mcx_owner_end().
 */
bool mcx_owner_begin(void)
{
	/*
	 * A full barrier, if it succeeds: in the table, then mcx_owner_of_futex().
	 * Pairs with mcx_owner_boosted().
	 */
	return !cmpxchg(&waiters[mcx_owner_place(current)], NULL, current);
}

/**
 * mcx_owner_end() - it does not any more
 *
 * Context: Process.
 */
void mcx_owner_end(void)
{
	WRITE_ONCE(waiters[mcx_owner_place(current)], NULL);
}

/**
 * mcx_owner_of_futex() - does current own a futex that somebody waits for
 *
 * One with priority inheritance, since of others nobody knows.
 *
 * Context: Process.
 * Return: as of now; it may be different in a moment.
 */
bool mcx_owner_of_futex(void)
{
#if defined(CONFIG_RT_MUTEXES) && !defined(CONFIG_PREEMPT_RT)
	return READ_ONCE(current->pi_waiters.rb_root.rb_node);
#else
	return false;
#endif
}

/**
 * mcx_owner_boosted() - a task was queued with the owner of what it waits for, or left
 * @fregs: arguments of rt_mutex_setprio()
 *
 * Context: an ftrace callback, under the owner's pi_lock.
 */
void notrace mcx_owner_boosted(struct ftrace_regs *fregs)
{
	struct task_struct *owner = (void *)ftrace_regs_get_argument(fregs, 0);
	unsigned int place = mcx_owner_place(owner);

	/* Queued, then in the table. Pairs with mcx_owner_begin(). */
	smp_mb();
	if (!ftrace_regs_get_argument(fregs, 1) ||
	    READ_ONCE(waiters[place]) != owner)
		return;
	set_bit(place, wake);
	irq_work_queue(&wake_work);
}

struct mcx_hook mcx_hook_boosted = {
	.symbols = { "rt_mutex_setprio" },
	.with = &mcx_hook_charge,
	.feature = MCX_FEAT_OWNER,
	.optional = true,
};

/* Whom does the lock say that it belongs to? NULL: nobody, or it does not say. */
static notrace struct task_struct *mcx_lock_owner(void *lock, unsigned int flags)
{
#ifdef CONFIG_PREEMPT_RT
	return NULL;
#else
	unsigned long owner;

	/* Not who spins for it, for a moment: it comes again when it goes to sleep. */
	if (flags & (LCB_F_SPIN | LCB_F_RT | LCB_F_PERCPU))
		return NULL;
	if (flags & LCB_F_MUTEX)
		owner = atomic_long_read(&((struct mutex *)lock)->owner);
	else if (flags & (LCB_F_READ | LCB_F_WRITE))
		owner = atomic_long_read(&((struct rw_semaphore *)lock)->owner);
	else
		return NULL;
	return (void *)(owner & ~MCX_OWNER_FLAGS);
#endif
}

static void notrace mcx_probe_contention(void *data, void *lock, unsigned int flags)
{
	struct task_struct *owner = mcx_lock_owner(lock, flags);
	struct mcx_wanted *w;

	if (!owner || owner == current)
		return;
	w = &wanted[mcx_owner_place(owner)];
	WRITE_ONCE(w->at, jiffies);
	WRITE_ONCE(w->task, owner);
}

/**
 * mcx_owner_wanted() - does current own a lock that somebody waits for
 *
 * Context: Any, NMI included.
 * Return: true if it did a moment ago; false if nobody watches.
 */
bool notrace mcx_owner_wanted(void)
{
	struct mcx_wanted *w = &wanted[mcx_owner_place(current)];

	return READ_ONCE(w->task) == current &&
	       time_before(jiffies, READ_ONCE(w->at) + MCX_WANTED_TIME);
}

/**
 * mcx_owner_unwanted() - current owns no lock of the kernel's
 *
 * Context: Process, on the way to user mode.
 */
void mcx_owner_unwanted(void)
{
	struct mcx_wanted *w = &wanted[mcx_owner_place(current)];

	if (READ_ONCE(w->task) == current)
		cmpxchg(&w->task, current, NULL);
}

/**
 * mcx_owner_watched() - can it be known who owns a lock that others wait for
 *
 * Context: Any.
 * Return: false if mcx_owner_wanted() always says no.
 */
bool notrace mcx_owner_watched(void)
{
	return READ_ONCE(watched);
}

/**
 * mcx_owner_watch() - begin to see who waits for which lock, or end it
 * @on: is that of use
 *
 * Context: Process; under the mutex of hooks.c.
 */
void mcx_owner_watch(bool on)
{
	int ret;

	if (on == watched)
		return;
	if (!on) {
		WRITE_ONCE(watched, false);
		unregister_trace_contention_begin(mcx_probe_contention, NULL);
		return;
	}
	ret = IS_ENABLED(CONFIG_PREEMPT_RT) ? -EOPNOTSUPP :
	      register_trace_contention_begin(mcx_probe_contention, NULL);
	if (ret)
		mcx_feature_degraded(MCX_FEAT_OWNER,
				     "cannot see who waits for locks (%d)", ret);
	WRITE_ONCE(watched, !ret);
}

/**
 * mcx_owner_exit() - nobody may be in the probe, or queue a wake-up, when the code goes
 *
 * Context: Process, from module exit only, when all hooks are gone.
 */
void mcx_owner_exit(void)
{
	tracepoint_synchronize_unregister();
	irq_work_sync(&wake_work);
}
