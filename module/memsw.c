// SPDX-License-Identifier: GPL-2.0-only
/*
 * One limit for memory and swap together, as memory.memsw.limit_in_bytes of cgroup v1
 * was. What is limited is memory + swap, with what is in both, the swap cache, counted
 * once: the swap of a page that has been read in again, or is just being written.
 *
 * To swap a page out does not change that sum: it is only ever raised by charging memory.
 * So the limit is enforced where memory is charged, by the kernel itself, as a memory.max
 * of
 *
 *	limit - swap + swap cache
 *
 * if that is less than what the user wrote, which is kept in @max and shown to who reads
 * memory.max. It is worked out anew at the entry of each batch that is charged, before the
 * kernel compares it. At that limit the kernel reclaims and, if nothing can be, kills, in
 * this cgroup, as at any memory.max; but it does not swap, and nobody is killed before the
 * sum was counted anew: see memsw_hook.c.
 *
 * Swap is a counter and exact at any time. The swap cache is a statistic that is summed up
 * over all CPUs, so it is only counted now and then (mcx_memsw_count()), and what leaves it
 * is subtracted at once, by the hook at its removal. What comes in counts with the next
 * count. So the limit is taken too strictly for a while, and too loosely by no more than
 * what other CPUs were just removing at that count, a folio each. It is counted anew where
 * a batch does not fit, and where the sum is higher than ever.
 *
 * What the kernel charges by force is charged: compressed pages of zswap, above all, which
 * are memory while the page is in swap as well.
 *
 * A cgroup is in one of these states, and goes through them one by one. Given: a limit is
 * configured. Owned: memory.max is read and written by way of us, and still what the user
 * wrote. Enforced: it is what is worked out. A work item goes on from given to owned, when
 * the hooks are there, and from owned to enforced, after a grace period of RCU-tasks, so
 * that no memory_max_write() is left that began before and has not written yet. Back to
 * owned at once, when the limit goes; and from there after a grace period of RCU, so that
 * nobody writes what was worked out before.
 *
 * Locking: memsw_mutex, inside state_mutex, is for who writes @max, or goes from one
 * state to another. counter->max is written by anybody under RCU while it is enforced.
 * @counting, inside of all others and of whatever who charges holds, is for counting.
 */
#include <linux/hash.h>
#include <linux/irq_work.h>
#include <linux/llist.h>
#include <linux/memcontrol.h>
#include <linux/mutex.h>
#include <linux/page_counter.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/writeback.h>

#include "events.h"
#include "hooks.h"
#include "memsw.h"
#include "symbols.h"

/* It is not counted more often than this by workers and at the limit. */
#define MCX_COUNT_TIME	msecs_to_jiffies(10)
/* By how old a count it is told what the most was. */
#define MCX_PEAK_TIME	msecs_to_jiffies(100)

/* Cgroups with such a limit; without any nothing is hooked for it. */
int mcx_memsw_users;
/* Where the kernel's function is that charges swap; no size: it is not known. */
unsigned long mcx_memsw_swap_from, mcx_memsw_swap_size;

static DEFINE_MUTEX(memsw_mutex);
static DECLARE_WAIT_QUEUE_HEAD(enforced);
static bool leaving;
static unsigned int missed;	/* times that not all hooks could be had */
static unsigned int changes;	/* of mcx_memsw_users; under the state mutex */
/*
 * A bit for each that has a limit, though some share one, so that others are not looked up
 * at each charge because of one; and how many there are for a bit, under the state mutex.
 */
static unsigned long some;
static unsigned int how_many[BITS_PER_LONG];

static void mcx_count_work(struct work_struct *work);
static void mcx_count_kick(struct irq_work *work);

/* Of all that never had a limit. */
static struct mcx_memsw none __ro_after_init = {
	.given = PAGE_COUNTER_MAX,
	.limit = PAGE_COUNTER_MAX,
	.max = PAGE_COUNTER_MAX,
};

static LLIST_HEAD(to_count);
static DECLARE_WORK(count_work, mcx_count_work);
/* The charge hook may be in an NMI, or hold a run queue's lock. */
static struct irq_work count_kick = IRQ_WORK_INIT(mcx_count_kick);

