// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory.ext.* files of every non-root cgroup with the memory controller.
 *
 * They are registered with the controller itself, so that existing and future
 * cgroups have them and container runtimes can write them like memory.high.
 *
 * Locking: a file being read or written holds up rmdir, which holds
 * cgroup_mutex: nothing here takes that mutex or writes another cgroup file.
 * conf_mutex is for writers of memory.ext.reclaim, outside of the state mutex.
 */
#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>

#include "conf.h"
#include "files.h"
#include "hooks.h"
#include "mark.h"
#include "memsw.h"
#include "memsw_file.h"
#include "policy.h"
#include "show.h"
#include "state.h"
#include "stuck.h"
#include "symbols.h"
#include "threads_file.h"

static const char * const enable_names[] = {
	[MCX_ENABLE_NO] = "0",
	[MCX_ENABLE_SELF] = "1",
	[MCX_ENABLE_SUBTREE] = "subtree",
};

static const char * const level_names[] = {
	[MCX_LEVEL_OK] = "ok",
	[MCX_LEVEL_LOW] = "low",
	[MCX_LEVEL_PACED] = "paced",
	[MCX_LEVEL_HELD] = "held",
	[MCX_LEVEL_STUCK] = "stuck",
};

#define MCX_STAT_NAME(name) #name,
static const char * const stat_names[] = { MCX_STATS(MCX_STAT_NAME) };

/* What of that is an event: something an operator may want to be woken for. */
static const enum mcx_stat event_stats[] = {
	MCX_STAT_wakeups, MCX_STAT_deferred, MCX_STAT_paced,
	MCX_STAT_over_high, MCX_STAT_stuck, MCX_STAT_stuck_kill,
	MCX_STAT_shed, MCX_STAT_critical_over, MCX_STAT_granted,
	MCX_STAT_memsw_max, MCX_STAT_memsw_oom, MCX_STAT_memsw_oom_kill,
};

static DEFINE_MUTEX(conf_mutex);

static struct mem_cgroup *mcx_seq_memcg(struct seq_file *s)
{
	return mem_cgroup_from_css(seq_css(s));
}

static int mcx_enable_show(struct seq_file *s, void *v)
{
	seq_printf(s, "%s\n", enable_names[mcx_state_get(mcx_seq_memcg(s))]);
	return 0;
}

/**
 * mcx_privileged() - may who writes a file attach hooks to the kernel
 * @of: the open file
 *
 * The opener counts: an open file may be handed to anybody.
 *
 * Context: Process.
 * Return: true with CAP_SYS_RESOURCE in the initial user namespace.
 */
bool mcx_privileged(struct kernfs_open_file *of)
{
	return file_ns_capable(of->file, &init_user_ns, CAP_SYS_RESOURCE);
}

static ssize_t mcx_enable_write(struct kernfs_open_file *of, char *buf,
				size_t nbytes, loff_t off)
{
	int own, ret;

	own = sysfs_match_string(enable_names, strstrip(buf));
	if (own < 0)
		return -EINVAL;
	ret = mcx_state_set(mem_cgroup_from_css(of_css(of)), own,
			    mcx_privileged(of));
	return ret ?: nbytes;
}

static int mcx_reclaim_conf_show(struct seq_file *s, void *v)
{
	struct mcx_conf conf = mcx_state_conf(mcx_seq_memcg(s));

	mcx_conf_show(s, &conf);
	return 0;
}

static ssize_t mcx_reclaim_conf_write(struct kernfs_open_file *of, char *buf,
				      size_t nbytes, loff_t off)
{
	struct mem_cgroup *memcg = mem_cgroup_from_css(of_css(of));
	struct mcx_conf conf;
	int ret;

	/* Who writes one key must not take back another's. */
	mutex_lock(&conf_mutex);
	conf = mcx_state_conf(memcg);
	ret = mcx_conf_parse(&conf, buf);
	if (!ret)
		ret = mcx_state_configure(memcg, &conf, mcx_privileged(of));
	mutex_unlock(&conf_mutex);
	return ret ?: nbytes;
}

static void mcx_show_pages(struct seq_file *s, const char *key,
			   unsigned long pages)
{
	seq_printf(s, "%s ", key);
	mcx_show_bytes(s, pages);
}

