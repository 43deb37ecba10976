// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy that has cgroups spared (below_min), so that a limit above them cannot be met:
 * found by trying, and ejected.
 *
 * A call that is put off (high_policy) is paid on the way to user mode, a critical class is
 * as good as its budget, and the workers do not leave a cgroup above its pacing mark to
 * anybody: that needs no watching. What below_low spares is not watched, either, though
 * the kernel comes back for it only where a pass frees nothing at all beside it.
 *
 * When a limit turns out not to be met (stuck.c), and a policy had something spared from
 * it, nothing is decided yet: for another window no policy is asked about that limit. If
 * memory comes free then, that policy is at fault. If none does there is none to reclaim,
 * which is not held against anybody, and it is decided. Of several policies the one that
 * was asked last is suspected. Memory that just then can be reclaimed for another reason
 * is held against it, too: what is dirty is waited for before. Once a cgroup is stuck
 * nothing is tried any more.
 *
 * Locking: the caller's run_lock. MCX_UNSPARED and spared_by are single words, which
 * reclaim reads and writes without.
 */
#include <linux/compiler.h>
#include <linux/memcontrol.h>

#include "policy_life.h"
#include "starve.h"

/**
 * mcx_starve_note() - a policy has something spared
 * @p: the policy
 * @limited: from this cgroup's limit
 *
 * Context: Any but NMI, inside an RCU read-side section.
 */
void mcx_starve_note(struct mcx_policy *p, struct mem_cgroup *limited)
{
	struct mcx_memcg *m = mcx_memcg_find(&limited->memory);

	if (m)
		WRITE_ONCE(m->stuck.spared_by, p->id);
}

/**
 * mcx_starve_renew() - a window begins
 * @m: of this cgroup
 *
 * Context: a worker, with run_lock.
 */
void mcx_starve_renew(struct mcx_memcg *m)
{
	WRITE_ONCE(m->stuck.spared_by, 0);
}

/**
 * mcx_starve_try() - a limit cannot be met: is it worth trying without policies
 * @m: whose limit
 *
 * Context: a worker, with run_lock.
 * Return: true if that is tried from now on; false: no policy had anything spared, or that
 * was tried just now, and is over.
 */
bool mcx_starve_try(struct mcx_memcg *m)
{
	if (test_and_clear_bit(MCX_UNSPARED, &m->flags))
		return false;
	m->stuck.suspect = READ_ONCE(m->stuck.spared_by);
	if (m->stuck.suspect)
		set_bit(MCX_UNSPARED, &m->flags);
	return m->stuck.suspect;
}

/**
 * mcx_starve_tries() - is that being tried just now
 * @limited: whose limit is being enforced
 *
 * Context: Any but NMI, inside an RCU read-side section.
 * Return: true if so: no policy is to be asked what to spare.
 */
bool mcx_starve_tries(struct mem_cgroup *limited)
{
	struct mcx_memcg *m = mcx_memcg_find(&limited->memory);

	return m && test_bit(MCX_UNSPARED, &m->flags);
}

/**
 * mcx_starve_proven() - without policies memory came free
 * @m: whose limit it is, for which that was tried
 *
 * Context: a worker, with run_lock.
 */
void mcx_starve_proven(struct mcx_memcg *m)
{
	mcx_policies_end(m->stuck.suspect, MCX_EXIT_ERROR_STARVE,
			 READ_ONCE(m->conf.stuck_ms),
			 "a limit could not be met for what below_min spares");
	clear_bit(MCX_UNSPARED, &m->flags);
}
