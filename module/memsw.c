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
 * this cgroup, as at any memory.max; but it does not swap: the hook at
 * try_to_free_mem_cgroup_pages() takes that out of its options, as v1 did.
 *
 * Swap is a counter and exact at any time. The swap cache is a statistic that is summed up
 * over all CPUs, so it is only counted now and then (mcx_memsw_count()), and what leaves it
 * is subtracted at once, by the hook at its removal. What comes in counts with the next
 * count. So the limit is taken too strictly for a while, and too loosely by no more than
 * what other CPUs are doing at that moment, a folio each. It is counted anew where it is
 * met, and before anybody is killed for it: then the kernel's killer is kept off once, and
 * comes back if that did not help.
 *
 * What the kernel charges by force is charged: compressed pages of zswap, above all, which
 * are memory while the page is in swap as well.
 *
 * A cgroup is in one of these states, and goes through them one by one. Given: a limit is
 * configured. Owned: memory.max is read and written by way of us, and still what the user
 * wrote. Enforced: it is what is worked out. A work item goes on from given to owned, when
 * the hooks are there, and from owned to enforced, after a grace period of RCU-tasks, so
 * that no memory_max_write() is left that began before; and back, after one of RCU, so
 * that nobody writes what was worked out before.
 *
 * Locking: memsw_mutex, inside state_mutex, is for who writes @max, or goes from one
 * state to another. counter->max is written by anybody under RCU while it is enforced.
 * nr_inside counts the tasks sent here, as in throttle.c.
 */
#include <linux/ftrace.h>
#include <linux/llist.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/page_counter.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>
#include <linux/writeback.h>

#include "compat.h"
#include "events.h"
#include "hooks.h"
#include "memsw.h"
#include "memsw_file.h"
#include "symbols.h"

/* It is not counted more often than this by workers and at the limit. */
#define MCX_COUNT_TIME	msecs_to_jiffies(10)
/* How long after a kill was due it is looked for. */
#define MCX_KILL_TIME	(10 * HZ)
/* For how long a count that left no room is reason enough to kill. */
#define MCX_SURE_TIME	(10 * HZ)
/* Of an order above that nobody is killed for; PAGE_ALLOC_COSTLY_ORDER. */
#define MCX_SURE_ROOM	BIT(PAGE_ALLOC_COSTLY_ORDER)

/* Cgroups with such a limit; without any nothing is hooked for it. */
int mcx_memsw_users;

static DEFINE_MUTEX(memsw_mutex);
static DECLARE_WAIT_QUEUE_HEAD(enforced);
static bool leaving;
static unsigned int missed;	/* times that not all hooks were there */
static atomic_t nr_inside = ATOMIC_INIT(0);

static void mcx_count_work(struct work_struct *work);

/* Of all that never had a limit. */
static struct mcx_memsw none __ro_after_init = {
	.given = PAGE_COUNTER_MAX,
	.limit = PAGE_COUNTER_MAX,
	.max = PAGE_COUNTER_MAX,
};

static LLIST_HEAD(to_count);
static DECLARE_WORK(count_work, mcx_count_work);

