/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_ADAPT_H
#define MCX_ADAPT_H

#include <linux/types.h>

struct mcx_memcg;

void mcx_adapt_init_memcg(struct mcx_memcg *m);
void mcx_adapt_kicked(struct mcx_memcg *m);
void mcx_adapt_pass(struct mcx_memcg *m, unsigned long freed, u64 nsec);

#endif /* MCX_ADAPT_H */
