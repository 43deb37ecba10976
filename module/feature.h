/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_FEATURE_H
#define MCX_FEATURE_H

#include <linux/seq_file.h>
#include <linux/types.h>

/**
 * enum mcx_feature - what can fail on its own, leaving stock behaviour
 * @MCX_FEAT_FILES: memory.ext.* files
 * @MCX_FEAT_LIFETIME: cgroups coming and going are seen; nothing can be
 *	managed without it
 * @MCX_FEAT_ACCOUNT: the charge hook: usage is watched
 * @MCX_FEAT_RECLAIM: the workers reclaim
 * @MCX_FEAT_THROTTLE: inline throttling is deferred and paid on return to user
 * @MCX_FEAT_NOTIFY: pollers of memory.events hear of what we raise there
 * @MCX_FEAT_CPU: CPU time of the workers can be added to a cgroup's (cpu=cgroup)
 * @MCX_FEAT_FLUSH: the flushers are woken where dirty pages are in the way
 * @MCX_FEAT_GIVEN: who gives back pages may take as many without waiting
 * @MCX_FEAT_THREADS: threads can be told to be critical, normal or batch
 * @MCX_FEAT_OWNER: who owns a lock that others wait for goes first
 * @MCX_FEAT_OVERRUN: overrun=: nobody reclaims at memory.max in the middle of the kernel
 * @MCX_FEAT_KFUNCS: policies can use kfuncs of the kernel's own, or what stands for them
 * @MCX_FEAT_SLEEP: policies can have members that sleep (tick, reclaim)
 * @MCX_FEAT_PROTECT: policies are asked whether a cgroup is below its protection
 * @MCX_FEAT_MEMSW: one limit for memory and swap together
 * @MCX_NR_FEATURES: how many there are
 */
enum mcx_feature {
	MCX_FEAT_FILES,
	MCX_FEAT_LIFETIME,
	MCX_FEAT_ACCOUNT,
	MCX_FEAT_RECLAIM,
	MCX_FEAT_THROTTLE,
	MCX_FEAT_NOTIFY,
	MCX_FEAT_CPU,
	MCX_FEAT_FLUSH,
	MCX_FEAT_GIVEN,
	MCX_FEAT_THREADS,
	MCX_FEAT_OWNER,
	MCX_FEAT_OVERRUN,
	MCX_FEAT_KFUNCS,
	MCX_FEAT_SLEEP,
	MCX_FEAT_PROTECT,
	MCX_FEAT_MEMSW,
	MCX_NR_FEATURES,
};

bool mcx_hidden(const char *name);
bool mcx_feature_is_on(enum mcx_feature f);
__printf(2, 3) void mcx_feature_off(enum mcx_feature f, const char *fmt, ...);
__printf(2, 3) void mcx_feature_degraded(enum mcx_feature f,
					 const char *fmt, ...);
void mcx_feature_on(enum mcx_feature f);
void mcx_features_show(struct seq_file *s);

#endif /* MCX_FEATURE_H */