/* Pages of swap cache that are known. Swap of others may be cached here, too. */
static notrace unsigned long mcx_memsw_cached(struct mcx_memcg *m,
					      unsigned long swap)
{
	long cached = READ_ONCE(m->memsw->base) -
		      atomic_long_read(&m->memsw->gone);

	return min_t(unsigned long, max(cached, 0L), swap);
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

/* Work memory.max out, if it is ours to. Under RCU. */
static notrace void mcx_memsw_update(struct mcx_memcg *m)
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
 * mcx_memsw_usage_seen() - the same, with the swap cache as it was counted last
 * @memcg: the cgroup
 *
 * Context: Any, under RCU.
 * Return: pages.
 */
unsigned long mcx_memsw_usage_seen(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m = mcx_memcg_find(&memcg->memory);
	unsigned long cached;

	if (m && mcx_memsw_limited(m))
		cached = mcx_memsw_cached(m, page_counter_read(&memcg->swap));
	else
		cached = mcx_swap_cache_seen(memcg);
	return mcx_memsw_sum(memcg, cached);
}

/**
 * mcx_memsw_given() - the limit of a cgroup
 * @memcg: the cgroup
 *
 * Context: Any, under RCU.
 * Return: pages; PAGE_COUNTER_MAX: none.
 */
unsigned long mcx_memsw_given(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m = mcx_memcg_find(&memcg->memory);

	return m ? READ_ONCE(m->memsw->given) : PAGE_COUNTER_MAX;
}

static notrace void mcx_memsw_note(struct mcx_memcg *m, unsigned long sum)
{
	if (sum > READ_ONCE(m->memsw->peak))
		WRITE_ONCE(m->memsw->peak, sum);
}

/* Pages that can still be charged. */
static notrace unsigned long mcx_memsw_room(struct mcx_memcg *m)
{
	unsigned long max = READ_ONCE(m->counter->max);

	return max - min(max, page_counter_read(m->counter));
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
	/* First: what leaves meanwhile is subtracted, whether it was counted or not. */
	long gone = atomic_long_read(&m->memsw->gone);
	unsigned long cached = mcx_swap_cache(m->memcg), sum;

	/* It never had one, or has none any more. */
	if (!READ_ONCE(m->memsw->owned))
		return mcx_memsw_sum(m->memcg, cached);
	WRITE_ONCE(m->memsw->base, gone + cached);
	WRITE_ONCE(m->memsw->counted_at, jiffies);
	rcu_read_lock();
	mcx_memsw_update(m);
	rcu_read_unlock();
	if (mcx_memsw_room(m) >= MCX_SURE_ROOM)
		WRITE_ONCE(m->memsw->sure_at, 0);
	sum = mcx_memsw_sum(m->memcg, cached);
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
	rcu_read_lock();
	mcx_memsw_update(m);
	rcu_read_unlock();
	if (mcx_memsw_binds(m) &&
	    time_after(jiffies, READ_ONCE(m->memsw->counted_at) +
				MCX_COUNT_TIME))
		mcx_memsw_count(m);
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
	unsigned long swap, sum;
	struct mcx_memcg *m;

	for (; counter; counter = counter->parent) {
		m = mcx_memcg_find(counter);
		if (!m || !mcx_memsw_limited(m))
			continue;
		mcx_memsw_update(m);
		swap = page_counter_read(&m->memcg->swap);
		sum = page_counter_read(counter) + nr_pages + swap -
		      mcx_memsw_cached(m, swap);
		/* If it fits. */
		if (sum <= READ_ONCE(m->memsw->limit))
			mcx_memsw_note(m, sum);
	}
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
		mcx_memsw_count(m);
		mcx_memsw_killed(m);
		mcx_events_notify(m);
		mcx_memcg_put(m);
	}
}

/* Have it counted. Under RCU. */
static notrace void mcx_memsw_ask(struct mcx_memcg *m)
{
	if (test_bit(MCX_COUNT, &m->flags) ||
	    test_and_set_bit(MCX_COUNT, &m->flags))
		return;
	if (!mcx_memcg_tryget(m))
		return;
	llist_add(&m->memsw->list, &to_count);
	queue_work(mcx_wq, &count_work);
}

/* The same where nobody holds RCU. */
static void mcx_memsw_ask_now(struct mcx_memcg *m)
{
	rcu_read_lock();
	mcx_memsw_ask(m);
	rcu_read_unlock();
}

static unsigned long mcx_oom_kills(struct mem_cgroup *memcg)
{
	return atomic_long_read(&memcg->memory_events[MEMCG_OOM_KILL]);
}

/**
 * mcx_memsw_killed() - has the kernel killed for this limit
 * @m: the cgroup
 *
 * It tells nobody which limit it was for: those that follow are counted.
 *
 * Context: Any.
 */
void mcx_memsw_killed(struct mcx_memcg *m)
{
	unsigned long due = READ_ONCE(m->memsw->kill_due), then, now;

	if (!due)
		return;
	if (time_after(jiffies, due + MCX_KILL_TIME)) {
		cmpxchg(&m->memsw->kill_due, due, 0);
		return;
	}
	now = mcx_oom_kills(m->memcg);
	then = xchg(&m->memsw->kills, now);
	if (now <= then)
		return;
	mcx_stat_add(m, memsw_oom_kill, now - then);
	cmpxchg(&m->memsw->kill_due, due, 0);
}

/* The kernel kills now. */
static notrace void mcx_memsw_oom_begins(struct mcx_memcg *m)
{
	mcx_stat_inc(m, memsw_oom);
	if (!READ_ONCE(m->memsw->kill_due)) {
		WRITE_ONCE(m->memsw->kills, mcx_oom_kills(m->memcg));
		WRITE_ONCE(m->memsw->kill_due, jiffies ?: 1);
	}
	mcx_memsw_ask(m);
}

/**
 * mcx_memsw_end() - a task that was sent here goes
 *
 * Context: Any.
 */
