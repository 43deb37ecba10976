// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls the members of BPF policies, so that nothing a policy does or returns
 * goes further than it may: who calls here gets a value within its bounds, or,
 * if there is no policy, or it cannot be called here and now, the value that
 * means no opinion. Where several policies are in effect (effect.h) each is asked, the
 * nearest first, and the most of what they say counts.
 *
 * A program that allocates charges, and the charge hook would call it again:
 * while a policy runs on a CPU no other call is made there. Preemption is off
 * meanwhile, so that this is about one task and the interrupts above it.
 *
 * Locking: RCU, for the policy; its link is not gone before a grace period.
 */
#include <linux/bitops.h>
#include <linux/cgroup.h>
#include <linux/irqflags.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>

#include "call.h"
#include "effect.h"
#include "mark.h"
#include "policy_delay.h"
#include "runner.h"
#include "starve.h"
#include "watch.h"

/* The kernel's MEMCG_DELAY_PRECISION_SHIFT and MEMCG_DELAY_SCALING_SHIFT. */
#define MCX_OVERAGE_SHIFT	20
#define MCX_SCALING_SHIFT	14
/* 64 times the limit: any delay is as long as it gets, and its square fits. */
#define MCX_OVERAGE_MAX		(64ULL << MCX_OVERAGE_SHIFT)
#define MCX_MIN_PENALTY_MS	10

#define MCX_HIGH_REQUESTS	BPF_MEMCG_HIGH_DEFER_INLINE

/*
 * The policy that runs on this CPU, 0 if none does; in the low bits the level of
 * interrupts that it runs at. One word, so that no interrupt sees half of it.
 */
static DEFINE_PER_CPU(unsigned long, running);

/* Changes of level told in one go; charges may go on failing. */
#define MCX_LEVELS_MAX	8

#define RUNNING_LEVEL	3UL	/* interrupt_context_level() is 0 to 3 */

static notrace void mcx_set_running(struct mcx_policy *p)
{
	__this_cpu_write(running, (unsigned long)p | interrupt_context_level());
}

/* On success preemption is off, and the time taken, until mcx_call_end(). */
static notrace bool mcx_call_begin(struct mcx_policy *p)
{
	if (in_nmi() || irqs_disabled())
		goto skip;
	preempt_disable_notrace();
	if (__this_cpu_read(running)) {
		preempt_enable_notrace();
		goto skip;
	}
	mcx_set_running(p);
	mcx_watch_begin(p);
	return true;
skip:
	this_cpu_inc(p->stat->skipped);
	return false;
}

/* One member is done, another begins. */
static notrace void mcx_call_next(struct mcx_policy *p)
{
	mcx_watch_end(p);
	mcx_watch_begin(p);
}

static notrace void mcx_call_end(struct mcx_policy *p)
{
	mcx_watch_end(p);
	__this_cpu_write(running, 0);
	preempt_enable_notrace();
}

/**
 * mcx_call_running() - the policy that is running here
 *
 * Context: a kfunc called by a policy's member.
 * Return: the policy, or NULL: the caller is not called by us, and may run in an
 * interrupt above any policy; or it is init.
 */
struct mcx_policy *mcx_call_running(void)
{
	unsigned long r = this_cpu_read(running);

	if (r & ~RUNNING_LEVEL)
		return (r & RUNNING_LEVEL) == interrupt_context_level() ?
			(struct mcx_policy *)(r & ~RUNNING_LEVEL) : NULL;
	/* No member that cannot sleep; nor can it be while one does. */
	return mcx_runner_policy();
}

static notrace struct mem_cgroup *mcx_over_limit(struct mem_cgroup *memcg)
{
	for (; memcg->css.parent;
	     memcg = mem_cgroup_from_css(memcg->css.parent))
		if (page_counter_read(&memcg->memory) >
		    READ_ONCE(memcg->memory.high))
			return memcg;
	return NULL;
}

static notrace void mcx_fill_ctx(struct bpf_memcg_ctx *ctx,
				 struct mem_cgroup *memcg, gfp_t gfp_mask)
{
	struct mem_cgroup *over = mcx_over_limit(memcg);

	*ctx = (struct bpf_memcg_ctx) {
		.memcg = memcg,
		.memcg_over_limit = over,
		.task = current,
		.cgroup_id = cgroup_id(memcg->css.cgroup),
		.over_limit_cgroup_id = over ? cgroup_id(over->css.cgroup) : 0,
		.nr_pages_over_high = current->memcg_nr_pages_over_high,
		.gfp_flags = (__force u32)gfp_mask,
	};
}

