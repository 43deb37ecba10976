// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attaches to kernel functions by ftrace while at least one cgroup is managed,
 * and at no other time: with nothing managed the charge path is the kernel's
 * own, to the instruction.
 *
 * Attaching and detaching happen in a work item, never under a write to one of
 * our files: both wait for RCU-tasks and patch text, and a file being written
 * holds up rmdir, which holds cgroup_mutex.
 *
 * What is only of use while tasks are made to wait is attached with the first wait
 * and detached MCX_DEMAND_TIME after the last, by another work item.
 *
 * Locking: hooks_mutex guards all of struct mcx_hook but its static part. Only
 * the work items and module exit take it for writing, debugfs for reading. retry_delay
 * is set anew by who wants something else, and doubled by hooks_work.
 */
#include <linux/ftrace.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/workqueue.h>

#include "hooks.h"
#include "memsw.h"
#include "overrun.h"
#include "owner.h"
#include "protect.h"
#include "state.h"
#include "symbols.h"
#include "throttle.h"

/*
 * How long hooks stay after the last managed cgroup, so that a restart of a
 * service does not patch the kernel twice.
 */
#define MCX_DETACH_DELAY	HZ
/*
 * How soon to try again what could not be attached: somebody may let go. Each time
 * twice as long; a live patch stays for months.
 */
#define MCX_RETRY_DELAY		(10 * HZ)
#define MCX_RETRY_MAX		(600 * HZ)

/* How long those stay that are only of use while tasks are made to wait. */
#define MCX_DEMAND_TIME		(30 * HZ)

static void mcx_hooks_work(struct work_struct *work);
static void mcx_demand_work(struct work_struct *work);

static DEFINE_MUTEX(hooks_mutex);
static DECLARE_DELAYED_WORK(hooks_work, mcx_hooks_work);
static DECLARE_DELAYED_WORK(demand_work, mcx_demand_work);
static bool hooks_wanted;
static bool hooks_attached;
/* Jiffies until what could not be attached is tried again. */
static unsigned long retry_delay = MCX_RETRY_DELAY;
/* jiffies of the last mcx_hooks_demand(). */
static unsigned long demanded_at;
/* A policy wants them for as long as it is there. */
static bool demand_held;

/*
 * Emulated CPUs that run in parallel may take what is being patched under load for a
 * breakpoint (tests/vm/run).
 */
static bool keep_hooks;
module_param(keep_hooks, bool, 0444);
MODULE_PARM_DESC(keep_hooks, "keep hooked what otherwise is only while a task waits, as long as anything is managed, for tests (N)");

/* Is that for as long as anything is managed? */
static bool mcx_demand_stays(void)
{
	return READ_ONCE(demand_held) || keep_hooks;
}

/* The first has those with it that cost an ftrace_ops less, see struct mcx_hook. */
static struct mcx_hook * const hooks[] = {
	&mcx_hook_charge,
	&mcx_hook_uncharge,
	&mcx_hook_online,
	&mcx_hook_offline,
	&mcx_hook_reset,
	&mcx_hook_max_write,
	&mcx_hook_boosted,
	&mcx_hook_over_high,
	&mcx_hook_over_max,
	/* First: how the next one fared is what features shall say. */
	&mcx_hook_uncached,
	&mcx_hook_met,
	&mcx_hook_max_show,
	&mcx_hook_max_set,
	&mcx_hook_oom,
	&mcx_hook_kill,
};

static void mcx_hook_find(struct mcx_hook *h)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(h->symbols) && h->symbols[i]; i++) {
		h->name = h->symbols[i];
		h->addr = mcx_symbol_find(h->name);
		if (h->addr)
			break;
	}
	if (!h->addr) {
		mcx_feature_off(h->feature, "kernel function %s not found",
				h->symbols[0]);
	} else if (h->caller && !mcx_symbol_range(h->caller, &h->caller_from,
						  &h->caller_size)) {
		mcx_feature_off(h->feature, "kernel function %s not found",
				h->caller);
		h->addr = 0;
	}
}

/**
 * mcx_hooks_init() - find the functions to hook, attach nothing
 *
 * Context: Process, from module init only.
 */
void mcx_hooks_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(hooks); i++)
		mcx_hook_find(hooks[i]);
}

/* One more function for @ops. Returns not 0 if nothing works without it. */
static int mcx_hook_add(struct mcx_hook *h, struct ftrace_ops *ops)
{
	int ret = ftrace_set_filter_ip(ops, h->addr, 0, 0);

	if (!ret || !h->optional)
		return ret;
	mcx_feature_off(h->feature, "cannot hook %s (%d)", h->name, ret);
	h->addr = 0;
	return 0;
}

