/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_RUNNER_H
#define MCX_RUNNER_H

#include "state.h"

int mcx_runner_create(struct mcx_policy *p);
void mcx_runner_destroy(struct mcx_policy *p);
void mcx_runner_go(struct mcx_policy *p);
void mcx_runner_stop(struct mcx_policy *p);
struct mcx_policy *mcx_runner_policy(void);
unsigned long mcx_runner_left(struct mcx_memcg *m);
bool mcx_runner_reclaims(struct mcx_memcg *m);
long mcx_runner_free(struct mcx_policy *p, struct mem_cgroup *memcg,
		     unsigned long nr_pages, int swappiness);

#endif /* MCX_RUNNER_H */