static notrace unsigned int mcx_memsw_bit(struct page_counter *counter)
{
	return hash_ptr(counter, ilog2(BITS_PER_LONG));
}

static void mcx_memsw_mark(struct mcx_memcg *m, int change)
{
	unsigned int bit = mcx_memsw_bit(m->counter);

	how_many[bit] += change;
	if (how_many[bit])
		WRITE_ONCE(some, some | BIT(bit));
	else
		WRITE_ONCE(some, some & ~BIT(bit));
}

/**
 * mcx_memsw_find() - whose limit is this
 * @counter: of any cgroup
 *
 * Context: Any, NMI included, under RCU.
 * Return: its object if it may have such a limit, or NULL.
 */
notrace struct mcx_memcg *mcx_memsw_find(struct page_counter *counter)
{
	if (likely(!(READ_ONCE(some) & BIT(mcx_memsw_bit(counter)))))
		return NULL;
	return mcx_memcg_find(counter);
}

/* What is left of @counted pages of swap cache. Swap of others may be cached here, too. */
static notrace unsigned long mcx_memsw_left(struct mcx_memcg *m, long counted,
					    unsigned long swap)
{
	long cached = counted - atomic_long_read(&m->memsw->gone);

	return min_t(unsigned long, max(cached, 0L), swap);
}

/* Pages of swap cache that are known. */
static notrace unsigned long mcx_memsw_cached(struct mcx_memcg *m,
					      unsigned long swap)
{
	return mcx_memsw_left(m, READ_ONCE(m->memsw->base), swap);
}

/**
 * mcx_memsw_cap() - how much memory leaves @limit met
 * @m: the cgroup
 *
 * Context: Any.
 * Return: pages; PAGE_COUNTER_MAX if no such limit is enforced.
 */
notrace unsigned long mcx_memsw_cap(struct mcx_memcg *m)
{
	unsigned long limit = READ_ONCE(m->memsw->limit), swap;

	if (likely(limit >= PAGE_COUNTER_MAX))
		return PAGE_COUNTER_MAX;
	swap = page_counter_read(&m->memcg->swap);
	limit += mcx_memsw_cached(m, swap);
	return limit - min(limit, swap);
}

/**
 * mcx_memsw_update() - work memory.max out, if it is ours to
 * @m: the cgroup
 *
 * Context: Any, under RCU.
 */
notrace void mcx_memsw_update(struct mcx_memcg *m)
{
	unsigned long cap = mcx_memsw_cap(m), max;

	if (cap >= PAGE_COUNTER_MAX)
		return;
	/* Pairs with mcx_memsw_reset(). */
	smp_rmb();
	max = min(READ_ONCE(m->memsw->max), cap);
	if (max != READ_ONCE(m->counter->max))
		WRITE_ONCE(m->counter->max, max);
}

/**
 * mcx_memsw_heal() - is memory.max the user's where no limit is enforced any more
 * @m: the cgroup
 *
 * Who worked it out when the limit went may have written that once more. It is put right
 * before long, but somebody may be killed for it now.
 *
 * Context: Any, under RCU.
 */
notrace void mcx_memsw_heal(struct mcx_memcg *m)
{
	unsigned long now = READ_ONCE(m->counter->max), max, user;

	/* Pairs with mcx_memsw_write_max(): the user's is not older than that. */
	smp_rmb();
	/* A limit that is about to be enforced: the kernel may still write that. */
	if (mcx_memsw_limited(m) || !READ_ONCE(m->memsw->owned) ||
	    READ_ONCE(m->memsw->fresh))
		return;
	/* Pairs with mcx_memsw_reset(). */
	smp_rmb();
	max = READ_ONCE(m->memsw->max);
	/* Unless somebody writes it just now. */
	if (now >= max || cmpxchg(&m->counter->max, now, max) != now)
		return;
	/* It may have been the user who wrote just the same, after @max was read. */
	user = READ_ONCE(m->memsw->max);
	if (user != max)
		cmpxchg(&m->counter->max, max, user);
}

