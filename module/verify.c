// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the verifier asks of us when a policy is loaded.
 *
 * Members run with preemption off, where a page is charged; tick and reclaim do not, in a
 * thread of their own, which nobody can stop either. The verifier bounds how many
 * instructions it follows, a million, and so what a program takes that has no way to
 * repeat a part behind its back. These ways, for up to millions of rounds, no member has:
 * the helpers bpf_loop() and bpf_for_each_map_elem(), the kernel's iterators, may_goto,
 * tail calls, draining a ring buffer from user mode; and functions that are not static,
 * each of which is verified once, however often it is called (and may be replaced by
 * another program later). Nor what runs beside the members, where nobody knows which
 * policy it belongs to, and goes on when that is ejected: timers, work queues, task work.
 * Nor locks, which who has them may keep for as long as he likes, and signals.
 *
 * What is left may take long still: copying large map values, above all.
 *
 * Helpers are refused where the verifier asks for them, which then names them, and only if
 * it comes to them. For kfuncs of the kernel's own nobody asks: the program is looked
 * through, all of it, for such as are in no family that is known to be quick.
 *
 * Locking: none.
 */
#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/filter.h>
#include <linux/string.h>

#include "ops.h"
#include "symbols.h"
#include "verify.h"

/* Families of kfuncs that a member may call: the kernel's, and our own. */
static const char * const allowed_kfuncs[] = {
	"bpf_cast_to_kern_ctx", "bpf_cgroup_", "bpf_cpumask_", "bpf_dynptr_",
	"bpf_get_mem_cgroup", "bpf_get_root_mem_cgroup", "bpf_kptr_",
	"bpf_mem_cgroup_", "bpf_obj_", "bpf_percpu_obj_", "bpf_proactive_reclaim",
	"bpf_put_mem_cgroup",
	"bpf_rcu_read_", "bpf_rdonly_cast", "bpf_refcount_", "bpf_task_",
	"mcx_bpf_",
};

/* And of these not: they run beside the policy. */
static const char refused_kfuncs[] = "bpf_task_work_";

static const struct bpf_func_proto *
mcx_get_func_proto(enum bpf_func_id func_id, const struct bpf_prog *prog)
{
	switch (func_id) {
	case BPF_FUNC_loop:
	case BPF_FUNC_for_each_map_elem:
	case BPF_FUNC_tail_call:
	case BPF_FUNC_user_ringbuf_drain:
	case BPF_FUNC_timer_init:
	case BPF_FUNC_timer_set_callback:
	case BPF_FUNC_timer_start:
	case BPF_FUNC_timer_cancel:
	case BPF_FUNC_spin_lock:
	case BPF_FUNC_send_signal:
	case BPF_FUNC_send_signal_thread:
		return NULL;
	default:
		return bpf_base_func_proto(func_id, prog);
	}
}

static bool mcx_is_valid_access(int off, int size, enum bpf_access_type type,
				const struct bpf_prog *prog,
				struct bpf_insn_access_aux *info)
{
	if (off < 0 || off >= sizeof(u64) * MAX_BPF_FUNC_ARGS ||
	    off % size || type != BPF_READ)
		return false;
	return btf_ctx_access(off, size, type, prog, info);
}

const struct bpf_verifier_ops mcx_verifier_ops = {
	.get_func_proto = mcx_get_func_proto,
	.is_valid_access = mcx_is_valid_access,
};

/* Of a kfunc in that BTF; NULL if that cannot be told. */
static const char *mcx_kfunc_name(const struct btf *btf, s32 id)
{
	const struct btf_type *t = btf_type_by_id(btf, id);

	return t ? static_call(mcx_btf_name)(btf, t->name_off) : NULL;
}

static bool mcx_kfunc_allowed(const char *name)
{
	int i;

	if (strstarts(name, refused_kfuncs))
		return false;
	for (i = 0; i < ARRAY_SIZE(allowed_kfuncs); i++)
		if (strstarts(name, allowed_kfuncs[i]))
			return true;
	return false;
}

/*
 * The kfunc of this call, if it is none that a member may use; else NULL. Of those that are
 * not the kernel's own only ours are. The verifier keeps to itself which module a call goes
 * to: another's kfunc with the very number of one of ours passes here.
 */
static const char *mcx_kfunc_refused(const struct bpf_insn *insn,
				     const struct bpf_prog *prog)
{
	static const char unknown[] = "a kfunc of unknown name";
	const struct btf *btf;
	const char *name;

	if (!mcx_symbols_btf())
		return insn->off ? NULL : unknown;
	btf = insn->off ? prog->aux->attach_btf :
			  static_call(mcx_btf_vmlinux)();
	name = IS_ERR_OR_NULL(btf) ? NULL : mcx_kfunc_name(btf, insn->imm);
	if (!name)
		return unknown;
	return mcx_kfunc_allowed(name) ? NULL : name;
}

/* What an instruction does that no member may; NULL: nothing. */
static const char *mcx_insn_refused(const struct bpf_insn *insn,
				    const struct bpf_prog *prog)
{
	if (insn->code == (BPF_JMP | BPF_JCOND))
		return "may_goto";
	if (insn->code == (BPF_JMP | BPF_CALL) &&
	    insn->src_reg == BPF_PSEUDO_KFUNC_CALL)
		return mcx_kfunc_refused(insn, prog);
	return NULL;
}

/* The first function is the member itself. */
static bool mcx_has_global_function(const struct bpf_prog *prog)
{
	u32 i;

	for (i = 1; i < prog->aux->func_info_cnt; i++)
		if (prog->aux->func_info_aux[i].linkage == BTF_FUNC_GLOBAL)
			return true;
	return false;
}

static const char *mcx_prog_refused(const struct bpf_prog *prog, bool may_sleep)
{
	const char *what;
	u32 i;

	if (prog->sleepable && !may_sleep)
		return "sleeping";
	if (mcx_has_global_function(prog))
		return "a function that is not static";
	for (i = 0; i < prog->len; i++) {
		what = mcx_insn_refused(&prog->insnsi[i], prog);
		if (what)
			return what;
	}
	return NULL;
}

static bool mcx_may_sleep(const struct btf_type *t, const struct btf_member *member)
{
	u32 at = __btf_member_bit_offset(t, member) / 8;

	return at == offsetof(struct memcg_ext_ops, tick) ||
	       at == offsetof(struct memcg_ext_ops, reclaim);
}

/**
 * mcx_verify_member() - may a program be that member of a policy
 * @t: the policy's type
 * @member: which member
 * @prog: the program, before it is verified
 *
 * Context: Process: whoever loads it.
 * Return: 0 or -EINVAL, and the kernel's log says why.
 */
int mcx_verify_member(const struct btf_type *t, const struct btf_member *member,
		      const struct bpf_prog *prog)
{
	const char *what = mcx_prog_refused(prog, mcx_may_sleep(t, member));

	if (!what)
		return 0;
	pr_warn_ratelimited("policy refused: %s uses %s, which that member may not\n",
			    prog->aux->name, what);
	return -EINVAL;
}
