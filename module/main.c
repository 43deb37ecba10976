// SPDX-License-Identifier: GPL-2.0-only
/*
 * memcg_ext: programmable memory-cgroup limit enforcement.
 *
 * Puts the parts together, in the order in which they depend on each other:
 * symbols, hooks, state, engines, faces. Loading attaches nothing; see hooks.c.
 *
 * Locking: none.
 */
#include <linux/module.h>
#include <linux/workqueue.h>

#include "btf.h"
#include "debug.h"
#include "eject.h"
#include "errand.h"
#include "events.h"
#include "feature.h"
#include "files.h"
#include "hooks.h"
#include "memsw.h"
#include "policy.h"
#include "protect.h"
#include "reclaim.h"
#include "state.h"
#include "stuck.h"
#include "symbols.h"
#include "threads.h"
#include "watch.h"

/* For what attaches hooks and follows the cgroup tree. */
struct workqueue_struct *mcx_wq;

static int __init mcx_init(void)
{
	int ret;

	ret = mcx_btf_check();
	if (ret)
		return ret;

	ret = mcx_symbols_init();
	if (ret) {
		pr_err("this kernel lacks what memory.ext.* files need; nothing loaded\n");
		return ret;
	}
	mcx_hooks_init();
	mcx_memsw_init();
	mcx_protect_init();
	mcx_watch_init();

	mcx_wq = alloc_workqueue(KBUILD_MODNAME, WQ_UNBOUND, 0);
	if (!mcx_wq)
		return -ENOMEM;
	ret = mcx_state_init();
	if (ret)
		goto err_wq;
	mcx_threads_init();
	ret = mcx_errand_init();
	if (ret)
		goto err_state;
	ret = mcx_reclaim_init();
	if (ret)
		goto err_errand;
	/* From here on users come; a policy is refused while a module is coming. */
	ret = mcx_policy_init();
	if (ret)
		goto err_reclaim;
	mcx_debug_init();
	ret = mcx_files_init();
	if (ret)
		goto err_debug;
	mcx_eject_init();
	return 0;

err_debug:
	mcx_debug_exit();
err_reclaim:
	mcx_reclaim_exit();
err_errand:
	mcx_errand_exit();
err_state:
	mcx_state_exit();
err_wq:
	destroy_workqueue(mcx_wq);
	return ret;
}

static void __exit mcx_exit(void)
{
	mcx_eject_exit();
	mcx_memsw_leave();
	mcx_files_exit();
	mcx_debug_exit();
	/* Nobody configures any more. Let go of all cgroups, then of hooks. */
	mcx_state_clear();
	mcx_hooks_exit();
	/* What came online or went offline until the hooks were gone. */
	mcx_state_stop();
	mcx_reclaim_exit();
	mcx_errand_exit();
	mcx_threads_exit();
	mcx_stuck_exit();
	mcx_memsw_exit();
	mcx_events_exit();
	mcx_state_exit();
	destroy_workqueue(mcx_wq);
}

module_init(mcx_init);
module_exit(mcx_exit);

MODULE_AUTHOR("The memcg_ext developers");
MODULE_DESCRIPTION("Programmable memory-cgroup limit enforcement");
MODULE_LICENSE("GPL");
MODULE_VERSION(MCX_VERSION);