static unsigned long mcx_memsw_sum(struct mem_cgroup *memcg,
				   unsigned long cached)
{
	unsigned long swap = page_counter_read(&memcg->swap);

	return page_counter_read(&memcg->memory) + swap - min(cached, swap);
}

/* As it was summed up last. */
static unsigned long mcx_swap_cache_seen(struct mem_cgroup *memcg)
{
	if (!mcx_symbols_page_state())
		return 0;
	return max_t(long, static_call(mcx_page_state)(memcg, NR_SWAPCACHE), 0);
}

static unsigned long mcx_swap_cache(struct mem_cgroup *memcg)
{
	mcx_memcg_flush(memcg);
	return mcx_swap_cache_seen(memcg);
}

/**
 * mcx_memsw_usage() - memory and swap of a cgroup, swap cache counted once
 * @memcg: the cgroup
 *
 * Context: Process. May sleep.
 * Return: pages, of now.
 */
unsigned long mcx_memsw_usage(struct mem_cgroup *memcg)
{
	return mcx_memsw_sum(memcg, mcx_swap_cache(memcg));
}

/**
 * mcx_memsw_usage_seen() - the same, with the swap cache as the kernel summed it up last
 * @memcg: the cgroup
 *
 * Context: Any.
 * Return: pages.
 */
unsigned long mcx_memsw_usage_seen(struct mem_cgroup *memcg)
{
	return mcx_memsw_sum(memcg, mcx_swap_cache_seen(memcg));
}

/**
 * mcx_memsw_given() - the limit of a cgroup
 * @memcg: the cgroup
 *
 * Context: Any. Takes RCU.
 * Return: pages; PAGE_COUNTER_MAX: none.
 */
unsigned long mcx_memsw_given(struct mem_cgroup *memcg)
{
	unsigned long limit = PAGE_COUNTER_MAX;
	struct mcx_memcg *m;

	rcu_read_lock();
	m = mcx_memcg_find(&memcg->memory);
	/* That it has been reset is about to be seen. */
	if (m && !test_bit(MCX_RESET, &m->flags))
		limit = READ_ONCE(m->memsw->given);
	rcu_read_unlock();
	return limit;
}

/*
 * How many pages may be dirty goes by memory.max, and down slowly unless the kernel is told,
 * as it is by who writes that: too many are dirty then, and the next charge has somebody
 * killed. Not for each page that is swapped.
 */
static void mcx_memsw_tell_dirty(struct mcx_memcg *m)
{
	unsigned long max = READ_ONCE(m->counter->max);
	unsigned long told = READ_ONCE(m->memsw->dirty_max);

	if (max >= told - told / 8 && max <= told + told / 8)
		return;
	WRITE_ONCE(m->memsw->dirty_max, max);
	wb_domain_size_changed(&m->memcg->cgwb_domain);
}

static notrace void mcx_memsw_note(struct mcx_memcg *m, unsigned long sum)
{
	unsigned long peak = READ_ONCE(m->memsw->peak);

	while (sum > peak && !try_cmpxchg(&m->memsw->peak, &peak, sum))
		;
}

/* Was it counted so short a time ago? */
static notrace bool mcx_memsw_counted(struct mcx_memcg *m, unsigned long time)
{
	return time_before_eq(jiffies, READ_ONCE(m->memsw->counted_at) + time);
}

/**
 * mcx_memsw_refresh() - work memory.max out, if it is ours to, and have the kernel know
 * @m: the cgroup
 *
 * Context: Process.
 */
void mcx_memsw_refresh(struct mcx_memcg *m)
{
	if (!mcx_memsw_limited(m))
		return;
	rcu_read_lock();
	mcx_memsw_update(m);
	rcu_read_unlock();
	mcx_memsw_tell_dirty(m);
}

/*
 * The kernel adds one CPU to the other, so it is not known of what leaves meanwhile whether
 * it was counted. If that is so again and again, all of it is subtracted where the limit is
 * enforced, and none for who is told how much there is. Caller holds @counting.
 */