void mcx_memsw_end(void)
{
	if (atomic_dec_and_test(&nr_inside))
		wake_up_var(&nr_inside);
}

/*
 * Runs instead of mem_cgroup_out_of_memory(): it counts as progress, so that the charge is
 * tried again. For the killer to come next time there must be no room after this count; and
 * what was reclaimed without swapping must have been for this limit all the time.
 */
static noinline bool mcx_memsw_recount(struct mem_cgroup *memcg, gfp_t gfp_mask,
				       int order)
{
	struct mcx_memcg *m = mcx_memcg_lookup(memcg);

	if (m) {
		clear_bit(MCX_MEMSW_NO_SWAP, &m->flags);
		mcx_memsw_count(m);
		if (mcx_memsw_binds(m) && mcx_memsw_room(m) < 1UL << order)
			WRITE_ONCE(m->memsw->sure_at, jiffies ?: 1);
		mcx_memcg_put(m);
	}
	mcx_memsw_end();
	return true;
}

/* Is it known that there is no room? It has to be found out again for the next kill. */
static notrace bool mcx_memsw_sure(struct mcx_memcg *m, int order)
{
	unsigned long at = READ_ONCE(m->memsw->sure_at);

	return at && mcx_memsw_room(m) < 1UL << order &&
	       time_before(jiffies, at + MCX_SURE_TIME) &&
	       cmpxchg(&m->memsw->sure_at, at, 0) == at;
}

/* Runs instead of memory_max_show(). */
static noinline int mcx_memsw_show_max(struct seq_file *s, void *v)
{
	int ret = mcx_memsw_file_show_max(s);

	mcx_memsw_end();
	return ret;
}

/* Runs instead of memory_max_write(). */
static noinline ssize_t mcx_memsw_max_written(struct kernfs_open_file *of,
					      char *buf, size_t nbytes,
					      loff_t off)
{
	ssize_t ret = mcx_memsw_file_write_max(of, buf, nbytes);

	mcx_memsw_end();
	return ret;
}

/* The object of a cgroup whose memory.max is ours, or NULL. Under RCU. */
static notrace struct mcx_memcg *mcx_memsw_find(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m = memcg ? mcx_memcg_find(&memcg->memory) : NULL;

	return m && READ_ONCE(m->memsw->owned) ? m : NULL;
}

/* A page leaves the swap cache. Under RCU. */
static notrace void mcx_memsw_uncached(struct folio *folio)
{
	struct mem_cgroup *memcg = folio_memcg(folio);
	struct page_counter *counter = memcg ? &memcg->memory : NULL;
	struct mcx_memcg *m;

	for (; counter; counter = counter->parent) {
		m = mcx_memcg_find(counter);
		if (m && READ_ONCE(m->memsw->owned))
			atomic_long_add(folio_nr_pages(folio), &m->memsw->gone);
	}
}

/* A task reclaims for a charge that did not fit. Under RCU. */
static notrace void mcx_memsw_met(struct mem_cgroup *memcg,
				  struct ftrace_regs *fregs)
{
	struct mcx_memcg *m = mcx_memsw_find(memcg);
	unsigned long options;

	if (!m)
		return;
	mcx_memsw_update(m);
	if (!mcx_memsw_binds(m))
		return;
	mcx_stat_inc(m, memsw_max);
	set_bit(MCX_MEMSW_NO_SWAP, &m->flags);
	options = ftrace_regs_get_argument(fregs, 3);
	mcx_regs_set_argument3(fregs, options & ~MCX_RECLAIM_MAY_SWAP);
	if (time_after(jiffies, READ_ONCE(m->memsw->counted_at) +
				MCX_COUNT_TIME))
		mcx_memsw_ask(m);
}

/* Where the OOM killer's call goes; 0: on. Under RCU. */
static notrace unsigned long mcx_memsw_route_oom(struct mem_cgroup *memcg,
						 int order)
{
	struct mcx_memcg *m = mcx_memsw_find(memcg);

	if (!m)
		return 0;
	mcx_memsw_update(m);
	if (mcx_memsw_binds(m)) {
		if (!mcx_memsw_sure(m, order))
			return (unsigned long)mcx_memsw_recount;
		mcx_memsw_oom_begins(m);
		return 0;
	}
	/* Memory.max binds, but it was not tried to swap. */
	return test_bit(MCX_MEMSW_NO_SWAP, &m->flags) ?
	       (unsigned long)mcx_memsw_recount : 0;
}

