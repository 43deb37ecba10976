// SPDX-License-Identifier: GPL-2.0-only
/*
 * overrun=: a batch that does not fit below memory.max, charged in the middle of the
 * kernel by a task with whatever locks it holds, is granted room above it, instead of
 * being reclaimed for there and then. The task waits for that on its return to user
 * mode, as for all it charges above the marks, and the workers bring usage back.
 *
 * Such a batch is charged by page_counter_charge(), as the kernel charges what must not
 * fail, and page_counter_try_charge() is sent to a function that says it is done.
 * memory.max itself is not touched: whatever else comes to it finds it where the user
 * put it, and so does who reads it. Usage is above it by no more than overrun=, beside
 * what the kernel itself charges by force; memory.peak may have a few batches more,
 * which were tried and taken back.
 *
 * Three quarters of overrun= are for everybody, the last one for who owns a lock that
 * others wait for (owner.c). Whoever cannot be made to wait later (kernel threads, workers
 * of io_uring, exiting tasks, core dumps) is granted something only while usage is above
 * memory.max, which others brought it to, or it would have to reclaim all of what was
 * granted to them; and a quarter less. For large folios there is no more than half: the
 * kernel would reclaim for those of files, too, before it made do with smaller ones, but
 * not for most huge pages, and which it is cannot be seen here. Not granted: anything
 * where nothing can be reclaimed; for a second after memory.max was written, and until a
 * worker has seen usage clearly below it; what mcx_overrun_decide() charges. Those are the
 * kernel's, which reclaims, and kills if it must, at memory.max.
 *
 * The same goes for what is charged to another cgroup than current's own, since for that
 * it is only asked to wait as far as owed.c remembers it.
 *
 * Locking: none. What is charged is looked at again, and taken back if it is too much,
 * as in page_counter_try_charge() itself. mcx_overrun_users: state_mutex. m->decider is
 * taken by cmpxchg, given back by who has it, and compared by all others.
 *
 * The callbacks run in any context; in interrupts nothing is granted. The charge hook
 * (account.c), which comes after this one, sees a granted batch in usage already, and
 * takes usage for that much higher.
 */
#include <linux/cgroup.h>
#include <linux/freezer.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/minmax.h>
#include <linux/page_counter.h>
#include <linux/preempt.h>
#include <linux/psi.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "hooks.h"
#include "mark.h"
#include "memsw.h"
#include "overrun.h"
#include "owed.h"
#include "owner.h"
#include "reclaim.h"
#include "symbols.h"
#include "throttle.h"

/* How often the kernel is made to decide, for all tasks of a cgroup. */
#define MCX_DECIDE_TIME	(HZ / 10)
#define MCX_DECIDE_MAX	(10 * HZ)
/* A huge page, in pages; gigantic ones of hugetlb are never repaid. */
#define MCX_LARGEST	512UL
/* So long nothing is granted after memory.max was written. */
#define MCX_WRITE_TIME	HZ

/* Who charges. */
struct mcx_charger {
	bool waits;	/* can be made to, later */
	bool wanted;	/* owns what others wait for, and needs that to be granted this */
	bool large;	/* more than a batch */
};

/* Cgroups with overrun=; without any nothing is hooked for it. */
int mcx_overrun_users;

/* Can current be made to wait later for what it charges there? Under RCU. */
static notrace bool mcx_waits_later(struct page_counter *counter)
{
	struct mem_cgroup *memcg;

	if (current->flags & (PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER |
			      PF_EXITING | PF_MEMALLOC | PF_DUMPCORE) ||
	    fatal_signal_pending(current))
		return false;
	/* Or is it sent to the kernel's handler then? */
	memcg = mcx_current_memcg();
	return memcg && &memcg->memory == counter &&
	       mcx_throttle_all_ours(memcg);
}

/* Was @max met, or is it no lower than what was? */
static notrace bool mcx_overrun_met(struct mcx_memcg *m, unsigned long max)
{
	return max >= READ_ONCE(m->overrun_from);
}

/* So far may usage go in @m, if it is above @max; 0: no further than that. */
static notrace unsigned long mcx_overrun_most(struct mcx_memcg *m,
					      unsigned long max,
					      struct mcx_charger who)
{
	unsigned long overrun = READ_ONCE(m->conf.overrun);
	unsigned int quarters = who.waits ? 3 : 2;

