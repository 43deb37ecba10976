// SPDX-License-Identifier: GPL-2.0-only
/*
 * Throttle engine: a task never waits where it charges, with whatever locks it
 * holds, but on its return to user mode, where it holds none.
 *
 * The kernel calls its over-high handler from two places. From
 * try_charge_memcg(), in the middle of anything: that call is sent to a function
 * that does nothing, so that the debt (current->memcg_nr_pages_over_high) is
 * kept and TIF_NOTIFY_RESUME brings the task here on its way out. And from the
 * return to user mode: that call is sent to mcx_pay_debt(), which waits for the
 * workers in short slices. This is what upstream's RFC calls
 * BPF_MEMCG_HIGH_DEFER_INLINE. KVM calls it on its way into the guest, too: a task
 * that has to wait is made to leave for user mode first, see mcx_leave_guest().
 *
 * With memory.high = max the kernel never builds up that debt. For memory.max
 * the charge hook adds to it itself, one unit per batch. That is little beside
 * the 64 or more that the kernel adds per batch above memory.high, so that where
 * the stock handler runs after all its penalty is what it would have been.
 *
 * The stock handler keeps running where it has other duties: for cgroups nobody
 * manages, for an unmanaged ancestor above its memory.high, for swap.high, and
 * for kernel threads.
 *
 * Locking: the ftrace callbacks run without any, under RCU. mcx_pay_debt() runs
 * with none held and may sleep; nr_inside counts the tasks sent there, from
 * before the redirect until just before they return, for unloading.
 */
#include <linux/atomic.h>
#include <linux/freezer.h>
#include <linux/hrtimer.h>
#include <linux/kallsyms.h>
#include <linux/ktime.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/psi.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/wait_bit.h>

#include "budget.h"
#include "call.h"
#include "compat.h"
#include "cpu.h"
#include "credit.h"
#include "effect.h"
#include "events.h"
#include "hooks.h"
#include "mark.h"
#include "overrun.h"
#include "owner.h"
#include "owed.h"
#include "policy_delay.h"
#include "reclaim.h"
#include "state.h"
#include "stuck.h"
#include "threads.h"
#include "throttle.h"

/* One wait, so that a signal, the freezer or ptrace gets through. */
#define MCX_SLICE_NS	(100ULL * NSEC_PER_MSEC)
/* One return to user mode; MEMCG_MAX_HIGH_DELAY_JIFFIES of the kernel. */
#define MCX_ENTRY_NS	(2ULL * NSEC_PER_SEC)
/*
 * A batch while nothing can be reclaimed: 64 pages every 20 ms are 12.5 MiB/s
 * per task, slow enough to be seen and fast enough to come to a decision at
 * memory.max instead of crawling below it.
 */
#define MCX_EMPTY_NS	(20ULL * NSEC_PER_MSEC)

/* The most that the square of is taken of it for a policy's wish: 0.8 MiB/s. */
#define MCX_WISH_STEPS	4UL

/* How long a batch thread waits for less usage than others do, in one entry. */
#define MCX_BATCH_NS	(200ULL * NSEC_PER_MSEC)
/* How often a critical one looks whether it may go on. */
#define MCX_CRITICAL_NS	(5ULL * NSEC_PER_MSEC)

/*
 * Batches that the charge hook counts in one entry into the kernel, 16 MiB: with
 * one more the kernel would call its handler at each batch, and take them for
 * pages.
 */
#define MCX_DEBT_MAX	(MCX_BATCH - 1)

/* 4 MiB in one entry into the kernel, in pages; see mcx_must_not_defer(). */
#define MCX_DEFER_MAX	((4U << 20) >> PAGE_SHIFT)

static atomic_t nr_inside = ATOMIC_INIT(0);
static bool draining;

/* Who calls the over-high handler. */
enum mcx_caller {
	MCX_CALLER_NEW,
	MCX_CALLER_CHARGE,	/* in the middle of the kernel */
	MCX_CALLER_RETURN,	/* on return to user mode, no lock held */
	MCX_CALLER_ELSEWHERE,	/* the same, for another cgroup than its own */
	MCX_CALLER_GUEST,	/* KVM entry, vcpu->mutex held */
	MCX_CALLER_OTHER,	/* io_uring: reclaim nothing there */
};

/*
 * Callers by return address, learned by name at their first call: these
 * functions are noinstr, no kprobe tells where they are.
 */
static struct {
	unsigned long ip;
	enum mcx_caller caller;
} callers[16];

static const struct {
	const char *prefix;
	enum mcx_caller caller;
} caller_names[] = {
	{ "try_charge_memcg", MCX_CALLER_CHARGE },
	{ "exit_to_user_mode", MCX_CALLER_RETURN },
	{ "__exit_to_user_mode", MCX_CALLER_RETURN },
	{ "syscall_exit_to_user_mode", MCX_CALLER_RETURN },
	{ "irqentry_exit", MCX_CALLER_RETURN },
	{ "do_syscall_64", MCX_CALLER_RETURN },
	{ "xfer_to_guest_mode", MCX_CALLER_GUEST },
	{ "io_", MCX_CALLER_OTHER },
	{ "__do_sys_io_uring", MCX_CALLER_OTHER },
};

static noinline notrace enum mcx_caller mcx_caller_by_name(unsigned long ip)
{
	char name[KSYM_SYMBOL_LEN];
	int i;

	sprint_symbol_no_offset(name, ip);
	for (i = 0; i < ARRAY_SIZE(caller_names); i++)
		if (str_has_prefix(name, caller_names[i].prefix))
			return caller_names[i].caller;
	/* Not known: it is the kernel's. */
	return MCX_CALLER_NEW;
}

