/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_POLICY_DELAY_H
#define MCX_POLICY_DELAY_H

#include "state.h"

/* As the longest sleep of the kernel's own handler. */
#define MCX_MAX_DELAY_MS	2000U

unsigned int mcx_policy_delay_bound(unsigned int ms);
void mcx_policy_delay_renew(struct mcx_memcg *m);
void mcx_policy_delay_waited(struct mcx_memcg *m, u64 by, u64 nsec, bool over);

#endif /* MCX_POLICY_DELAY_H */