static int mcx_hook_register(struct mcx_hook *h, struct ftrace_ops *ops,
			     ftrace_func_t func, unsigned long flags)
{
	int i, ret;

	/* ftrace_free_filter() of 6.12 leaves pointers to what it freed. */
	memset(ops, 0, sizeof(*ops));
	ops->func = func;
	/*
	 * PERMANENT: kernel.ftrace_enabled=0 is refused while we are attached
	 * instead of silently detaching us.
	 */
	ops->flags = FTRACE_OPS_FL_DYNAMIC | FTRACE_OPS_FL_PERMANENT | flags;
	ret = ftrace_set_filter_ip(ops, h->addr, 0, 1);
	for (i = 0; i < ARRAY_SIZE(hooks) && !ret; i++)
		if (hooks[i]->with == h && hooks[i]->addr &&
		    !hooks[i]->on_demand)
			ret = mcx_hook_add(hooks[i], ops);
	if (!ret)
		ret = register_ftrace_function(ops);
	if (ret) {
		/* It was in the list for a moment, and some CPU may be looking there. */
		synchronize_rcu();
		ftrace_free_filter(ops);
	}
	return ret;
}

static void mcx_hook_unregister(struct ftrace_ops *ops)
{
	unregister_ftrace_function(ops);
	ftrace_free_filter(ops);
}

static void mcx_hook_detach(struct mcx_hook *h)
{
	if (!h->attached)
		return;
	/* Nobody could see any more what the user wrote. */
	if (h == &mcx_hook_max_show)
		mcx_memsw_give_back(true);
	h->attached = false;
	if (h->with)
		return;
	WRITE_ONCE(h->redirects, false);
	mcx_hook_unregister(h->is_plain ? &h->plain_ops : &h->ops);
	h->is_plain = false;
}

static void mcx_hook_failed(struct mcx_hook *h, int ret)
{
	/* Not off: that would forbid to want it, and it is tried again. */
	if (h->wanted)
		mcx_feature_degraded(h->feature,
				     "cannot redirect %s (%d); does a live patch?",
				     h->name, ret);
	else
		mcx_feature_off(h->feature, "cannot hook %s (%d)%s", h->name,
				ret, ret == -EBUSY || ret == -ENODEV ?
				"; is kernel.ftrace_enabled 0?" : "");
}

/* Is there one for this that is not there, or could not be added? */
static bool mcx_hook_lost(enum mcx_feature feature)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(hooks); i++)
		if (hooks[i]->feature == feature && !hooks[i]->addr)
			return true;
	return false;
}

/* As it is meant. */
static int mcx_hook_attach_full(struct mcx_hook *h)
{
	int ret;

	if (h->redirect && mcx_hidden("ipmodify"))
		return -EBUSY;
	ret = mcx_hook_register(h, &h->ops, h->func,
				h->redirect ? FTRACE_OPS_FL_IPMODIFY : 0);
	if (ret)
		return ret;
	if (!mcx_hook_lost(h->feature))
		mcx_feature_on(h->feature);
	WRITE_ONCE(h->redirects, h->redirect);
	if (h->is_plain)
		mcx_hook_unregister(&h->plain_ops);
	h->is_plain = false;
	return 0;
}

/* Somebody else redirects it: without that, and -EBUSY, to be tried again. */
static int mcx_hook_attach_plain(struct mcx_hook *h)
{
	int ret;

	if (h->is_plain)
		return -EBUSY;
	ret = mcx_hook_register(h, &h->plain_ops, h->plain, 0);
	if (ret)
		return ret;
	h->is_plain = true;
	mcx_feature_degraded(h->feature,
			     "%s is redirected by somebody else (a live patch?)",
			     h->name);
	return -EBUSY;
}

static int mcx_hook_attach(struct mcx_hook *h)
{
	int ret;

	if (!h->addr)
		return -ENOENT;

	if (h->on_demand)
		return 0;
	if (h->with) {
		h->attached = h->with->attached;
		/* Why that one is not, or that it is not wanted, it says itself. */
		return h->attached || h->with->wanted ? 0 : -ENOENT;
	}

	if (h->wanted && !READ_ONCE(*h->wanted)) {
		mcx_hook_detach(h);
		/* Why it could not be had is old news. */
		if (mcx_feature_is_on(h->feature))
			mcx_feature_on(h->feature);
		return 0;
	}
	if (h->attached && !h->is_plain)
		return 0;
	ret = mcx_hook_attach_full(h);
	if (ret == -EBUSY && h->plain)
		ret = mcx_hook_attach_plain(h);
	h->attached = !ret || h->is_plain;
	if (!h->attached)
		mcx_hook_failed(h, ret);
	return ret;
}

