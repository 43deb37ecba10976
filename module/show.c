// SPDX-License-Identifier: GPL-2.0-only
/*
 * What several files print alike.
 *
 * Locking: none.
 */
#include <linux/page_counter.h>
#include <linux/cgroup.h>
#include <linux/kernfs.h>
#include <linux/limits.h>
#include <linux/nsproxy.h>
#include <linux/slab.h>

#include "show.h"

/* Where the reader's cgroup namespace begins. */
static struct kernfs_node *mcx_ns_root(void)
{
	return current->nsproxy->cgroup_ns->root_cset->dfl_cgrp->kn;
}

/**
 * mcx_show_path() - print where a cgroup is, as the reader's namespace has it
 * @s: where to
 * @cgrp: the cgroup
 *
 * Blanks, which would break a keyed line, are escaped. Not by cgroup_path_ns(),
 * which takes cgroup_mutex: who removes a cgroup has that, and waits for those
 * who read its files.
 *
 * Context: Process. May sleep.
 */
void mcx_show_path(struct seq_file *s, struct cgroup *cgrp)
{
	char *path = kmalloc(PATH_MAX, GFP_KERNEL);

	if (path && kernfs_path_from_node(cgrp->kn, mcx_ns_root(), path,
					  PATH_MAX) >= 0)
		seq_escape(s, path, " \t\n\\");
	kfree(path);
}

/**
 * mcx_show_bytes() - print a number of pages as the kernel prints limits
 * @s: where to
 * @pages: the number; PAGE_COUNTER_MAX: no limit
 *
 * Context: Any that may print there.
 */
void mcx_show_bytes(struct seq_file *s, unsigned long pages)
{
	if (pages >= PAGE_COUNTER_MAX)
		seq_puts(s, "max\n");
	else
		seq_printf(s, "%llu\n", (u64)pages * PAGE_SIZE);
}