	if (!overrun || !mcx_memcg_managed(m) ||
	    test_bit(MCX_IS_EMPTY, &m->flags) ||
	    !mcx_overrun_met(m, mcx_memsw_user_max(m)))
		return 0;
	/* One is kept for who holds up others, if that can be known. */
	if (who.wanted || !mcx_owner_watched())
		quarters++;
	if (who.large)
		quarters = min(quarters, 2U);
	return min(max + overrun / 4 * quarters, mcx_memsw_cap(m));
}

/*
 * Is there room for @more pages at each limit in the way? The nearest of these limits is
 * in @first. Under RCU.
 */
static notrace bool mcx_overrun_fits(struct page_counter *counter,
				     unsigned long more, struct mcx_charger who,
				     struct mcx_memcg **first)
{
	*first = NULL;
	for (; counter; counter = counter->parent) {
		unsigned long usage = page_counter_read(counter);
		unsigned long max = READ_ONCE(counter->max);
		struct mcx_memcg *m;

		if (usage + more <= max)
			continue;
		m = mcx_memcg_find(counter);
		if (!m)
			return false;
		if (usage + more > mcx_overrun_most(m, max, who) ||
		    (more && !who.waits && usage <= max))
			return false;
		if (!*first)
			*first = m;
	}
	return true;
}

/* Runs instead of page_counter_try_charge(): it was charged already. */
static noinline notrace bool mcx_charged(struct page_counter *counter,
					 unsigned long nr_pages,
					 struct page_counter **fail)
{
	return true;
}

/* Returns true if the batch was charged. Under RCU. */
static notrace bool mcx_overrun_charge(struct page_counter *counter,
				       unsigned long nr_pages)
{
	struct mcx_charger who = {
		.waits = mcx_waits_later(counter),
		.large = nr_pages > MCX_BATCH,
	};
	struct mcx_memcg *m, *first;

	if (!mcx_overrun_fits(counter, nr_pages, who, &m)) {
		who.wanted = mcx_owner_wanted();
		if (!who.wanted ||
		    !mcx_overrun_fits(counter, nr_pages, who, &m))
			return false;
	}
	if (!m)
		return false;
	static_call(mcx_force_charge)(counter, nr_pages);
	/* Somebody may have been faster. */
	if (!mcx_overrun_fits(counter, 0, who, &first)) {
		static_call(mcx_force_uncharge)(counter, nr_pages);
		return false;
	}
	mcx_stat_inc(m, granted);
	if (who.wanted)
		mcx_stat_inc(m, granted_owner);
	mcx_stat_add(m, granted_pages, nr_pages);
	return true;
}

/* Does it fail, and is that not what current wants? Under RCU. */
static notrace bool mcx_is_beyond(struct page_counter *counter,
				  unsigned long nr_pages)
{
	bool beyond = false;
	struct mcx_memcg *m;

	for (m = mcx_memcg_nearest(counter); m; m = rcu_dereference(m->up)) {
		if (READ_ONCE(m->decider) == current)
			return false;
		beyond |= READ_ONCE(m->conf.overrun) &&
			  page_counter_read(m->counter) + nr_pages >
			  READ_ONCE(m->counter->max);
	}
	return beyond;
}

static void notrace mcx_over_max(unsigned long ip, unsigned long parent_ip,
				 struct ftrace_ops *ops,
				 struct ftrace_regs *fregs)
{
	struct page_counter *counter;
	unsigned long nr_pages;

	counter = (void *)ftrace_regs_get_argument(fregs, 0);
	nr_pages = ftrace_regs_get_argument(fregs, 1);
	/* If the over-high handler is not ours nobody would repay. */
	if (!in_task() || !mcx_hook_may_redirect(&mcx_hook_over_high) ||
	    !mcx_hook_may_redirect(&mcx_hook_over_max) ||
	    !READ_ONCE(mcx_hook_max_write.attached) || nr_pages > MCX_LARGEST)
		return;
	rcu_read_lock();
	/* The hook that does this for others may come after this one. */
	if (READ_ONCE(mcx_memsw_users))
		mcx_memsw_charge(counter, nr_pages);
	if (mcx_is_beyond(counter, nr_pages) &&
	    mcx_overrun_charge(counter, nr_pages))
		ftrace_regs_set_instruction_pointer(fregs,
						    (unsigned long)mcx_charged);
	rcu_read_unlock();
}

