/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_MEMSW_H
#define MCX_MEMSW_H

#include "state.h"

extern int mcx_memsw_users;

/* Is a limit for memory and swap together enforced? */
static inline bool mcx_memsw_limited(struct mcx_memcg *m)
{
	return READ_ONCE(m->memsw->limit) < PAGE_COUNTER_MAX;
}

/* What the user wrote to memory.max. */
static inline unsigned long mcx_memsw_user_max(struct mcx_memcg *m)
{
	return READ_ONCE(m->memsw->owned) ? READ_ONCE(m->memsw->max) :
					   READ_ONCE(m->counter->max);
}

/* Is it that limit that bounds its memory, so that to swap would be no use? */
static inline bool mcx_memsw_binds(struct mcx_memcg *m)
{
	return mcx_memsw_limited(m) &&
	       READ_ONCE(m->counter->max) < READ_ONCE(m->memsw->max);
}

/* Does it keep its object? */
static inline bool mcx_memsw_needs(struct mcx_memcg *m)
{
	return m->memsw->given < PAGE_COUNTER_MAX || READ_ONCE(m->memsw->owned);
}

void mcx_memsw_init_memcg(struct mcx_memcg *m);
void mcx_memsw_free(struct mcx_memcg *m);
bool mcx_memsw_possible(void);
unsigned long mcx_memsw_cap(struct mcx_memcg *m);
unsigned long mcx_memsw_usage(struct mem_cgroup *memcg);
unsigned long mcx_memsw_usage_seen(struct mem_cgroup *memcg);
unsigned long mcx_memsw_given(struct mem_cgroup *memcg);
unsigned long mcx_memsw_count(struct mcx_memcg *m);
void mcx_memsw_seen(struct mcx_memcg *m);
void mcx_memsw_charge(struct page_counter *counter, unsigned long nr_pages);
int mcx_memsw_configure(struct mcx_memcg *m, unsigned long limit);
unsigned int mcx_memsw_missed(void);
int mcx_memsw_wait(struct mcx_memcg *m, unsigned int missed);
void mcx_memsw_reset(struct mcx_memcg *m);
void mcx_memsw_write_max(struct mcx_memcg *m, unsigned long max);
void mcx_memsw_killed(struct mcx_memcg *m);
void mcx_memsw_attached(void);
void mcx_memsw_give_back(bool all);
void mcx_memsw_drain(void);
void mcx_memsw_leave(void);
bool mcx_memsw_leaving(void);
void mcx_memsw_end(void);
void mcx_memsw_exit(void);

#endif /* MCX_MEMSW_H */
