/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_CALL_H
#define MCX_CALL_H

#include "state.h"

struct mcx_policy *mcx_call_high_policy(struct mcx_memcg *m, gfp_t gfp_mask);
unsigned int mcx_call_charged(struct mcx_memcg *m, unsigned int nr_pages,
			      u64 *by);
void mcx_call_uncharged(struct mcx_memcg *m, unsigned long nr_pages);
bool mcx_call_below_low(struct mcx_memcg *m, unsigned long elow,
			unsigned long usage, struct mem_cgroup *limited);
bool mcx_call_below_min(struct mcx_memcg *m, unsigned long emin,
			unsigned long usage, struct mem_cgroup *limited);
bool mcx_call_may_starve(struct mcx_policy *p, struct mem_cgroup *limited);
void mcx_call_online(struct mcx_memcg *m);
void mcx_call_offline(struct mcx_memcg *m);
void mcx_call_level(struct mcx_memcg *m);
void mcx_call_exit(struct mcx_policy *p);
struct mcx_policy *mcx_call_running(void);

#endif /* MCX_CALL_H */
