// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the kernel meets, reads and writes a memory.max that is worked out; see memsw.c.
 *
 * memory_max_show() and memory_max_write() of such a cgroup are sent to memsw_file.c.
 *
 * A task that reclaims for a charge that did not fit does not swap while the limit is what
 * binds: the hook at try_to_free_mem_cgroup_pages() takes that out of its options, as v1
 * did. When the kernel gives up on such a charge it calls mem_cgroup_out_of_memory(), which
 * is sent here: the swap cache is counted anew, and only if there is no room then, either,
 * the kernel's own function is called, by one task at a time, for which others wait. It may
 * wait for its turn, and looks once more then, but not at swap: so out_of_memory() is sent
 * here, too, if swap that was freed meanwhile made room.
 * Otherwise the charge is tried again as after a kill; now with swap, if it was another
 * limit that binds. Where there is no room that may go on for MCX_AVERT_TIME while nothing
 * is swapped, and until MCX_AVERT_MOST is spent in any case, so that nobody goes round and
 * round where limits bind by turns. Between two of them that time is spent, but of one pause
 * MCX_AVERT_APART at most, as they may have nothing to do with each other; and of one beyond
 * MCX_AVERT_PASSES, or after a kill for this, nothing.
 *
 * Locking: the callbacks run under RCU. nr_inside counts the tasks sent here, as in
 * throttle.c.
 */
#include <linux/ftrace.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/page_counter.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/wait_bit.h>

#include "compat.h"
#include "events.h"
#include "hooks.h"
#include "memsw.h"
#include "memsw_file.h"
#include "symbols.h"

/* For so long it counts that somebody began a pass in which nothing is swapped. */
#define MCX_NO_SWAP_TIME	(10 * HZ)
#define MCX_AVERT_TIME		(2 * HZ)
#define MCX_AVERT_MOST		(30 * HZ)
#define MCX_AVERT_APART		(10 * HZ)
/* The passes of a charge before it is given up are taken to need no longer. */
#define MCX_AVERT_PASSES	(60 * HZ)

static bool draining;
static unsigned long met_at;	/* jiffies; the last no_swap_at of all */
static atomic_t nr_inside = ATOMIC_INIT(0);

static void mcx_memsw_end(void)
{
	if (atomic_dec_and_test(&nr_inside))
		wake_up_var(&nr_inside);
}

/*
 * Kills in cgroups below count as well; but with the mount option memory_localevents, where
 * the kernel does not count them here.
 */
static unsigned long mcx_oom_kills(struct mem_cgroup *memcg)
{
	return atomic_long_read(&memcg->memory_events[MEMCG_OOM_KILL]);
}

/* What memory.max has to be by now. Under RCU. */
static notrace void mcx_memsw_correct(struct mcx_memcg *m)
{
	mcx_memsw_heal(m);
	mcx_memsw_update(m);
}

/* Does such a batch fit, by what is known at once? Under RCU. */
static notrace bool mcx_memsw_fits_rcu(struct mcx_memcg *m, int order)
{
	mcx_memsw_correct(m);
	return page_counter_read(m->counter) + (1UL << order) <=
	       READ_ONCE(m->counter->max);
}

static bool mcx_memsw_fits(struct mcx_memcg *m, int order)
{
	bool fits;

	rcu_read_lock();
	fits = mcx_memsw_fits_rcu(m, order);
	rcu_read_unlock();
	return fits;
}

/*
 * Waits until somebody has had the kernel kill, as others wait for its oom_lock; whoever
 * is killed does not. Caller has a reference. Returns whether to try again.
 */
static bool mcx_memsw_killed(struct mcx_memcg *m, int order)
{
	if (wait_var_event_killable(&m->memsw->killer,
				    !READ_ONCE(m->memsw->killer)))
		return true;
	/* Pairs with mcx_memsw_kill(). */
	smp_rmb();
	mcx_memsw_refresh(m);
	/* Where nobody could be killed there may be room for this one. */
	return READ_ONCE(m->memsw->killed) || mcx_memsw_fits(m, order);
}

/**
 * mcx_memsw_kill() - have the kernel kill, whatever binds
 * @m: the cgroup
 * @gfp_mask: of the charge
 * @order: likewise
 *
 * One task at a time, where there is such a limit still; others wait for it, and are told
 * the same. Whom it kills is counted if it is for memory and swap; kills in
 * cgroups below for other reasons, at that very moment, are with them.
 *
 * Context: Process. May sleep.
 * Return: as mem_cgroup_out_of_memory(): false if nobody can be killed.
 */