static notrace enum mcx_caller mcx_caller_of(unsigned long ip)
{
	enum mcx_caller caller;
	int i;

	for (i = 0; i < ARRAY_SIZE(callers); i++) {
		unsigned long known = READ_ONCE(callers[i].ip);

		if (!known)
			break;
		caller = READ_ONCE(callers[i].caller);
		/* NEW: another CPU is just about to write it, or it is not known. */
		if (known == ip && caller != MCX_CALLER_NEW)
			return caller;
	}
	caller = mcx_caller_by_name(ip);
	if (i < ARRAY_SIZE(callers) && !cmpxchg(&callers[i].ip, 0, ip))
		WRITE_ONCE(callers[i].caller, caller);
	return caller;
}

/**
 * mcx_throttle_all_ours() - is there nothing in this branch that the stock handler must
 *	look after
 * @memcg: the cgroup of a task
 *
 * Context: Any, under RCU.
 * Return: false if the kernel's handler is to run for it.
 */
bool notrace mcx_throttle_all_ours(struct mem_cgroup *memcg)
{
	for (; memcg->css.parent;
	     memcg = mem_cgroup_from_css(memcg->css.parent)) {
		struct mcx_memcg *m;

		if (page_counter_read(&memcg->swap) >
		    READ_ONCE(memcg->swap.high))
			return false;
		if (page_counter_read(&memcg->memory) <=
		    READ_ONCE(memcg->memory.high))
			continue;
		m = mcx_memcg_find(&memcg->memory);
		if (!m || !mcx_memcg_managed(m))
			return false;
	}
	return true;
}

/* Well above memory.high, or above it with nothing that could be reclaimed? */
static notrace bool mcx_far_above(struct mcx_memcg *m)
{
	unsigned long usage = page_counter_read(m->counter);
	/* The kernel's handler knows of no other. */
	unsigned long high = mcx_enforced(m, READ_ONCE(m->counter->high));

	return usage > high && (test_bit(MCX_IS_EMPTY, &m->flags) ||
				usage - high > high / 2);
}

/* A memory.max that nobody can reach decides nothing. */
static notrace bool mcx_max_decides(struct mcx_memcg *m)
{
	unsigned long max = READ_ONCE(m->counter->max);

	if (max >= PAGE_COUNTER_MAX)
		return false;
	/* Nothing is granted beyond it then. */
	if (!test_bit(MCX_IS_EMPTY, &m->flags))
		max += READ_ONCE(m->conf.overrun);
	return max < totalram_pages();
}

/*
 * Is there a limit that is not met, with nothing behind it that would end that?
 * Where memory.max is set, the OOM killer does. Under RCU.
 */
static notrace bool mcx_nobody_decides(struct mcx_memcg *m)
{
	for (; m; m = rcu_dereference(m->up))
		if (!mcx_max_decides(m) && mcx_far_above(m))
			return true;
	return false;
}

/*
 * Then nothing but its return to user mode stops a task, and one system call may
 * charge all memory there is; a worker of io_uring never returns. They are the
 * kernel's, which sleeps there and then, as it would without us; so it is above
 * a memory.high that nobody manages. @m is NULL if a policy alone wants it
 * put off. Under RCU.
 */
static notrace bool mcx_must_not_defer(struct mcx_memcg *own,
				       struct mcx_memcg *m,
				       unsigned int bound)
{
	if (current->memcg_nr_pages_over_high <= bound &&
	    !(current->flags & (PF_IO_WORKER | PF_USER_WORKER)))
		return false;
	return mcx_nobody_decides(m) || !mcx_throttle_all_ours(own->memcg);
}

/*
 * A policy has a say about limits at or below its cgroup. Is one above it passed
 * that nobody manages? Under RCU.
 */
static notrace bool mcx_policy_outranked(struct mcx_policy *p)
{
	struct mcx_memcg *at = READ_ONCE(p->at);
	struct cgroup_subsys_state *parent;

	/* It is just being detached. */
	if (!at)
		return true;
	parent = at->memcg->css.parent;
	return parent && !mcx_throttle_all_ours(mem_cgroup_from_css(parent));
}

/* Does a policy want this inline call put off that has a say in it? Under RCU. */
static notrace bool mcx_policy_defers(struct mcx_memcg *own, gfp_t gfp_mask)
{
	struct mcx_policy *p = mcx_call_high_policy(own, gfp_mask);

	return p && !mcx_policy_outranked(p);
}

/*
 * For a cgroup that has an object. @own is current's, @m the nearest managed one
 * at or above it, or NULL. Under RCU.
 */
static notrace enum mcx_caller mcx_route_own(struct mcx_memcg *own,
					     struct mcx_memcg *m,
					     unsigned long parent_ip,
					     gfp_t gfp_mask, unsigned int bound)
{
	enum mcx_caller caller = mcx_caller_of(parent_ip);
	bool defers = false;

	if (caller == MCX_CALLER_RETURN)
		return mcx_throttle_all_ours(own->memcg) ? caller : MCX_CALLER_NEW;
	if (caller == MCX_CALLER_CHARGE)
		defers = mcx_policy_defers(own, gfp_mask);
	if (!m && !defers)
		return MCX_CALLER_NEW;
	if (caller == MCX_CALLER_NEW)
		return caller;
	if (caller != MCX_CALLER_GUEST && mcx_must_not_defer(own, m, bound)) {
		mcx_stat_inc(m ?: own, not_deferred);
		return MCX_CALLER_NEW;
	}
	mcx_stat_inc(m ?: own, deferred);
	return caller;
}

