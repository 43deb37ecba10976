// SPDX-License-Identifier: GPL-2.0-only
/*
 * The struct_ops type that BPF policies are written for: what a policy may look
 * like, and attaching one to a cgroup; what becomes of it is in policy_life.c.
 *
 * The kernel cannot attach a struct_ops to a cgroup, so that the policy says
 * itself where it wants to be (cgroup_id), as sched_ext's sub-schedulers do.
 *
 * Locking: the bpf core calls reg, update, and unreg but for a link that is closed,
 * under a mutex of its own, machine-wide, outside of ours.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/cgroup.h>
#include <linux/ctype.h>
#include <linux/module.h>

#include "backoff.h"
#include "feature.h"
#include "policy.h"
#include "policy_life.h"
#include "runner.h"
#include "verify.h"

#define MCX_TIMEOUT_MS		5000
#define MCX_TIMEOUT_MS_MIN	100
#define MCX_TIMEOUT_MS_MAX	60000

static const struct btf *policy_btf;

/*
 * The verifier looks for types of these names: such members of a trusted struct
 * bpf_memcg_ctx are trusted as well, so that kfuncs take them.
 */
struct bpf_memcg_ctx__safe_trusted {
	struct mem_cgroup *memcg;
	struct task_struct *task;
};

struct bpf_memcg_ctx__safe_trusted_or_null {
	struct mem_cgroup *memcg_over_limit;
};

/* Only called if the kernel took the type: without BTF it "succeeds" as well. */
static int mcx_ops_init(struct btf *btf)
{
	BTF_TYPE_EMIT(struct bpf_memcg_ctx__safe_trusted);
	BTF_TYPE_EMIT(struct bpf_memcg_ctx__safe_trusted_or_null);
	policy_btf = btf;
	return 0;
}

/**
 * mcx_policy_has() - is a program a member of a policy
 * @prog: any program, as the verifier has it
 *
 * The type is the only struct_ops of our BTF.
 *
 * Context: Any.
 * Return: true if it is.
 */
bool mcx_policy_has(const struct bpf_prog *prog)
{
	return policy_btf && prog->aux->attach_btf == policy_btf;
}

/* Ends in NUL and would not break a keyed line, a path or a message. */
static bool mcx_name_is_good(const char *name)
{
	size_t i, len = strnlen(name, MCX_OPS_NAME_LEN);

	if (!len || len == MCX_OPS_NAME_LEN || name[0] == '.')
		return false;
	for (i = 0; i < len; i++)
		if (!isalnum(name[i]) && name[i] != '_' && name[i] != '.')
			return false;
	return true;
}

static int mcx_init_name(struct memcg_ext_ops *ops,
			 const struct memcg_ext_ops *from)
{
	if (!mcx_name_is_good(from->name)) {
		pr_warn("policy refused: its name must be 1 to %d letters, digits, '_' and '.'\n",
			MCX_OPS_NAME_LEN - 1);
		return -EINVAL;
	}
	memcpy(ops->name, from->name, MCX_OPS_NAME_LEN);
	return 1;
}

/* For messages before all members are checked: a name may be anything still. */
static const char *mcx_checked_name(const struct memcg_ext_ops *from)
{
	return mcx_name_is_good(from->name) ? from->name : "(no name)";
}

static int mcx_init_flags(struct memcg_ext_ops *ops,
			  const struct memcg_ext_ops *from)
{
	const u32 known = BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI;

	if (from->flags & ~known) {
		pr_warn("policy %s refused: unknown flags %#x\n",
			mcx_checked_name(from), from->flags & ~known);
		return -EINVAL;
	}
	if (from->flags == known) {
		pr_warn("policy %s refused: flags ask for both BPF_F_ALLOW_OVERRIDE and BPF_F_ALLOW_MULTI\n",
			mcx_checked_name(from));
		return -EINVAL;
	}
	ops->flags = from->flags;
	return 1;
}

static int mcx_init_timeout(struct memcg_ext_ops *ops,
			    const struct memcg_ext_ops *from)
{
	u32 ms = from->timeout_ms ?: MCX_TIMEOUT_MS;

	if (ms < MCX_TIMEOUT_MS_MIN || ms > MCX_TIMEOUT_MS_MAX) {
		pr_warn("policy %s refused: timeout_ms %u is not within %u to %u\n",
			mcx_checked_name(from), ms,
			MCX_TIMEOUT_MS_MIN, MCX_TIMEOUT_MS_MAX);
		return -EINVAL;
	}
	ops->timeout_ms = ms;
	return 1;
}

