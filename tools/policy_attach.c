// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading a policy into the kernel and attaching it to its cgroup
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

static int explain_busy(const struct policy *p)
{
	const struct keyed *k = NULL;
	const char *name = NULL;
	struct nested n;

	if (!policies_read(&n))
		k = policies_on(&n, root_inode(p->cgroup));
	if (k)
		name = keyed_get(k, "name");
	if (name)
		err_set("%s has a policy already; run: mcxctl unload %s, or load this one with --replace",
			p->cgroup, name);
	else
		err_set("%s has a policy already; see: mcxctl list", p->cgroup);
	nested_free(&n);
	return -1;
}

/* The kernel log has a sentence for each of them. */
static int explain(const struct policy *p, int error)
{
	switch (error) {
	case EPERM:
		return err_set("the policy of a cgroup above %s allows none below; unload that one, or load it with --override or --multi; see: mcxctl list",
			       p->cgroup);
	case EBUSY:
		return explain_busy(p);
	case ENOENT:
		return err_set("no such cgroup in this cgroup namespace: %s",
			       p->cgroup);
	case ENODEV:
		return err_set("%s has no memory controller, or is going away; run: mcxctl doctor %s",
			       p->cgroup, p->cgroup);
	case EINVAL:
		return err_set("the module refuses its name, flags or timeout_ms; see: dmesg | grep "
			       MODULE);
	case E2BIG:
		return err_set("too many policies would be asked about one cgroup, above or below %s; load one of them with --override instead of --multi; see: mcxctl list",
			       p->cgroup);
	case EAGAIN:
		return err_set("it was ejected from %s for errors again and again and has to wait for a moment: dmesg | grep "
			       MODULE " says how long, and mcxctl list why it was; or, if it is mended, run: echo 0 > /sys/module/"
			       MODULE "/parameters/backoff_ms", p->cgroup);
	case EOPNOTSUPP:
		return err_set("this kernel lacks what policies need; see: mcxctl features");
	default:
		return err_set("not attached to %s: %s; see: dmesg | grep "
			       MODULE, p->cgroup, strerror(error));
	}
}

/**
 * policy_attach_error - say why a policy is not attached
 * @p: the policy
 * @error: an errno. What init returns comes back as it is: it may mean what the module
 *	means
 *
 * Return: -1, after err_set().
 */
int policy_attach_error(const struct policy *p, int error)
{
	__autofree char *why = NULL;

	explain(p, error);
	if (!policy_has(p, "init"))
		return -1;
	why = fmt_string("%s", err_text());
	return err_set("%s; or its own init refused (%s)", why,
		       strerror(error));
}

static void warn_unmanaged(const struct policy *p)
{
	__autofree char *parent = cgroup_parent(p->cgroup);

	if (!cgroup_any_managed(p->cgroup))
		warn("no cgroup in %s is managed: level and reclaim are not called before: mcxctl enable %s",
		     p->cgroup, parent ? p->cgroup : "CGROUP");
}

/**
 * policy_load - have the kernel take a policy, without attaching it
 * @p: the policy, prepared
 *
 * Return: 0, or -1 after err_set().
 */
int policy_load(struct policy *p)
{
	int ret;

	if (getenv("MCXCTL_ROOT"))
		return err_set("MCXCTL_ROOT is set: nothing goes to the real kernel");
	ret = bpf_object__load(p->obj);
	return ret ? policy_load_error(p, ret) : 0;
}

/**
 * policy_attached - what is to be said of one that is attached
 * @p: the policy
 */
void policy_attached(const struct policy *p)
{
	detail("%s: attached to %s", policy_name(p), p->cgroup);
	if (policy_has(p, "level") || policy_has(p, "reclaim"))
		warn_unmanaged(p);
}

/**
 * policy_attach - load a policy and attach it
 * @p: the policy, prepared
 *
 * Return: 0, or -1 after err_set().
 */
int policy_attach(struct policy *p)
{
	if (policy_load(p))
		return -1;
	p->link = bpf_map__attach_struct_ops(p->map);
	if (!p->link)
		return policy_attach_error(p, errno);
	policy_attached(p);
	return 0;
}