/*
 * Where shall a call of the over-high handler go. @bound: pages of debt up to
 * which it is put off in any case.
 */
static notrace enum mcx_caller mcx_route(unsigned long parent_ip,
					 gfp_t gfp_mask, unsigned int bound)
{
	struct mem_cgroup *memcg;
	enum mcx_caller caller = MCX_CALLER_NEW;
	struct mcx_memcg *own, *m;

	rcu_read_lock();
	memcg = mcx_current_memcg();
	own = memcg ? mcx_memcg_find(&memcg->memory) : NULL;
	if (own) {
		m = mcx_memcg_managed(own) ? own : rcu_dereference(own->up);
		if (m || rcu_access_pointer(own->policy))
			caller = mcx_route_own(own, m, parent_ip, gfp_mask,
					       bound);
	}
	rcu_read_unlock();
	return caller;
}

/*
 * Current's own cgroup is the kernel's business, but it charged another one. Where
 * the kernel's handler has nothing to do it would only forget the debt.
 */
static notrace enum mcx_caller mcx_route_elsewhere(unsigned long parent_ip)
{
	enum mcx_caller caller;
	struct mem_cgroup *memcg;
	bool ours;

	if (!mcx_owed_see().pages)
		return MCX_CALLER_NEW;
	caller = mcx_caller_of(parent_ip);
	if (caller == MCX_CALLER_RETURN)
		return MCX_CALLER_ELSEWHERE;
	if (caller != MCX_CALLER_CHARGE && caller != MCX_CALLER_GUEST)
		return MCX_CALLER_NEW;
	rcu_read_lock();
	memcg = mcx_current_memcg();
	ours = memcg && mcx_throttle_all_ours(memcg);
	rcu_read_unlock();
	return ours ? caller : MCX_CALLER_NEW;
}

/* @key: the only task that is meant; NULL: any is. */
static int mcx_wake_function(struct wait_queue_entry *wait, unsigned int mode,
			     int sync, void *key)
{
	if (key && key != wait->private)
		return 0;
	return autoremove_wake_function(wait, mode, sync, key);
}

/* What one wait in a cgroup knows beside its length. */
struct mcx_patience {
	u64 nsec;	/* that may be waited with a signal pending */
	bool owner;	/* of a futex that others wait for, as far as is known */
};

/*
 * One slice. Returns false if there is no reason to wait on. A signal ends it no sooner
 * than the slice would have, or whoever gets one all the time would wait less. When
 * current becomes an owner it looks again at once.
 */
static bool mcx_wait(struct mcx_memcg *m, wait_queue_head_t *queue, u64 nsec,
		     bool (*reason)(struct mcx_memcg *m), struct mcx_patience *p)
{
	u64 start = ktime_get_ns();
	ktime_t expires = ns_to_ktime(min(nsec, p->nsec));
	DEFINE_WAIT_FUNC(wait, mcx_wake_function);

	/*
	 * Not TASK_FREEZABLE: who is frozen in here, by a cgroup v1 freezer, would
	 * keep the module from unloading. A slice later it is frozen outside.
	 */
	prepare_to_wait_exclusive(queue, &wait, TASK_KILLABLE);
	if (!READ_ONCE(draining) && reason(m) && !fatal_signal_pending(current) &&
	    (p->owner || !mcx_owner_of_futex()))
		schedule_hrtimeout_range(&expires, 50 * NSEC_PER_USEC,
					 HRTIMER_MODE_REL);
	finish_wait(queue, &wait);
	if (signal_pending(current))
		p->nsec -= min(p->nsec, ktime_get_ns() - start);
	return p->nsec && !fatal_signal_pending(current) && !freezing(current) &&
	       !READ_ONCE(draining) && reason(m);
}

/*
 * Nothing can be reclaimed. With a memory.max the kernel decides there, so it
 * must be reached, but not before we did. Without one, as with the kernel's own
 * handler, the wait grows with the square of the overage, so that usage all but
 * stops.
 */
static u64 mcx_empty_delay(struct mcx_memcg *m, unsigned long usage,
			   unsigned long nr_pages)
{
	u64 delay = MCX_EMPTY_NS * DIV_ROUND_UP(nr_pages, MCX_BATCH);
	unsigned long high = mcx_high(m), steps;

	if (usage <= high)
		return 0;
	if (mcx_max_decides(m))
		return max(delay, mcx_stuck_ration(m, usage));
	/* Past twice the limit, or so, it is as long as it gets. */
	steps = 1 + min((usage - high) / max(high / 16, 1UL), 16UL);
	/* A policy only wishes: nobody stops for that. */
	if (usage <= READ_ONCE(m->counter->high))
		steps = min(steps, MCX_WISH_STEPS);
	return delay * steps * steps;
}

/* How current is throttled. */
struct mcx_turn {
	enum mcx_class class;
	bool owner;	/* of a futex that somebody waits for */
	bool light;	/* it takes little */
};

/*
 * How current is throttled in @m, having waited so long already. Those who need not wait
 * for as little usage must not keep a batch thread for ever.
 */
static struct mcx_turn mcx_current_turn(struct mcx_memcg *m, u64 waited)
{
	struct mcx_turn turn = {
		.class = mcx_threads_class(current, m->memcg),
		.owner = mcx_owner_of_futex(),
	};

