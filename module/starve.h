/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_STARVE_H
#define MCX_STARVE_H

#include "state.h"

void mcx_starve_note(struct mcx_policy *p, struct mem_cgroup *limited);
void mcx_starve_renew(struct mcx_memcg *m);
bool mcx_starve_try(struct mcx_memcg *m);
void mcx_starve_proven(struct mcx_memcg *m);
bool mcx_starve_tries(struct mem_cgroup *limited);

#endif /* MCX_STARVE_H */
