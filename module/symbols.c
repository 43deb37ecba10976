// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds what the kernel does not export, and calls it.
 *
 * An address comes from a kprobe that is registered, unarmed, and removed at
 * once. It is never called through a pointer: the kernel seals the ENDBR of
 * functions whose address it does not take, so that on a CPU with IBT an
 * indirect call is a fatal #CP. static_call patches a direct call instead. The
 * address may lie behind the ENDBR, which a direct call does not need.
 *
 * Locking: none. All addresses are set before anybody can call.
 */
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>

#include "compat.h"
#include "feature.h"
#include "symbols.h"

DEFINE_STATIC_CALL_NULL(mcx_add_cftypes, mcx_proto_add_cftypes);
DEFINE_STATIC_CALL_NULL(mcx_rm_cftypes, mcx_proto_rm_cftypes);
DEFINE_STATIC_CALL_NULL(mcx_try_to_free, mcx_proto_try_to_free);
DEFINE_STATIC_CALL_NULL(mcx_file_notify, mcx_proto_file_notify);
DEFINE_STATIC_CALL_NULL(mcx_account_cputime, mcx_proto_account_cputime);
DEFINE_STATIC_CALL_NULL(mcx_account_field, mcx_proto_account_field);

/* Right at the last tick. */
static unsigned long long mcx_runtime_at_tick(struct task_struct *task)
{
	return task->se.sum_exec_runtime;
}

DEFINE_STATIC_CALL(mcx_task_runtime, mcx_runtime_at_tick);
DEFINE_STATIC_CALL_NULL(mcx_page_state, mcx_proto_page_state);
DEFINE_STATIC_CALL_NULL(mcx_page_state_output, mcx_proto_page_state);
DEFINE_STATIC_CALL_NULL(mcx_memcg_events, mcx_proto_memcg_events);
DEFINE_STATIC_CALL_NULL(mcx_flush_stats, mcx_proto_flush_stats);
DEFINE_STATIC_CALL_NULL(mcx_rstat_flush, mcx_proto_rstat_flush);
DEFINE_STATIC_CALL_NULL(mcx_drain_stock, mcx_proto_drain_stock);
DEFINE_STATIC_CALL_NULL(mcx_out_of_memory, mcx_proto_out_of_memory);
DEFINE_STATIC_CALL_NULL(mcx_wake_flushers, mcx_proto_wake_flushers);
DEFINE_STATIC_CALL_NULL(mcx_force_charge, mcx_proto_force_charge);
DEFINE_STATIC_CALL_NULL(mcx_force_uncharge, mcx_proto_force_charge);
DEFINE_STATIC_CALL_NULL(mcx_struct_ops_get, mcx_proto_struct_ops_get);
DEFINE_STATIC_CALL_NULL(mcx_struct_ops_put, mcx_proto_struct_ops_put);
DEFINE_STATIC_CALL_NULL(mcx_btf_vmlinux, mcx_proto_btf_vmlinux);
DEFINE_STATIC_CALL_NULL(mcx_btf_name, mcx_proto_btf_name);

static bool has_btf;
static bool has_memcg_stat;
static bool has_rstat;
static bool rstat_of_css;
static bool has_page_state;

/*
 * Names that are treated as if this kernel did not have them, to try out what
 * is left then. A comma-separated list; meant for tests.
 */
static char *hide = "";
module_param(hide, charp, 0444);
MODULE_PARM_DESC(hide, "comma-separated kernel functions (or \"ipmodify\") to do without, for tests");

/**
 * mcx_hidden() - is this name in the list of things to do without
 * @name: kernel function or mechanism
 *
 * Context: Any.
 * Return: true if parameter hide= names it.
 */
bool mcx_hidden(const char *name)
{
	size_t len = strlen(name);
	const char *p = hide;

	while (*p) {
		size_t n = strcspn(p, ",");

		if (n == len && !strncmp(p, name, n))
			return true;
		p += n + (p[n] == ',');
	}
	return false;
}

/**
 * mcx_symbol_find() - address of a kernel function
 * @name: its name in kallsyms
 *
 * Context: Process. May sleep.
 * Return: where it can be hooked and directly called (behind an ENDBR), or 0.
 */
