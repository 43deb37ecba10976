// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a policy can ask, and tell us: the kfuncs.
 *
 * All of those that are here can be called from every member, none sleeps; see
 * kfunc_act.c for such that do. Programs that are no policy's do not load with them, but
 * those of type syscall may have what upstream has for these.
 *
 * Locking: RCU, which most callers hold, but none of tick and reclaim.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/cgroup.h>
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/vmstat.h>

#include "call.h"
#include "compat.h"
#include "mark.h"
#include "memsw.h"
#include "policy.h"
#include "threads.h"
#include "threads_policy.h"

__bpf_kfunc_start_defs();

/**
 * mcx_bpf_memcg_id() - the id of a cgroup
 * @memcg: the cgroup
 *
 * Return: what bpf_get_current_cgroup_id() and the inode number of the cgroup's
 * folder say of it.
 */
__bpf_kfunc u64 mcx_bpf_memcg_id(struct mem_cgroup *memcg)
{
	return cgroup_id(memcg->css.cgroup);
}

/**
 * mcx_bpf_is_below() - is a cgroup in another one
 * @memcg: the cgroup
 * @id: of the other one, as mcx_bpf_memcg_id() has it
 *
 * Return: true if it is that cgroup, or below it.
 */
__bpf_kfunc bool mcx_bpf_is_below(struct mem_cgroup *memcg, u64 id)
{
	struct cgroup_subsys_state *css;

	for (css = &memcg->css; css; css = css->parent)
		if (cgroup_id(css->cgroup) == id)
			return true;
	return false;
}

/**
 * mcx_bpf_headroom() - what a cgroup may still charge
 * @memcg: the cgroup
 *
 * Return: bytes to the nearest memory.high or memory.max of this cgroup or an
 * ancestor, 0 if one is exceeded, U64_MAX if there is no limit.
 */
__bpf_kfunc u64 mcx_bpf_headroom(struct mem_cgroup *memcg)
{
	struct page_counter *c;
	u64 least = U64_MAX;

	for (c = &memcg->memory; c; c = c->parent) {
		unsigned long limit = min(READ_ONCE(c->high),
					  READ_ONCE(c->max));
		unsigned long usage = page_counter_read(c);

		if (limit < PAGE_COUNTER_MAX)
			least = min(least, limit > usage ?
				    (u64)(limit - usage) << PAGE_SHIFT : 0);
	}
	return least;
}

/**
 * mcx_bpf_memsw_usage() - memory and swap of a cgroup, swap cache counted once
 * @memcg: the cgroup
 *
 * As memory.ext.memsw.current, but for what has come into the swap cache, or left it, since
 * that was summed up last.
 *
 * Return: bytes.
 */
__bpf_kfunc u64 mcx_bpf_memsw_usage(struct mem_cgroup *memcg)
{
	return (u64)mcx_memsw_usage_seen(memcg) << PAGE_SHIFT;
}

/**
 * mcx_bpf_memsw_max() - memory.ext.memsw.max of a cgroup
 * @memcg: the cgroup
 *
 * Return: bytes, U64_MAX if there is no limit. It is in mcx_bpf_headroom() already.
 */
__bpf_kfunc u64 mcx_bpf_memsw_max(struct mem_cgroup *memcg)
{
	u64 pages = mcx_memsw_given(memcg);

	return pages < PAGE_COUNTER_MAX ? pages << PAGE_SHIFT : U64_MAX;
}

/* What it can give to user space before kswapd begins to reclaim there. */
static unsigned long mcx_zone_room(struct zone *zone)
{
	unsigned long least = low_wmark_pages(zone) +
			      zone->lowmem_reserve[gfp_zone(GFP_HIGHUSER_MOVABLE)];
	unsigned long free = zone_page_state(zone, NR_FREE_PAGES);

	return free > least ? free - least : 0;
}

/**
 * mcx_bpf_free_memory() - what the machine can give out before it begins to reclaim
 *
 * Return: bytes free above the low watermarks of all zones.
 */