static void mcx_memsw_count_cache(struct mcx_memcg *m)
{
	long before, gone;
	unsigned long cached;
	int tries = 3;

	WRITE_ONCE(m->memsw->began, m->memsw->began + 1);
	/* Pairs with mcx_memsw_count(). */
	smp_mb();
	do {
		before = atomic_long_read(&m->memsw->gone);
		cached = mcx_swap_cache(m->memcg);
		gone = atomic_long_read(&m->memsw->gone);
	} while (gone != before && --tries);
	WRITE_ONCE(m->memsw->base, before + cached);
	WRITE_ONCE(m->memsw->counted, gone + cached);
	WRITE_ONCE(m->memsw->counted_at, jiffies);
}

/**
 * mcx_memsw_count() - count the swap cache, and enforce the limit by that
 * @m: the cgroup
 *
 * Context: Process. May sleep.
 * Return: pages of memory and swap, swap cache counted once.
 */
unsigned long mcx_memsw_count(struct mcx_memcg *m)
{
	unsigned int began;
	unsigned long sum, swap;

	/* It never had one, or has none any more. */
	if (!READ_ONCE(m->memsw->owned))
		return mcx_memsw_usage(m->memcg);
	/* What the caller has done is counted by whoever begins from here on. */
	smp_mb();
	began = READ_ONCE(m->memsw->began);
	mutex_lock(&m->memsw->counting);
	/* Or there may be a long queue, and one count for each in it. */
	if (m->memsw->began == began)
		mcx_memsw_count_cache(m);
	mutex_unlock(&m->memsw->counting);
	mcx_memsw_refresh(m);
	swap = page_counter_read(&m->memcg->swap);
	sum = mcx_memsw_sum(m->memcg,
			    mcx_memsw_left(m, READ_ONCE(m->memsw->counted), swap));
	mcx_memsw_note(m, sum);
	return sum;
}

/**
 * mcx_memsw_seen() - somebody looks after this cgroup: is the limit as it should be
 * @m: the cgroup
 *
 * Context: Process. May sleep.
 */
void mcx_memsw_seen(struct mcx_memcg *m)
{
	if (likely(!mcx_memsw_limited(m)))
		return;
	mcx_memsw_refresh(m);
	if (mcx_memsw_binds(m) && !mcx_memsw_counted(m, MCX_COUNT_TIME))
		mcx_memsw_count(m);
}

/**
 * mcx_memsw_ask() - have the swap cache counted, unless that was just done
 * @m: the cgroup
 * @tell: and pollers of memory.ext.events told, in any case
 *
 * Context: Any, NMI included, under RCU.
 */
notrace void mcx_memsw_ask(struct mcx_memcg *m, bool tell)
{
	if (tell) {
		WRITE_ONCE(m->memsw->tell, true);
		/* Pairs with mcx_count_work(). */
		smp_mb();
	} else if (mcx_memsw_counted(m, MCX_COUNT_TIME)) {
		return;
	}
	if (test_bit(MCX_COUNT, &m->flags) ||
	    test_and_set_bit(MCX_COUNT, &m->flags))
		return;
	if (!mcx_memcg_tryget(m))
		return;
	llist_add(&m->memsw->list, &to_count);
	irq_work_queue(&count_kick);
}

/* Is that the most, and does this batch fit? */
static notrace void mcx_memsw_sees(struct mcx_memcg *m, unsigned long nr_pages)
{
	unsigned long memory = page_counter_read(m->counter);
	unsigned long swap = page_counter_read(&m->memcg->swap);
	unsigned long sum = memory + swap;
	bool fits = sum - mcx_memsw_cached(m, swap) + nr_pages <=
		    READ_ONCE(m->memsw->limit);

	sum -= mcx_memsw_left(m, READ_ONCE(m->memsw->counted), swap);
	/* It may not below memory.max. */
	if (memory + nr_pages <= READ_ONCE(m->counter->max))
		sum += nr_pages;
	if (fits && likely(sum <= READ_ONCE(m->memsw->peak)))
		return;
	/* What came into the swap cache since makes it less. */
	if (fits && mcx_memsw_counted(m, MCX_PEAK_TIME))
		mcx_memsw_note(m, sum);
	else
		mcx_memsw_ask(m, false);
}