static int mcx_ops_init_member(const struct btf_type *t,
			       const struct btf_member *member,
			       void *kdata, const void *udata)
{
	const struct memcg_ext_ops *from = udata;
	struct memcg_ext_ops *ops = kdata;

	switch (__btf_member_bit_offset(t, member) / 8) {
	case offsetof(struct memcg_ext_ops, cgroup_id):
		ops->cgroup_id = from->cgroup_id;
		return 1;
	case offsetof(struct memcg_ext_ops, name):
		return mcx_init_name(ops, from);
	case offsetof(struct memcg_ext_ops, flags):
		return mcx_init_flags(ops, from);
	case offsetof(struct memcg_ext_ops, timeout_ms):
		return mcx_init_timeout(ops, from);
	}
	return 0;
}

/*
 * The memory cgroup with that id, with a reference to its css, or -errno. Both
 * ways look in the caller's cgroup namespace only.
 */
static struct mem_cgroup *mcx_memcg_by_id(u64 id)
{
	struct cgroup_subsys_state *css;
	struct cgroup *cgrp;

	cgrp = id ? cgroup_get_from_id(id) : cgroup_get_from_path("/");
	if (IS_ERR(cgrp))
		return ERR_CAST(cgrp);
	css = cgroup_get_e_css(cgrp, &memory_cgrp_subsys);
	/* Without the controller that is an ancestor's. */
	if (css->cgroup != cgrp) {
		css_put(css);
		css = NULL;
	}
	cgroup_put(cgrp);
	return css ? mem_cgroup_from_css(css) : ERR_PTR(-ENODEV);
}

static void mcx_warn_refused(const struct memcg_ext_ops *ops, int err)
{
	pr_warn("policy %s refused (%d)%s\n", ops->name, err,
		err == -EPERM ? ": forbidden by one above, or ejected by hand" :
		err == -EBUSY ? ": that cgroup has one already" :
		err == -E2BIG ? ": too many would be asked about one cgroup" : "");
}

/* Returns 0, or what the policy itself says against it. */
static int mcx_policy_call_init(struct mcx_policy *p, struct mem_cgroup *memcg)
{
	int ret;

	if (!p->ops->init)
		return 0;
	ret = p->ops->init(memcg);
	if (!ret)
		return 0;
	pr_warn("policy %s refused by its own init (%d)\n", p->ops->name, ret);
	return ret < 0 && ret >= -MAX_ERRNO ? ret : -EINVAL;
}

/* It is over after its init: an mcx_bpf_error() in exit must not end it again. */
static void mcx_policy_undo_init(struct mcx_policy *p, int err)
{
	mcx_warn_refused(p->ops, err);
	WRITE_ONCE(p->dead, MCX_EXIT_UNREG);
	p->exit.kind = MCX_EXIT_UNREG;
	strscpy(p->exit.msg, "it could not be attached", sizeof(p->exit.msg));
	mcx_policy_exit(p);
}

/* In the place of @old, if there is one. */
static int mcx_policy_start(struct mcx_policy *p, struct mem_cgroup *memcg,
			    struct mcx_policy *old)
{
	int ret;

	/* First, so that init is not run for nothing. */
	ret = mcx_state_may_attach(memcg, p, old);
	if (ret) {
		mcx_warn_refused(p->ops, ret);
		return ret;
	}
	ret = mcx_policy_call_init(p, memcg);
	if (ret)
		return ret;
	ret = mcx_state_attach(memcg, p, old);
	if (ret)
		mcx_policy_undo_init(p, ret);
	return ret;
}

/*
 * The cgroup that @ops is for, with a reference to its css; the same as that of @old, if
 * there is one.
 */