	if (turn.class == MCX_CLASS_BATCH && waited >= MCX_BATCH_NS)
		turn.class = MCX_CLASS_NORMAL;
	return turn;
}

/* The time in which a worker frees as much, rests for cpu_max= included. */
static u64 mcx_worker_time(struct mcx_memcg *m, unsigned long nr_pages)
{
	return mcx_cpu_slowed(m, div64_ul((u64)nr_pages * NSEC_PER_SEC,
					  READ_ONCE(m->rate)));
}

/*
 * Who takes less than 1/16 of what a worker frees: it is others that keep usage high, or
 * many of that kind, for which there is a budget. @taken: before that, see
 * mcx_credit_taken().
 */
static bool mcx_is_light(struct mcx_memcg *m, unsigned long nr_pages,
			 unsigned long taken)
{
	return !check_add_overflow(taken, nr_pages, &taken) &&
	       mcx_worker_time(m, taken) <= MCX_CREDIT_NS / 16;
}

/*
 * How long a task that charged nr_pages shall wait in all. Below the pacing mark
 * not at all; from there the time in which a worker frees as much, times
 * x / (1 - x), x being how far usage is on its way from pace to admit; at admit
 * until it is below. So whoever charges little waits little, and long before
 * anybody is held. A batch thread sees usage half a gap higher than it is, so that it
 * waits before all others do, and is held where those begin to wait; a light one waits
 * only where those are held, and is held a little higher.
 */
static u64 mcx_delay(struct mcx_memcg *m, unsigned long nr_pages,
		     const struct mcx_turn *turn)
{
	unsigned long usage = page_counter_read(m->counter);
	unsigned long admit = mcx_mark_admit(m);
	unsigned long pace = mcx_mark_pace(m, admit);
	u64 base;

	if (turn->class == MCX_CLASS_BATCH) {
		usage += admit - pace;
	} else if (turn->light) {
		pace = admit;
		admit = mcx_mark_light(m, admit);
	}
	if (usage <= pace || admit >= PAGE_COUNTER_MAX)
		return 0;
	if (test_bit(MCX_IS_EMPTY, &m->flags))
		return mcx_empty_delay(m, usage, nr_pages);
	if (usage >= admit)
		return MCX_ENTRY_NS;
	base = mcx_worker_time(m, nr_pages);
	if (check_mul_overflow(base, (u64)(usage - pace), &base))
		return MCX_ENTRY_NS;
	return div64_ul(base, admit - usage);
}

/* The same if it takes little, @delay otherwise. */
static u64 mcx_light_delay(struct mcx_memcg *m, unsigned long nr_pages,
			   u64 delay, u64 waited, struct mcx_turn *turn)
{
	u64 light;

	turn->light = true;
	light = mcx_delay(m, nr_pages, turn);
	if (light > waited)
		return light;
	if (mcx_budget_take(m, &m->light, nr_pages))
		return light;
	turn->light = false;
	return delay;
}

/*
 * How long current shall wait in all: if it is critical, or owns what others wait for, and
 * what it charged is in its cgroup's budget for that, no longer.
 */
static u64 mcx_current_delay(struct mcx_memcg *m, unsigned long nr_pages,
			     unsigned long taken, u64 waited, struct mcx_turn *turn)
{
	u64 delay;

	*turn = mcx_current_turn(m, waited);
	delay = mcx_delay(m, nr_pages, turn);
	if (delay <= waited)
		return delay;
	if (turn->class == MCX_CLASS_CRITICAL &&
	    mcx_budget_take(m, &m->critical, nr_pages))
		return 0;
	if (turn->owner && mcx_budget_take(m, &m->owners, nr_pages))
		return 0;
	if (turn->class != MCX_CLASS_BATCH && mcx_is_light(m, nr_pages, taken))
		return mcx_light_delay(m, nr_pages, delay, waited, turn);
	return delay;
}

static wait_queue_head_t *mcx_queue(struct mcx_memcg *m,
				    const struct mcx_turn *turn)
{
	if (turn->class == MCX_CLASS_BATCH)
		return &m->batch_waiters;
	return turn->light ? &m->light_waiters : &m->waiters;
}

/* Nobody wakes such a thread when its budget is filled again: it looks more often. */
static bool mcx_wait_as(struct mcx_memcg *m, const struct mcx_turn *turn,
			u64 nsec, struct mcx_patience *p)
{
	if (turn->class == MCX_CLASS_CRITICAL || turn->owner)
		nsec = min(nsec, MCX_CRITICAL_NS);
	p->owner = turn->owner;
	return mcx_wait(m, mcx_queue(m, turn), nsec, mcx_memcg_managed, p);
}

/* Returns false if interrupted: the rest stays as debt. */
static bool mcx_pay_level(struct mcx_memcg *m, unsigned long nr_pages,
			  unsigned long taken, u64 *left)
{
	struct mcx_patience patience = { .nsec = MCX_SLICE_NS };
	u64 start = ktime_get_ns(), waited = 0;
	struct mcx_turn first, turn;
	bool go_on = true, listed;
	unsigned long pflags;
	u64 delay;

	if (!*left)
		return true;
	delay = min(mcx_current_delay(m, nr_pages, taken, 0, &turn), *left);
	if (!delay)
		return true;

	first = turn;
	mcx_hooks_demand();
	/* Whoever begins to wait for a futex that current owns wakes it. */
	listed = mcx_owner_begin();
	psi_memstall_enter(&pflags);
	while (waited < delay) {
		mcx_reclaim_nudge(m);
		go_on = mcx_wait_as(m, &turn, delay - waited, &patience);
		waited = ktime_get_ns() - start;
		if (!go_on)
			break;
		delay = min(mcx_current_delay(m, nr_pages, taken, waited, &turn),
			    *left);
	}
	psi_memstall_leave(&pflags);
	if (listed)
		mcx_owner_end();

	mcx_stat_inc(m, paced);
	if (first.class == MCX_CLASS_BATCH)
		mcx_stat_inc(m, paced_batch);
	mcx_events_notify(m);
	mcx_stat_add(m, paced_usec, div_u64(waited, NSEC_PER_USEC));
	mcx_cpu_waited(m, waited);
	*left -= min(*left, waited);
	if (go_on)
		return true;
	mcx_stat_inc(m, paced_interrupted);
	return !signal_pending(current);
}

