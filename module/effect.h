/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The policies in effect for a cgroup, in the order in which they are asked: the nearest,
 * of the cgroup itself or an ancestor, whatever its flags; and of those further up all
 * with BPF_F_ALLOW_MULTI. As for cgroup programs, but that one cgroup has one at most.
 *
 * mcx_memcg.policy is the first, mcx_policy.above leads on: what is above the cgroup of a
 * policy is the same for all that it is in effect for. Both are worked out in state.c.
 *
 * Locking: RCU.
 */
#ifndef MCX_EFFECT_H
#define MCX_EFFECT_H

#include <linux/rcupdate.h>

#include "state.h"

/* This one, or the next that lives. */
static __always_inline struct mcx_policy *mcx_effect_alive(struct mcx_policy *p)
{
	while (p && READ_ONCE(p->dead))
		p = rcu_dereference(p->above);
	return p;
}

static __always_inline struct mcx_policy *mcx_effect_first(struct mcx_memcg *m)
{
	return mcx_effect_alive(rcu_dereference(m->policy));
}

static __always_inline struct mcx_policy *mcx_effect_next(struct mcx_policy *p)
{
	return mcx_effect_alive(rcu_dereference(p->above));
}

#define mcx_for_each_policy(p, m) \
	for (p = mcx_effect_first(m); p; p = mcx_effect_next(p))

/**
 * mcx_effect_has() - is a policy one of them
 * @m: of this cgroup
 * @id: of the policy
 *
 * Context: Any, inside an RCU read-side section.
 * Return: true if it is, and lives.
 */
static inline bool mcx_effect_has(struct mcx_memcg *m, u64 id)
{
	struct mcx_policy *p;

	mcx_for_each_policy(p, m) {
		if (p->id == id)
			return true;
	}
	return false;
}

#endif /* MCX_EFFECT_H */
