/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the supported kernels, in one place.
 *
 * Every entry has the newest kernel's name and meaning and says when it can
 * go. Choice is made by what is there (a header, a macro, or an export that
 * Kbuild looked up in Module.symvers: HAVE_EXPORT_*), never by version.
 */
#ifndef MCX_COMPAT_H
#define MCX_COMPAT_H

#include <linux/btf.h>
#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/sched.h>
#include <trace/events/sched.h>

#include "symbols.h"

/*
 * 7.x trusts no other pointers than such that a kfunc may use, and has no flag to
 * ask for it (7646c7afd9a9). Goes when 6.12 is no longer supported.
 */
#ifndef KF_TRUSTED_ARGS
#define KF_TRUSTED_ARGS	0
#endif

/*
 * Bits of reclaim_options of try_to_free_mem_cgroup_pages(). In
 * include/linux/swap.h up to 6.x, in mm/internal.h since: a module of 7.x
 * does not see it. The value never changed.
 */
#define MCX_RECLAIM_MAY_SWAP	BIT(1)
#define MCX_RECLAIM_PROACTIVE	BIT(2)

/*
 * 7.x has kfuncs for memory cgroups, which came in the release that began to export
 * __memcg_memory_event(). Goes when 6.12 is no longer supported.
 */
#ifdef HAVE_EXPORT___memcg_memory_event
#define MCX_NEEDS_MEMCG_KFUNCS	0
#else
#define MCX_NEEDS_MEMCG_KFUNCS	1
#endif

/*
 * Nanoseconds that a task was ready to run and did not. Debian, Fedora, Ubuntu
 * have SCHED_INFO; without it nobody is believed to have waited.
 */
static inline u64 mcx_run_delay(struct task_struct *task)
{
#ifdef CONFIG_SCHED_INFO
	return task->sched_info.run_delay;
#else
	return 0;
#endif
}

/*
 * Changes an argument of a function that is just entered, the fourth; ftrace has a way to
 * read them only. x86, as this module is, on all kernels.
 */
#ifndef CONFIG_X86_64
#error "where is the fourth argument of a function?"
#endif
#define mcx_regs_set_argument3(fregs, value) \
	(arch_ftrace_regs(fregs)->regs.cx = (value))

/*
 * Does a write to memory.max with O_NONBLOCK not wait for reclaim? Since 7.0, before
 * 7.x began to export __memcg_memory_event(). Goes when 6.12 is no longer supported.
 */
#define MCX_MAX_NONBLOCK	(!MCX_NEEDS_FILE_NOTIFY)

/* Does mcx_memory_event(), see below, need cgroup_file_notify()? */
#ifdef HAVE_EXPORT___memcg_memory_event
#define MCX_NEEDS_FILE_NOTIFY	0
#else
#define MCX_NEEDS_FILE_NOTIFY	1
#endif

/**
 * mcx_memory_event() - raise one of memory.events as the kernel does
 * @memcg: where it happened; ancestors count it too
 * @event: which one; not a swap event
 *
 * 7.x exports __memcg_memory_event(). 6.12 has it inline, on top of
 * cgroup_file_notify() and root_mem_cgroup, neither of which is exported, so
 * that the function is followed here (memcg_memory_event() in
 * include/linux/memcontrol.h of 6.12). Goes when 6.12 is no longer supported.
 *
 * Context: Any but NMI. Takes a spinlock for the notification.
 */
#ifdef HAVE_EXPORT___memcg_memory_event
static inline void mcx_memory_event(struct mem_cgroup *memcg,
				    enum memcg_memory_event event)
{
	memcg_memory_event(memcg, event);
}
#else
static inline void mcx_memory_event(struct mem_cgroup *memcg,
				    enum memcg_memory_event event)
{
	atomic_long_inc(&memcg->memory_events_local[event]);
	mcx_file_notify(&memcg->events_local_file);

	/* The root, which has no parent, has no memory.events. */
	for (; memcg->css.parent; memcg = mem_cgroup_from_css(memcg->css.parent)) {
		atomic_long_inc(&memcg->memory_events[event]);
		mcx_file_notify(&memcg->events_file);
		if (cgrp_dfl_root.flags & CGRP_ROOT_MEMORY_LOCAL_EVENTS)
			break;
	}
}
#endif

/*
 * The probe for sched_process_exit, to which 7.x tells, too, whether the whole process
 * is gone. Goes when 6.12 is no longer supported.
 */
#define MCX_EXIT_PROBE(probe, probe_group)				\
	__builtin_choose_expr(						\
		__builtin_types_compatible_p(				\
			typeof(register_trace_sched_process_exit),	\
			int (void (*)(void *, struct task_struct *),	\
			     void *)),					\
		probe, probe_group)

#endif /* MCX_COMPAT_H */
