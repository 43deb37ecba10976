// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that holds the lock under which the kernel kills for want of memory, from when
 * it is loaded to when it is not.
 */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/static_call.h>

/* So long at most. */
#define MOST	(240 * HZ)

static unsigned long no_lookup(const char *name)
{
	return 0;
}

/* Neither is exported; and it may not be called through a pointer, see module/symbols.c. */
DEFINE_STATIC_CALL(lookup, no_lookup);
static struct mutex *lock;
static struct task_struct *holder;
static DECLARE_COMPLETION(held);

static int oom_find(void)
{
	struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };
	int ret = register_kprobe(&kp);

	if (ret)
		return ret;
	static_call_update(lookup, (void *)kp.addr);
	unregister_kprobe(&kp);
	lock = (void *)static_call(lookup)("oom_lock");
	return lock ? 0 : -ENOENT;
}

static int oom_hold(void *unused)
{
	unsigned long until = jiffies + MOST;

	mutex_lock(lock);
	complete(&held);
	while (!kthread_should_stop() && time_before(jiffies, until))
		schedule_timeout_interruptible(HZ / 10);
	mutex_unlock(lock);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ / 10);
	return 0;
}

static int __init oom_init(void)
{
	int ret = oom_find();

	if (ret)
		return ret;
	holder = kthread_run(oom_hold, NULL, "mcx_oom");
	if (IS_ERR(holder))
		return PTR_ERR(holder);
	wait_for_completion(&held);
	return 0;
}

static void __exit oom_exit(void)
{
	kthread_stop(holder);
}

module_init(oom_init);
module_exit(oom_exit);
MODULE_DESCRIPTION("Test: has nobody killed for want of memory");
MODULE_LICENSE("GPL");
