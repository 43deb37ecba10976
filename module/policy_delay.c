// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long policies may have tasks wait (memcg_charged, memcg_nr_pages_over_high).
 *
 * A task waits delay_ms= at most for each time it enters the kernel, however much it
 * charges there. A whole cgroup has a budget: whenever its tasks have waited for
 * MCX_DELAY_WINDOW, all of them together, each batch that was charged there meanwhile may
 * have cost delay_mean_ms= of that. If it is more, the policy is ejected that had one of them
 * wait for longest. What is meant is not one task that is slowed down, but a cgroup that hardly
 * gets on any more: at 500 ms a batch a thread charges half a MiB a second.
 *
 * Time alone tells nothing: who is paced waits nearly all the time. And what tasks wait for
 * the workers, or for a CPU afterwards, is not a policy's doing, and does not count. With
 * other policies in effect it begins anew.
 *
 * Locking: mcx_memcg.policy_lock.
 */
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/spinlock.h>
#include <linux/time64.h>

#include "policy_delay.h"
#include "policy_life.h"

/* Tasks of a cgroup have waited so long since it was looked at last. */
#define MCX_DELAY_WINDOW	(10ULL * NSEC_PER_SEC)

static unsigned int delay_ms = MCX_MAX_DELAY_MS;
module_param(delay_ms, uint, 0644);
MODULE_PARM_DESC(delay_ms, "milliseconds that policies may have a task wait for each time it enters the kernel, 2000 at most; 0: they may not (2000)");

static unsigned int delay_mean_ms = 500;
module_param(delay_mean_ms, uint, 0644);
MODULE_PARM_DESC(delay_mean_ms, "milliseconds that policies may have tasks of a cgroup wait for each batch (64 pages as a rule), in the mean of ten seconds of waiting; 0: as long as they like (500)");

/**
 * mcx_policy_delay_bound() - how long may current wait for a policy
 * @ms: how long that says, in milliseconds
 *
 * Context: Any, NMI included.
 * Return: milliseconds.
 */
unsigned int notrace mcx_policy_delay_bound(unsigned int ms)
{
	return min3(ms, READ_ONCE(delay_ms), MCX_MAX_DELAY_MS);
}

/**
 * mcx_policy_delay_renew() - other policies are in effect, or a window is over
 * @m: the cgroup; the caller has its policy_lock
 *
 * Context: Any.
 */
void mcx_policy_delay_renew(struct mcx_memcg *m)
{
	lockdep_assert_held(&m->policy_lock);

	m->delayed = (struct mcx_policy_delay) {
		.told = mcx_memcg_stat(m, MCX_STAT_policy_batches),
	};
}

/* What a batch has cost in the mean, in ms. */
static u64 mcx_policy_delay_mean(struct mcx_memcg *m)
{
	const struct mcx_policy_delay *d = &m->delayed;
	u64 told = mcx_memcg_stat(m, MCX_STAT_policy_batches) - d->told;

	/* Each wait is for a batch at least, if perhaps for one charged elsewhere. */
	return div_u64(div64_u64(d->nsec, max3(told, d->waits, 1ULL)), NSEC_PER_MSEC);
}

static void mcx_policy_delay_add(struct mcx_memcg *m, u64 by, u64 nsec, bool over)
{
	struct mcx_policy_delay *d = &m->delayed;

	d->nsec += nsec;
	d->waits += over;
	if (nsec > d->longest) {
		d->longest = nsec;
		d->by = by;
	}
}

/**
 * mcx_policy_delay_waited() - current has waited for a policy
 * @m: its cgroup
 * @by: id of the policy
 * @nsec: how long
 * @over: that was all; else a signal came, and it will wait for the rest
 *
 * Whoever had it wait for longest is ejected if it was too much.
 *
 * Context: Process.
 */
void mcx_policy_delay_waited(struct mcx_memcg *m, u64 by, u64 nsec, bool over)
{
	unsigned int bound = READ_ONCE(delay_mean_ms);
	unsigned long flags;
	u64 mean = 0;

	spin_lock_irqsave(&m->policy_lock, flags);
	mcx_policy_delay_add(m, by, nsec, over);
	if (m->delayed.nsec >= MCX_DELAY_WINDOW) {
		mean = mcx_policy_delay_mean(m);
		by = m->delayed.by;
		mcx_policy_delay_renew(m);
	}
	spin_unlock_irqrestore(&m->policy_lock, flags);
	if (bound && mean > bound)
		mcx_policies_end(by, MCX_EXIT_ERROR_DELAY, mean,
				 "it has tasks wait too long for each batch");
}
