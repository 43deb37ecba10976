/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_RECLAIM_H
#define MCX_RECLAIM_H

#include <linux/seq_file.h>

#include "state.h"

int mcx_reclaim_init(void);
void mcx_reclaim_exit(void);
void mcx_reclaim_init_memcg(struct mcx_memcg *m);
void mcx_reclaim_kick(struct mcx_memcg *m);
void mcx_reclaim_nudge(struct mcx_memcg *m);
unsigned long mcx_reclaim_excess(struct mcx_memcg *m);
void mcx_reclaim_end_rest(struct mcx_memcg *m);
void mcx_reclaim_renew(struct mcx_memcg *m);
void mcx_reclaim_forget(struct mcx_memcg *m);
unsigned long mcx_reclaim_self(struct mcx_memcg *m, unsigned long nr_pages);
long mcx_reclaim_pass(struct mem_cgroup *memcg, struct mcx_memcg *m,
		      unsigned long nr_pages, int swappiness);
void mcx_reclaim_show(struct seq_file *s);

#endif /* MCX_RECLAIM_H */