/* Does it want that put off? */
static notrace bool mcx_ask_high_policy(struct mcx_policy *p,
					struct mcx_memcg *m, gfp_t gfp_mask)
{
	struct bpf_memcg_ctx ctx;
	u32 request;

	if (!p->ops->high_policy || !mcx_call_begin(p))
		return false;
	this_cpu_inc(p->stat->high_policy);
	mcx_fill_ctx(&ctx, m->memcg, gfp_mask);
	request = p->ops->high_policy(&ctx);
	mcx_call_end(p);

	if (request & ~MCX_HIGH_REQUESTS) {
		mcx_policy_end(p, MCX_EXIT_ERROR_VALUE, request,
			       "high_policy returned bits that mean nothing");
		return false;
	}
	return request & BPF_MEMCG_HIGH_DEFER_INLINE;
}

/**
 * mcx_call_high_policy() - ask about an inline call of the over-high handler
 * @m: current's cgroup
 * @gfp_mask: of the charge
 *
 * Context: task; RCU.
 * Return: the policy that wants it put off; of several the one furthest up, which has a
 * say about the most limits. NULL: none does.
 */
notrace struct mcx_policy *mcx_call_high_policy(struct mcx_memcg *m,
						gfp_t gfp_mask)
{
	struct mcx_policy *p, *defers = NULL;

	mcx_for_each_policy(p, m) {
		if (mcx_ask_high_policy(p, m, gfp_mask))
			defers = p;
	}
	return defers;
}

static notrace bool mcx_batch_fits(struct page_counter *counter,
				   unsigned long nr_pages)
{
	for (; counter; counter = counter->parent)
		if (page_counter_read(counter) + nr_pages >
		    READ_ONCE(counter->max))
			return false;
	return true;
}

/* How far above memory.high, in 1/2^20 of that; calculate_overage() of the kernel. */
static notrace u64 mcx_overage(struct page_counter *counter, unsigned int extra)
{
	unsigned long usage = page_counter_read(counter);
	unsigned long high = READ_ONCE(counter->high);
	u64 over = max_t(u64, usage > high ? usage - high : 0, extra);

	over = div64_u64(over << MCX_OVERAGE_SHIFT, max(high, 1UL));
	return min(over, MCX_OVERAGE_MAX);
}

/* calculate_high_delay() of the kernel, which does not sleep for less than 10 ms. */
static notrace unsigned int mcx_penalty_ms(u64 overage, unsigned int nr_pages)
{
	u64 ms = overage * overage * MSEC_PER_SEC >>
		 (MCX_OVERAGE_SHIFT + MCX_SCALING_SHIFT);

	ms = ms * nr_pages / MCX_BATCH;
	return ms < MCX_MIN_PENALTY_MS ? 0 : min_t(u64, ms, MCX_MAX_DELAY_MS);
}

/* How long current shall wait for what the policy adds to overages, here and above. */
static notrace unsigned int mcx_call_over_high(struct mcx_policy *p,
					       struct mem_cgroup *memcg,
					       unsigned int nr_pages)
{
	struct mcx_memcg *at = READ_ONCE(p->at);
	struct cgroup_subsys_state *css = &memcg->css;
	unsigned int extra;
	u64 overage = 0;

	for (; css; css = css->parent) {
		memcg = mem_cgroup_from_css(css);
		this_cpu_inc(p->stat->over_high);
		extra = p->ops->memcg_nr_pages_over_high(memcg);
		if (extra)
			overage = max(overage, mcx_overage(&memcg->memory, extra));
		nr_pages = max(nr_pages, extra);
		if (!at || memcg == at->memcg)
			break;
		mcx_call_next(p);
	}
	return mcx_penalty_ms(overage, nr_pages);
}

static notrace unsigned int mcx_ask_charged(struct mcx_policy *p,
					    struct mcx_memcg *m,
					    unsigned int nr_pages)
{
	unsigned int delay = 0;

	if (!mcx_call_begin(p))
		return 0;
	if (p->ops->memcg_charged) {
		this_cpu_inc(p->stat->memcg_charged);
		delay = p->ops->memcg_charged(m->memcg, nr_pages);
		if (p->ops->memcg_nr_pages_over_high)
			mcx_call_next(p);
	}
	if (p->ops->memcg_nr_pages_over_high)
		delay = max(delay, mcx_call_over_high(p, m->memcg, nr_pages));
	mcx_call_end(p);
	if (delay && !READ_ONCE(p->delays))
		WRITE_ONCE(p->delays, true);
	return delay;
}

