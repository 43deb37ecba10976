// SPDX-License-Identifier: GPL-2.0-only
/*
 * Wakes whoever polls memory.ext.events.
 *
 * The core's way (cftype.file_offset, cgroup_file_notify()) needs a member in
 * struct mem_cgroup, which we cannot add. The file is looked up by its name
 * instead, and kernfs does the waiting and waking: a wait queue of our own
 * would be gone at rmdir while somebody's epoll still refers to it.
 *
 * Locking: none of our own. kernfs takes its rwsem for the lookup.
 */
#include <linux/cgroup.h>
#include <linux/kernfs.h>

#include "events.h"

/**
 * mcx_events_notify() - something that memory.ext.events counts has happened
 * @m: the cgroup
 *
 * Context: Process. May sleep.
 */
void mcx_events_notify(struct mcx_memcg *m)
{
	struct kernfs_node *kn;

	kn = kernfs_find_and_get(m->memcg->css.cgroup->kn,
				 "memory.ext.events");
	if (!kn)
		return;
	kernfs_notify(kn);
	kernfs_put(kn);
}