/**
 * mcx_memsw_charge() - a batch is about to be charged: what is the limit
 * @counter: of the cgroup; any other is fine, too
 * @nr_pages: the batch
 *
 * Context: The charge hook; any, NMI included, under RCU.
 */
void notrace mcx_memsw_charge(struct page_counter *counter,
			      unsigned long nr_pages)
{
	struct mcx_memcg *m;

	/* The root has no limits. */
	for (; counter->parent; counter = counter->parent) {
		m = mcx_memsw_find(counter);
		if (likely(!m) || !mcx_memsw_limited(m))
			continue;
		mcx_memsw_update(m);
		mcx_memsw_sees(m, nr_pages);
	}
}

static void mcx_count_kick(struct irq_work *work)
{
	queue_work(mcx_wq, &count_work);
}

static void mcx_count_work(struct work_struct *work)
{
	struct mcx_memsw *w, *next;
	struct mcx_memcg *m;

	llist_for_each_entry_safe(w, next, llist_del_all(&to_count), list) {
		m = w->m;
		clear_bit(MCX_COUNT, &m->flags);
		/* First: who wants it from here on has to ask again. */
		smp_mb__after_atomic();
		if (!mcx_memsw_counted(m, MCX_COUNT_TIME))
			mcx_memsw_count(m);
		if (xchg(&m->memsw->tell, false))
			mcx_events_notify(m);
		mcx_memcg_put(m);
	}
}

/*
 * Writes what the user has for memory.max, or takes over what is there if that is @fresh.
 * The controller may go just now, and all limits with it: who looks once more after it has
 * written comes after mcx_memsw_reset(), or before the kernel does the same. Caller holds
 * memsw_mutex.
 */
static void mcx_memsw_put_max(struct mcx_memcg *m)
{
	unsigned int resets;

	/* Pairs with mcx_memsw_reset(): what is read below is not of before that. */
	resets = smp_load_acquire(&m->memsw->resets);
	if (m->memsw->fresh)
		WRITE_ONCE(m->memsw->max, READ_ONCE(m->counter->max));
	else
		WRITE_ONCE(m->counter->max, READ_ONCE(m->memsw->max));
	/* Pairs with mcx_memsw_reset(). */
	smp_mb();
	if (READ_ONCE(m->memsw->resets) != resets) {
		WRITE_ONCE(m->memsw->max, PAGE_COUNTER_MAX);
		WRITE_ONCE(m->counter->max, PAGE_COUNTER_MAX);
	}
}

/* Has it a limit? What was before a reset is no more, but that is seen a little later. */
static bool mcx_memsw_has(struct mcx_memcg *m)
{
	return m->memsw->given < PAGE_COUNTER_MAX && !test_bit(MCX_RESET, &m->flags);
}

/* From given to owned. */
static void mcx_memsw_own(struct mcx_memcg *m, void *any)
{
	mutex_lock(&memsw_mutex);
	if (mcx_memsw_has(m) && !mcx_memsw_limited(m)) {
		/* One that was taken away and given again may be owned still. */
		m->memsw->fresh = !m->memsw->owned;
		if (m->memsw->fresh) {
			mcx_memsw_put_max(m);
			WRITE_ONCE(m->memsw->owned, true);
		}
		*(bool *)any = true;
	}
	mutex_unlock(&memsw_mutex);
}

/* From owned to enforced: all who wrote memory.max before have done that. */
static void mcx_memsw_enforce(struct mcx_memcg *m, void *arg)
{
	if (!READ_ONCE(m->memsw->owned) || mcx_memsw_limited(m))
		return;
	/* Without a limit it counts, and does nothing. */
	mcx_memsw_count(m);
	mutex_lock(&memsw_mutex);
	if (m->memsw->fresh) {
		mcx_memsw_put_max(m);
		m->memsw->fresh = false;
	}
	if (m->memsw->owned && mcx_memsw_has(m)) {
		/* Pairs with mcx_memsw_update(). */
		smp_wmb();
		WRITE_ONCE(m->memsw->limit, m->memsw->given);
	}
	mutex_unlock(&memsw_mutex);
	mcx_memsw_refresh(m);
}