struct mcx_hook mcx_hook_over_max = {
	.symbols = { "page_counter_try_charge" },
	.func = mcx_over_max,
	.redirect = true,
	.feature = MCX_FEAT_OVERRUN,
	.optional = true,
	.wanted = &mcx_overrun_users,
};

/* Is somebody about to write memory.max, or just did? */
static bool mcx_overrun_written_now(struct mcx_memcg *m)
{
	return time_before(jiffies, READ_ONCE(m->max_written) + MCX_WRITE_TIME);
}

/**
 * mcx_overrun_seen() - a worker looks after this cgroup: is memory.max met
 * @m: the cgroup
 *
 * Clearly, and not right after it was written, so that whoever writes it sees the same,
 * and does not find usage above it again for what was granted since.
 *
 * Context: Process.
 */
void mcx_overrun_seen(struct mcx_memcg *m)
{
	unsigned long max = mcx_memsw_user_max(m);

	if (likely(mcx_overrun_met(m, max)) ||
	    mcx_overrun_written_now(m) ||
	    page_counter_read(m->counter) > mcx_admit_of(m, PAGE_COUNTER_MAX))
		return;
	WRITE_ONCE(m->overrun_from, max);
}

/**
 * mcx_overrun_written() - memory.max is about to be written
 * @fregs: arguments of memory_max_write()
 *
 * The writer reclaims until usage is below what it wrote, and has somebody killed if
 * that fails: until it is, nothing may be granted. What it writes is not known yet.
 *
 * Context: an ftrace callback; must not sleep.
 */
void notrace mcx_overrun_written(struct ftrace_regs *fregs)
{
	struct kernfs_open_file *of = (void *)ftrace_regs_get_argument(fregs, 0);
	struct mcx_memcg *m;

	rcu_read_lock();
	m = mcx_memcg_find(&mem_cgroup_from_css(of_css(of))->memory);
	if (m) {
		WRITE_ONCE(m->max_written, jiffies);
		WRITE_ONCE(m->overrun_from, ULONG_MAX);
	}
	rcu_read_unlock();
}

struct mcx_hook mcx_hook_max_write = {
	.symbols = { "memory_max_write" },
	.with = &mcx_hook_charge,
	.feature = MCX_FEAT_OVERRUN,
	.optional = true,
};

/* Is usage where overrun= let it go, and should current do something about it? */
static bool mcx_overrun_owes(struct mcx_memcg *m)
{
	unsigned long max = READ_ONCE(m->counter->max);

	return page_counter_read(m->counter) > max &&
	       mcx_overrun_met(m, mcx_memsw_user_max(m)) &&
	       READ_ONCE(m->conf.overrun) &&
	       mcx_memcg_managed(m) && !mcx_throttle_draining() &&
	       !signal_pending(current) && !freezing(current);
}

static bool mcx_decide_due(struct mcx_memcg *m)
{
	return time_after_eq(jiffies, READ_ONCE(m->overrun_decided) +
				      READ_ONCE(m->decide_delay));
}

/* For all tasks together, once in a while. */
static bool mcx_decide_begin(struct mcx_memcg *m)
{
	if (!mcx_decide_due(m) || cmpxchg(&m->decider, NULL, current))
		return false;
	/* Somebody may just have been done. */
	if (mcx_decide_due(m))
		return true;
	WRITE_ONCE(m->decider, NULL);
	return false;
}

/* Each try in vain is a report of the OOM killer's: less and less often. */
static void mcx_decide_end(struct mcx_memcg *m, bool decided)
{
	unsigned long delay = READ_ONCE(m->decide_delay);

	WRITE_ONCE(m->decide_delay, decided ? MCX_DECIDE_TIME :
			 min(2 * delay, MCX_DECIDE_MAX));
	WRITE_ONCE(m->overrun_decided, jiffies);
	/* Pairs with the cmpxchg() of the next, who looks at the time again. */
	smp_store_release(&m->decider, NULL);
}

/*
 * Have the kernel decide: pages that are charged here come to memory.max as any others
 * would, as soon as what this CPU has in stock is used up; twice as many, as current
 * may come to another CPU meanwhile.
 */
