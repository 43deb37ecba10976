/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_POLICY_WISH_H
#define MCX_POLICY_WISH_H

#include "state.h"

void mcx_wish_init_memcg(struct mcx_memcg *m);
void mcx_wish_free(struct mcx_memcg *m);
void mcx_wish_forget(struct mcx_memcg *m, bool all);
int mcx_wish_high(struct mcx_policy *p, struct mcx_memcg *m,
		  unsigned long nr_pages);
int mcx_wish_shed(struct mcx_policy *p, struct mcx_memcg *m,
		  unsigned long nr_pages);
unsigned int mcx_wish_wake(struct mcx_policy *p, struct mem_cgroup *memcg);

#endif /* MCX_POLICY_WISH_H */