/**
 * mcx_call_charged() - tell of a batch, and hear how long the task shall wait
 * @m: the cgroup that is charged
 * @nr_pages: the batch
 * @by: set to the id of the policy that says so; not if nobody does
 *
 * Context: The charge hook: any, NMI included; RCU.
 * Return: milliseconds, within bounds.
 */
unsigned int notrace mcx_call_charged(struct mcx_memcg *m, unsigned int nr_pages,
				      u64 *by)
{
	unsigned int delay = 0, longest = 0;
	struct mcx_policy *p;
	bool told = false;

	mcx_for_each_policy(p, m) {
		if (!p->ops->memcg_charged && !p->ops->memcg_nr_pages_over_high)
			continue;
		/* Once, so that what it looks at is the same for all. */
		if (!told) {
			if (!mcx_batch_fits(m->counter, nr_pages))
				return 0;
			mcx_stat_add(m, policy_batches, DIV_ROUND_UP(nr_pages, MCX_BATCH));
			told = true;
		}
		delay = mcx_ask_charged(p, m, nr_pages);
		if (delay > longest) {
			longest = delay;
			*by = p->id;
		}
	}
	return mcx_policy_delay_bound(longest);
}

/**
 * mcx_call_uncharged() - tell of pages that were given back
 * @m: the cgroup
 * @nr_pages: how many
 *
 * Context: The charge hook: any, NMI included; RCU.
 */
void notrace mcx_call_uncharged(struct mcx_memcg *m, unsigned long nr_pages)
{
	struct mcx_policy *p;

	mcx_for_each_policy(p, m) {
		if (!p->ops->memcg_uncharged || !mcx_call_begin(p))
			continue;
		this_cpu_inc(p->stat->memcg_uncharged);
		p->ops->memcg_uncharged(m->memcg,
					min_t(unsigned long, nr_pages, UINT_MAX));
		mcx_call_end(p);
	}
}

/**
 * mcx_call_below_low() - shall a cgroup be taken for below its memory.low
 * @m: the cgroup
 * @elow: its effective memory.low
 * @usage: its usage
 * @limited: whose limit is being enforced
 *
 * Context: Any but NMI; RCU.
 * Return: true if any policy says so.
 */
bool mcx_call_below_low(struct mcx_memcg *m, unsigned long elow,
			unsigned long usage, struct mem_cgroup *limited)
{
	struct mcx_policy *p;
	bool below = false, says;

	mcx_for_each_policy(p, m) {
		if (!p->ops->below_low || !mcx_call_begin(p))
			continue;
		this_cpu_inc(p->stat->below_low);
		says = p->ops->below_low(m->memcg, elow, usage);
		mcx_call_end(p);
		below |= says;
		/* The kernel itself spares it where usage is less. */
		if (says && usage > elow)
			mcx_starve_note(p, limited, MCX_SPARED_LOW, usage - elow);
	}
	return below;
}

/**
 * mcx_call_may_starve() - has a policy a say in what reclaim does not come back from
 * @p: the policy
 * @limited: whose limit is being enforced
 *
 * Context: Any, inside an RCU read-side section.
 * Return: true if that is the policy's cgroup, or below, or the machine itself.
 */
bool mcx_call_may_starve(struct mcx_policy *p, struct mem_cgroup *limited)
{
	struct mcx_memcg *at = READ_ONCE(p->at);

	if (!limited->css.parent)
		return true;
	return at && mem_cgroup_is_descendant(limited, at->memcg);
}

/**
 * mcx_call_below_min() - shall a cgroup be taken for below its memory.min
 * @m: the cgroup
 * @emin: its effective memory.min
 * @usage: its usage
 * @limited: whose limit is being enforced
 *
 * Context: Any but NMI; RCU.
 * Return: true if any policy says so that has a say in it.
 */
bool mcx_call_below_min(struct mcx_memcg *m, unsigned long emin,
			unsigned long usage, struct mem_cgroup *limited)
{
	struct mcx_policy *p;
	bool below = false, says;

	mcx_for_each_policy(p, m) {
		if (!p->ops->below_min || !mcx_call_may_starve(p, limited) ||
		    !mcx_call_begin(p))
			continue;
		this_cpu_inc(p->stat->below_min);
		says = p->ops->below_min(m->memcg, emin, usage);
		mcx_call_end(p);
		below |= says;
		if (says && usage > emin)
			mcx_starve_note(p, limited, MCX_SPARED_MIN, usage - emin);
	}
	return below;
}

