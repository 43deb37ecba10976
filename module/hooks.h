/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_HOOKS_H
#define MCX_HOOKS_H

#include <linux/ftrace.h>
#include <linux/seq_file.h>

#include "feature.h"

/**
 * struct mcx_hook - a kernel function whose entry we see
 * @symbols: its name, and the name other kernels give it, or NULL
 * @caller: name of the only function that calls it which matters, or NULL
 * @func: called at its entry; see ftrace_func_t. Must not sleep. NULL with @with
 * @with: shares the ftrace_ops, and so @func, of that hook, which tells them apart
 *	by address: every ftrace_ops costs grace periods of RCU-tasks to remove
 * @redirect: @func may change where the call goes (FTRACE_OPS_FL_IPMODIFY)
 * @plain: what to call if somebody else already redirects this function, or
 *	NULL; cannot redirect
 * @feature: what is off without this hook
 * @optional: only that: cgroups can be managed all the same
 * @on_demand: attached for a while after mcx_hooks_demand(); has @with
 * @wanted: attached only while that is not 0; NULL: always
 * @ops: ftrace's own
 * @plain_ops: the same, for @plain
 * @addr: where it is, 0 if this kernel does not have it
 * @caller_from: where @caller is
 * @caller_size: of that, bytes
 * @name: which of @symbols it was
 * @attached: hooked now
 * @redirects: hooked, and @func may redirect; read without the mutex
 * @is_plain: @plain is hooked
 *
 * All but the first ten members belong to hooks.c and are guarded by its
 * mutex.
 */
struct mcx_hook {
	const char *symbols[2];
	const char *caller;
	ftrace_func_t func;
	struct mcx_hook *with;
	bool redirect;
	ftrace_func_t plain;
	enum mcx_feature feature;
	bool optional;
	bool on_demand;
	const int *wanted;

	struct ftrace_ops ops;
	struct ftrace_ops plain_ops;
	unsigned long addr;
	unsigned long caller_from;
	unsigned long caller_size;
	const char *name;
	bool attached;
	bool redirects;
	bool is_plain;
};

extern struct mcx_hook mcx_hook_charge;
extern struct mcx_hook mcx_hook_uncharge;
extern struct mcx_hook mcx_hook_over_high;
extern struct mcx_hook mcx_hook_over_max;
extern struct mcx_hook mcx_hook_max_write;
extern struct mcx_hook mcx_hook_boosted;
extern struct mcx_hook mcx_hook_max_show;
extern struct mcx_hook mcx_hook_max_set;
extern struct mcx_hook mcx_hook_oom;
extern struct mcx_hook mcx_hook_kill;
extern struct mcx_hook mcx_hook_met;
extern struct mcx_hook mcx_hook_uncached;
extern struct mcx_hook mcx_hook_online;
extern struct mcx_hook mcx_hook_offline;
extern struct mcx_hook mcx_hook_reset;

/* Is the function entered from the one that matters? */
static __always_inline bool mcx_hook_called_by(const struct mcx_hook *h,
					       unsigned long parent_ip)
{
	return parent_ip - h->caller_from < h->caller_size;
}

/*
 * To be asked before anything is redirected, or counted for that: while ftrace finds out
 * that somebody else redirects the function, we are called all the same, and overruled.
 */
static __always_inline bool mcx_hook_may_redirect(const struct mcx_hook *h)
{
	return READ_ONCE(h->redirects);
}

void mcx_hooks_init(void);
void mcx_hooks_want(bool want);
void mcx_hooks_demand(void);
void mcx_hooks_hold(bool hold);
bool mcx_hooks_held(void);
void mcx_hooks_again(void);
bool mcx_hooks_possible(void);
bool mcx_hooks_attached(void);
void mcx_hooks_exit(void);
void mcx_hooks_show(struct seq_file *s);

#endif /* MCX_HOOKS_H */
