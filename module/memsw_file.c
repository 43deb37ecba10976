// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.ext.memsw.max, .current and .peak; and memory.max of cgroups with such a limit,
 * whose own value is not what the kernel has there (memsw.c).
 *
 * Whoever lowers a limit below usage reclaims until it is met, and has the kernel's OOM
 * killer at it if it cannot be, as memory_max_write() does.
 *
 * Locking: none. A file being written holds up rmdir: every round looks whether the cgroup
 * goes, the writer is to end, or the module.
 */
#include <linux/cgroup.h>
#include <linux/fs.h>
#include <linux/memcontrol.h>
#include <linux/page_counter.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/writeback.h>

#include "compat.h"
#include "files.h"
#include "hooks.h"
#include "memsw.h"
#include "memsw_file.h"
#include "show.h"
#include "symbols.h"

/* Passes without gain before somebody is killed; MAX_RECLAIM_RETRIES of the kernel. */
#define MCX_RETRIES	16
/* Pages at a time, so that one can look whether to go on. */
#define MCX_ROUND	1024UL

static struct mem_cgroup *mcx_of_memcg(struct kernfs_open_file *of)
{
	return mem_cgroup_from_css(of_css(of));
}

/* As page_counter_memparse(), which is not exported. */
static int mcx_parse_limit(char *buf, unsigned long *pages)
{
	u64 bytes;
	char *end;

	buf = strstrip(buf);
	if (!strcmp(buf, "max")) {
		*pages = PAGE_COUNTER_MAX;
		return 0;
	}
	bytes = memparse(buf, &end);
	if (*end)
		return -EINVAL;
	*pages = min(bytes / PAGE_SIZE, (u64)PAGE_COUNTER_MAX);
	return 0;
}

/* Which limit is to be met. */
enum mcx_goal { MCX_GOAL_MEMORY, MCX_GOAL_MEMSW };

/* The user's memory.max, whoever has it. */
static unsigned long mcx_max_of(struct mem_cgroup *memcg)
{
	struct mcx_memcg *m;
	unsigned long max;

	rcu_read_lock();
	m = mcx_memcg_find(&memcg->memory);
	max = m ? mcx_memsw_user_max(m) : READ_ONCE(memcg->memory.max);
	rcu_read_unlock();
	return max;
}

static unsigned long mcx_goal_limit(struct mem_cgroup *memcg, enum mcx_goal goal)
{
	return goal == MCX_GOAL_MEMORY ? mcx_max_of(memcg) : mcx_memsw_given(memcg);
}

static unsigned long mcx_goal_excess(struct mcx_memcg *m, enum mcx_goal goal,
				     unsigned long limit)
{
	unsigned long usage;

	if (goal == MCX_GOAL_MEMSW) {
		usage = mcx_memsw_count(m);
	} else {
		usage = page_counter_read(m->counter);
		mcx_memsw_refresh(m);
	}
	return usage - min(usage, limit);
}

/* Shall a writer give up, whether or not the limit is met? */
static bool mcx_goal_void(struct mcx_memcg *m, struct kernfs_open_file *of)
{
	return signal_pending(current) || mcx_memsw_is_void(m) ||
	       mcx_memsw_draining() ||
	       (MCX_MAX_NONBLOCK && of->file->f_flags & O_NONBLOCK);
}

/* Reclaim, then kill, until it is met, somebody writes another one, or there is no use. */
static void mcx_goal_meet(struct mcx_memcg *m, struct kernfs_open_file *of,
			  enum mcx_goal goal)
{
	unsigned long limit = mcx_goal_limit(m->memcg, goal), excess;
	/* For memory and swap together to swap would be no use. */
	unsigned int options = goal == MCX_GOAL_MEMSW ? 0 : MCX_RECLAIM_MAY_SWAP;
	int retries = MCX_RETRIES;

	if (!mcx_goal_void(m, of))
		static_call_cond(mcx_drain_stock)(m->memcg);
	while (!mcx_goal_void(m, of) && limit == mcx_goal_limit(m->memcg, goal)) {
		/* Unloading waits for RCU-tasks before it tells us to go. */
		cond_resched_tasks_rcu_qs();
		excess = mcx_goal_excess(m, goal, limit);
		if (!excess)
			break;
		if (retries) {
			excess = min(excess, MCX_ROUND);
			if (!static_call(mcx_try_to_free)(m->memcg, excess,
							  GFP_KERNEL,
							  options, NULL))
				retries--;
			continue;
		}
		/* While it is not enforced the kernel would see no reason to kill. */
		if (READ_ONCE(m->counter->max) >= page_counter_read(m->counter))
			break;
		mcx_memory_event(m->memcg, MEMCG_OOM);
		if (!mcx_memsw_kill(m, GFP_KERNEL, 0))
			break;
		/* Until the one that was killed is gone. */
		schedule_timeout_killable(1);
	}
}

