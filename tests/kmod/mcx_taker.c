// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that may redirect one kernel function, and never does: who comes after it,
 * or before, and wants to redirect the same function is refused.
 */
#include <linux/ftrace.h>
#include <linux/module.h>

static char *func;
module_param(func, charp, 0400);
MODULE_PARM_DESC(func, "name of the function");

static void notrace taker_entered(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops,
				  struct ftrace_regs *fregs)
{
}

static struct ftrace_ops taker_ops = {
	.func = taker_entered,
	.flags = FTRACE_OPS_FL_IPMODIFY,
};

static int __init taker_init(void)
{
	int ret;

	if (!func)
		return -EINVAL;
	ret = ftrace_set_filter(&taker_ops, func, strlen(func), 1);
	if (!ret)
		ret = register_ftrace_function(&taker_ops);
	if (ret)
		ftrace_free_filter(&taker_ops);
	return ret;
}

static void __exit taker_exit(void)
{
	unregister_ftrace_function(&taker_ops);
	ftrace_free_filter(&taker_ops);
}

module_init(taker_init);
module_exit(taker_exit);
MODULE_DESCRIPTION("Test: takes a kernel function's entry for itself");
MODULE_LICENSE("GPL");