/* Where a call goes that needs somebody to look into it; 0: where it was going. */
static notrace unsigned long mcx_memsw_route(unsigned long ip,
					     struct ftrace_regs *fregs)
{
	void *arg = (void *)ftrace_regs_get_argument(fregs, 0);

	if (ip == mcx_hook_max_show.addr)
		return mcx_memsw_find(mem_cgroup_from_css(seq_css(arg))) ?
		       (unsigned long)mcx_memsw_show_max : 0;
	if (ip == mcx_hook_max_set.addr)
		return mcx_memsw_find(mem_cgroup_from_css(of_css(arg))) ?
		       (unsigned long)mcx_memsw_max_written : 0;
	return mcx_memsw_route_oom(arg, ftrace_regs_get_argument(fregs, 2));
}

/* 7.x is given the cluster first. */
static notrace struct folio *mcx_uncached_folio(struct ftrace_regs *fregs)
{
	bool second = mcx_hook_uncached.name == mcx_hook_uncached.symbols[0];

	return (void *)ftrace_regs_get_argument(fregs, second);
}

static void notrace mcx_memsw_hook(unsigned long ip, unsigned long parent_ip,
				   struct ftrace_ops *ops,
				   struct ftrace_regs *fregs)
{
	unsigned long to = 0;

	rcu_read_lock();
	if (ip == mcx_hook_uncached.addr) {
		mcx_memsw_uncached(mcx_uncached_folio(fregs));
	} else if (ip == mcx_hook_met.addr) {
		if (mcx_hook_called_by(&mcx_hook_met, parent_ip))
			mcx_memsw_met((void *)ftrace_regs_get_argument(fregs, 0),
				      fregs);
	} else if (mcx_hook_may_redirect(&mcx_hook_max_show)) {
		to = mcx_memsw_route(ip, fregs);
	}
	if (to) {
		atomic_inc(&nr_inside);
		ftrace_regs_set_instruction_pointer(fregs, to);
	}
	rcu_read_unlock();
}

struct mcx_hook mcx_hook_max_show = {
	.symbols = { "memory_max_show" },
	.func = mcx_memsw_hook,
	.redirect = true,
	.feature = MCX_FEAT_MEMSW,
	.optional = true,
	.wanted = &mcx_memsw_users,
};

struct mcx_hook mcx_hook_max_set = {
	.symbols = { "memory_max_write" },
	.with = &mcx_hook_max_show,
	.feature = MCX_FEAT_MEMSW,
	.optional = true,
};

struct mcx_hook mcx_hook_oom = {
	.symbols = { "mem_cgroup_out_of_memory" },
	.with = &mcx_hook_max_show,
	.feature = MCX_FEAT_MEMSW,
	.optional = true,
};

struct mcx_hook mcx_hook_met = {
	.symbols = { "try_to_free_mem_cgroup_pages" },
	.caller = "try_charge_memcg",
	.with = &mcx_hook_max_show,
	.feature = MCX_FEAT_MEMSW,
	.optional = true,
};

struct mcx_hook mcx_hook_uncached = {
	.symbols = { "__swap_cache_del_folio", "__delete_from_swap_cache" },
	.with = &mcx_hook_max_show,
	.feature = MCX_FEAT_MEMSW,
	.optional = true,
};

static bool mcx_memsw_complete(void)
{
	return mcx_hook_max_show.attached && mcx_hook_max_show.redirects &&
	       mcx_hook_max_set.addr && mcx_hook_oom.addr &&
	       mcx_hook_met.addr && mcx_hook_uncached.addr;
}

/* From given to owned. One that was taken away and given again may be owned still. */
static void mcx_memsw_own(struct mcx_memcg *m, void *any)
{
	mutex_lock(&memsw_mutex);
	if (m->memsw->given < PAGE_COUNTER_MAX && !mcx_memsw_limited(m)) {
		if (!m->memsw->owned) {
			WRITE_ONCE(m->memsw->max, READ_ONCE(m->counter->max));
			WRITE_ONCE(m->memsw->owned, true);
		}
		*(bool *)any = true;
	}
	mutex_unlock(&memsw_mutex);
}

/* From owned to enforced: all who wrote memory.max before are done. */
static void mcx_memsw_enforce(struct mcx_memcg *m, void *arg)
{
	bool begins;

	mutex_lock(&memsw_mutex);
	begins = m->memsw->owned && !mcx_memsw_limited(m);
	/* What they wrote, whether or not there is a limit still. */
	if (begins)
		WRITE_ONCE(m->memsw->max, READ_ONCE(m->counter->max));
	begins &= m->memsw->given < PAGE_COUNTER_MAX;
	if (begins) {
		WRITE_ONCE(m->memsw->base, atomic_long_read(&m->memsw->gone));
		/* Pairs with mcx_memsw_update(). */
		smp_wmb();
		WRITE_ONCE(m->memsw->limit, m->memsw->given);
	}
	mutex_unlock(&memsw_mutex);
	if (begins)
		mcx_memsw_count(m);
}