/* Of current's own cgroup, or NULL. Under RCU. */
static struct page_counter *mcx_own_counter(void)
{
	struct mem_cgroup *memcg = mcx_current_memcg();

	return memcg ? &memcg->memory : NULL;
}

/*
 * The next managed cgroup from here up, with a reference. Without @m the first at
 * or above the one with @counter, or without that at or above current's own.
 */
static struct mcx_memcg *mcx_next_level(struct mcx_memcg *m,
					struct page_counter *counter)
{
	struct mcx_memcg *next;

	rcu_read_lock();
	if (m) {
		next = rcu_dereference(m->up);
	} else {
		counter = counter ?: mcx_own_counter();
		next = counter ? mcx_memcg_nearest(counter) : NULL;
	}
	while (next && !mcx_memcg_tryget(next))
		next = rcu_dereference(next->up);
	rcu_read_unlock();

	if (m)
		mcx_memcg_put(m);
	return next;
}

static void mcx_note_over_high(struct mcx_memcg *m)
{
	if (page_counter_read(m->counter) <= READ_ONCE(m->counter->high))
		return;
	mcx_stat_inc(m, over_high);
	mcx_memory_event(m->memcg, MEMCG_HIGH);
	mcx_events_notify(m);
}

/*
 * Debt is counted in pages by the kernel, which adds 64 or more at a time, and
 * in batches by the charge hook, up to MCX_DEBT_MAX.
 */
static unsigned long mcx_debt_pages(unsigned int debt)
{
	return debt < MCX_BATCH ? debt * MCX_BATCH : debt;
}

/* What is left of @debt when that are @nr_pages still, counted as it was. */
static unsigned int mcx_debt_left(unsigned int debt, unsigned long nr_pages)
{
	return debt < MCX_BATCH ? DIV_ROUND_UP(nr_pages, MCX_BATCH) :
				  max(nr_pages, MCX_BATCH);
}

/* Is a policy in effect that may have said a delay? */
static bool mcx_has_delays(struct mcx_memcg *m)
{
	struct mcx_policy *p;
	bool any = false;

	rcu_read_lock();
	mcx_for_each_policy(p, m) {
		any |= READ_ONCE(p->delays);
	}
	rcu_read_unlock();
	return any;
}

/* The object of current's own cgroup, managed or not, with a reference. */
static struct mcx_memcg *mcx_own(void)
{
	struct mcx_memcg *own = NULL;
	struct mem_cgroup *memcg;

	rcu_read_lock();
	memcg = mcx_current_memcg();
	if (memcg)
		own = mcx_memcg_lookup(memcg);
	rcu_read_unlock();
	return own;
}

/* What a wait is for that has nothing to do with how much memory there is. */
struct mcx_due {
	wait_queue_head_t *queue;
	bool (*reason)(struct mcx_memcg *m);
	unsigned long *skip;	/* when the next owner may, in jiffies */
	bool policy;		/* one that the policy said, and may end, */
	unsigned int wakes;	/* by a change of this */
};

static bool mcx_due_ended(struct mcx_memcg *m, const struct mcx_due *due)
{
	return due->policy && READ_ONCE(m->wakes) != due->wakes;
}

/*
 * May the owner of a futex that others wait for not wait for these @nsec? That has nothing
 * to do with its budget for memory. Ten a second may; but after one that would have
 * waited for longer than that none for as long, so that who always owns one pays half.
 */
static bool mcx_owner_skips(struct mcx_memcg *m, const struct mcx_due *due,
			    u64 nsec)
{
	unsigned long next = READ_ONCE(*due->skip), now = jiffies;
	unsigned long rest = max_t(unsigned long, HZ / 10,
				   nsecs_to_jiffies(nsec));

	if (time_before(now, next) ||
	    cmpxchg(due->skip, next, now + rest) != next)
		return false;
	mcx_stat_inc(m, futex_owner);
	return true;
}

/* Such a wait, of which @waited is over. Returns how long it was in all. */
static u64 mcx_wait_time(struct mcx_memcg *m, const struct mcx_due *due, u64 delay,
			 u64 waited)
{
	struct mcx_patience patience = { .nsec = MCX_SLICE_NS };
	u64 start = ktime_get_ns() - waited;
	bool go_on = !signal_pending(current);
	bool listed = mcx_owner_begin();
	unsigned long pflags;

	psi_memstall_enter(&pflags);
	while (go_on && waited < delay) {
		patience.owner = mcx_owner_of_futex();
		if (patience.owner && mcx_owner_skips(m, due, delay - waited))
			break;
		go_on = mcx_wait(m, due->queue, delay - waited, due->reason,
				 &patience);
		waited = ktime_get_ns() - start;
		if (mcx_due_ended(m, due))
			break;
	}
	psi_memstall_leave(&pflags);
	if (listed)
		mcx_owner_end();
	return waited;
}