unsigned long mcx_symbol_find(const char *name)
{
	/*
	 * Disabled: only looked up, nothing is patched. Arming a probe on a
	 * function that all CPUs are calling, just to learn where it is, risks
	 * something for nothing.
	 */
	struct kprobe kp = {
		.symbol_name = name,
		.flags = KPROBE_FLAG_DISABLED,
	};
	unsigned long addr;

	if (mcx_hidden(name) || register_kprobe(&kp))
		return 0;
	addr = (unsigned long)kp.addr;
	unregister_kprobe(&kp);
	return addr;
}

/**
 * mcx_symbol_exists() - does this kernel have a function that can be probed
 * @name: its name in kallsyms
 *
 * Context: Process. May sleep.
 * Return: true if so.
 */
bool mcx_symbol_exists(const char *name)
{
	return mcx_symbol_find(name);
}

/**
 * mcx_symbol_range() - where a kernel function begins and ends
 * @name: its name in kallsyms
 * @from: its first byte
 * @size: how many it has
 *
 * Context: Process. May sleep.
 * Return: false if it is not found.
 */
bool mcx_symbol_range(const char *name, unsigned long *from,
		      unsigned long *size)
{
	unsigned long addr = mcx_symbol_find(name), offset;
	char text[KSYM_SYMBOL_LEN], *plus;

	if (!addr)
		return false;
	/* NAME+0xOFFSET/0xSIZE: kallsyms itself is not exported. */
	sprint_symbol(text, addr);
	plus = strchr(text, '+');
	if (!plus || sscanf(plus, "+%lx/%lx", &offset, size) != 2)
		return false;
	*from = addr - offset;
	return true;
}

#define mcx_bind(call, name, feature) ({				\
	void *__addr = (void *)mcx_symbol_find(name);			\
									\
	if (__addr)							\
		static_call_update(call, __addr);			\
	else								\
		mcx_feature_off(feature, "kernel function %s not found", \
				name);					\
	!!__addr;							\
})

static void mcx_symbols_cpu(void)
{
	void *addr;
	bool on;

	on = mcx_bind(mcx_account_cputime, "__cgroup_account_cputime",
		      MCX_FEAT_CPU);
	on &= mcx_bind(mcx_account_field, "__cgroup_account_cputime_field",
		       MCX_FEAT_CPU);
	addr = (void *)mcx_symbol_find("task_sched_runtime");
	if (addr)
		static_call_update(mcx_task_runtime, addr);
	else if (on)
		mcx_feature_degraded(MCX_FEAT_CPU,
				     "kernel function task_sched_runtime not found, times are rough");
}

/**
 * mcx_symbols_btf() - can names be looked up in the kernel's BTF
 *
 * Context: Any.
 * Return: false if mcx_btf_vmlinux and mcx_btf_name must not be called.
 */
bool mcx_symbols_btf(void)
{
	return has_btf;
}

/**
 * mcx_symbols_memcg_stat() - can what memory.stat counts be read
 *
 * Context: Any.
 * Return: false if mcx_page_state_output and mcx_memcg_events must not be called; so it
 * is where the kernel has kfuncs for that.
 */
bool mcx_symbols_memcg_stat(void)
{
	return has_memcg_stat;
}

/**
 * mcx_symbols_rstat() - can the CPU time of a cgroup be summed up
 *
 * Context: Any.
 * Return: false if mcx_rstat_flush does nothing.
 */
bool mcx_symbols_rstat(void)
{
	return has_rstat;
}

/*
 * 6.12 calls it by another name and gives it the cgroup, of which @self is the first
 * member.
 */
static void mcx_symbols_rstat_flush(void)
{
	void *addr = (void *)mcx_symbol_find("css_rstat_flush");

	BUILD_BUG_ON(offsetof(struct cgroup, self));
	rstat_of_css = addr;
	if (!addr)
		addr = (void *)mcx_symbol_find("cgroup_rstat_flush");
	has_rstat = addr;
	if (addr)
		static_call_update(mcx_rstat_flush, addr);
	else
		mcx_feature_degraded(MCX_FEAT_SLEEP,
				     "kernel function css_rstat_flush not found, there is no mcx_bpf_cpu_time()");
}