/*
 * From enforced to owned: memory.max is the user's at once, though who is working it out
 * just now may write what that was once more. Caller holds memsw_mutex.
 */
static void mcx_memsw_unlimit(struct mcx_memcg *m)
{
	if (!mcx_memsw_limited(m))
		return;
	WRITE_ONCE(m->memsw->limit, PAGE_COUNTER_MAX);
	WRITE_ONCE(m->memsw->dirty_max, 0);
	WRITE_ONCE(m->memsw->relaxed, false);
	mcx_memsw_put_max(m);
}

/* @arg: whatever is given. */
static void mcx_memsw_relax(struct mcx_memcg *m, void *arg)
{
	mutex_lock(&memsw_mutex);
	if (arg || m->memsw->given >= PAGE_COUNTER_MAX)
		mcx_memsw_unlimit(m);
	/* The grace period that follows is for this one, too. */
	if (m->memsw->owned)
		WRITE_ONCE(m->memsw->relaxed, !mcx_memsw_limited(m));
	mutex_unlock(&memsw_mutex);
}

/*
 * And from there on: nobody writes what was worked out any more. Whose limit went during
 * the grace period has its turn after the next one, for which the work comes back.
 */
static void mcx_memsw_restore(struct mcx_memcg *m, void *arg)
{
	mutex_lock(&memsw_mutex);
	if (m->memsw->owned && !mcx_memsw_limited(m) && !m->memsw->fresh &&
	    (arg || READ_ONCE(m->memsw->relaxed))) {
		mcx_memsw_put_max(m);
		/* Or it has been given again meanwhile. */
		if (arg || m->memsw->given >= PAGE_COUNTER_MAX)
			WRITE_ONCE(m->memsw->owned, false);
	}
	mutex_unlock(&memsw_mutex);
}

/**
 * mcx_memsw_give_back() - memory.max is the user's again
 * @all: of all cgroups, as the hooks are about to go; else of those without a limit
 *
 * Context: Process, under the mutex of hooks.c or from module exit. Takes the state mutex.
 * Waits for RCU.
 */
void mcx_memsw_give_back(bool all)
{
	void *arg = all ? &enforced : NULL;

	mcx_state_for_each(mcx_memsw_relax, arg);
	synchronize_rcu();
	/*
	 * Somebody may be trying for the last time who has not swapped, and would be taken
	 * for one whose memory cannot be reclaimed: let it come to mcx_memsw_oom().
	 */
	if (all && mcx_memsw_met_lately())
		schedule_timeout_uninterruptible(HZ / 10);
	mcx_state_for_each(mcx_memsw_restore, arg);
}

/**
 * mcx_memsw_changes() - for mcx_memsw_attached(), before hooks are attached
 *
 * Context: Any.
 * Return: a number that changes when the first limit comes or the last one goes.
 */
unsigned int mcx_memsw_changes(void)
{
	return READ_ONCE(changes);
}

/**
 * mcx_memsw_attached() - hooks were attached: enforce what is given
 * @before: mcx_memsw_changes() of before
 *
 * Context: Process, under the mutex of hooks.c. Takes the state mutex. Waits for
 * RCU-tasks if there is anything new.
 */
void mcx_memsw_attached(unsigned int before)
{
	bool any = false;

	if (!READ_ONCE(mcx_memsw_users) || READ_ONCE(leaving))
		return;
	if (!mcx_memsw_complete()) {
		/* Or they were not wanted when it was their turn: it is tried again. */
		if (READ_ONCE(changes) == before) {
			WRITE_ONCE(missed, missed + 1);
			wake_up_all(&enforced);
		}
		return;
	}
	mcx_state_for_each(mcx_memsw_own, &any);
	if (!any)
		return;
	synchronize_rcu_tasks();
	mcx_state_for_each(mcx_memsw_enforce, NULL);
	wake_up_all(&enforced);
}

/**
 * mcx_memsw_write_max() - the user writes memory.max, where it is not the user's alone
 * @m: the cgroup
 * @max: pages
 *
 * Context: Process. May sleep.
 */
