/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_THREADS_H
#define MCX_THREADS_H

#include <linux/types.h>

#include "ops.h"

struct cgroup_subsys_state;
struct mem_cgroup;
struct seq_file;
struct task_struct;

/* What a thread is called that has no class of its own. */
#define MCX_CLASS_NONE	MCX_NR_CLASSES

/**
 * enum mcx_source - who says how a thread shall be throttled; the first that does counts
 * @MCX_BY_POLICY: the policy in effect, until it ends
 * @MCX_BY_FILE: memory.ext.threads
 * @MCX_NR_SOURCES: how many there are
 */
enum mcx_source {
	MCX_BY_POLICY,
	MCX_BY_FILE,
	MCX_NR_SOURCES,
};

/**
 * struct mcx_word - what was said of a thread
 * @css: serial number of the css of the cgroup in which it counts, and below
 * @policy: id of the policy that said so, 0 if none did
 * @class: enum mcx_class, or MCX_CLASS_NONE: nothing
 */
struct mcx_word {
	u64 css;
	u64 policy;
	enum mcx_class class;
};

enum mcx_class mcx_threads_class(struct task_struct *task,
				 struct mem_cgroup *memcg);
int mcx_threads_set(struct task_struct *task, enum mcx_source by,
		    const struct mcx_word *word);
void mcx_threads_forget_policy(u64 id);
void mcx_threads_for_each(struct cgroup_subsys_state *css,
			  void (*fn)(struct task_struct *task,
				     enum mcx_class class, void *arg),
			  void *arg);
void mcx_threads_show_hooks(struct seq_file *s);
void mcx_threads_init(void);
void mcx_threads_exit(void);

#endif /* MCX_THREADS_H */