/*
 * Wait for a share of the workers' CPU time; see cpu.h. Not in the queue of
 * those who wait for memory, which are woken by every pass.
 */
static void mcx_pay_cpu(struct mcx_memcg *m, unsigned long nr_pages, u64 *left)
{
	DECLARE_WAIT_QUEUE_HEAD_ONSTACK(queue);
	const struct mcx_due due = { &queue, mcx_memcg_managed, &m->owner_skip_cpu };
	u64 amount, taken = mcx_cpu_take(m, nr_pages, &amount);
	u64 delay = min(taken, *left), waited = 0;

	if (delay)
		waited = mcx_wait_time(m, &due, delay, 0);
	if (waited) {
		mcx_stat_inc(m, cpu_paid);
		mcx_stat_add(m, cpu_paid_usec, div_u64(waited, NSEC_PER_USEC));
		*left -= min(*left, waited);
	}
	mcx_cpu_give_back(m, amount, taken, waited);
}

/* A policy's delay, of which @waited is over; what is left of it is returned. */
static u64 mcx_wait_delay(struct mcx_memcg *own, u64 by, u64 delay, u64 waited)
{
	u64 before = min(waited, delay);
	bool over;
	const struct mcx_due due = {
		&own->delay_waiters, mcx_has_delays, &own->owner_skip_delay, true,
		READ_ONCE(own->wakes)
	};

	waited = mcx_wait_time(own, &due, delay, waited);
	mcx_stat_inc(own, policy_delays);
	mcx_stat_add(own, policy_delay_usec, div_u64(waited, NSEC_PER_USEC));
	over = waited >= delay || mcx_due_ended(own, &due) || !signal_pending(current);
	mcx_policy_delay_waited(own, by, min(waited, delay) - before, over);
	return over ? 0 : delay - waited;
}

/*
 * Wait as long as the policy said, what was waited for the workers included.
 * What is left when a signal comes is waited for on the next return.
 */
static void mcx_pay_delay(const struct mcx_owed *owed, u64 waited)
{
	struct mcx_memcg *own = mcx_own();
	u64 left;

	if (!own)
		return;
	left = mcx_wait_delay(own, owed->by, (u64)owed->ms * NSEC_PER_MSEC, waited);
	/* Not at once, which would hold up the signal's handler. */
	if (left && mcx_owed_add_delay(div_u64(left, NSEC_PER_MSEC), owed->by)) {
		/* Something to come back for. */
		if (!current->memcg_nr_pages_over_high)
			current->memcg_nr_pages_over_high = 1;
		mcx_owed_hold();
	}
	mcx_memcg_put(own);
}

/* Is there a wait in one of the cgroups from this one up? Under RCU. */
static bool mcx_would_wait(struct page_counter *counter, unsigned long nr_pages)
{
	struct mcx_memcg *m = counter ? mcx_memcg_nearest(counter) : NULL;
	struct mcx_turn turn;

	for (; m; m = rcu_dereference(m->up)) {
		turn = mcx_current_turn(m, 0);
		if (mcx_delay(m, nr_pages, &turn) || mcx_cpu_owes(m))
			return true;
	}
	return false;
}

/* Would current be held on its return to user mode, by us or by the kernel? */
static bool mcx_must_wait(unsigned int debt)
{
	struct mcx_owed owed = mcx_owed_see();
	unsigned long nr_pages = mcx_debt_pages(debt);
	struct mem_cgroup *memcg;
	bool wait;

	rcu_read_lock();
	memcg = mcx_current_memcg();
	wait = owed.ms || (memcg && !mcx_throttle_all_ours(memcg)) ||
	       (nr_pages > owed.pages &&
		mcx_would_wait(mcx_own_counter(), nr_pages - owed.pages)) ||
	       (owed.pages && mcx_would_wait(owed.counter, owed.pages));
	rcu_read_unlock();
	return wait;
}

/*
 * A virtual CPU takes all its memory between two exits to user mode, of which
 * there may be none for minutes, and KVM has just cleared the TIF_NOTIFY_RESUME
 * that would bring the task here at the next. So that it pays: TIF_NOTIFY_SIGNAL
 * makes KVM_RUN return -EINTR, as it does for task work. Whoever calls KVM_RUN
 * has to expect that at any time.
 */
static void mcx_leave_guest(void)
{
	if (mcx_owed_held())
		return;
	if (!mcx_must_wait(current->memcg_nr_pages_over_high)) {
		current->memcg_nr_pages_over_high = 0;
		mcx_owed_take();
		return;
	}
	set_thread_flag(TIF_NOTIFY_RESUME);
	set_thread_flag(TIF_NOTIFY_SIGNAL);
}

/*
 * A signal came. So that whoever gets one all the time does not go on for nothing: one
 * pass, as the kernel's handler makes it whatever is pending, which takes no longer than
 * the rest of a slice would have.
 */
static void mcx_pay_interrupted(struct mcx_memcg *m, unsigned long nr_pages)
{
	if (fatal_signal_pending(current) || freezing(current) ||
	    READ_ONCE(draining) || !mcx_memcg_managed(m) ||
	    page_counter_read(m->counter) <= mcx_mark_admit(m))
		return;
	mcx_stat_add(m, hurried_pages, mcx_reclaim_self(m, nr_pages));
}

/*
 * Wait in all managed cgroups from the one with @counter up, or from current's own, for
 * @net pages, or where usage is too high for that for @gross, which is in @net then.
 * @taken: as mcx_credit_taken(). What the workers' time costs is owed for all.
 * Returns false if interrupted.
 */