/**
 * mcx_memsw_max_show() - reads memory.ext.memsw.max
 * @s: where to
 * @v: unused
 *
 * Context: Process.
 * Return: 0.
 */
int mcx_memsw_max_show(struct seq_file *s, void *v)
{
	mcx_show_bytes(s, mcx_memsw_given(mem_cgroup_from_css(seq_css(s))));
	return 0;
}

/**
 * mcx_memsw_max_write() - writes memory.ext.memsw.max
 * @of: the open file
 * @buf: bytes, or max
 * @nbytes: how many were written
 * @off: unused
 *
 * Context: Process. May sleep, and reclaim.
 * Return: @nbytes or -errno; -EBUSY: somebody else has redirected what this needs.
 */
ssize_t mcx_memsw_max_write(struct kernfs_open_file *of, char *buf,
			    size_t nbytes, loff_t off)
{
	struct mem_cgroup *memcg = mcx_of_memcg(of);
	unsigned int missed = mcx_memsw_missed();
	unsigned long limit;
	struct mcx_memcg *m;
	int ret;

	ret = mcx_parse_limit(buf, &limit);
	if (!ret)
		ret = mcx_state_limit(memcg, limit, mcx_privileged(of));
	if (ret)
		return ret;
	m = limit < PAGE_COUNTER_MAX ? mcx_memcg_lookup(memcg) : NULL;
	if (m) {
		ret = mcx_memsw_wait(m, limit, missed);
		if (ret)
			/* Not one that nobody enforces. */
			mcx_state_unlimit(memcg, limit);
		else
			mcx_goal_meet(m, of, MCX_GOAL_MEMSW);
		mcx_memcg_put(m);
	}
	return ret ?: nbytes;
}

/**
 * mcx_memsw_current_show() - reads memory.ext.memsw.current
 * @s: where to
 * @v: unused
 *
 * Context: Process. May sleep.
 * Return: 0.
 */
int mcx_memsw_current_show(struct seq_file *s, void *v)
{
	mcx_show_bytes(s, mcx_memsw_usage(mem_cgroup_from_css(seq_css(s))));
	return 0;
}

/**
 * mcx_memsw_peak_show() - reads memory.ext.memsw.peak
 * @s: where to
 * @v: unused
 *
 * Context: Process. May sleep.
 * Return: 0.
 */
int mcx_memsw_peak_show(struct seq_file *s, void *v)
{
	struct mem_cgroup *memcg = mem_cgroup_from_css(seq_css(s));
	struct mcx_memcg *m = mcx_memcg_lookup(memcg);
	unsigned long peak;

	if (m) {
		/* So that it does not fall again: that notes what it counts. */
		peak = mcx_memsw_count(m);
		peak = max(peak, READ_ONCE(m->memsw->peak));
		mcx_memcg_put(m);
	} else {
		peak = mcx_memsw_usage(memcg);
	}
	mcx_show_bytes(s, peak);
	return 0;
}

/**
 * mcx_memsw_file_show_max() - reads memory.max, instead of memory_max_show()
 * @s: where to
 *
 * Context: Process.
 * Return: 0.
 */
int mcx_memsw_file_show_max(struct seq_file *s)
{
	mcx_show_bytes(s, mcx_max_of(mem_cgroup_from_css(seq_css(s))));
	return 0;
}

/**
 * mcx_memsw_file_write_max() - writes memory.max, instead of memory_max_write()
 * @of: the open file
 * @buf: bytes, or max
 * @nbytes: how many were written
 *
 * Context: Process. May sleep, and reclaim.
 * Return: @nbytes or -errno.
 */
ssize_t mcx_memsw_file_write_max(struct kernfs_open_file *of, char *buf,
				 size_t nbytes)
{
	struct mem_cgroup *memcg = mcx_of_memcg(of);
	struct mcx_memcg *m;
	unsigned long max;
	int ret;

	ret = mcx_parse_limit(buf, &max);
	if (ret)
		return ret;
	m = mcx_memcg_lookup(memcg);
	if (!m) {
		/* It went just now, and memory.max is the user's alone again. */
		xchg(&memcg->memory.max, max);
		wb_domain_size_changed(&memcg->cgwb_domain);
		return nbytes;
	}
	mcx_memsw_write_max(m, max);
	mcx_goal_meet(m, of, MCX_GOAL_MEMORY);
	wb_domain_size_changed(&memcg->cgwb_domain);
	mcx_memcg_put(m);
	return nbytes;
}
