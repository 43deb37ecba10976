// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own kfuncs for memory cgroups, for kernels that have none: those of
 * mm/bpf_memcontrol.c of 7.x, under its names and with its meaning, so that a policy
 * need not know on which it runs. Where the kernel has them this file is empty, and
 * policies call the kernel's.
 *
 * bpf_mem_cgroup_flush_stats(), which sleeps, is in kfunc_act.c. They are registered in
 * kfunc.c: a module has one set.
 *
 * Locking: none; callers have a reference to the cgroup.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/vmstat.h>

#include "compat.h"
#include "symbols.h"

#if MCX_NEEDS_MEMCG_KFUNCS

/*
 * What 6.12 counts for each memory cgroup whatever it was configured with. It warns when
 * asked for anything else, and looks beyond the end of an array for some.
 */
static const u16 page_states[] = {
	NR_INACTIVE_ANON, NR_ACTIVE_ANON, NR_INACTIVE_FILE, NR_ACTIVE_FILE,
	NR_UNEVICTABLE, NR_SLAB_RECLAIMABLE_B, NR_SLAB_UNRECLAIMABLE_B,
	WORKINGSET_REFAULT_ANON, WORKINGSET_REFAULT_FILE,
	WORKINGSET_ACTIVATE_ANON, WORKINGSET_ACTIVATE_FILE,
	WORKINGSET_RESTORE_ANON, WORKINGSET_RESTORE_FILE,
	WORKINGSET_NODERECLAIM,
	NR_ANON_MAPPED, NR_FILE_MAPPED, NR_FILE_PAGES, NR_FILE_DIRTY,
	NR_WRITEBACK, NR_SHMEM, NR_SHMEM_THPS, NR_FILE_THPS, NR_ANON_THPS,
	NR_KERNEL_STACK_KB, NR_PAGETABLE, NR_SECONDARY_PAGETABLE,
#ifdef CONFIG_SWAP
	NR_SWAPCACHE,
#endif
	MEMCG_SWAP, MEMCG_SOCK, MEMCG_PERCPU_B, MEMCG_VMALLOC, MEMCG_KMEM,
	MEMCG_ZSWAP_B, MEMCG_ZSWAPPED,
};

static const u16 vm_events[] = {
	PGSCAN_KSWAPD, PGSCAN_DIRECT, PGSCAN_KHUGEPAGED,
	PGSTEAL_KSWAPD, PGSTEAL_DIRECT, PGSTEAL_KHUGEPAGED,
	PGFAULT, PGMAJFAULT, PGREFILL, PGACTIVATE, PGDEACTIVATE,
	PGLAZYFREE, PGLAZYFREED,
};

static bool mcx_is_one_of(const u16 *list, size_t n, unsigned int item)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (list[i] == item)
			return true;
	return false;
}

__bpf_kfunc_start_defs();

/**
 * bpf_get_root_mem_cgroup() - the root memory cgroup
 *
 * Return: the cgroup, to be given back with bpf_put_mem_cgroup(), or NULL if the
 * controller is not in the unified hierarchy.
 */
__bpf_kfunc struct mem_cgroup *bpf_get_root_mem_cgroup(void)
{
	struct cgroup_subsys_state *css;

	css = rcu_dereference_raw(cgrp_dfl_root.cgrp.subsys[memory_cgrp_id]);
	/* A root has no count of references. */
	return css ? mem_cgroup_from_css(css) : NULL;
}

/**
 * bpf_get_mem_cgroup() - the memory cgroup of a cgroup
 * @css: any controller's part of that cgroup
 *
 * Return: the cgroup, to be given back with bpf_put_mem_cgroup(), or NULL if it does not
 * have the memory controller or is going away.
 */
__bpf_kfunc struct mem_cgroup *
bpf_get_mem_cgroup(struct cgroup_subsys_state *css)
{
	struct mem_cgroup *memcg = NULL;

	rcu_read_lock();
	css = rcu_dereference_raw(css->cgroup->subsys[memory_cgrp_id]);
	if (css && css_tryget(css))
		memcg = mem_cgroup_from_css(css);
	rcu_read_unlock();
	return memcg;
}

/**
 * bpf_put_mem_cgroup() - give back what was got
 * @memcg: the cgroup
 */
__bpf_kfunc void bpf_put_mem_cgroup(struct mem_cgroup *memcg)
{
	css_put(&memcg->css);
}

/**
 * bpf_mem_cgroup_usage() - what a cgroup has charged
 * @memcg: the cgroup
 *
 * Return: bytes.
 */
__bpf_kfunc unsigned long bpf_mem_cgroup_usage(struct mem_cgroup *memcg)
{
	return page_counter_read(&memcg->memory) * PAGE_SIZE;
}

/**
 * bpf_mem_cgroup_memory_events() - a count of memory.events
 * @memcg: the cgroup
 * @event: which one
 *
 * Return: the count, those of descendants included; ULONG_MAX if there is no such event.
 */
__bpf_kfunc unsigned long
bpf_mem_cgroup_memory_events(struct mem_cgroup *memcg,
			     enum memcg_memory_event event)
{
	if ((unsigned int)event >= MEMCG_NR_MEMORY_EVENTS)
		return ULONG_MAX;
	return atomic_long_read(&memcg->memory_events[event]);
}

/**
 * bpf_mem_cgroup_vm_events() - a count of memory.stat
 * @memcg: the cgroup
 * @event: which one
 *
 * Return: the count, as it was last summed up; ULONG_MAX if that is not counted.
 */
__bpf_kfunc unsigned long bpf_mem_cgroup_vm_events(struct mem_cgroup *memcg,
						   enum vm_event_item event)
{
	if (!mcx_symbols_memcg_stat() ||
	    !mcx_is_one_of(vm_events, ARRAY_SIZE(vm_events), event))
		return ULONG_MAX;
	return static_call(mcx_memcg_events)(memcg, event);
}

/**
 * bpf_mem_cgroup_page_state() - an amount of memory.stat
 * @memcg: the cgroup
 * @idx: which one: enum node_stat_item or memcg_stat_item
 *
 * Return: bytes, or a count for those of the working set, as it was last summed up;
 * ULONG_MAX if that is not counted.
 */
__bpf_kfunc unsigned long bpf_mem_cgroup_page_state(struct mem_cgroup *memcg,
						    int idx)
{
	if (!mcx_symbols_memcg_stat() ||
	    !mcx_is_one_of(page_states, ARRAY_SIZE(page_states), idx))
		return ULONG_MAX;
	return static_call(mcx_page_state_output)(memcg, idx);
}

__bpf_kfunc_end_defs();

#endif /* MCX_NEEDS_MEMCG_KFUNCS */
