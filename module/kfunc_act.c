// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the sleeping members of a policy can do, and what they need to know for that: the
 * kfuncs that sleep. They are registered in kfunc.c.
 *
 * bpf_proactive_reclaim() is upstream's (not in 7.3), which has it for programs of type
 * syscall only, since others may run with a lock held that reclaim needs; here it is for
 * these and for tick and reclaim, which run with none.
 *
 * Locking: none is held.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/psi.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "compat.h"
#include "errand.h"
#include "mark.h"
#include "policy_wish.h"
#include "runner.h"
#include "symbols.h"

/* What one call reclaims at most. */
#define MCX_ACT_BYTES	(4UL << 20)

static bool mcx_swappiness_is_good(int swappiness)
{
#ifdef SWAPPINESS_ANON_ONLY
	if (swappiness == SWAPPINESS_ANON_ONLY)
		return true;
#endif
	return swappiness >= -1 && swappiness <= 200;
}

/* Reclaim does not nest: current keeps account of one. */
static bool mcx_in_reclaim(void)
{
	return current->flags & PF_MEMALLOC || current->reclaim_state;
}

/* For the policy that is running here. */
static int mcx_wish_for(struct mem_cgroup *memcg,
			int (*wish)(struct mcx_policy *p, struct mcx_memcg *m,
				    unsigned long nr_pages), u64 nr_pages)
{
	struct mcx_policy *p = mcx_runner_policy();
	struct mcx_memcg *m;
	int ret;

	if (!p)
		return -EPERM;
	m = mcx_memcg_lookup(memcg);
	if (!m)
		return -EPERM;
	ret = wish(p, m, min_t(u64, nr_pages, PAGE_COUNTER_MAX));
	mcx_memcg_put(m);
	return ret;
}

__bpf_kfunc_start_defs();

/**
 * mcx_bpf_reclaim() - reclaim from a cgroup
 * @memcg: that of the policy, or one below
 * @bytes: how much; clamped to 4 MiB
 * @swappiness: 0 to 200, or -1: as the cgroup has it
 *
 * Ends sooner where a pass frees nothing, and as soon as the policy is ejected. What it
 * costs is accounted to @memcg, as the work of the module's own workers is, and bounded by
 * its cpu_max=.
 *
 * Context: tick and reclaim.
 * Return: bytes; -EPERM: not the policy's cgroup, nor below, or no such member; -EINVAL:
 * no such swappiness, or no bytes; -ENODEV: the cgroup is going; -ESHUTDOWN: the policy was
 * ejected; -EAGAIN: cpu_max= is used up, or the system is about to sleep; -ENOMEM.
 */
__bpf_kfunc s64 mcx_bpf_reclaim(struct mem_cgroup *memcg, u64 bytes,
				s32 swappiness)
{
	struct mcx_policy *p = mcx_runner_policy();
	long freed;

	if (!p)
		return -EPERM;
	if (swappiness < -1 || swappiness > 200 || !bytes)
		return -EINVAL;
	bytes = min_t(u64, bytes, MCX_ACT_BYTES);
	freed = mcx_runner_free(p, memcg, DIV_ROUND_UP(bytes, PAGE_SIZE),
				swappiness);
	return freed < 0 ? freed : (s64)freed << PAGE_SHIFT;
}

/**
 * bpf_proactive_reclaim() - one pass of proactive reclaim; upstream's
 * @memcg: the cgroup; a policy's own, or one below, if a policy calls this
 * @size: bytes, a page at least; clamped to 64 pages
 * @swappiness: 0 to 200, 201 (7.x: anonymous memory only), or -1: the cgroup's own
 *
 * Context: tick, reclaim, and programs of type syscall.
 * Return: bytes; -EINVAL: no such swappiness, or no size; -EBUSY: inside of reclaim;
 * -EAGAIN, -ENOMEM, -EINTR: as mcx_errand_pass() has it; for a policy, whatever
 * mcx_bpf_reclaim() returns.
 */
__bpf_kfunc long bpf_proactive_reclaim(struct mem_cgroup *memcg,
				       unsigned long size, int swappiness)
{
	unsigned long nr_pages = min(size / PAGE_SIZE, MCX_BATCH);
	struct mcx_policy *p = mcx_runner_policy();
	long freed;

	if (!mcx_swappiness_is_good(swappiness) || !nr_pages)
		return -EINVAL;
	if (mcx_in_reclaim())
		return -EBUSY;
	freed = p ? mcx_runner_free(p, memcg, nr_pages, swappiness) :
		    mcx_errand_pass(NULL, memcg, nr_pages, swappiness);
	return freed < 0 ? freed : freed << PAGE_SHIFT;
}

