// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/memcg_ext: the whole system at a glance, for root. Not an
 * ABI; mcxctl is the stable face. Flat keyed or nested keyed files only.
 *
 * Locking: debugfs itself keeps removed files from being read.
 */
#include <linux/cgroup.h>
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "debug.h"
#include "feature.h"
#include "files.h"
#include "hooks.h"
#include "policy.h"
#include "reclaim.h"
#include "show.h"
#include "state.h"
#include "threads.h"

static struct dentry *root;

static int features_show(struct seq_file *s, void *v)
{
	mcx_features_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(features);

static int hooks_show(struct seq_file *s, void *v)
{
	mcx_hooks_show(s);
	mcx_threads_show_hooks(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(hooks);

static int workers_show(struct seq_file *s, void *v)
{
	mcx_reclaim_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(workers);

static void cgroup_show(struct mcx_memcg *m, void *arg)
{
	struct cgroup *cgrp = m->memcg->css.cgroup;
	struct seq_file *s = arg;
	int i;

	if (!mcx_memcg_managed(m))
		return;
	seq_printf(s, "%llu path=", cgroup_id(cgrp));
	mcx_show_path(s, cgrp);
	for (i = 0; i < MCX_NR_STATS; i++)
		seq_printf(s, " %s=%llu", mcx_stat_name(i),
			   mcx_memcg_stat(m, i));
	seq_putc(s, '\n');
}

static int cgroups_show(struct seq_file *s, void *v)
{
	mcx_state_for_each(cgroup_show, s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(cgroups);

static int policies_show(struct seq_file *s, void *v)
{
	mcx_policies_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(policies);

static int last_exit_show(struct seq_file *s, void *v)
{
	mcx_last_exit_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(last_exit);

static void events_add(struct mcx_memcg *m, void *arg)
{
	u64 *sum = arg;
	int i;

	for (i = 0; i < MCX_NR_STATS; i++)
		sum[i] += mcx_memcg_stat(m, i);
}

/* Of the cgroups that are managed now: those that were take theirs along. */
static int events_show(struct seq_file *s, void *v)
{
	u64 sum[MCX_NR_STATS] = {};
	int i;

	mcx_state_for_each(events_add, sum);
	for (i = 0; i < MCX_NR_STATS; i++)
		seq_printf(s, "%s %llu\n", mcx_stat_name(i), sum[i]);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(events);

/**
 * mcx_debug_init() - make the files; a failure costs only these
 *
 * Context: Process, from module init only.
 */
void mcx_debug_init(void)
{
	root = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("features", 0444, root, NULL, &features_fops);
	debugfs_create_file("hooks", 0444, root, NULL, &hooks_fops);
	debugfs_create_file("workers", 0444, root, NULL, &workers_fops);
	debugfs_create_file("cgroups", 0444, root, NULL, &cgroups_fops);
	debugfs_create_file("policies", 0444, root, NULL, &policies_fops);
	debugfs_create_file("last_exit", 0444, root, NULL, &last_exit_fops);
	debugfs_create_file("events", 0444, root, NULL, &events_fops);
}

/**
 * mcx_debug_exit() - remove the files; waits for readers
 *
 * Context: Process, from module exit only.
 */
void mcx_debug_exit(void)
{
	debugfs_remove(root);
}
