// SPDX-License-Identifier: GPL-2.0-only
/*
 * The charge hook: sees every batch of pages charged anywhere, and compares the
 * usage of each managed cgroup above it with its marks. And, while somebody has to
 * wait, batches given back, which speak for who gives them; see credit.c.
 *
 * page_counter_try_charge() is called once per batch of up to 64 pages, where
 * try_charge_memcg() runs once per charge. 7.x charges from any context, NMI and
 * run queue locks included: nothing here sleeps, allocates, locks or wakes.
 * Swap and hugetlb counters pass here too; the table knows memory counters
 * only, so that no counter is believed to be part of a memcg before it is found.
 *
 * Locking: RCU.
 */
#include <linux/ftrace.h>
#include <linux/memcontrol.h>
#include <linux/rcupdate.h>

#include "call.h"
#include "cpu.h"
#include "credit.h"
#include "hooks.h"
#include "mark.h"
#include "memsw.h"
#include "overrun.h"
#include "owner.h"
#include "reclaim.h"
#include "state.h"
#include "threads.h"
#include "throttle.h"

/* Batch threads wait from the wake mark on. */
static notrace bool mcx_is_batch(struct mem_cgroup *memcg)
{
	return in_task() &&
	       mcx_threads_class(current, memcg) == MCX_CLASS_BATCH;
}

/* Returns true if whoever charges this shall see us on its way out. */
static notrace bool mcx_charge_level(struct mcx_memcg *m,
				     unsigned long nr_pages)
{
	unsigned long usage = page_counter_read(m->counter) + nr_pages;
	unsigned long admit = mcx_mark_admit(m);

	mcx_stat_inc(m, batches);
	mcx_stat_add(m, charged_pages, nr_pages);

	/* Without memory.high enforced, whether it can be met again is tried out. */
	if (usage <= mcx_mark_wake(m, admit) &&
	    likely(!test_bit(MCX_HIGH_OFF, &m->flags)))
		return mcx_cpu_owes(m);
	mcx_reclaim_kick(m);
	if (usage <= mcx_mark_pace(m, admit))
		return mcx_cpu_owes(m) || mcx_is_batch(m->memcg);
	/* How far it goes from here, see adapt.c. */
	if (unlikely(!READ_ONCE(m->crossed)))
		WRITE_ONCE(m->crossed, usage - nr_pages);
	if (usage > READ_ONCE(m->peak))
		WRITE_ONCE(m->peak, usage);
	return true;
}

/*
 * Does current charge itself? A fault in somebody else's memory, as ptrace makes,
 * is charged to that one, and current must not wait for it. Under RCU.
 */
static notrace bool mcx_charges_itself(struct mem_cgroup *memcg)
{
	struct mem_cgroup *own = in_task() ? mcx_current_memcg() : NULL;

	return own && (mem_cgroup_is_descendant(own, memcg) ||
		       mem_cgroup_is_descendant(memcg, own));
}

/* How long current shall wait because the policy in effect says so. */
static notrace unsigned int mcx_charge_delay(struct mcx_memcg *m,
					     unsigned int nr_pages, u64 *by)
{
	unsigned int delay = mcx_call_charged(m, nr_pages, by);

	return delay && mcx_charges_itself(m->memcg) ? delay : 0;
}

/* Is that not the cgroup in which current waits for what it charges? Under RCU. */
static notrace bool mcx_is_elsewhere(struct page_counter *counter)
{
	struct mem_cgroup *own = in_task() ? mcx_current_memcg() : NULL;

	return own && &own->memory != counter;
}

/* Current gives back pages: not those that it reclaims. */
static notrace void mcx_uncharge(struct page_counter *counter,
				 unsigned long nr_pages)
{
	struct mem_cgroup *own;
	struct mcx_memcg *m;

	if (!in_task() || current->flags & (PF_KTHREAD | PF_IO_WORKER |
					    PF_USER_WORKER | PF_MEMALLOC))
		return;
	rcu_read_lock();
	own = mcx_current_memcg();
	if (own && &own->memory == counter) {
		nr_pages = mcx_credit_give(counter, nr_pages);
		m = nr_pages ? mcx_memcg_nearest(counter) : NULL;
		if (m)
			mcx_stat_add(m, given_pages, nr_pages);
	}
	rcu_read_unlock();
}

/* Whoever gives it back, and whatever it was: a policy hears of it. */
static notrace void mcx_uncharge_tell(struct page_counter *counter,
				      unsigned long nr_pages)
{
	struct mcx_memcg *m;

	rcu_read_lock();
	m = mcx_memcg_find(counter);
	if (m)
		mcx_call_uncharged(m, nr_pages);
	rcu_read_unlock();
}

static void notrace mcx_charge(unsigned long ip, unsigned long parent_ip,
			       struct ftrace_ops *ops,
			       struct ftrace_regs *fregs)
{
	struct page_counter *counter;
	unsigned long nr_pages;
	struct mcx_memcg *m;
	unsigned int delay = 0;
	bool over = false, elsewhere = false, memsw;
	u64 by = 0;

	counter = (void *)ftrace_regs_get_argument(fregs, 0);
	nr_pages = ftrace_regs_get_argument(fregs, 1);
	if (ip == mcx_hook_uncharge.addr) {
		if (mcx_hook_called_by(&mcx_hook_uncharge, parent_ip))
			mcx_uncharge(counter, nr_pages);
		if (unlikely(mcx_hooks_held()))
			mcx_uncharge_tell(counter, nr_pages);
		return;
	}
	if (unlikely(ip != mcx_hook_charge.addr)) {
		if (ip == mcx_hook_max_write.addr)
			mcx_overrun_written(fregs);
		else if (ip == mcx_hook_boosted.addr)
			mcx_owner_boosted(fregs);
		else
			mcx_state_hook(ip, fregs);
		return;
	}

	memsw = unlikely(READ_ONCE(mcx_memsw_users));
	/* Nothing is done about that, and it is so for each page. */
	if (memsw && mcx_memsw_is_swap(parent_ip))
		return;
	rcu_read_lock();
	if (memsw)
		mcx_memsw_charge(counter, nr_pages);
	m = mcx_memcg_find(counter);
	if (m && rcu_access_pointer(m->policy))
		delay = mcx_charge_delay(m, nr_pages, &by);
	if (m && !mcx_memcg_managed(m))
		m = rcu_dereference(m->up);
	for (; m; m = rcu_dereference(m->up))
		over |= mcx_charge_level(m, nr_pages);
	if (over)
		elsewhere = mcx_is_elsewhere(counter);
	rcu_read_unlock();
	if (over || delay)
		mcx_throttle_charge(elsewhere ? counter : NULL, nr_pages, delay,
				    by);
}

struct mcx_hook mcx_hook_charge = {
	.symbols = { "page_counter_try_charge" },
	.func = mcx_charge,
	.feature = MCX_FEAT_ACCOUNT,
};

struct mcx_hook mcx_hook_uncharge = {
	.symbols = { "page_counter_uncharge" },
	/* Pages that are freed; not what was charged ahead, nor slab. */
	.caller = "uncharge_batch",
	.with = &mcx_hook_charge,
	.feature = MCX_FEAT_GIVEN,
	.optional = true,
	.on_demand = true,
};