__bpf_kfunc u64 mcx_bpf_free_memory(void)
{
	unsigned long nr_pages = 0;
	int nid, i;

	for_each_online_node(nid)
		for (i = 0; i < MAX_NR_ZONES; i++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[i];

			if (populated_zone(zone))
				nr_pages += mcx_zone_room(zone);
		}
	return (u64)nr_pages << PAGE_SHIFT;
}

/**
 * mcx_bpf_available_memory() - what the machine can give out without swapping
 *
 * Return: bytes, as MemAvailable of /proc/meminfo.
 */
__bpf_kfunc u64 mcx_bpf_available_memory(void)
{
	return (u64)max(si_mem_available(), 0L) << PAGE_SHIFT;
}

/**
 * mcx_bpf_level() - how close a cgroup is to its limits
 * @memcg: the cgroup
 *
 * Return: enum mcx_level; MCX_LEVEL_OK for one that is not managed.
 */
__bpf_kfunc u32 mcx_bpf_level(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m;
	u32 level = MCX_LEVEL_OK;

	rcu_read_lock();
	m = mcx_memcg_find(&memcg->memory);
	if (m && mcx_memcg_managed(m))
		level = mcx_level(m);
	rcu_read_unlock();
	return level;
}

/**
 * mcx_bpf_error() - the policy gives up: eject it
 * @code: a number for whoever looks into it
 * @msg__str: the same as a sentence
 *
 * The running member goes on to its end, and its return value counts no more;
 * the policy's exit is called later. Nothing happens in init, which returns an
 * error instead, nor in exit.
 */
__bpf_kfunc void mcx_bpf_error(s64 code, const char *msg__str)
{
	struct mcx_policy *p = mcx_call_running();

	if (p)
		mcx_policy_end(p, MCX_EXIT_ERROR_BPF, code, msg__str);
}

/**
 * mcx_bpf_thread_class() - how a thread is throttled
 * @task: the thread
 *
 * Return: enum mcx_class: what the policy said of it, or memory.ext.threads, or else
 * what follows from how it is scheduled.
 */
__bpf_kfunc u32 mcx_bpf_thread_class(struct task_struct *task)
{
	return mcx_threads_class(task, NULL);
}

/**
 * mcx_bpf_set_thread_class() - say how a thread shall be throttled
 * @task: the thread
 * @class: enum mcx_class, or MCX_NR_CLASSES: the policy has no opinion (any more)
 *
 * It is so a moment later, in the policy's cgroup and below, before what memory.ext.threads
 * says, and until the policy ends. Threads and processes that it makes from then on are
 * as it is. Of what several policies say that of the one furthest up counts, as long as it
 * has an opinion.
 *
 * Return: 0; -EINVAL if there is no such class; -EBUSY if too many threads were told at
 * once; -EPERM in init; -ENODEV if the policy's cgroup is gone; -ESHUTDOWN if it was ejected.
 */
__bpf_kfunc int mcx_bpf_set_thread_class(struct task_struct *task, u32 class)
{
	struct mcx_policy *p = mcx_call_running();
	struct mcx_word word = { .class = class };
	struct mcx_memcg *at;

	if (class > MCX_CLASS_NONE)
		return -EINVAL;
	if (!p)
		return -EPERM;
	if (READ_ONCE(p->dead))
		return -ESHUTDOWN;
	rcu_read_lock();
	at = READ_ONCE(p->at);
	if (at)
		word.css = at->memcg->css.serial_nr;
	rcu_read_unlock();
	if (!at)
		return -ENODEV;
	word.policy = p->id;
	return mcx_threads_request(task, &word);
}

__bpf_kfunc_end_defs();