static void mcx_show_state(struct seq_file *s, struct mcx_memcg *m)
{
	unsigned long admit = mcx_mark_admit(m);

	mcx_show_pages(s, "usage", page_counter_read(m->counter));
	mcx_show_pages(s, "limit", min(READ_ONCE(m->counter->high),
				       READ_ONCE(m->counter->max)));
	mcx_show_pages(s, "admit_mark", admit);
	if (admit < PAGE_COUNTER_MAX) {
		mcx_show_pages(s, "pace_mark", mcx_mark_pace(m, admit));
		mcx_show_pages(s, "wake_mark", mcx_mark_wake(m, admit));
		mcx_show_pages(s, "target_mark", mcx_mark_target(m, admit));
	}
	mcx_show_pages(s, "policy_limit", READ_ONCE(m->policy_high));
	mcx_show_pages(s, "burst", READ_ONCE(m->burst));
	mcx_show_pages(s, "boost", READ_ONCE(m->boost));
	seq_printf(s, "rate %llu\n", (u64)READ_ONCE(m->rate) * PAGE_SIZE);
	seq_printf(s, "arrival %llu\n", READ_ONCE(m->arrival) * PAGE_SIZE);
	seq_printf(s, "latency_usec %llu\n",
		   div_u64(READ_ONCE(m->latency), NSEC_PER_USEC));
	seq_printf(s, "level %s\n", level_names[mcx_level(m)]);
	seq_printf(s, "cpu_debt_usec %llu\n",
		   div_u64(atomic64_read(&m->cpu.debt), NSEC_PER_USEC));
	seq_printf(s, "reclaimable %d\n", !test_bit(MCX_IS_EMPTY, &m->flags));
	seq_printf(s, "stuck_msec %u\n", mcx_stuck_msec(m));
	mcx_show_pages(s, "shed_bytes", mcx_stuck_shed(m));
	seq_printf(s, "shed_seq %llu\n", mcx_memcg_stat(m, MCX_STAT_shed));
}

static int mcx_stat_show(struct seq_file *s, void *v)
{
	struct mcx_memcg *m = mcx_memcg_lookup(mcx_seq_memcg(s));
	bool managed = m && mcx_memcg_managed(m);
	bool policy = m && rcu_access_pointer(m->policy);
	bool memsw = m && m->memsw->given < PAGE_COUNTER_MAX;
	int i;

	seq_printf(s, "managed %d\n", managed);
	seq_printf(s, "attached %d\n",
		   (managed || policy || memsw) && mcx_hooks_attached());
	if (managed)
		mcx_show_state(s, m);
	if (memsw)
		mcx_show_pages(s, "effective_max", READ_ONCE(m->counter->max));
	if (managed || policy || memsw) {
		for (i = 0; i < MCX_NR_STATS; i++)
			seq_printf(s, "%s %llu\n", stat_names[i],
				   mcx_memcg_stat(m, i));
	}
	if (m)
		mcx_memcg_put(m);
	return 0;
}

static int mcx_events_show(struct seq_file *s, void *v)
{
	struct mcx_memcg *m = mcx_memcg_lookup(mcx_seq_memcg(s));
	int i;

	for (i = 0; i < ARRAY_SIZE(event_stats); i++)
		seq_printf(s, "%s %llu\n", stat_names[event_stats[i]],
			   m ? mcx_memcg_stat(m, event_stats[i]) : 0);
	if (m)
		mcx_memcg_put(m);
	return 0;
}

static int mcx_policy_show(struct seq_file *s, void *v)
{
	mcx_policy_show_memcg(s, mcx_seq_memcg(s));
	return 0;
}

/* Flags of a file that a workload may write; see threads_file.c. */
#define MCX_CFTYPE_WORKLOAD						\
	(CFTYPE_NOT_ON_ROOT | CFTYPE_NS_DELEGATABLE | CFTYPE_WORLD_WRITABLE)

/* The core puts "memory." before the names. */
static struct cftype mcx_cftypes[] = {
	{
		.name = "ext.enable",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = mcx_enable_show,
		.write = mcx_enable_write,
	},
	{
		.name = "ext.reclaim",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = mcx_reclaim_conf_show,
		.write = mcx_reclaim_conf_write,
	},
	{
		.name = "ext.stat",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = mcx_stat_show,
	},
	{
		.name = "ext.events",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = mcx_events_show,
	},
	{
		.name = "ext.policy",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = mcx_policy_show,
	},
	{
		.name = "ext.memsw.max",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = mcx_memsw_max_show,
		.write = mcx_memsw_max_write,
	},
	{
		.name = "ext.memsw.current",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = mcx_memsw_current_show,
	},
	{
		.name = "ext.memsw.peak",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = mcx_memsw_peak_show,
	},
	{
		.name = "ext.threads",
		.flags = MCX_CFTYPE_WORKLOAD,
		.open = mcx_threads_open,
		.release = mcx_threads_release,
		.seq_show = mcx_threads_show,
		.write = mcx_threads_write,
	},
	{ }
};

/**
 * mcx_stat_name() - the key of a counter in memory.ext.stat
 * @i: the counter
 *
 * Context: Any.
 * Return: a constant string.
 */
const char *mcx_stat_name(enum mcx_stat i)
{
	return stat_names[i];
}

/**
 * mcx_files_init() - add our files to all cgroups
 *
 * Context: Process, from module init only. Takes cgroup_mutex.
 * Return: 0 or -errno.
 */
int mcx_files_init(void)
{
	int ret = mcx_threads_file_init();

	if (ret)
		return ret;
	ret = static_call(mcx_add_cftypes)(&memory_cgrp_subsys, mcx_cftypes);
	if (ret)
		mcx_threads_file_exit();
	return ret;
}

/**
 * mcx_files_exit() - remove our files; waits for readers and writers
 *
 * Context: Process, from module exit only. Takes cgroup_mutex.
 */
void mcx_files_exit(void)
{
	static_call(mcx_rm_cftypes)(mcx_cftypes);
	mcx_threads_file_exit();
}