static void mcx_overrun_decide(struct mcx_memcg *m)
{
	unsigned int debt = current->memcg_nr_pages_over_high, i;
	struct page *page = NULL, *next;
	struct mem_cgroup *old;
	LIST_HEAD(pages);

	if (!mcx_decide_begin(m))
		return;
	old = set_active_memcg(m->memcg);
	for (i = 0; i < 2 * MCX_BATCH && mcx_overrun_owes(m); i++) {
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
		if (!page)
			break;
		list_add(&page->lru, &pages);
	}
	set_active_memcg(old);
	mcx_decide_end(m, page || !mcx_overrun_owes(m));
	list_for_each_entry_safe(page, next, &pages, lru)
		__free_page(page);
	/* Each try counted as debt, which would bring current here again and again. */
	current->memcg_nr_pages_over_high = debt;
	mcx_owed_take();
}

/**
 * mcx_overrun_settle() - current has waited, and goes back to user mode: what was
 *	granted is to be repaid
 * @m: a managed cgroup that it charged to
 * @nr_pages: how many
 *
 * What the workers did not free is reclaimed here, where no lock is held, as much as
 * current charged; where nothing can be, the kernel decides. Not after a signal, nor
 * when the module or management goes: the next charge comes to memory.max then.
 *
 * Context: Process, on the way to user mode. Sleeps.
 */
void mcx_overrun_settle(struct mcx_memcg *m, unsigned long nr_pages)
{
	unsigned long freed, pflags;

	if (likely(!mcx_overrun_owes(m)))
		return;
	psi_memstall_enter(&pflags);
	while (nr_pages && mcx_overrun_owes(m)) {
		freed = mcx_reclaim_self(m, nr_pages);
		mcx_stat_add(m, repaid_pages, freed);
		if (!freed) {
			mcx_overrun_decide(m);
			break;
		}
		nr_pages -= min(nr_pages, freed);
	}
	psi_memstall_leave(&pflags);
}

/**
 * mcx_overrun_configure() - how far memory.max may be exceeded
 * @m: the cgroup
 * @nr_pages: 0: not at all
 *
 * Context: Process, under the state mutex.
 */
void mcx_overrun_configure(struct mcx_memcg *m, unsigned long nr_pages)
{
	int change = !!nr_pages - !!m->conf.overrun;

	WRITE_ONCE(m->conf.overrun, nr_pages);
	if (!change)
		return;
	if (!mcx_overrun_written_now(m) &&
	    page_counter_read(m->counter) <= READ_ONCE(m->counter->max))
		WRITE_ONCE(m->overrun_from, mcx_memsw_user_max(m));
	WRITE_ONCE(mcx_overrun_users, mcx_overrun_users + change);
	mcx_hooks_again();
}

/**
 * mcx_overrun_possible() - can memory.max be exceeded on this kernel
 *
 * Booted with cgroup.memory=nokmem there is nothing that could be charged to make the
 * kernel decide. That is known as soon as there is a cgroup to configure.
 *
 * Context: Any.
 * Return: false if overrun= is to be refused.
 */
bool mcx_overrun_possible(void)
{
	if (!memcg_kmem_online())
		mcx_feature_off(MCX_FEAT_OVERRUN,
				"booted with cgroup.memory=nokmem");
	return mcx_feature_is_on(MCX_FEAT_OVERRUN);
}

/**
 * mcx_overrun_init_memcg() - nothing granted yet
 * @m: a new object
 *
 * Context: Any.
 */
void mcx_overrun_init_memcg(struct mcx_memcg *m)
{
	m->overrun_from = ULONG_MAX;
	m->max_written = jiffies - MCX_WRITE_TIME;
	m->decide_delay = MCX_DECIDE_TIME;
	m->overrun_decided = jiffies - MCX_DECIDE_TIME;
}

/**
 * mcx_overrun_attached() - the hook is in place: is anything missing
 *
 * Context: Process; the hooks were just attached.
 */
void mcx_overrun_attached(void)
{
	if (!mcx_hook_over_max.attached)
		return;
	if (!mcx_hook_max_write.attached) {
		mcx_feature_off(MCX_FEAT_OVERRUN, "%s is not hooked",
				mcx_hook_max_write.name);
		return;
	}
	if (mcx_hook_over_high.redirects)
		mcx_feature_on(MCX_FEAT_OVERRUN);
	else
		mcx_feature_degraded(MCX_FEAT_OVERRUN,
				     "%s is not ours: memory.max is not exceeded",
				     mcx_hook_over_high.name);
}
