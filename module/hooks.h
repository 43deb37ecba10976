/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_HOOKS_H
#define MCX_HOOKS_H

#include <linux/ftrace.h>
#include <linux/seq_file.h>

#include "feature.h"

/**
 * struct mcx_hook - a kernel function whose entry we see
 * @symbols: its name, and the name other kernels give it, or NULL
 * @func: called at its entry; see ftrace_func_t. Must not sleep. NULL with @with
 * @with: shares the ftrace_ops, and so @func, of that hook, which tells them apart
 *	by address: every ftrace_ops costs grace periods of RCU-tasks to remove
 * @redirect: @func may change where the call goes (FTRACE_OPS_FL_IPMODIFY)
 * @plain: what to call if somebody else already redirects this function, or
 *	NULL; cannot redirect
 * @feature: what is off without this hook
 * @ops: ftrace's own
 * @addr: where it is, 0 if this kernel does not have it
 * @name: which of @symbols it was
 * @attached: hooked now
 * @redirects: hooked, and @func may redirect; read without the mutex
 *
 * All but the first six members belong to hooks.c and are guarded by its
 * mutex.
 */
struct mcx_hook {
	const char *symbols[2];
	ftrace_func_t func;
	struct mcx_hook *with;
	bool redirect;
	ftrace_func_t plain;
	enum mcx_feature feature;

	struct ftrace_ops ops;
	unsigned long addr;
	const char *name;
	bool attached;
	bool redirects;
};

extern struct mcx_hook mcx_hook_charge;
extern struct mcx_hook mcx_hook_over_high;
extern struct mcx_hook mcx_hook_online;
extern struct mcx_hook mcx_hook_offline;
extern struct mcx_hook mcx_hook_reset;

void mcx_hooks_init(void);
void mcx_hooks_want(bool want);
bool mcx_hooks_possible(void);
bool mcx_hooks_attached(void);
void mcx_hooks_exit(void);
void mcx_hooks_show(struct seq_file *s);

#endif /* MCX_HOOKS_H */
