// SPDX-License-Identifier: GPL-2.0-only
/*
 * Has policies asked whether a cgroup is below its protection: below_low, below_min.
 *
 * Reclaim asks page_counter_calculate_protection() for the effective memory.min and
 * memory.low of a cgroup, and reads them right after. Where the policy says that it is to
 * be taken for protected they are raised to a little more than its usage before that: for
 * this visit; memory.low reads as it was. As for memory.low itself, what is below the limit
 * that is being enforced counts, not the cgroup whose limit it is. below_min, which reclaim
 * does not come back from, is not asked about a limit of a cgroup above the policy's own:
 * it must not have somebody killed there.
 *
 * What is raised stays so until the kernel works it out anew, which it does before it
 * reads it when it enforces a cgroup's limit; but for the whole machine, with MGLRU, only
 * kswapd does, and not once it has given up. So it is taken back when the policy has no
 * say any more, and before anybody is killed. Children of that cgroup may be given a part
 * of it (memory_recursiveprot) although the policy does not spare them. Of two visits at
 * once one may take what the other has raised for the kernel's own: then the cgroup is
 * spared once more.
 *
 * The probe is there only while some policy has such a member. When the machine is out of
 * memory no policy is asked for a while, before anybody is killed: what is spared below
 * its cgroup must not cost somebody else's life.
 *
 * Locking: RCU for the policy; mcx_protect_attach() and _detach() under the mutex of the
 * hooks.
 */
#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/memcontrol.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/page_counter.h>
#include <linux/rcupdate.h>

#include "call.h"
#include "effect.h"
#include "feature.h"
#include "hooks.h"
#include "mark.h"
#include "protect.h"
#include "starve.h"
#include "symbols.h"

/* How long no policy is asked once the machine was out of memory. */
#define MCX_PROTECT_PAUSE	(5 * HZ)

static bool wanted;
static bool attached;
static unsigned long paused_until = INITIAL_JIFFIES;

/* One visit. */
struct mcx_visit {
	struct page_counter *root;
	struct page_counter *counter;
};

/* Which of the policies that have below_min have a say in that. */
enum mcx_say { MCX_SAY_NONE, MCX_SAY_SOME, MCX_SAY_ALL };

static enum mcx_say mcx_protect_say(struct mcx_memcg *m, struct mem_cgroup *limited)
{
	unsigned int nr = 0, may = 0;
	struct mcx_policy *p;

	mcx_for_each_policy(p, m) {
		if (!p->ops->below_min)
			continue;
		nr++;
		may += mcx_call_may_starve(p, limited);
	}
	if (!may)
		return MCX_SAY_NONE;
	return may == nr ? MCX_SAY_ALL : MCX_SAY_SOME;
}

/* Is it being tried without them? Under RCU. */
static bool mcx_protect_tries(struct page_counter *limited)
{
	struct mcx_memcg *m = mcx_memcg_find(limited);

	return m && mcx_starve_tries(m);
}

/* Returns not 0 if what comes back does not matter. */
static int mcx_protect_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct mcx_visit *visit = (void *)ri->data;
	struct mcx_memcg *m;
	bool ask;

	visit->root = (void *)regs_get_kernel_argument(regs, 0);
	visit->counter = (void *)regs_get_kernel_argument(regs, 1);
	/* Whose limit it is has no protection from that. */
	if (visit->root == visit->counter)
		return 1;
	rcu_read_lock();
	m = mcx_memcg_find(visit->counter);
	ask = m && rcu_access_pointer(m->policy);
	rcu_read_unlock();
	return !ask;
}
NOKPROBE_SYMBOL(mcx_protect_entry);

static unsigned long mcx_protect_raise(unsigned long protection,
				       unsigned long usage)
{
	return max(protection, usage + MCX_BATCH * num_online_cpus());
}

/*
 * One of emin and elow, which the kernel has just worked out. Another CPU may be about to
 * read it: while policies are asked it is what they said last, if it was the same ones
 * (@same). If it was not, a no is no answer to what those said.
 */
static void mcx_protect_one(struct mcx_memcg *m, struct mem_cgroup *limited, bool same,
			    unsigned long *protection, enum mcx_memcg_flag kept,
			    bool (*ask)(struct mcx_memcg *m, unsigned long protection,
					unsigned long usage, struct mem_cgroup *limited))
{
	unsigned long usage = page_counter_read(m->counter);
	unsigned long own = READ_ONCE(*protection);

	if (same && test_bit(kept, &m->flags))
		WRITE_ONCE(*protection, mcx_protect_raise(own, usage));
	if (ask(m, own, usage, limited)) {
		set_bit(kept, &m->flags);
		WRITE_ONCE(*protection, mcx_protect_raise(own, usage));
	} else if (same && test_and_clear_bit(kept, &m->flags)) {
		WRITE_ONCE(*protection, own);
	}
}