static bool mcx_pay_pages(struct page_counter *counter, unsigned long gross,
			  unsigned long *net, unsigned long taken, u64 *left)
{
	struct mcx_memcg *m = NULL;
	bool paid = true;

	while ((m = mcx_next_level(m, counter))) {
		mcx_note_over_high(m);
		if (page_counter_read(m->counter) > mcx_mark_grace(m))
			*net = max(*net, gross);
		if (*net)
			paid = mcx_pay_level(m, *net, taken, left);
		if (!paid) {
			mcx_pay_interrupted(m, gross);
			break;
		}
		mcx_overrun_settle(m, gross);
		mcx_pay_cpu(m, gross, left);
	}
	if (m)
		mcx_memcg_put(m);
	return paid;
}

/* The pages of current's own cgroup. Returns false if interrupted. */
static bool mcx_pay_own(unsigned long nr_pages, u64 *left)
{
	struct page_counter *counter;
	unsigned long net;
	unsigned long taken;

	rcu_read_lock();
	counter = mcx_own_counter();
	rcu_read_unlock();
	net = mcx_credit_see(counter, nr_pages);
	/* Nobody may have to wait just because credit counts. */
	if (net < nr_pages)
		mcx_hooks_demand();
	taken = mcx_credit_taken(counter);
	/* That much at least, for all that is known. */
	if (nr_pages >= MCX_DEBT_MAX * MCX_BATCH)
		taken = ULONG_MAX;
	if (!mcx_pay_pages(NULL, nr_pages, &net, taken, left))
		return false;
	mcx_credit_book(counter, nr_pages, net);
	return true;
}

/* The pages of another cgroup, wherever current itself belongs. */
static bool mcx_pay_elsewhere(const struct mcx_owed *owed, u64 *left)
{
	unsigned long nr_pages = owed->pages;

	if (!nr_pages || mcx_pay_pages(owed->counter, nr_pages, &nr_pages, ULONG_MAX, left))
		return true;
	mcx_owed_add_pages(owed->counter, owed->pages);
	return false;
}

static void mcx_pay(unsigned int debt)
{
	struct mcx_owed owed = mcx_owed_take();
	unsigned long nr_pages = mcx_debt_pages(debt);
	u64 left = MCX_ENTRY_NS;
	bool paid;

	paid = mcx_pay_elsewhere(&owed, &left);
	/* The debt has them all. */
	if (paid && owed.pages) {
		nr_pages -= min(nr_pages, owed.pages);
		debt = mcx_debt_left(debt, nr_pages);
	}
	if (paid && nr_pages)
		paid = mcx_pay_own(nr_pages, &left);
	if (!paid) {
		current->memcg_nr_pages_over_high += debt;
		mcx_owed_hold();
	}
	if ((u64)owed.ms * NSEC_PER_MSEC > MCX_ENTRY_NS - left)
		mcx_pay_delay(&owed, MCX_ENTRY_NS - left);
}

static void mcx_leave(void)
{
	if (atomic_dec_and_test(&nr_inside))
		wake_up_var(&nr_inside);
}

/* Runs instead of the over-high handler on return to user mode. */
static noinline void mcx_pay_debt(gfp_t gfp_mask)
{
	unsigned int debt = current->memcg_nr_pages_over_high;

	current->memcg_nr_pages_over_high = 0;
	mcx_owner_unwanted();
	if (!(current->flags & PF_EXITING) && !fatal_signal_pending(current))
		mcx_pay(debt);
	mcx_leave();
}

/*
 * The same for a task whose own cgroup is the kernel's: it pays elsewhere, and is
 * brought back to the kernel's handler; but not before a signal's handler.
 */
static noinline void mcx_pay_first(gfp_t gfp_mask)
{
	struct mcx_owed owed = mcx_owed_take();
	u64 left = MCX_ENTRY_NS;

	if (current->flags & PF_EXITING || fatal_signal_pending(current) ||
	    mcx_pay_elsewhere(&owed, &left))
		set_thread_flag(TIF_NOTIFY_RESUME);
	else
		mcx_owed_hold();
	if (owed.ms)
		mcx_owed_add_delay(owed.ms, owed.by);
	mcx_leave();
}

/* Runs instead of the over-high handler elsewhere: the debt stays. */
static noinline notrace void mcx_defer(gfp_t gfp_mask)
{
}

static notrace gfp_t mcx_gfp_of(struct ftrace_regs *fregs)
{
	return (__force gfp_t)ftrace_regs_get_argument(fregs, 0);
}

/* On return to user mode: where to go. */
static notrace unsigned long mcx_on_return(enum mcx_caller caller)
{
	if (mcx_owed_held())
		return (unsigned long)mcx_defer;
	atomic_inc(&nr_inside);
	return (unsigned long)(caller == MCX_CALLER_RETURN ? mcx_pay_debt :
							     mcx_pay_first);
}

static void notrace mcx_over_high(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops,
				  struct ftrace_regs *fregs)
{
	enum mcx_caller caller;
	unsigned long to = 0;

	/* 6.12 comes here at every TIF_NOTIFY_RESUME. */
	if (likely(!current->memcg_nr_pages_over_high) ||
	    current->flags & PF_KTHREAD ||
	    !mcx_hook_may_redirect(&mcx_hook_over_high))
		return;

