/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_ERRAND_H
#define MCX_ERRAND_H

#include "state.h"

int mcx_errand_init(void);
void mcx_errand_exit(void);
long mcx_errand_pass(struct mcx_policy *p, struct mem_cgroup *memcg,
		     unsigned long nr_pages, int swappiness);

#endif /* MCX_ERRAND_H */