void mcx_memsw_write_max(struct mcx_memcg *m, unsigned long max)
{
	mutex_lock(&memsw_mutex);
	if (m->memsw->owned)
		WRITE_ONCE(m->memsw->max, max);
	/* Pairs with mcx_memsw_heal(). */
	smp_wmb();
	/* If it is given back meanwhile, that is the user's now. */
	if (mcx_memsw_limited(m))
		mcx_memsw_refresh(m);
	else
		WRITE_ONCE(m->counter->max, max);
	mutex_unlock(&memsw_mutex);
	/* As xchg() in the kernel: who charges sees that, or we what it charged. */
	smp_mb();
}

/* Charged to the parent, as the cgroup itself is. */
static int mcx_memsw_alloc(struct mcx_memcg *m)
{
	struct mem_cgroup *old = mcx_charge_parent(m->memcg);
	struct mcx_memsw *w;

	w = kmalloc(sizeof(*w), MCX_GFP);
	set_active_memcg(old);
	if (!w)
		return -ENOMEM;
	*w = none;
	mutex_init(&w->counting);
	w->m = m;
	/* For who looks at it under RCU. */
	smp_store_release(&m->memsw, w);
	return 0;
}

/**
 * mcx_memsw_configure() - set the limit
 * @m: the cgroup
 * @limit: pages; PAGE_COUNTER_MAX: none
 *
 * Takes effect at once where there was one, or else when the work item has come by.
 *
 * Context: Process, under the state mutex. May sleep.
 * Return: 0, or -ENOMEM, where memory is short everywhere: never if there was one, or it
 * is none.
 */
int mcx_memsw_configure(struct mcx_memcg *m, unsigned long limit)
{
	int change = (limit < PAGE_COUNTER_MAX) -
		     (m->memsw->given < PAGE_COUNTER_MAX);

	if (m->memsw == &none) {
		if (limit >= PAGE_COUNTER_MAX)
			return 0;
		if (mcx_memsw_alloc(m))
			return -ENOMEM;
	}
	mutex_lock(&memsw_mutex);
	WRITE_ONCE(m->memsw->given, limit);
	if (change > 0)
		WRITE_ONCE(m->memsw->peak, 0);
	if (change)
		mcx_memsw_mark(m, change);
	if (limit >= PAGE_COUNTER_MAX)
		mcx_memsw_unlimit(m);
	else if (mcx_memsw_limited(m))
		WRITE_ONCE(m->memsw->limit, limit);
	mutex_unlock(&memsw_mutex);
	mcx_memsw_refresh(m);
	WRITE_ONCE(mcx_memsw_users, mcx_memsw_users + change);
	if (change) {
		WRITE_ONCE(changes, changes + 1);
		mcx_hooks_again();
	}
	return 0;
}

/**
 * mcx_memsw_missed() - for mcx_memsw_wait(), before a limit is configured
 *
 * Context: Any.
 * Return: a number that changes when hooks could not be attached.
 */
unsigned int mcx_memsw_missed(void)
{
	return READ_ONCE(missed);
}

/**
 * mcx_memsw_is_void() - is there no use in waiting under a write to a file of it any more
 * @m: the cgroup
 *
 * That holds up rmdir, and whoever takes the controller away, with cgroup_mutex.
 *
 * Context: Any.
 * Return: true if it goes, or the module.
 */
bool mcx_memsw_is_void(struct mcx_memcg *m)
{
	struct cgroup_subsys_state *css = &m->memcg->css;

	return READ_ONCE(leaving) || css_is_dying(css) ||
	       !(READ_ONCE(css->flags) & CSS_VISIBLE);
}

/**
 * mcx_memsw_wait() - wait until a limit is enforced that was just configured
 * @m: the cgroup
 * @limit: that limit, in pages
 * @before: mcx_memsw_missed() of before
 *
 * Context: Process. Sleeps, for half a minute at most: a loaded machine may need that for
 * a grace period of RCU-tasks or two. Signals that do not kill do not end that: there is
 * nothing half done that one could come back for.
 * Return: 0: it is, or somebody else has written another one; -EBUSY: it cannot be now, or
 * somebody took it away; -EINTR: the caller is killed; -ENODEV: the cgroup or the module
 * goes.
 */