static void mcx_hooks_detach(void)
{
	int i;

	WRITE_ONCE(hooks_attached, false);
	cancel_delayed_work(&demand_work);
	/*
	 * Whom the over-high hook sent to us may still be there, and when nobody is,
	 * somebody may still be on the last instructions of it. Unregistering the
	 * other one waits for RCU-tasks after that, so that no wait of our own is
	 * needed. Without it nobody was sent anywhere: it is attached first.
	 */
	mcx_hook_detach(&mcx_hook_over_high);
	mcx_throttle_drain();
	mcx_hook_detach(&mcx_hook_max_show);
	mcx_memsw_drain();
	mcx_owner_watch(false);
	mcx_protect_detach();
	for (i = ARRAY_SIZE(hooks) - 1; i >= 0; i--)
		mcx_hook_detach(hooks[i]);
}

/* Returns 0 or why something is missing that this kernel does have. */
static int mcx_hooks_attach(void)
{
	unsigned int changes = mcx_memsw_changes();
	int i, ret, result = 0;

	/* Before the hooks go that are needed for it. */
	if (mcx_hook_max_show.attached)
		mcx_memsw_give_back(false);
	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		ret = mcx_hook_attach(hooks[i]);
		/* Nobody may be held whose end would not be seen. */
		if (ret && !hooks[i]->optional) {
			mcx_hooks_detach();
			mcx_memsw_attached(changes);
			return ret;
		}
		if (ret && hooks[i]->addr)
			result = ret;
	}
	mcx_overrun_attached();
	mcx_memsw_attached(changes);
	mcx_owner_watch(READ_ONCE(mcx_hook_over_max.attached));
	ret = mcx_protect_attach();
	WRITE_ONCE(hooks_attached, true);
	/* Pairs with mcx_hooks_hold(). */
	smp_mb();
	if (mcx_demand_stays())
		mod_delayed_work(mcx_wq, &demand_work, 0);
	return ret ?: result;
}

static void mcx_hooks_retry(void)
{
	unsigned long delay = READ_ONCE(retry_delay);

	queue_delayed_work(mcx_wq, &hooks_work, delay);
	WRITE_ONCE(retry_delay, min(2 * delay, MCX_RETRY_MAX));
}

static void mcx_hooks_work(struct work_struct *work)
{
	int ret = 0;

	mutex_lock(&hooks_mutex);
	if (READ_ONCE(hooks_wanted))
		ret = mcx_hooks_attach();
	else
		mcx_hooks_detach();
	mutex_unlock(&hooks_mutex);

	if (ret)
		mcx_hooks_retry();
	/*
	 * Cgroups may have come and gone before we could see it; while nothing can
	 * be attached this is what finds those that are gone.
	 */
	mcx_state_resync();
}

/*
 * One function more, or less, for an ops that stays attached. Returns 0 if it is as
 * it shall be.
 */
static int mcx_hook_switch(struct mcx_hook *h, bool on)
{
	int ret;

	if (on == h->attached)
		return 0;
	ret = ftrace_set_filter_ip(&h->with->ops, h->addr, !on, 0);
	if (!ret) {
		mcx_feature_on(h->feature);
		WRITE_ONCE(h->attached, on);
	} else if (on) {
		mcx_feature_off(h->feature, "cannot hook %s (%d)", h->name,
				ret);
	} else {
		mcx_feature_degraded(h->feature, "cannot unhook %s (%d)",
				     h->name, ret);
	}
	return ret;
}

/* Jiffies that they stay for; none if not positive. */
static long mcx_demand_left(void)
{
	if (mcx_demand_stays())
		return MCX_DEMAND_TIME;
	return (long)(READ_ONCE(demanded_at) + MCX_DEMAND_TIME - jiffies);
}

static void mcx_demand_work(struct work_struct *work)
{
	struct mcx_hook *h = &mcx_hook_uncharge;
	long left;

	mutex_lock(&hooks_mutex);
	if (!h->addr || !h->with->attached)
		goto out;
	left = mcx_demand_left();
	if (mcx_hook_switch(h, left > 0)) {
		queue_delayed_work(mcx_wq, &demand_work, MCX_RETRY_DELAY);
		goto out;
	}
	/* Pairs with mcx_hooks_demand(): attached and time, time and attached. */
	smp_mb();
	if (left <= 0)
		left = mcx_demand_left();
	if (left > 0 && !(h->attached && mcx_demand_stays()))
		queue_delayed_work(mcx_wq, &demand_work,
				   h->attached ? left + 1 : 0);
out:
	mutex_unlock(&hooks_mutex);
}

