// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that may redirect kernel functions, and never does: who comes after it,
 * or before, and wants to redirect one of these is refused.
 */
#include <linux/ftrace.h>
#include <linux/module.h>

#define NR	2

static char *func[NR];
static int nr_funcs;
module_param_array(func, charp, &nr_funcs, 0400);
MODULE_PARM_DESC(func, "names of the functions, each with an ftrace_ops of its own");

static void notrace taker_entered(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops,
				  struct ftrace_regs *fregs)
{
}

static struct ftrace_ops taker_ops[NR];

static void taker_let_go(int nr)
{
	while (nr--) {
		unregister_ftrace_function(&taker_ops[nr]);
		ftrace_free_filter(&taker_ops[nr]);
	}
}

static int taker_take(struct ftrace_ops *ops, char *name)
{
	int ret;

	ops->func = taker_entered;
	ops->flags = FTRACE_OPS_FL_IPMODIFY;
	ret = ftrace_set_filter(ops, name, strlen(name), 1);
	if (!ret)
		ret = register_ftrace_function(ops);
	if (ret)
		ftrace_free_filter(ops);
	return ret;
}

static int __init taker_init(void)
{
	int i, ret = nr_funcs ? 0 : -EINVAL;

	for (i = 0; i < nr_funcs && !ret; i++) {
		ret = taker_take(&taker_ops[i], func[i]);
		if (ret)
			taker_let_go(i);
	}
	return ret;
}

static void __exit taker_exit(void)
{
	taker_let_go(nr_funcs);
}

module_init(taker_init);
module_exit(taker_exit);
MODULE_DESCRIPTION("Test: takes the entry of kernel functions for itself");
MODULE_LICENSE("GPL");