/* From enforced to owned; @arg: whatever is given. */
static void mcx_memsw_relax(struct mcx_memcg *m, void *arg)
{
	mutex_lock(&memsw_mutex);
	if (m->memsw->owned && (arg || m->memsw->given >= PAGE_COUNTER_MAX))
		WRITE_ONCE(m->memsw->limit, PAGE_COUNTER_MAX);
	mutex_unlock(&memsw_mutex);
}

/* And from there on: nobody writes what was worked out any more. */
static void mcx_memsw_restore(struct mcx_memcg *m, void *arg)
{
	mutex_lock(&memsw_mutex);
	if (m->memsw->owned && !mcx_memsw_limited(m)) {
		if (!test_bit(MCX_DYING, &m->flags))
			WRITE_ONCE(m->counter->max, READ_ONCE(m->memsw->max));
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
	mcx_state_for_each(mcx_memsw_restore, arg);
}

/**
 * mcx_memsw_attached() - hooks were attached: enforce what is given
 *
 * Context: Process, under the mutex of hooks.c. Takes the state mutex. Waits for
 * RCU-tasks if there is anything new.
 */
void mcx_memsw_attached(void)
{
	bool any = false;

	if (!READ_ONCE(mcx_memsw_users) || READ_ONCE(leaving))
		return;
	if (!mcx_memsw_complete()) {
		WRITE_ONCE(missed, missed + 1);
		wake_up_all(&enforced);
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
 * mcx_memsw_drain() - wait until nobody is here any more who was sent here
 *
 * Context: Process; the hooks are detached, and a grace period of RCU-tasks follows.
 */
void mcx_memsw_drain(void)
{
	wait_var_event(&nr_inside, !atomic_read(&nr_inside));
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
	rcu_read_lock();
	/* If it is given back meanwhile, that is the user's now. */
	if (mcx_memsw_limited(m))
		mcx_memsw_update(m);
	else
		WRITE_ONCE(m->counter->max, max);
	rcu_read_unlock();
	mutex_unlock(&memsw_mutex);
}

static int mcx_memsw_alloc(struct mcx_memcg *m)
{
	struct mcx_memsw *w = kmalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);

	if (!w)
		return -ENOMEM;
	*w = none;
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
 * Return: 0, or -ENOMEM; never for PAGE_COUNTER_MAX.
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
	if (mcx_memsw_limited(m))
		WRITE_ONCE(m->memsw->limit, limit);
	mutex_unlock(&memsw_mutex);
	WRITE_ONCE(mcx_memsw_users, mcx_memsw_users + change);
	if (change)
		mcx_hooks_again();
	if (mcx_memsw_limited(m))
		mcx_memsw_ask_now(m);
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
 * mcx_memsw_wait() - wait until a limit is enforced that was just configured
 * @m: the cgroup
 * @before: mcx_memsw_missed() of before
 *
 * Context: Process. Sleeps, for five seconds at most; a signal ends that.
 * Return: 0, or -EBUSY: it cannot be now.
 */
int mcx_memsw_wait(struct mcx_memcg *m, unsigned int before)
{
	long left;

	left = wait_event_interruptible_timeout(enforced, mcx_memsw_limited(m) ||
						m->memsw->given >= PAGE_COUNTER_MAX ||
						css_is_dying(&m->memcg->css) ||
						READ_ONCE(leaving) ||
						READ_ONCE(missed) != before, 5 * HZ);
	if (mcx_memsw_limited(m) || m->memsw->given >= PAGE_COUNTER_MAX || left < 0)
		return 0;
	return !left || READ_ONCE(missed) != before ? -EBUSY : 0;
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
 * @m: the object, which nobody can find any more
 *
 * Context: Any but NMI.
 */
void mcx_memsw_free(struct mcx_memcg *m)
{
	if (m->memsw != &none)
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
 * mcx_memsw_leaving() - does it
 *
 * Context: Any.
 * Return: true after mcx_memsw_leave().
 */
bool mcx_memsw_leaving(void)
{
	return READ_ONCE(leaving);
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
	flush_work(&count_work);
}