/**
 * mcx_hooks_demand() - a task is made to wait, or is not for what it gave back:
 *	attach what tells of that
 *
 * Context: Process; in mcx_throttle_drain()'s reach.
 */
void mcx_hooks_demand(void)
{
	WRITE_ONCE(demanded_at, jiffies);
	/* Pairs with mcx_demand_work(): time and attached, attached and time. */
	smp_mb();
	if (!READ_ONCE(mcx_hook_uncharge.attached) && mcx_hook_uncharge.addr)
		queue_delayed_work(mcx_wq, &demand_work, 0);
}

/**
 * mcx_hooks_hold() - does a policy want to see what is given back, so that what tells of
 *	that stays attached
 * @hold: that
 *
 * Context: Any that may queue work. Cheap when nothing changes.
 */
void mcx_hooks_hold(bool hold)
{
	if (READ_ONCE(demand_held) == hold)
		return;
	WRITE_ONCE(demand_held, hold);
	/* Pairs with mcx_hooks_attach(): held and attached, attached and held. */
	smp_mb();
	if (READ_ONCE(hooks_attached))
		mod_delayed_work(mcx_wq, &demand_work, 0);
}

/**
 * mcx_hooks_held() - is it wanted by a policy
 *
 * Context: Any.
 * Return: true if mcx_hooks_hold() said so.
 */
bool notrace mcx_hooks_held(void)
{
	return READ_ONCE(demand_held);
}

/**
 * mcx_hooks_want() - attach soon, or detach a while from now
 * @want: is anything managed
 *
 * Context: Any that may queue work. Cheap when nothing changes.
 */
void mcx_hooks_want(bool want)
{
	if (READ_ONCE(hooks_wanted) == want)
		return;
	WRITE_ONCE(hooks_wanted, want);
	WRITE_ONCE(retry_delay, MCX_RETRY_DELAY);
	mod_delayed_work(mcx_wq, &hooks_work,
			 want ? 0 : MCX_DETACH_DELAY);
}

/**
 * mcx_hooks_again() - what is wanted of the optional hooks has changed
 *
 * Context: Any that may queue work.
 */
void mcx_hooks_again(void)
{
	WRITE_ONCE(retry_delay, MCX_RETRY_DELAY);
	if (READ_ONCE(hooks_wanted))
		mod_delayed_work(mcx_wq, &hooks_work, 0);
}

/**
 * mcx_hooks_possible() - does this kernel have the functions without which
 *	nothing can be managed
 *
 * Context: Any, after mcx_hooks_init().
 * Return: false if one of them was not found. Attaching may still fail.
 */
bool mcx_hooks_possible(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(hooks); i++)
		if (!hooks[i]->optional && !hooks[i]->addr)
			return false;
	return true;
}

/**
 * mcx_hooks_attached() - are the hooks in place
 *
 * Context: Any.
 * Return: true while charges are seen.
 */
bool mcx_hooks_attached(void)
{
	return READ_ONCE(hooks_attached);
}

/**
 * mcx_hooks_exit() - detach at once, and never attach again
 *
 * Context: Process, from module exit only. Waits for RCU-tasks.
 */
void mcx_hooks_exit(void)
{
	WRITE_ONCE(hooks_wanted, false);
	/* What is still there of limits for memory and swap wants them until it is gone. */
	disable_delayed_work_sync(&hooks_work);
	mutex_lock(&hooks_mutex);
	mcx_hooks_detach();
	mutex_unlock(&hooks_mutex);
	mcx_owner_exit();
	/* Nobody is in our code who could demand anything. */
	cancel_delayed_work_sync(&demand_work);
}

/**
 * mcx_hooks_show() - print all hooks, nested keyed
 * @s: where to
 *
 * Context: Process.
 */
void mcx_hooks_show(struct seq_file *s)
{
	int i;

	mutex_lock(&hooks_mutex);
	for (i = 0; i < ARRAY_SIZE(hooks); i++)
		seq_printf(s, "%s found=%d attached=%d redirect=%d\n",
			   hooks[i]->name, !!hooks[i]->addr,
			   hooks[i]->attached, hooks[i]->redirects);
	mutex_unlock(&hooks_mutex);
}