int mcx_memsw_wait(struct mcx_memcg *m, unsigned long limit, unsigned int before)
{
	unsigned long until = jiffies + 30 * HZ;
	DEFINE_WAIT(wait);

	for (;;) {
		if (mcx_memsw_limited(m))
			return 0;
		if (READ_ONCE(m->memsw->given) != limit)
			return READ_ONCE(m->memsw->given) < PAGE_COUNTER_MAX ? 0 :
									      -EBUSY;
		if (mcx_memsw_is_void(m))
			return -ENODEV;
		if (READ_ONCE(missed) != before || time_after(jiffies, until))
			return -EBUSY;
		if (fatal_signal_pending(current))
			return -EINTR;
		prepare_to_wait(&enforced, &wait, TASK_KILLABLE);
		/* Nobody tells that it goes. */
		if (!mcx_memsw_limited(m) && READ_ONCE(missed) == before)
			schedule_timeout(HZ / 50);
		finish_wait(&enforced, &wait);
	}
}

/**
 * mcx_memsw_reset() - the controller goes, and takes memory.max with it
 * @m: the cgroup
 *
 * Context: an ftrace callback at the entry of css_reset; must not sleep.
 */
void notrace mcx_memsw_reset(struct mcx_memcg *m)
{
	if (m->memsw == &none)
		return;
	WRITE_ONCE(m->memsw->max, PAGE_COUNTER_MAX);
	/* Pairs with mcx_memsw_update(). */
	smp_wmb();
	WRITE_ONCE(m->memsw->limit, PAGE_COUNTER_MAX);
	WRITE_ONCE(m->memsw->relaxed, false);
	WRITE_ONCE(m->memsw->dirty_max, 0);
	/* Pairs with mcx_memsw_put_max(). */
	smp_store_release(&m->memsw->resets, m->memsw->resets + 1);
	/* Pairs with mcx_memsw_put_max(): that first, then memory.max. */
	smp_mb();
}

/**
 * mcx_memsw_possible() - can there be such a limit on this kernel
 *
 * Context: Any.
 * Return: false if not.
 */
bool mcx_memsw_possible(void)
{
	return mcx_hooks_possible() && mcx_feature_is_on(MCX_FEAT_MEMSW);
}

/**
 * mcx_memsw_init() - find what helps
 *
 * Context: Process, from module init only.
 */
void mcx_memsw_init(void)
{
	if (!mcx_symbol_range("__mem_cgroup_try_charge_swap", &mcx_memsw_swap_from,
			      &mcx_memsw_swap_size))
		mcx_memsw_swap_size = 0;
}

/**
 * mcx_memsw_init_memcg() - make what a new object knows
 * @m: the object
 *
 * Context: Any.
 */
void mcx_memsw_init_memcg(struct mcx_memcg *m)
{
	m->memsw = &none;
}

/**
 * mcx_memsw_free() - undo mcx_memsw_init_memcg()
 * @m: the object, which nobody can find any more, after a grace period of RCU
 *
 * Context: Any but NMI.
 */
void mcx_memsw_free(struct mcx_memcg *m)
{
	if (m->memsw == &none)
		return;
	/*
	 * A socket may still charge to a cgroup that is gone. Of any other there may be a
	 * new object by now, and a limit.
	 */
	if (m->memsw->owned && css_is_dying(&m->memcg->css))
		WRITE_ONCE(m->counter->max, m->memsw->max);
	kfree(m->memsw);
}

/**
 * mcx_memsw_leave() - the module goes: nobody shall reclaim any more for who wrote a limit
 *
 * Context: Any that may wake.
 */
void mcx_memsw_leave(void)
{
	WRITE_ONCE(leaving, true);
	wake_up_all(&enforced);
}

/**
 * mcx_memsw_exit() - the last counts
 *
 * Nobody may ask for one any more.
 *
 * Context: Process, from module exit only.
 */
void mcx_memsw_exit(void)
{
	irq_work_sync(&count_kick);
	flush_work(&count_work);
}