bool mcx_memsw_kill(struct mcx_memcg *m, gfp_t gfp_mask, int order)
{
	unsigned long kills;
	bool ours = mcx_memsw_binds(m), ret;

	if (!READ_ONCE(m->memsw->owned))
		return static_call(mcx_out_of_memory)(m->memcg, gfp_mask, order);
	if (cmpxchg(&m->memsw->killer, NULL, current))
		return mcx_memsw_killed(m, order);
	/* While nobody else has any killed for this. */
	kills = mcx_oom_kills(m->memcg);
	ret = static_call(mcx_out_of_memory)(m->memcg, gfp_mask, order);
	kills = mcx_oom_kills(m->memcg) - kills;
	if (kills)
		WRITE_ONCE(m->memsw->averted.at, 0);
	WRITE_ONCE(m->memsw->killed, ret);
	/* Pairs with mcx_memsw_killed(). */
	smp_store_release(&m->memsw->killer, NULL);
	/* Pairs with the barrier of who begins to wait. */
	smp_mb();
	wake_up_var(&m->memsw->killer);
	/* Not while one that was killed is about to go. */
	if (ours && (kills || !ret)) {
		mcx_stat_inc(m, memsw_oom);
		mcx_stat_add(m, memsw_oom_kill, kills);
		mcx_events_notify(m);
	}
	return ret;
}

/* May the killer be kept off once more? Two at once may count for one, or for three. */
static bool mcx_memsw_averts(struct mcx_memcg *m)
{
	struct mcx_averted *a = &m->memsw->averted;
	/* In that order: others write it meanwhile. */
	unsigned long last = READ_ONCE(a->at), now = jiffies, gap = now - last;
	unsigned long swap = page_counter_read(&m->memcg->swap), spent = 0;

	if (last && gap <= MCX_AVERT_PASSES)
		spent = READ_ONCE(a->spent) + min(gap, MCX_AVERT_APART);
	if (!last || gap > MCX_AVERT_TIME || swap != READ_ONCE(a->swap))
		WRITE_ONCE(a->from, now);
	WRITE_ONCE(a->spent, spent);
	WRITE_ONCE(a->swap, swap);
	if (time_after(now, READ_ONCE(a->from) + MCX_AVERT_TIME) ||
	    spent > MCX_AVERT_MOST) {
		/* Once; then it begins again. */
		WRITE_ONCE(a->at, 0);
		return false;
	}
	WRITE_ONCE(a->at, now ?: 1);
	return true;
}

/* Runs instead of mem_cgroup_out_of_memory(). What it returns is whether to try again. */
static noinline bool mcx_memsw_oom(struct mem_cgroup *memcg, gfp_t gfp_mask,
				   int order)
{
	struct mcx_memcg *m = mcx_memcg_lookup(memcg);
	bool ret = true, full;

	/* It may have come to be another object on the way here. */
	if (m && READ_ONCE(m->memsw->killer)) {
		ret = mcx_memsw_killed(m, order);
	} else if (m && READ_ONCE(m->memsw->owned)) {
		full = mcx_memsw_count(m) + (1UL << order) >
		       READ_ONCE(m->memsw->limit);
		if ((full && mcx_memsw_binds(m)) ||
		    (!mcx_memsw_fits(m, order) && !mcx_memsw_averts(m)))
			ret = mcx_memsw_kill(m, gfp_mask, order);
	}
	if (m)
		mcx_memcg_put(m);
	mcx_memsw_end();
	return ret;
}

/* Runs instead of out_of_memory(), where there is room by now. */
static noinline bool mcx_memsw_has_room(struct oom_control *oc)
{
	mcx_memsw_end();
	return true;
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
static notrace struct mcx_memcg *mcx_memsw_owned(struct mem_cgroup *memcg)
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

	/* The root has no limits. */
	for (; counter && counter->parent; counter = counter->parent) {
		m = mcx_memsw_find(counter);
		if (m && READ_ONCE(m->memsw->owned))
			atomic_long_add(folio_nr_pages(folio), &m->memsw->gone);
	}
}

/* A task reclaims for a charge that did not fit. Under RCU. */
static notrace void mcx_memsw_met(struct mem_cgroup *memcg,
				  struct ftrace_regs *fregs)
{
	struct mcx_memcg *m = mcx_memsw_owned(memcg);
	unsigned long options;

	if (!m)
		return;
	mcx_memsw_update(m);
	if (!mcx_memsw_binds(m))
		return;
	mcx_stat_inc(m, memsw_max);
	WRITE_ONCE(m->memsw->no_swap_at, jiffies ?: 1);
	WRITE_ONCE(met_at, jiffies);
	options = ftrace_regs_get_argument(fregs, 3);
	mcx_regs_set_argument3(fregs, options & ~MCX_RECLAIM_MAY_SWAP);
	/* Pairs with events.c: who is about to be told sees this, too. */
	smp_mb();
	mcx_memsw_ask(m, !test_bit(MCX_NOTIFY, &m->flags));
}

/* Is it known for each of the last passes that it had tried to swap? */
static notrace bool mcx_memsw_swapped(struct mcx_memcg *m)
{
	unsigned long at = READ_ONCE(m->memsw->no_swap_at);

	return !at || time_after(jiffies, at + MCX_NO_SWAP_TIME);
}

/* Where the OOM killer's call goes; 0: on. Under RCU. */
static notrace unsigned long mcx_memsw_route_oom(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m = mcx_memsw_owned(memcg);

	if (!m || READ_ONCE(m->memsw->killer) == current)
		return 0;
	mcx_memsw_correct(m);
	return mcx_memsw_binds(m) || !mcx_memsw_swapped(m) ?
	       (unsigned long)mcx_memsw_oom : 0;
}

