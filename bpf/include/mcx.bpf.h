/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a policy includes, and the only thing besides libbpf's own headers: types
 * (ops.h is the module's own), the kfuncs, and the macros to write one with. See
 * ../mcx_simple.bpf.c for how it is used.
 */
#ifndef MCX_BPF_H
#define MCX_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ops.h"

#ifndef BPF_F_ALLOW_OVERRIDE
#define BPF_F_ALLOW_OVERRIDE	(1U << 0)
#endif
#ifndef BPF_F_ALLOW_MULTI
#define BPF_F_ALLOW_MULTI	(1U << 1)
#endif

/* kernel-doc of these is in module/kfunc.c. */
extern __u64 mcx_bpf_memcg_id(struct mem_cgroup *memcg) __ksym __weak;
extern bool mcx_bpf_is_below(struct mem_cgroup *memcg, __u64 id) __ksym __weak;
extern __u64 mcx_bpf_headroom(struct mem_cgroup *memcg) __ksym __weak;
extern __u64 mcx_bpf_memsw_usage(struct mem_cgroup *memcg) __ksym __weak;
extern __u64 mcx_bpf_memsw_max(struct mem_cgroup *memcg) __ksym __weak;
extern __u64 mcx_bpf_free_memory(void)
	__ksym __weak;
extern __u64 mcx_bpf_available_memory(void)
	__ksym __weak;
extern __u32 mcx_bpf_level(struct mem_cgroup *memcg) __ksym __weak;
extern __u32 mcx_bpf_thread_class(struct task_struct *task) __ksym __weak;
extern int mcx_bpf_set_thread_class(struct task_struct *task,
				    __u32 class) __ksym __weak;
extern void mcx_bpf_error(__s64 code, const char *msg__str) __ksym __weak;

/* For tick and reclaim only, but mcx_bpf_psi(); kernel-doc is in module/kfunc_act.c. */
extern __s64 mcx_bpf_reclaim(struct mem_cgroup *memcg, __u64 bytes,
			     __s32 swappiness) __ksym __weak;
extern int mcx_bpf_set_high(struct mem_cgroup *memcg, __u64 bytes) __ksym __weak;
extern int mcx_bpf_shed(struct mem_cgroup *memcg, __u64 bytes) __ksym __weak;
extern int mcx_bpf_wake(struct mem_cgroup *memcg) __ksym __weak;
extern __u64 mcx_bpf_psi(struct mem_cgroup *memcg, bool full) __ksym __weak;
extern __u64 mcx_bpf_cpu_time(struct mem_cgroup *memcg) __ksym __weak;
extern long bpf_proactive_reclaim(struct mem_cgroup *memcg, unsigned long size,
				  int swappiness) __ksym __weak;

/* The kernel's, from 7.0 on; on older ones those of module/kfunc_memcg.c. */
extern struct mem_cgroup *bpf_get_root_mem_cgroup(void)
	__ksym __weak;
extern struct mem_cgroup *bpf_get_mem_cgroup(struct cgroup_subsys_state *css) __ksym __weak;
extern void bpf_put_mem_cgroup(struct mem_cgroup *memcg) __ksym __weak;
extern unsigned long bpf_mem_cgroup_usage(struct mem_cgroup *memcg) __ksym __weak;
extern unsigned long
bpf_mem_cgroup_memory_events(struct mem_cgroup *memcg,
			     enum memcg_memory_event event) __ksym __weak;
extern unsigned long
bpf_mem_cgroup_vm_events(struct mem_cgroup *memcg,
			 enum vm_event_item event) __ksym __weak;
extern unsigned long
bpf_mem_cgroup_page_state(struct mem_cgroup *memcg, int idx) __ksym __weak;
extern void bpf_mem_cgroup_flush_stats(struct mem_cgroup *memcg) __ksym __weak;

/* The kernel's. */
extern struct cgroup *bpf_cgroup_from_id(__u64 id) __ksym __weak;
extern struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, int level) __ksym __weak;
extern void bpf_cgroup_release(struct cgroup *cgrp) __ksym __weak;

/* The memory cgroup with that id, to be given back with bpf_put_mem_cgroup(), or NULL. */
static __always_inline struct mem_cgroup *mcx_memcg_from_id(__u64 id)
{
	struct cgroup *cgrp = bpf_cgroup_from_id(id);
	struct mem_cgroup *memcg;

	if (!cgrp)
		return NULL;
	memcg = bpf_get_mem_cgroup(&cgrp->self);
	bpf_cgroup_release(cgrp);
	return memcg;
}

/*
 * MCX_OPS(name) = { members };   the policy itself. The macro picks the type, so
 * that the same source is of use where upstream's own type is (-DMCX_UPSTREAM). What
 * that has not goes into MCX_OURS(members), and is not there then.
 */
#ifdef MCX_UPSTREAM
#define MCX_OPS(instance)						\
	SEC(".struct_ops.link") struct bpf_memcg_ops instance
#define MCX_OURS(members...)
#else
#define MCX_OPS(instance)						\
	SEC(".struct_ops.link") struct memcg_ext_ops instance
#define MCX_OURS(members...)	members
#endif

/* A member: int MCX_MEMBER(name, arguments) { ... }; no argument can be called ctx. */
#define MCX_MEMBER(member, args...)					\
	SEC("struct_ops/" #member) BPF_PROG(member, ##args)

/* The same for one that may sleep: tick and reclaim. */
#define MCX_SLEEPING(member, args...)					\
	SEC("struct_ops.s/" #member) BPF_PROG(member, ##args)

/*
 * An option, set by "mcxctl load --set name=value", with a line of help: a
 * global that the verifier takes for a constant.
 */
#define MCX_OPTION(type, name, value, help)				\
	const volatile type name					\
	__attribute__((btf_decl_tag("mcx:help:" help))) = (value)

/*
 * How a policy that ended tells its loader why: define it once, record it in
 * the member exit.
 */
#define MCX_EXIT_DEFINE()						\
	struct mcx_exit_info mcx_exit SEC(".data")

#define MCX_EXIT_RECORD(info) ({					\
	bpf_probe_read_kernel(&mcx_exit, sizeof(mcx_exit), (info));	\
})

#endif /* MCX_BPF_H */
