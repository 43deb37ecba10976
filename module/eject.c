// SPDX-License-Identifier: GPL-2.0-only
/*
 * How people get rid of all policies at once, whoever loaded them and however busy the
 * machine is: a write of 1 to the module's parameter eject, which unlike debugfs can be
 * written on a machine with Secure Boot, and SysRq-M.
 *
 * What is ejected stays so until its owner closes its link.
 *
 * Locking: none.
 */
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/sysrq.h>

#include "eject.h"
#include "policy.h"

#define MCX_SYSRQ_KEY	'M'

static int mcx_eject_set(const char *val, const struct kernel_param *kp)
{
	unsigned int n;
	int ret = kstrtouint(val, 0, &n);

	if (ret || n != 1)
		return -EINVAL;
	mcx_policies_eject("all policies were ejected by a write to eject");
	return 0;
}

static const struct kernel_param_ops mcx_eject_ops = {
	.set = mcx_eject_set,
};
module_param_cb(eject, &mcx_eject_ops, NULL, 0200);
MODULE_PARM_DESC(eject, "write 1: eject all policies");

static void mcx_eject_sysrq(u8 key)
{
	mcx_policies_eject("all policies were ejected by sysrq");
}

static const struct sysrq_key_op mcx_sysrq_op = {
	.handler = mcx_eject_sysrq,
	.help_msg = "eject-memcg-policies(M)",
	.action_msg = "Eject memcg_ext policies",
	.enable_mask = SYSRQ_ENABLE_RTNICE,
};

/**
 * mcx_eject_init() - take the key; a failure costs only that
 *
 * Context: Process, from module init only.
 */
void mcx_eject_init(void)
{
	if (register_sysrq_key(MCX_SYSRQ_KEY, &mcx_sysrq_op))
		pr_notice("SysRq-%c is not to be had; eject= works\n",
			  MCX_SYSRQ_KEY);
}

/**
 * mcx_eject_exit() - give it back; waits for who is at it
 *
 * Context: Process, from module exit only.
 */
void mcx_eject_exit(void)
{
	unregister_sysrq_key(MCX_SYSRQ_KEY, &mcx_sysrq_op);
}