/* And where that of it goes which kills. Under RCU, and the kernel's oom_lock. */
static notrace unsigned long mcx_memsw_route_kill(struct oom_control *oc)
{
	struct mcx_memcg *m = mcx_memsw_owned(oc->memcg);

	return m && mcx_memsw_fits_rcu(m, oc->order) ?
	       (unsigned long)mcx_memsw_has_room : 0;
}

/* Where a call goes that needs somebody to look into it; 0: where it was going. */
static notrace unsigned long mcx_memsw_route(unsigned long ip,
					     struct ftrace_regs *fregs)
{
	void *arg = (void *)ftrace_regs_get_argument(fregs, 0);

	if (ip == mcx_hook_max_show.addr)
		return mcx_memsw_owned(mem_cgroup_from_css(seq_css(arg))) ?
		       (unsigned long)mcx_memsw_show_max : 0;
	if (ip == mcx_hook_max_set.addr)
		return mcx_memsw_owned(mem_cgroup_from_css(of_css(arg))) ?
		       (unsigned long)mcx_memsw_max_written : 0;
	if (ip == mcx_hook_kill.addr)
		return mcx_memsw_route_kill(arg);
	return mcx_memsw_route_oom(arg);
}

/* 7.x is given the cluster first. */
static notrace struct folio *mcx_uncached_folio(struct ftrace_regs *fregs)
{
	bool second = mcx_hook_uncached.name == mcx_hook_uncached.symbols[0];

	return (void *)ftrace_regs_get_argument(fregs, second);
}

static void notrace mcx_memsw_see(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops,
				  struct ftrace_regs *fregs)
{
	rcu_read_lock();
	if (likely(ip == mcx_hook_uncached.addr))
		mcx_memsw_uncached(mcx_uncached_folio(fregs));
	else if (mcx_hook_called_by(&mcx_hook_met, parent_ip))
		mcx_memsw_met((void *)ftrace_regs_get_argument(fregs, 0), fregs);
	rcu_read_unlock();
}

static void notrace mcx_memsw_redirect(unsigned long ip, unsigned long parent_ip,
				       struct ftrace_ops *ops,
				       struct ftrace_regs *fregs)
{
	unsigned long to;

	if (!mcx_hook_may_redirect(&mcx_hook_max_show))
		return;
	rcu_read_lock();
	to = mcx_memsw_route(ip, fregs);
	if (to) {
		atomic_inc(&nr_inside);
		ftrace_regs_set_instruction_pointer(fregs, to);
	}
	rcu_read_unlock();
}

struct mcx_hook mcx_hook_max_show = {
	.symbols = { "memory_max_show" },
	.func = mcx_memsw_redirect,
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

struct mcx_hook mcx_hook_kill = {
	.symbols = { "out_of_memory" },
	.with = &mcx_hook_max_show,
	.feature = MCX_FEAT_MEMSW,
	.optional = true,
};

struct mcx_hook mcx_hook_met = {
	.symbols = { "try_to_free_mem_cgroup_pages" },
	.caller = "try_charge_memcg",
	.with = &mcx_hook_uncached,
	.feature = MCX_FEAT_MEMSW,
	.optional = true,
};

/*
 * By themselves: who redirects has to save all registers, and this is called for each page.
 * Nor does it take what a live patch may want.
 */
struct mcx_hook mcx_hook_uncached = {
	.symbols = { "__swap_cache_del_folio", "__delete_from_swap_cache" },
	.func = mcx_memsw_see,
	.feature = MCX_FEAT_MEMSW,
	.optional = true,
	.wanted = &mcx_memsw_users,
};

/**
 * mcx_memsw_complete() - are all hooks there
 *
 * Context: Process, under the mutex of hooks.c.
 * Return: false if not.
 */
bool mcx_memsw_complete(void)
{
	return mcx_hook_max_show.attached && mcx_hook_max_show.redirects &&
	       mcx_hook_max_set.addr && mcx_hook_oom.addr && mcx_hook_kill.addr &&
	       mcx_hook_met.addr && mcx_hook_uncached.attached;
}

/**
 * mcx_memsw_met_lately() - may there be tasks in reclaim that do not swap for such a limit
 *
 * Context: Any.
 * Return: true if one began in the last second.
 */
bool mcx_memsw_met_lately(void)
{
	return time_before(jiffies, READ_ONCE(met_at) + HZ);
}

/**
 * mcx_memsw_draining() - is it time to leave what somebody was sent to
 *
 * Context: Any.
 * Return: true while the hooks go.
 */
bool mcx_memsw_draining(void)
{
	return READ_ONCE(draining);
}

/**
 * mcx_memsw_drain() - wait until nobody is here any more who was sent here
 *
 * Whoever was to meet a limit that it wrote leaves that to the next charge.
 *
 * Context: Process; the hooks are detached, and a grace period of RCU-tasks follows.
 */
void mcx_memsw_drain(void)
{
	WRITE_ONCE(draining, true);
	wait_var_event(&nr_inside, !atomic_read(&nr_inside));
	WRITE_ONCE(draining, false);
}
