// SPDX-License-Identifier: GPL-2.0-only
/*
 * The struct_ops type that BPF policies are written for: what a policy may look
 * like, attaching one to a cgroup, and its end.
 *
 * The kernel cannot attach a struct_ops to a cgroup, so that the policy says
 * itself where it wants to be (cgroup_id), as sched_ext's sub-schedulers do. An
 * attached policy lives until its link is gone. If it ends before that, for an
 * error or with its cgroup, it is never called again, and its link, which does
 * nothing any more, still has to be closed by its owner.
 *
 * Locking: policy_mutex guards the list of all, which is read under RCU as well, and
 * last_exit. The bpf core calls reg, update, and unreg but for a link that is closed,
 * under a mutex of its own, machine-wide, outside of ours; the state mutex does not
 * nest inside ours.
 */
#include <linux/atomic.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/cgroup.h>
#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "call.h"
#include "policy.h"
#include "show.h"
#include "threads_policy.h"
#include "verify.h"

#define MCX_TIMEOUT_MS		5000
#define MCX_TIMEOUT_MS_MIN	100
#define MCX_TIMEOUT_MS_MAX	60000

static DEFINE_MUTEX(policy_mutex);
static LIST_HEAD(all_policies);
static atomic64_t last_id;
/* How often all were ejected. */
static atomic_t nr_ejects;
static struct {
	struct mcx_exit_info exit;
	char name[MCX_OPS_NAME_LEN];
	u64 id;
	u64 cgroup_id;
} last_exit;
static const struct btf *policy_btf;