/* The kernel's own would be no more than the user's, but with memory_recursiveprot. */
static void mcx_protect_lower(unsigned long *protection, unsigned long own)
{
	if (READ_ONCE(*protection) > own)
		WRITE_ONCE(*protection, own);
}

/**
 * mcx_protect_drop() - what a policy raised counts no more
 * @m: the cgroup
 *
 * Context: Any.
 */
void mcx_protect_drop(struct mcx_memcg *m)
{
	struct page_counter *counter = m->counter;

	if (test_and_clear_bit(MCX_KEPT_MIN, &m->flags))
		mcx_protect_lower(&counter->emin, READ_ONCE(counter->min));
	if (test_and_clear_bit(MCX_KEPT_LOW, &m->flags))
		mcx_protect_lower(&counter->elow, READ_ONCE(counter->low));
}

/* Was there just a shortage that somebody had to be killed for? */
static bool mcx_protect_paused(void)
{
	return time_before(jiffies, READ_ONCE(paused_until));
}

static int mcx_protect_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct mcx_visit *visit = (void *)ri->data;
	struct page_counter *counter = visit->counter;
	struct mem_cgroup *limited;
	enum mcx_say say;
	struct mcx_memcg *m;

	if (mcx_protect_paused())
		return 0;
	rcu_read_lock();
	m = mcx_memcg_find(counter);
	if (m && !mcx_protect_tries(visit->root)) {
		limited = container_of(visit->root, struct mem_cgroup, memory);
		say = mcx_protect_say(m, limited);
		if (say != MCX_SAY_NONE)
			mcx_protect_one(m, limited, say == MCX_SAY_ALL, &counter->emin,
					MCX_KEPT_MIN, mcx_call_below_min);
		mcx_protect_one(m, limited, true, &counter->elow, MCX_KEPT_LOW,
				mcx_call_below_low);
	}
	rcu_read_unlock();
	return 0;
}
NOKPROBE_SYMBOL(mcx_protect_return);

/* A fresh one each time: what unregistering leaves in it is the kernel's. */
static struct kretprobe probe;

static void mcx_protect_make(void)
{
	probe = (struct kretprobe) {
		.kp.symbol_name = "page_counter_calculate_protection",
		.entry_handler = mcx_protect_entry,
		.handler = mcx_protect_return,
		.data_size = sizeof(struct mcx_visit),
	};
}

/**
 * mcx_protect_init() - does this kernel have what that needs
 *
 * Context: Process, from module init only.
 */
void mcx_protect_init(void)
{
	if (!mcx_symbol_exists("page_counter_calculate_protection"))
		mcx_feature_off(MCX_FEAT_PROTECT, "kernel function %s not found",
				"page_counter_calculate_protection");
}

/**
 * mcx_protect_want() - does any policy have such a member
 * @want: that
 *
 * Context: Any that may queue work. Cheap when nothing changes.
 */
void mcx_protect_want(bool want)
{
	if (READ_ONCE(wanted) == want)
		return;
	WRITE_ONCE(wanted, want);
	mcx_hooks_again();
}

/* Of the whole machine, not of a cgroup. The first time reclaim is tried once more. */
static int mcx_protect_oom(struct notifier_block *nb, unsigned long action, void *data)
{
	unsigned long *freed = data;

	if (!mcx_protect_paused())
		++*freed;
	WRITE_ONCE(paused_until, jiffies + MCX_PROTECT_PAUSE);
	/* No mutex: who has it may wait for this memory. */
	mcx_state_visit(mcx_protect_drop);
	return NOTIFY_OK;
}

static struct notifier_block oom_notifier = {
	.notifier_call = mcx_protect_oom,
};

/**
 * mcx_protect_detach() - remove the probe
 *
 * Context: Process. Sleeps.
 */
void mcx_protect_detach(void)
{
	if (!attached)
		return;
	unregister_oom_notifier(&oom_notifier);
	unregister_kretprobe(&probe);
	mcx_state_visit(mcx_protect_drop);
	attached = false;
}

/**
 * mcx_protect_attach() - have the probe as it is wanted
 *
 * Context: Process. Sleeps.
 * Return: 0 or -errno.
 */
int mcx_protect_attach(void)
{
	int ret;

	if (!READ_ONCE(wanted)) {
		mcx_protect_detach();
		return 0;
	}
	if (attached)
		return 0;
	mcx_protect_make();
	ret = register_kretprobe(&probe);
	attached = !ret;
	if (ret) {
		mcx_feature_degraded(MCX_FEAT_PROTECT, "cannot probe %s (%d)",
				     probe.kp.symbol_name, ret);
		return ret;
	}
	register_oom_notifier(&oom_notifier);
	mcx_feature_on(MCX_FEAT_PROTECT);
	return 0;
}
