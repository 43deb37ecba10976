/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_BUDGET_H
#define MCX_BUDGET_H

#include "state.h"

void mcx_budget_init_memcg(struct mcx_memcg *m);
void mcx_budget_earn(struct mcx_memcg *m, unsigned long nr_pages);
bool mcx_budget_take(struct mcx_memcg *m, struct mcx_budget *b,
		     unsigned long nr_pages);

#endif /* MCX_BUDGET_H */