/* Why a policy ended, as one word. */
static const char *mcx_exit_reason(u32 kind)
{
	switch (kind) {
	case MCX_EXIT_UNREG:		return "unreg";
	case MCX_EXIT_CGROUP:		return "cgroup";
	case MCX_EXIT_ADMIN:		return "admin";
	case MCX_EXIT_ERROR_BPF:	return "error-bpf";
	case MCX_EXIT_ERROR_VALUE:	return "error-value";
	case MCX_EXIT_ERROR_SLOW:	return "error-slow";
	default:			return "error";
	}
}

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
	if (from->flags & ~BPF_F_ALLOW_OVERRIDE) {
		pr_warn("policy %s refused: unknown flags %#x\n",
			mcx_checked_name(from),
			from->flags & ~BPF_F_ALLOW_OVERRIDE);
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
 * The end of a policy.
 */

/* Nobody is in a call of it any more: its last word, after which it has said nothing. */
static void mcx_policy_exit(struct mcx_policy *p)
{
	mcx_call_exit(p);
	mcx_threads_end_policy(p->id);
}

static void mcx_policy_finish(struct mcx_policy *p)
{
	mcx_policy_exit(p);

	mutex_lock(&policy_mutex);
	last_exit.exit = p->exit;
	last_exit.id = p->id;
	last_exit.cgroup_id = p->cgroup_id;
	strscpy(last_exit.name, p->ops->name, sizeof(last_exit.name));
	mutex_unlock(&policy_mutex);

	if (p->exit.kind >= MCX_EXIT_ERROR)
		pr_warn("policy %s ejected: %*pE (%lld)\n", p->ops->name,
			(int)strlen(p->exit.msg), p->exit.msg, p->exit.code);
}

static void mcx_policy_end_work(struct work_struct *work)
{
	struct mcx_policy *p = container_of(work, struct mcx_policy, end_work);

	/* An ancestor's policy may be in effect instead from now on. */
	mcx_state_resync();
	synchronize_rcu();
	mcx_policy_finish(p);
}

static void mcx_policy_kick(struct irq_work *kick)
{
	struct mcx_policy *p = container_of(kick, struct mcx_policy, kick);

	queue_work(mcx_wq, &p->end_work);
}

/*
 * Its beginning.
 */

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

static struct mcx_policy *mcx_policy_alloc(const struct memcg_ext_ops *ops,
					   const struct bpf_link *link,
					   struct mem_cgroup *memcg)
{
	struct mcx_policy *p = kzalloc(sizeof(*p), GFP_KERNEL);

	if (!p)
		return NULL;
	p->stat = alloc_percpu(struct mcx_policy_stat);
	if (!p->stat) {
		kfree(p);
		return NULL;
	}
	p->id = atomic64_inc_return(&last_id);
	p->ops = ops;
	p->link = link;
	p->cgroup_id = cgroup_id(memcg->css.cgroup);
	p->ejects = atomic_read(&nr_ejects);
	init_irq_work(&p->kick, mcx_policy_kick);
	INIT_WORK(&p->end_work, mcx_policy_end_work);
	INIT_LIST_HEAD(&p->all);
	return p;
}

/* mcx_policies_eject() may be looking at it. */
static void mcx_policy_free(struct mcx_policy *p)
{
	free_percpu(p->stat);
	kfree_rcu_mightsleep(p);
}

static void mcx_warn_refused(const struct memcg_ext_ops *ops, int err)
{
	pr_warn("policy %s refused (%d)%s\n", ops->name, err,
		err == -EPERM ? ": forbidden by one above, or ejected by hand" :
		err == -EBUSY ? ": that cgroup has one already" : "");
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
	ret = mcx_state_may_attach(memcg, old);
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
 * The bpf core makes as many links of one map as it is asked for. They would
 * share the policy's globals, and init would reset those of the one that runs.
 */
static bool mcx_policy_is_listed(const struct memcg_ext_ops *ops)
{
	struct mcx_policy *p;
	bool found = false;

	mutex_lock(&policy_mutex);
	list_for_each_entry(p, &all_policies, all)
		found |= p->ops == ops;
	mutex_unlock(&policy_mutex);
	return found;
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

static void mcx_policy_list(struct mcx_policy *p)
{
	mutex_lock(&policy_mutex);
	list_add_tail_rcu(&p->all, &all_policies);
	mutex_unlock(&policy_mutex);
	/* Pairs with mcx_policies_eject(): listed and count, count and list. */
	smp_mb();
	if (atomic_read(&nr_ejects) != p->ejects)
		mcx_policy_end(p, MCX_EXIT_ADMIN, 0,
			       "all policies were ejected when it was attached");
}

static int mcx_policy_attach(const struct memcg_ext_ops *ops,
			     struct bpf_link *link, struct mcx_policy *old)
{
	struct mem_cgroup *memcg;
	struct mcx_policy *p;
	int ret = -ENOMEM;

	memcg = mcx_policy_memcg(ops, old);
	if (IS_ERR(memcg))
		return PTR_ERR(memcg);
	p = mcx_policy_alloc(ops, link, memcg);
	if (p)
		ret = mcx_policy_start(p, memcg, old);
	if (!ret)
		mcx_policy_list(p);
	else if (p)
		mcx_policy_free(p);
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

static struct mcx_policy *mcx_policy_find(const struct bpf_link *link)
{
	struct mcx_policy *p, *found = NULL;

	mutex_lock(&policy_mutex);
	list_for_each_entry(p, &all_policies, all)
		if (p->link == link)
			found = p;
	mutex_unlock(&policy_mutex);
	return found;
}

/* Last: until then nobody may attach the same members anew. */
static void mcx_policy_unlist(struct mcx_policy *p)
{
	mutex_lock(&policy_mutex);
	list_del_rcu(&p->all);
	mutex_unlock(&policy_mutex);
}

/* Nobody finds it any more but who found it before. */
static void mcx_policy_retire(struct mcx_policy *p, const char *msg)
{
	bool ended = cmpxchg(&p->dead, MCX_EXIT_NONE, MCX_EXIT_UNREG) !=
		     MCX_EXIT_NONE;

	synchronize_rcu();
	if (ended) {
		irq_work_sync(&p->kick);
		flush_work(&p->end_work);
	} else {
		p->exit.kind = MCX_EXIT_UNREG;
		strscpy(p->exit.msg, msg, sizeof(p->exit.msg));
		mcx_policy_finish(p);
	}
	mcx_policy_unlist(p);
	mcx_policy_free(p);
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

/**
 * mcx_policies_eject() - eject every policy that is attached
 * @msg: why, as a sentence
 *
 * Context: Any but NMI.
 */
void mcx_policies_eject(const char *msg)
{
	struct mcx_policy *p;

	atomic_inc(&nr_ejects);
	/* Pairs with mcx_policy_list(): count and list, listed and count. */
	smp_mb__after_atomic();
	rcu_read_lock();
	list_for_each_entry_rcu(p, &all_policies, all)
		mcx_policy_end(p, MCX_EXIT_ADMIN, 0, msg);
	rcu_read_unlock();
}

static struct mcx_policy_stat mcx_policy_sum(struct mcx_policy *p)
{
	struct mcx_policy_stat sum = {}, *one;
	int cpu;

	for_each_possible_cpu(cpu) {
		one = per_cpu_ptr(p->stat, cpu);
		sum.high_policy += READ_ONCE(one->high_policy);
		sum.memcg_charged += READ_ONCE(one->memcg_charged);
		sum.level += READ_ONCE(one->level);
		sum.over_high += READ_ONCE(one->over_high);
		sum.skipped += READ_ONCE(one->skipped);
		sum.slow_all += READ_ONCE(one->slow_all);
	}
	return sum;
}

/* As the reader's cgroup namespace has it. */
static void mcx_policy_show_path(struct seq_file *s, struct mcx_policy *p)
{
	struct cgroup *cgrp = cgroup_get_from_id(p->cgroup_id);

	if (IS_ERR(cgrp)) {
		seq_puts(s, READ_ONCE(p->dead) == MCX_EXIT_CGROUP ?
			 "(gone)" : "(outside)");
		return;
	}
	mcx_show_path(s, cgrp);
	cgroup_put(cgrp);
}

static void mcx_policy_show(struct seq_file *s, struct mcx_policy *p)
{
	struct mcx_policy_stat sum = mcx_policy_sum(p);

	seq_printf(s, "%llu name=%s cgroup=%llu path=", p->id, p->ops->name,
		   p->cgroup_id);
	mcx_policy_show_path(s, p);
	seq_printf(s, " state=%s flags=%u timeout_ms=%u",
		   READ_ONCE(p->dead) ? "ejected" : "active", p->ops->flags,
		   p->ops->timeout_ms);
	seq_printf(s, " high_policy=%llu memcg_charged=%llu level=%llu memcg_nr_pages_over_high=%llu",
		   sum.high_policy, sum.memcg_charged, sum.level, sum.over_high);
	seq_printf(s, " skipped=%llu slow=%llu\n", sum.skipped, sum.slow_all);
}

/**
 * mcx_policies_show() - print all policies, nested keyed
 * @s: where to
 *
 * Context: Process.
 */
void mcx_policies_show(struct seq_file *s)
{
	struct mcx_policy *p;

	mutex_lock(&policy_mutex);
	list_for_each_entry(p, &all_policies, all)
		mcx_policy_show(s, p);
	mutex_unlock(&policy_mutex);
}

static void mcx_exit_show(struct seq_file *s)
{
	const struct mcx_exit_info *exit = &last_exit.exit;

	/* Several may have one name. */
	seq_printf(s, "name %s\nid %llu\ncgroup %llu\nkind %u\nreason %s\ncode %lld\nmsg ",
		   last_exit.name, last_exit.id, last_exit.cgroup_id,
		   exit->kind, mcx_exit_reason(exit->kind), exit->code);
	/* The policy's own words: they must not look like keys of ours. */
	seq_escape(s, exit->msg, "\n\\");
	seq_putc(s, '\n');
}

/**
 * mcx_last_exit_show() - print how the last policy that ended did so
 * @s: where to
 *
 * Context: Process.
 */
void mcx_last_exit_show(struct seq_file *s)
{
	mutex_lock(&policy_mutex);
	if (last_exit.exit.kind)
		mcx_exit_show(s);
	mutex_unlock(&policy_mutex);
}

/**
 * mcx_policy_show_memcg() - print the policy in effect for a cgroup
 * @s: where to
 * @memcg: the cgroup
 *
 * Context: Process.
 */
void mcx_policy_show_memcg(struct seq_file *s, struct mem_cgroup *memcg)
{
	struct mcx_memcg *m = mcx_memcg_lookup(memcg);
	struct mcx_policy *p;

	if (!m)
		return;
	/* Whoever is in the list stays while we have the mutex. */
	mutex_lock(&policy_mutex);
	list_for_each_entry(p, &all_policies, all) {
		if (p != rcu_access_pointer(m->policy) || READ_ONCE(p->dead))
			continue;
		seq_printf(s, "%s ", p->ops->name);
		mcx_policy_show_path(s, p);
		seq_putc(s, '\n');
	}
	mutex_unlock(&policy_mutex);
	mcx_memcg_put(m);
}