/**
 * mcx_memcg_flush() - make what memory.stat counts of a cgroup exact
 * @memcg: the cgroup
 *
 * The kernel's own mem_cgroup_flush_stats() leaves it as it is while little has changed.
 *
 * Context: Process. May sleep.
 */
void mcx_memcg_flush(struct mem_cgroup *memcg)
{
	static_call_cond(mcx_rstat_flush)(rstat_of_css ? &memcg->css :
					  &memcg->css.cgroup->self);
}

/**
 * mcx_symbols_page_state() - can items of memory.stat be read in pages
 *
 * Context: Any.
 * Return: false if mcx_page_state must not be called.
 */
bool mcx_symbols_page_state(void)
{
	return has_page_state;
}

/* Without these there is no limit for memory and swap. */
static void mcx_symbols_memsw(void)
{
	void *addr = (void *)mcx_symbol_find("drain_all_stock");

	if (addr)
		static_call_update(mcx_drain_stock, addr);
	mcx_bind(mcx_out_of_memory, "mem_cgroup_out_of_memory", MCX_FEAT_MEMSW);
	has_page_state = mcx_bind(mcx_page_state, "memcg_page_state", MCX_FEAT_MEMSW);
	if (!has_rstat)
		mcx_feature_off(MCX_FEAT_MEMSW,
				"kernel function css_rstat_flush not found");
}

static void mcx_symbols_kfuncs(void)
{
	has_btf = mcx_bind(mcx_btf_vmlinux, "bpf_get_btf_vmlinux",
			   MCX_FEAT_KFUNCS);
	has_btf &= mcx_bind(mcx_btf_name, "btf_name_by_offset",
			    MCX_FEAT_KFUNCS);
	mcx_symbols_rstat_flush();
	mcx_bind(mcx_struct_ops_get, "bpf_struct_ops_get", MCX_FEAT_SLEEP);
	mcx_bind(mcx_struct_ops_put, "bpf_struct_ops_put", MCX_FEAT_SLEEP);
	if (!MCX_NEEDS_MEMCG_KFUNCS)
		return;
	has_memcg_stat = mcx_bind(mcx_page_state_output,
				  "memcg_page_state_output", MCX_FEAT_KFUNCS);
	has_memcg_stat &= mcx_bind(mcx_memcg_events, "memcg_events",
				   MCX_FEAT_KFUNCS);
}

/**
 * mcx_symbols_init() - find all functions that are called
 *
 * Context: Process, from module init only.
 * Return: 0, or -ENOENT if even our files cannot be added.
 */
int mcx_symbols_init(void)
{
	bool files;

	files = mcx_bind(mcx_add_cftypes, "cgroup_add_dfl_cftypes",
			 MCX_FEAT_FILES);
	files &= mcx_bind(mcx_rm_cftypes, "cgroup_rm_cftypes", MCX_FEAT_FILES);
	mcx_bind(mcx_try_to_free, "try_to_free_mem_cgroup_pages",
		 MCX_FEAT_RECLAIM);
	if (MCX_NEEDS_FILE_NOTIFY)
		mcx_bind(mcx_file_notify, "cgroup_file_notify",
			 MCX_FEAT_NOTIFY);
	mcx_symbols_cpu();
	mcx_symbols_kfuncs();
	mcx_bind(mcx_page_state, "memcg_page_state", MCX_FEAT_FLUSH);
	mcx_bind(mcx_flush_stats, "mem_cgroup_flush_stats", MCX_FEAT_FLUSH);
	mcx_symbols_memsw();
	mcx_bind(mcx_wake_flushers, "wakeup_flusher_threads", MCX_FEAT_FLUSH);
	mcx_bind(mcx_force_charge, "page_counter_charge", MCX_FEAT_OVERRUN);
	mcx_bind(mcx_force_uncharge, "page_counter_uncharge",
		 MCX_FEAT_OVERRUN);

	return files ? 0 : -ENOENT;
}