static struct mem_cgroup *mcx_policy_memcg(const struct memcg_ext_ops *ops,
					   const struct mcx_policy *old)
{
	struct mem_cgroup *memcg;

	if (mcx_policy_is_listed(ops)) {
		pr_warn("policy %s refused: it is attached already\n",
			ops->name);
		return ERR_PTR(-EBUSY);
	}
	memcg = mcx_memcg_by_id(ops->cgroup_id);
	if (IS_ERR(memcg)) {
		pr_warn("policy %s refused: no cgroup with the memory controller has the id %llu\n",
			ops->name, ops->cgroup_id);
	} else if (old && old->cgroup_id != cgroup_id(memcg->css.cgroup)) {
		pr_warn("policy %s refused: it is for another cgroup than %s, which it would replace\n",
			ops->name, old->ops->name);
		css_put(&memcg->css);
		return ERR_PTR(-EINVAL);
	}
	return memcg;
}

/* A member that would never be called is not what its author meant. */
static int mcx_policy_possible(const struct memcg_ext_ops *ops)
{
	const char *what = NULL;

	if ((ops->tick || ops->reclaim) && !mcx_feature_is_on(MCX_FEAT_SLEEP))
		what = "tick and reclaim";
	else if (ops->memcg_uncharged && !mcx_feature_is_on(MCX_FEAT_GIVEN))
		what = "memcg_uncharged";
	else if ((ops->below_low || ops->below_min) &&
		 !mcx_feature_is_on(MCX_FEAT_PROTECT))
		what = "below_low and below_min";
	if (!what)
		return 0;
	pr_warn("policy %s refused: this kernel lacks what %s needs, see features\n",
		ops->name, what);
	return -EOPNOTSUPP;
}

/* The thread is there before anything is attached, since making it can fail. */
static int mcx_policy_run(struct mcx_policy *p, struct mem_cgroup *memcg,
			  struct mcx_policy *old)
{
	int ret = mcx_runner_create(p);

	if (ret)
		return ret;
	ret = mcx_policy_start(p, memcg, old);
	if (ret) {
		mcx_runner_destroy(p);
		return ret;
	}
	mcx_policy_list(p);
	mcx_runner_go(p);
	return 0;
}

/* Somebody loads it again and again, whatever becomes of it. */
static int mcx_policy_may_try(const struct memcg_ext_ops *ops,
			      struct mem_cgroup *memcg)
{
	unsigned long left = mcx_backoff_left(ops->name,
					      cgroup_id(memcg->css.cgroup));

	if (!left)
		return 0;
	pr_warn("policy %s refused: it was ejected for errors again and again, try in %u ms (backoff_ms)\n",
		ops->name, jiffies_to_msecs(left));
	return -EAGAIN;
}

static int mcx_policy_make(const struct memcg_ext_ops *ops,
			   struct bpf_link *link, struct mem_cgroup *memcg,
			   struct mcx_policy *old)
{
	struct mcx_policy *p = mcx_policy_alloc(ops, link, memcg);
	int ret = p ? mcx_policy_run(p, memcg, old) : -ENOMEM;

	if (ret && p)
		mcx_policy_put(p);
	return ret;
}

static int mcx_policy_attach(const struct memcg_ext_ops *ops,
			     struct bpf_link *link, struct mcx_policy *old)
{
	struct mem_cgroup *memcg;
	int ret;

	ret = mcx_policy_possible(ops);
	if (ret)
		return ret;
	memcg = mcx_policy_memcg(ops, old);
	if (IS_ERR(memcg))
		return PTR_ERR(memcg);
	ret = mcx_policy_may_try(ops, memcg) ?:
	      mcx_policy_make(ops, link, memcg, old);
	css_put(&memcg->css);
	return ret;
}

static int mcx_ops_reg(void *kdata, struct bpf_link *link)
{
	const struct memcg_ext_ops *ops = kdata;

	/* Without a link nobody would own it, and it could never be replaced. */
	if (!link) {
		pr_warn("policy %s refused: attach it by a BPF link (section .struct_ops.link)\n",
			ops->name);
		return -EOPNOTSUPP;
	}
	return mcx_policy_attach(ops, link, NULL);
}

static void mcx_ops_unreg(void *kdata, struct bpf_link *link)
{
	struct mcx_policy *p = mcx_policy_find(link);

	if (WARN_ON_ONCE(!p))
		return;
	mcx_state_detach(p);
	mcx_policy_retire(p, "unloaded");
}