/**
 * mcx_bpf_set_high() - set a limit for a cgroup
 * @memcg: a managed cgroup: the policy's own, or one below where it is asked, too
 * @bytes: as memory.high, which it stands for where it is lower; U64_MAX: none
 *
 * For what memcg_ext does: its workers keep usage below, and who charges is paced. It is
 * no promise: memory is not held against the cgroup that cannot be reclaimed. It lasts
 * until it is set anew, the cgroup is not managed any more, or the policy ends. Of those
 * that several policies set the lowest counts.
 * memory.high reads as it was; memory.ext.stat has this as policy_limit.
 *
 * Context: tick and reclaim.
 * Return: 0; -EPERM: not the policy's cgroup, nor below, or one that another policy
 * overrides it in; -ENOENT: not managed (memory.ext.enable); -ESHUTDOWN: the policy was
 * ejected; -ENOMEM.
 */
__bpf_kfunc int mcx_bpf_set_high(struct mem_cgroup *memcg, u64 bytes)
{
	return mcx_wish_for(memcg, mcx_wish_high, bytes >> PAGE_SHIFT);
}

/**
 * mcx_bpf_shed() - ask whoever can to give back memory
 * @memcg: a managed cgroup, as of mcx_bpf_set_high()
 * @bytes: how much should be given back from now on; 0: no more is needed
 *
 * It is what memory.ext.stat has as shed_bytes, and memory.ext.events counts: whoever
 * polls that is woken when it is more than before. It stands until it is set anew, or the
 * policy ends. Of what several policies ask for the largest counts.
 *
 * Context: tick and reclaim.
 * Return: as mcx_bpf_set_high().
 */
__bpf_kfunc int mcx_bpf_shed(struct mem_cgroup *memcg, u64 bytes)
{
	return mcx_wish_for(memcg, mcx_wish_shed,
			    DIV_ROUND_UP_ULL(bytes, PAGE_SIZE));
}

/**
 * mcx_bpf_wake() - let go whoever waits because the policy said so
 * @memcg: in this cgroup and all below it where the policy is asked, and none further up
 *	has ever said a delay
 *
 * Delays that memcg_charged and memcg_nr_pages_over_high returned end now, for who waits
 * already; those of policies below it, too. Who waits for memory looks again whether it
 * has to.
 *
 * Context: tick and reclaim.
 * Return: 0; -EPERM: there is no such cgroup.
 */
__bpf_kfunc int mcx_bpf_wake(struct mem_cgroup *memcg)
{
	struct mcx_policy *p = mcx_runner_policy();

	return p && mcx_wish_wake(p, memcg) ? 0 : -EPERM;
}

/**
 * mcx_bpf_psi() - how long tasks of a cgroup were held up for want of memory
 * @memcg: the cgroup
 * @full: all of them at once; else some
 *
 * Return: microseconds since the cgroup was made, as memory.pressure has it in total=, up to two
 * seconds ago; U64_MAX if the kernel does not count it, and for the root.
 */
__bpf_kfunc u64 mcx_bpf_psi(struct mem_cgroup *memcg, bool full)
{
#ifdef CONFIG_PSI
	struct psi_group *group = memcg->css.cgroup->psi;

	if (group && group->enabled)
		return div_u64(READ_ONCE(group->total[PSI_AVGS][full ?
						      PSI_MEM_FULL : PSI_MEM_SOME]),
			       NSEC_PER_USEC);
#endif
	return U64_MAX;
}

/**
 * mcx_bpf_cpu_time() - the CPU time of a cgroup and all below it
 * @memcg: the cgroup; not the root
 *
 * Context: tick and reclaim. Sleeps.
 * Return: microseconds, as usage_usec of cpu.stat; U64_MAX if it cannot be had.
 */
__bpf_kfunc u64 mcx_bpf_cpu_time(struct mem_cgroup *memcg)
{
	struct cgroup *cgrp = memcg->css.cgroup;

	if (!mcx_symbols_rstat() || !memcg->css.parent)
		return U64_MAX;
	static_call_cond(mcx_rstat_flush)(&cgrp->self);
	return div_u64(READ_ONCE(cgrp->bstat.cputime.sum_exec_runtime),
		       NSEC_PER_USEC);
}

#if MCX_NEEDS_MEMCG_KFUNCS
/**
 * bpf_mem_cgroup_flush_stats() - sum up what memory.stat counts; the kernel's of 7.x
 * @memcg: the cgroup
 *
 * Context: tick and reclaim. Sleeps.
 */
__bpf_kfunc void bpf_mem_cgroup_flush_stats(struct mem_cgroup *memcg)
{
	static_call_cond(mcx_flush_stats)(memcg);
}
#endif

__bpf_kfunc_end_defs();