	caller = mcx_route(parent_ip, mcx_gfp_of(fregs), MCX_DEFER_MAX);
	if (caller == MCX_CALLER_NEW)
		caller = mcx_route_elsewhere(parent_ip);
	switch (caller) {
	case MCX_CALLER_NEW:
		return;
	case MCX_CALLER_ELSEWHERE:
	case MCX_CALLER_RETURN:
		to = mcx_on_return(caller);
		break;
	case MCX_CALLER_GUEST:
		mcx_leave_guest();
		to = (unsigned long)mcx_defer;
		break;
	case MCX_CALLER_CHARGE:
	case MCX_CALLER_OTHER:
		/* These never return to user mode: nobody would ever pay. */
		if (current->flags & (PF_IO_WORKER | PF_USER_WORKER))
			current->memcg_nr_pages_over_high = 0;
		to = (unsigned long)mcx_defer;
		break;
	}
	ftrace_regs_set_instruction_pointer(fregs, to);
}

/*
 * If somebody else redirects the handler, its body can still be made to see no
 * debt. 6.12 then returns at once, 7.x makes one small reclaim pass; either way
 * nobody sleeps with locks held. On return to user mode the stock handler
 * reclaims and sleeps as ever, for what was charged since.
 */
static void notrace mcx_over_high_plain(unsigned long ip,
					unsigned long parent_ip,
					struct ftrace_ops *ops,
					struct ftrace_regs *fregs)
{
	enum mcx_caller caller;

	if (likely(!current->memcg_nr_pages_over_high) ||
	    current->flags & PF_KTHREAD)
		return;
	/* What was put off before is not known here: the debt is gone. */
	caller = mcx_route(parent_ip, mcx_gfp_of(fregs), 0);
	if (caller == MCX_CALLER_CHARGE || caller == MCX_CALLER_GUEST ||
	    caller == MCX_CALLER_OTHER)
		current->memcg_nr_pages_over_high = 0;
}

struct mcx_hook mcx_hook_over_high = {
	/* 7.x tests for debt in an inline function of the old name. */
	.symbols = { "mem_cgroup_handle_over_high",
		     "__mem_cgroup_handle_over_high" },
	.func = mcx_over_high,
	.redirect = true,
	.plain = mcx_over_high_plain,
	.feature = MCX_FEAT_THROTTLE,
	.optional = true,
};

/**
 * mcx_throttle_charge() - current charged above a mark: see it on its way out
 * @counter: what it charged to, if that is not its own cgroup's; or NULL
 * @nr_pages: the batch
 * @delay: milliseconds that a policy wants it to wait; 0 if it does not matter
 * @by: id of that policy
 *
 * Context: The charge hook; any, NMI included.
 */
void notrace mcx_throttle_charge(struct page_counter *counter,
				 unsigned long nr_pages, unsigned int delay, u64 by)
{
	unsigned long debt;

	if (!in_task() || current->flags & (PF_KTHREAD | PF_IO_WORKER |
					    PF_USER_WORKER | PF_EXITING |
					    PF_MEMALLOC))
		return;
	/*
	 * With the stock handler there is nobody to pay, and one unit more than
	 * the kernel's own 64 would make it reclaim inline, at every batch.
	 */
	if (!mcx_hook_may_redirect(&mcx_hook_over_high))
		return;
	mcx_owed_release();
	if (delay)
		mcx_owed_add_delay(delay, by);
	if (counter)
		mcx_owed_add_pages(counter, round_up(nr_pages, MCX_BATCH));
	debt = current->memcg_nr_pages_over_high;
	if (debt < MCX_DEBT_MAX)
		current->memcg_nr_pages_over_high =
			min(debt + DIV_ROUND_UP(nr_pages, MCX_BATCH),
			    MCX_DEBT_MAX);
	set_tsk_thread_flag(current, TIF_NOTIFY_RESUME);
}

static void mcx_wake_all(struct mcx_memcg *m, void *arg)
{
	mcx_memcg_wake(m);
}

/**
 * mcx_throttle_wake() - a task shall look again whether it has to wait in a cgroup or
 *	above it
 * @memcg: the cgroup
 * @task: the task
 *
 * Context: Process. Takes RCU.
 */
void mcx_throttle_wake(struct mem_cgroup *memcg, struct task_struct *task)
{
	struct mcx_memcg *m;

	rcu_read_lock();
	for (m = mcx_memcg_nearest(&memcg->memory); m;
	     m = rcu_dereference(m->up)) {
		__wake_up(&m->waiters, TASK_NORMAL, 0, task);
		__wake_up(&m->batch_waiters, TASK_NORMAL, 0, task);
		__wake_up(&m->light_waiters, TASK_NORMAL, 0, task);
		__wake_up(&m->delay_waiters, TASK_NORMAL, 0, task);
	}
	rcu_read_unlock();
}

/**
 * mcx_throttle_draining() - is it time to leave our code
 *
 * Context: Any.
 * Return: true while the module or its hooks go.
 */
bool mcx_throttle_draining(void)
{
	return READ_ONCE(draining);
}

/**
 * mcx_throttle_drain() - wait until nobody waits in our code any more
 *
 * The hook must be detached, so that nobody comes. Somebody may have been
 * preempted between the count and the return: the caller must let a grace
 * period of RCU-tasks pass before the code can go.
 *
 * Context: Process. Sleeps, takes the state mutex.
 */
void mcx_throttle_drain(void)
{
	WRITE_ONCE(draining, true);
	mcx_state_for_each(mcx_wake_all, NULL);
	wait_var_event(&nr_inside, !atomic_read(&nr_inside));
	WRITE_ONCE(draining, false);
}