/* A link gets another policy: there is one at any moment, the old one or the new one. */
static int mcx_ops_update(void *kdata, void *old_kdata, struct bpf_link *link)
{
	struct mcx_policy *old = mcx_policy_find(link);
	int ret;

	if (WARN_ON_ONCE(!old))
		return -ENOENT;
	/* Nobody looks for the link of the two before this is over. */
	ret = mcx_policy_attach(kdata, link, old);
	if (!ret)
		mcx_policy_retire(old, "replaced by another");
	return ret;
}

/*
 * Stubs: what a member's trampoline is modelled on. They are never called: who
 * calls a member looks first whether the policy has it.
 */

static u32 memcg_ext_ops__high_policy(const struct bpf_memcg_ctx *ctx)
{
	return BPF_MEMCG_HIGH_NO_OPINION;
}

static unsigned int memcg_ext_ops__memcg_charged(struct mem_cgroup *memcg,
						 unsigned int nr_pages)
{
	return 0;
}

static unsigned int
memcg_ext_ops__memcg_nr_pages_over_high(struct mem_cgroup *memcg)
{
	return 0;
}

static unsigned int memcg_ext_ops__tick(struct mem_cgroup *memcg)
{
	return 0;
}

static unsigned int memcg_ext_ops__reclaim(struct mem_cgroup *memcg,
					   unsigned long nr_pages)
{
	return 0;
}

static void memcg_ext_ops__memcg_uncharged(struct mem_cgroup *memcg,
					   unsigned int nr_pages)
{
}

static void memcg_ext_ops__handle_cgroup_online(struct mem_cgroup *memcg)
{
}

static void memcg_ext_ops__handle_cgroup_offline(struct mem_cgroup *memcg)
{
}

static bool memcg_ext_ops__below_low(struct mem_cgroup *memcg,
				     unsigned long elow, unsigned long usage)
{
	return false;
}

static bool memcg_ext_ops__below_min(struct mem_cgroup *memcg,
				     unsigned long emin, unsigned long usage)
{
	return false;
}

static void memcg_ext_ops__level(struct mem_cgroup *memcg, u32 level, u32 old)
{
}

static s32 memcg_ext_ops__init(struct mem_cgroup *memcg)
{
	return 0;
}

static void memcg_ext_ops__exit(const struct mcx_exit_info *info)
{
}

static struct memcg_ext_ops __bpf_ops_memcg_ext_ops = {
	.high_policy = memcg_ext_ops__high_policy,
	.memcg_charged = memcg_ext_ops__memcg_charged,
	.memcg_nr_pages_over_high = memcg_ext_ops__memcg_nr_pages_over_high,
	.level = memcg_ext_ops__level,
	.init = memcg_ext_ops__init,
	.exit = memcg_ext_ops__exit,
	.tick = memcg_ext_ops__tick,
	.reclaim = memcg_ext_ops__reclaim,
	.memcg_uncharged = memcg_ext_ops__memcg_uncharged,
	.handle_cgroup_online = memcg_ext_ops__handle_cgroup_online,
	.handle_cgroup_offline = memcg_ext_ops__handle_cgroup_offline,
	.below_low = memcg_ext_ops__below_low,
	.below_min = memcg_ext_ops__below_min,
};

static struct bpf_struct_ops mcx_struct_ops = {
	.verifier_ops = &mcx_verifier_ops,
	.init = mcx_ops_init,
	.check_member = mcx_verify_member,
	.init_member = mcx_ops_init_member,
	.reg = mcx_ops_reg,
	.unreg = mcx_ops_unreg,
	.update = mcx_ops_update,
	.cfi_stubs = &__bpf_ops_memcg_ext_ops,
	.owner = THIS_MODULE,
	.name = "memcg_ext_ops",
};

/**
 * mcx_policy_init() - register the struct_ops type and the kfuncs
 *
 * There is no opposite: the kernel forgets them with the module's BTF.
 *
 * Context: Process, from module init only.
 * Return: 0 or -errno.
 */
int mcx_policy_init(void)
{
	int ret;

	ret = mcx_kfuncs_init();
	if (!ret)
		ret = register_bpf_struct_ops(&mcx_struct_ops, memcg_ext_ops);
	/* A kernel that did not take our BTF registers nothing and says 0. */
	if (!ret && !policy_btf)
		ret = -ENOENT;
	if (ret)
		pr_err("cannot register with BPF (%d): was it built with pahole, for exactly this kernel?\n",
		       ret);
	return ret;
}
