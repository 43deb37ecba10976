// SPDX-License-Identifier: GPL-2.0-only
/*
 * A live patch of the over-high handler, under the name that this kernel has for it:
 * memory.high is not enforced any more, and the debt that tasks have is forgotten.
 */
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/sched.h>

static char *func;
module_param(func, charp, 0400);
MODULE_PARM_DESC(func, "name of the over-high handler");

static void patched_handle_over_high(gfp_t gfp_mask)
{
	current->memcg_nr_pages_over_high = 0;
}

static struct klp_func funcs[] = {
	{ .new_func = patched_handle_over_high },
	{ }
};

/* Without a name: of vmlinux. */
static struct klp_object objs[] = {
	{ .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init patch_init(void)
{
	if (!func)
		return -EINVAL;
	funcs[0].old_name = func;
	return klp_enable_patch(&patch);
}

static void __exit patch_exit(void)
{
}

module_init(patch_init);
module_exit(patch_exit);
MODULE_DESCRIPTION("Test: a live patch of what memcg_ext redirects");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
