/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_STARVE_H
#define MCX_STARVE_H

#include "state.h"

void mcx_starve_init_memcg(struct mcx_memcg *m);
void mcx_starve_note(struct mcx_policy *p, struct mem_cgroup *limited,
		     enum mcx_spared how, unsigned long nr_pages);
bool mcx_starve_tries(struct mcx_memcg *m);

/* Of a window in which a limit is not met; all with run_lock. */
void mcx_starve_end(struct mcx_memcg *m);
void mcx_starve_window(struct mcx_memcg *m);
bool mcx_starve_begin(struct mcx_memcg *m, unsigned long least, bool kills);
bool mcx_starve_counts(struct mcx_memcg *m, unsigned int step, unsigned long freed);
bool mcx_starve_proven(struct mcx_memcg *m);
bool mcx_starve_goes_on(struct mcx_memcg *m);
void mcx_starve_acquit(struct mcx_memcg *m);

#endif /* MCX_STARVE_H */
