/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_STUCK_H
#define MCX_STUCK_H

#include "state.h"

/**
 * enum mcx_stuck_news - what a look at a cgroup after a pass has found
 * @MCX_STUCK_NO_NEWS: nothing to act upon
 * @MCX_STUCK_DECIDED: its limit cannot be met
 * @MCX_STUCK_AGAIN: it still cannot, another whole window later
 */
enum mcx_stuck_news {
	MCX_STUCK_NO_NEWS,
	MCX_STUCK_DECIDED,
	MCX_STUCK_AGAIN,
};

/* Finding them. */
enum mcx_stuck_news mcx_stuck_look(struct mcx_memcg *m, bool tried,
				   unsigned long freed, bool empty);
void mcx_stuck_end(struct mcx_memcg *m);
void mcx_stuck_renew(struct mcx_memcg *m);
bool mcx_stuck_kills(struct mcx_memcg *m);
bool mcx_stuck_settled(struct mcx_memcg *m);
unsigned long mcx_stuck_left(struct mcx_memcg *m);
unsigned long mcx_stuck_shed(struct mcx_memcg *m);
unsigned int mcx_stuck_msec(struct mcx_memcg *m);
u64 mcx_stuck_ration(struct mcx_memcg *m, unsigned long usage);

/* Acting upon it. */
void mcx_stuck_count(int n);
void mcx_stuck_act(struct mcx_memcg *m, enum mcx_stuck_news news);
void mcx_stuck_after_pass(struct mcx_memcg *m, bool empty);
void mcx_stuck_exit(void);

#endif /* MCX_STUCK_H */