/* The kernel's own that it may lack, see kfunc_memcg.c and kfunc_act.c. */
#if MCX_NEEDS_MEMCG_KFUNCS
#define MCX_MEMCG_KFUNCS						\
BTF_ID_FLAGS(func, bpf_get_root_mem_cgroup, KF_ACQUIRE | KF_RET_NULL)	\
BTF_ID_FLAGS(func, bpf_get_mem_cgroup, KF_ACQUIRE | KF_RET_NULL | KF_RCU) \
BTF_ID_FLAGS(func, bpf_put_mem_cgroup, KF_RELEASE)			\
BTF_ID_FLAGS(func, bpf_mem_cgroup_usage, KF_TRUSTED_ARGS)		\
BTF_ID_FLAGS(func, bpf_mem_cgroup_memory_events, KF_TRUSTED_ARGS)	\
BTF_ID_FLAGS(func, bpf_mem_cgroup_vm_events, KF_TRUSTED_ARGS)		\
BTF_ID_FLAGS(func, bpf_mem_cgroup_page_state, KF_TRUSTED_ARGS)		\
BTF_ID_FLAGS(func, bpf_mem_cgroup_flush_stats, KF_TRUSTED_ARGS | KF_SLEEPABLE)
#else
#define MCX_MEMCG_KFUNCS
#endif
#define MCX_UPSTREAM_KFUNCS						\
MCX_MEMCG_KFUNCS							\
BTF_ID_FLAGS(func, bpf_proactive_reclaim, KF_TRUSTED_ARGS | KF_SLEEPABLE)

BTF_KFUNCS_START(mcx_kfunc_ids_any)
BTF_ID_FLAGS(func, mcx_bpf_memcg_id, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, mcx_bpf_is_below, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, mcx_bpf_headroom, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, mcx_bpf_memsw_usage, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, mcx_bpf_memsw_max, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, mcx_bpf_free_memory)
BTF_ID_FLAGS(func, mcx_bpf_available_memory)
BTF_ID_FLAGS(func, mcx_bpf_level, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, mcx_bpf_error)
BTF_ID_FLAGS(func, mcx_bpf_thread_class, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, mcx_bpf_set_thread_class, KF_TRUSTED_ARGS)
/* See kfunc_act.c. */
BTF_ID_FLAGS(func, mcx_bpf_reclaim, KF_TRUSTED_ARGS | KF_SLEEPABLE)
BTF_ID_FLAGS(func, mcx_bpf_set_high, KF_TRUSTED_ARGS | KF_SLEEPABLE)
BTF_ID_FLAGS(func, mcx_bpf_shed, KF_TRUSTED_ARGS | KF_SLEEPABLE)
BTF_ID_FLAGS(func, mcx_bpf_wake, KF_TRUSTED_ARGS | KF_SLEEPABLE)
BTF_ID_FLAGS(func, mcx_bpf_psi, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, mcx_bpf_cpu_time, KF_TRUSTED_ARGS | KF_SLEEPABLE)
MCX_UPSTREAM_KFUNCS
BTF_KFUNCS_END(mcx_kfunc_ids_any)

BTF_KFUNCS_START(mcx_kfunc_ids_syscall)
MCX_UPSTREAM_KFUNCS
BTF_KFUNCS_END(mcx_kfunc_ids_syscall)

/*
 * The set is for all struct_ops. Another's program, of a TCP congestion control
 * or a scheduler, may run while a policy does, which would be blamed.
 */
static int mcx_kfunc_filter(const struct bpf_prog *prog, u32 kfunc_id)
{
	return mcx_policy_has(prog) ? 0 : -EACCES;
}

static const struct btf_kfunc_id_set mcx_kfunc_set_any = {
	.owner = THIS_MODULE,
	.set = &mcx_kfunc_ids_any,
	.filter = mcx_kfunc_filter,
};

static const struct btf_kfunc_id_set mcx_kfunc_set_syscall = {
	.owner = THIS_MODULE,
	.set = &mcx_kfunc_ids_syscall,
};

/**
 * mcx_kfuncs_init() - register the kfuncs
 *
 * Context: Process, from module init only.
 * Return: 0 or -errno.
 */
int mcx_kfuncs_init(void)
{
	int ret = register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS,
					    &mcx_kfunc_set_any);

	return ret ?: register_btf_kfunc_id_set(BPF_PROG_TYPE_SYSCALL,
						&mcx_kfunc_set_syscall);
}
