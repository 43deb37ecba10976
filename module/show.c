// SPDX-License-Identifier: GPL-2.0-only
/*
 * What several files print alike.
 *
 * Locking: none.
 */
#include <linux/cgroup.h>
#include <linux/limits.h>
#include <linux/nsproxy.h>
#include <linux/slab.h>

#include "show.h"

/**
 * mcx_show_path() - print where a cgroup is, as the reader's namespace has it
 * @s: where to
 * @cgrp: the cgroup
 *
 * Blanks, which would break a keyed line, are escaped.
 *
 * Context: Process. May sleep.
 */
void mcx_show_path(struct seq_file *s, struct cgroup *cgrp)
{
	char *path = kmalloc(PATH_MAX, GFP_KERNEL);

	if (path && cgroup_path_ns(cgrp, path, PATH_MAX,
				   current->nsproxy->cgroup_ns) >= 0)
		seq_escape(s, path, " \t\n\\");
	kfree(path);
}
