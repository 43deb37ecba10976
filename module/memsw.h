/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_MEMSW_H
#define MCX_MEMSW_H

#include "state.h"

extern int mcx_memsw_users;
extern unsigned long mcx_memsw_swap_from, mcx_memsw_swap_size;

/* Is it swap that is charged? Of who calls page_counter_try_charge(). */
static __always_inline bool mcx_memsw_is_swap(unsigned long parent_ip)
{
	return parent_ip - mcx_memsw_swap_from < mcx_memsw_swap_size;
}

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

void mcx_memsw_init(void);
void mcx_memsw_init_memcg(struct mcx_memcg *m);
void mcx_memsw_free(struct mcx_memcg *m);
bool mcx_memsw_possible(void);
unsigned long mcx_memsw_cap(struct mcx_memcg *m);
unsigned long mcx_memsw_usage(struct mem_cgroup *memcg);
unsigned long mcx_memsw_usage_seen(struct mem_cgroup *memcg);
unsigned long mcx_memsw_given(struct mem_cgroup *memcg);
unsigned long mcx_memsw_count(struct mcx_memcg *m);
void mcx_memsw_update(struct mcx_memcg *m);
void mcx_memsw_heal(struct mcx_memcg *m);
void mcx_memsw_refresh(struct mcx_memcg *m);
struct mcx_memcg *mcx_memsw_find(struct page_counter *counter);
void mcx_memsw_ask(struct mcx_memcg *m, bool tell);
void mcx_memsw_seen(struct mcx_memcg *m);
void mcx_memsw_charge(struct page_counter *counter, unsigned long nr_pages);
int mcx_memsw_configure(struct mcx_memcg *m, unsigned long limit);
unsigned int mcx_memsw_missed(void);
bool mcx_memsw_is_void(struct mcx_memcg *m);
int mcx_memsw_wait(struct mcx_memcg *m, unsigned long limit, unsigned int before);
void mcx_memsw_reset(struct mcx_memcg *m);
void mcx_memsw_write_max(struct mcx_memcg *m, unsigned long max);
unsigned int mcx_memsw_changes(void);
void mcx_memsw_attached(unsigned int before);
bool mcx_memsw_complete(void);
void mcx_memsw_give_back(bool all);
void mcx_memsw_drain(void);
void mcx_memsw_leave(void);
bool mcx_memsw_draining(void);
bool mcx_memsw_kill(struct mcx_memcg *m, gfp_t gfp_mask, int order);
bool mcx_memsw_met_lately(void);
void mcx_memsw_exit(void);

#endif /* MCX_MEMSW_H */