/* Is a cgroup below that of a policy, and came or went after that was attached? */
static bool mcx_call_is_news(struct mcx_policy *p, struct mcx_memcg *m)
{
	return READ_ONCE(p->settled) && READ_ONCE(p->at) != m;
}

/**
 * mcx_call_online() - tell of a cgroup that came
 * @m: the cgroup
 *
 * Context: Process; takes RCU.
 */
void mcx_call_online(struct mcx_memcg *m)
{
	struct mcx_policy *p;

	rcu_read_lock();
	mcx_for_each_policy(p, m) {
		if (!p->ops->handle_cgroup_online || !mcx_call_is_news(p, m) ||
		    !mcx_call_begin(p))
			continue;
		this_cpu_inc(p->stat->cgroups);
		p->ops->handle_cgroup_online(m->memcg);
		mcx_call_end(p);
	}
	rcu_read_unlock();
}

/**
 * mcx_call_offline() - tell of a cgroup that went
 * @m: the cgroup
 *
 * Context: Process; takes RCU.
 */
void mcx_call_offline(struct mcx_memcg *m)
{
	struct mcx_policy *p;

	rcu_read_lock();
	mcx_for_each_policy(p, m) {
		if (!p->ops->handle_cgroup_offline || !mcx_call_is_news(p, m) ||
		    !mcx_call_begin(p))
			continue;
		this_cpu_inc(p->stat->cgroups);
		p->ops->handle_cgroup_offline(m->memcg);
		mcx_call_end(p);
	}
	rcu_read_unlock();
}

/* How often a charge did not fit below memory.max of this cgroup. */
static unsigned long mcx_max_events(struct mcx_memcg *m)
{
	return atomic_long_read(&m->memcg->memory_events_local[MEMCG_MAX]);
}

/* Is there something new to tell? */
static bool mcx_level_is_news(struct mcx_memcg *m)
{
	return READ_ONCE(m->level) != mcx_level(m) ||
	       READ_ONCE(m->max_events) != mcx_max_events(m);
}

/* Caller has MCX_TELLING. */
static enum mcx_level mcx_level_to_tell(struct mcx_memcg *m)
{
	unsigned long events = mcx_max_events(m);

	if (m->max_events == events)
		return mcx_level(m);
	WRITE_ONCE(m->max_events, events);
	return MCX_LEVEL_LIMIT;
}

/* Caller has MCX_TELLING. */
static void mcx_tell_level(struct mcx_memcg *m)
{
	enum mcx_level level = mcx_level_to_tell(m), old = m->level;
	struct mcx_policy *p;

	if (old == level)
		return;
	WRITE_ONCE(m->level, level);
	rcu_read_lock();
	mcx_for_each_policy(p, m) {
		if (!p->ops->level || !mcx_call_begin(p))
			continue;
		this_cpu_inc(p->stat->level);
		p->ops->level(m->memcg, level, old);
		mcx_call_end(p);
	}
	rcu_read_unlock();
}

/**
 * mcx_call_level() - tell of a cgroup's level if it is another than last time
 * @m: the cgroup
 *
 * One worker at a time, so that a policy is told in order. Who finds another at
 * it leaves: that one looks again when it is done.
 *
 * Context: Process; takes RCU.
 */
void mcx_call_level(struct mcx_memcg *m)
{
	int i;

	for (i = 0; i < MCX_LEVELS_MAX; i++) {
		if (!mcx_level_is_news(m) ||
		    test_and_set_bit(MCX_TELLING, &m->flags))
			return;
		mcx_tell_level(m);
		clear_bit(MCX_TELLING, &m->flags);
		/* Look at usage after the bit, as mcx_done() does. */
		smp_mb__after_atomic();
	}
}

/**
 * mcx_call_exit() - tell a policy why it ended
 * @p: the policy, dead; nobody may be in a call of it any more
 *
 * Context: Process.
 */
void mcx_call_exit(struct mcx_policy *p)
{
	if (!p->ops->exit)
		return;
	/* Nothing nests here: called with no lock held, from outside of the hooks. */
	preempt_disable();
	mcx_set_running(p);
	p->ops->exit(&p->exit);
	__this_cpu_write(running, 0);
	preempt_enable();
}
