/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_SYMBOLS_H
#define MCX_SYMBOLS_H

#include <linux/backing-dev-defs.h>
#include <linux/cgroup.h>
#include <linux/kernel_stat.h>
#include <linux/memcontrol.h>
#include <linux/static_call.h>

struct btf;

unsigned long mcx_symbol_find(const char *name);
bool mcx_symbol_exists(const char *name);
bool mcx_symbol_range(const char *name, unsigned long *from,
		      unsigned long *size);
bool mcx_symbols_btf(void);
bool mcx_symbols_memcg_stat(void);
bool mcx_symbols_rstat(void);
bool mcx_symbols_page_state(void);
void mcx_memcg_flush(struct mem_cgroup *memcg);
int mcx_symbols_init(void);

/*
 * Prototypes of the kernel functions reached by static_call. They are never
 * defined: only their type is used.
 */
int mcx_proto_add_cftypes(struct cgroup_subsys *ss, struct cftype *cfts);
int mcx_proto_rm_cftypes(struct cftype *cfts);
unsigned long mcx_proto_try_to_free(struct mem_cgroup *memcg,
				    unsigned long nr_pages, gfp_t gfp_mask,
				    unsigned int reclaim_options,
				    int *swappiness);
void mcx_proto_file_notify(struct cgroup_file *cfile);
void mcx_proto_account_cputime(struct cgroup *cgrp, u64 delta_exec);
void mcx_proto_account_field(struct cgroup *cgrp, enum cpu_usage_stat index,
			     u64 delta_exec);
unsigned long long mcx_proto_task_runtime(struct task_struct *task);
unsigned long mcx_proto_page_state(struct mem_cgroup *memcg, int idx);
unsigned long mcx_proto_memcg_events(struct mem_cgroup *memcg, int event);
void mcx_proto_flush_stats(struct mem_cgroup *memcg);
void mcx_proto_rstat_flush(struct cgroup_subsys_state *self);
void mcx_proto_drain_stock(struct mem_cgroup *memcg);
bool mcx_proto_out_of_memory(struct mem_cgroup *memcg, gfp_t gfp_mask, int order);
void mcx_proto_wake_flushers(enum wb_reason reason);
void mcx_proto_force_charge(struct page_counter *counter,
			    unsigned long nr_pages);
bool mcx_proto_struct_ops_get(const void *kdata);
void mcx_proto_struct_ops_put(const void *kdata);
struct btf *mcx_proto_btf_vmlinux(void);
const char *mcx_proto_btf_name(const struct btf *btf, u32 offset);

DECLARE_STATIC_CALL(mcx_add_cftypes, mcx_proto_add_cftypes);
DECLARE_STATIC_CALL(mcx_rm_cftypes, mcx_proto_rm_cftypes);
DECLARE_STATIC_CALL(mcx_try_to_free, mcx_proto_try_to_free);
DECLARE_STATIC_CALL(mcx_file_notify, mcx_proto_file_notify);
DECLARE_STATIC_CALL(mcx_account_cputime, mcx_proto_account_cputime);
DECLARE_STATIC_CALL(mcx_account_field, mcx_proto_account_field);
DECLARE_STATIC_CALL(mcx_task_runtime, mcx_proto_task_runtime);
DECLARE_STATIC_CALL(mcx_page_state, mcx_proto_page_state);
DECLARE_STATIC_CALL(mcx_page_state_output, mcx_proto_page_state);
DECLARE_STATIC_CALL(mcx_memcg_events, mcx_proto_memcg_events);
DECLARE_STATIC_CALL(mcx_flush_stats, mcx_proto_flush_stats);
DECLARE_STATIC_CALL(mcx_rstat_flush, mcx_proto_rstat_flush);
DECLARE_STATIC_CALL(mcx_drain_stock, mcx_proto_drain_stock);
DECLARE_STATIC_CALL(mcx_out_of_memory, mcx_proto_out_of_memory);
DECLARE_STATIC_CALL(mcx_wake_flushers, mcx_proto_wake_flushers);
DECLARE_STATIC_CALL(mcx_force_charge, mcx_proto_force_charge);
DECLARE_STATIC_CALL(mcx_force_uncharge, mcx_proto_force_charge);
DECLARE_STATIC_CALL(mcx_struct_ops_get, mcx_proto_struct_ops_get);
DECLARE_STATIC_CALL(mcx_struct_ops_put, mcx_proto_struct_ops_put);
DECLARE_STATIC_CALL(mcx_btf_vmlinux, mcx_proto_btf_vmlinux);
DECLARE_STATIC_CALL(mcx_btf_name, mcx_proto_btf_name);

/* A static call to a NULL target of type void is a nop: safe when missing. */
static inline void mcx_file_notify(struct cgroup_file *cfile)
{
	static_call_cond(mcx_file_notify)(cfile);
}

/* To the cpu.stat of a cgroup other than the root; needs MCX_FEAT_CPU. */
static inline void mcx_account_cputime(struct cgroup *cgrp, u64 nsec)
{
	static_call_cond(mcx_account_cputime)(cgrp, nsec);
	static_call_cond(mcx_account_field)(cgrp, CPUTIME_SYSTEM, nsec);
}

#endif /* MCX_SYMBOLS_H */
