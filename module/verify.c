// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the verifier asks of us when a policy is loaded.
 *
 * Members run with preemption off, where a page is charged. The verifier bounds how many
 * instructions it looks at, a million, and so what a program without loops takes. What
 * repeats a part of it behind the verifier's back is for millions of rounds, and a member
 * cannot have it: the helpers bpf_loop() and bpf_for_each_map_elem(), the kernel's
 * iterators, may_goto, tail calls, and draining a ring buffer from user mode. Nor what
 * runs beside the members, where nobody knows which policy it belongs to, and goes on
 * when that is ejected: timers, work queues, task work. Nor locks that may be waited for.
 * for loops that the verifier follows to their end are allowed, of course.
 *
 * Helpers are refused where the verifier asks for them, which then names them; for kfuncs
 * of the kernel's own nobody asks, so that the program is looked through.
 *
 * Locking: none.
 */
#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/filter.h>
#include <linux/string.h>

#include "symbols.h"
#include "verify.h"

/* A kfunc of these families repeats, waits, or runs beside the policy. */
static const char * const refused_kfuncs[] = {
	"bpf_iter_", "bpf_wq_", "bpf_timer_", "bpf_task_work_", "bpf_res_spin_",
};

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

/* Of a function of the kernel's own; NULL if that cannot be told. */
static const char *mcx_kfunc_name(s32 id)
{
	const struct btf_type *t;
	struct btf *btf;

	if (!mcx_symbols_btf())
		return NULL;
	btf = static_call(mcx_btf_vmlinux)();
	if (IS_ERR_OR_NULL(btf))
		return NULL;
	t = btf_type_by_id(btf, id);
	return t ? static_call(mcx_btf_name)(btf, t->name_off) : NULL;
}

static bool mcx_kfunc_is_refused(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(refused_kfuncs); i++)
		if (strstarts(name, refused_kfuncs[i]))
			return true;
	return false;
}

/* What an instruction does that no member may; NULL: nothing. */
static const char *mcx_insn_refused(const struct bpf_insn *insn)
{
	const char *name;

	if (insn->code == (BPF_JMP | BPF_JCOND))
		return "may_goto";
	/* Those of modules have an offset; no module has such. */
	if (insn->code != (BPF_JMP | BPF_CALL) || insn->off ||
	    insn->src_reg != BPF_PSEUDO_KFUNC_CALL)
		return NULL;
	name = mcx_kfunc_name(insn->imm);
	if (!name)
		return "a kfunc of unknown name";
	return mcx_kfunc_is_refused(name) ? name : NULL;
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
	const char *what;
	u32 i;

	if (prog->sleepable) {
		pr_warn_ratelimited("policy refused: %s must not be sleepable\n",
				    prog->aux->name);
		return -EINVAL;
	}
	for (i = 0; i < prog->len; i++) {
		what = mcx_insn_refused(&prog->insnsi[i]);
		if (!what)
			continue;
		pr_warn_ratelimited("policy refused: %s uses %s, which no member may\n",
				    prog->aux->name, what);
		return -EINVAL;
	}
	return 0;
}
