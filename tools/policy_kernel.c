// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a policy needs of the running kernel and module
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

#define MODULE_BTF	"/sys/kernel/btf/" MODULE
#define VMLINUX_BTF	"/sys/kernel/btf/vmlinux"

static const struct {
	unsigned int bit;
	const char *name;
} capabilities[] = {
	{ 39, "CAP_BPF" },
	{ 38, "CAP_PERFMON" },
	/* For the types of modules, which are found by their ids. */
	{ 21, "CAP_SYS_ADMIN" },
};

static int check_capabilities(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(capabilities); i++) {
		if (!has_capability(capabilities[i].bit))
			return err_set("no %s; run as root",
				       capabilities[i].name);
	}
	if (!in_first_userns())
		return err_set("capabilities of a user namespace do not count; run as root of the machine");
	return 0;
}

static int check_bpffs(void)
{
	if (mounted_at(BPFFS, "bpf"))
		return 0;
	return err_set("bpffs is not mounted at " BPFFS "; run: mount -t bpf bpf "
		       BPFFS);
}

/**
 * kernel_ready_for_policies - say why no policy can be loaded
 * @pin: it shall be pinned
 *
 * Return: 0 if one can, else -1 after err_set().
 */
int kernel_ready_for_policies(bool pin)
{
	if (module_explain())
		return -1;
	if (!root_exists(MODULE_BTF))
		return err_set("the module was built without BTF, so it takes no policy; see: mcxctl doctor");
	if (check_capabilities())
		return -1;
	return pin ? check_bpffs() : 0;
}

static struct btf *parse(const char *path, struct btf *base)
{
	__autofree char *real = root_path(path);
	struct btf *btf = base ? btf__parse_split(real, base) :
				 btf__parse(real, NULL);

	if (!btf)
		err_set("%s: %s", path, strerror(errno));
	return btf;
}

static bool has_member(const struct btf *btf, const struct btf_type *t,
		       const char *name)
{
	const struct btf_member *m = btf_members(t);
	int i;

	for (i = 0; i < btf_vlen(t); i++, m++) {
		if (!strcmp(btf__name_by_offset(btf, m->name_off), name))
			return true;
	}
	return false;
}

static bool is_zero(const char *data, size_t size)
{
	while (size--) {
		if (*data++)
			return false;
	}
	return true;
}

/* libbpf takes what the kernel does not know only if it is zero. */
static void clear_unknown(struct policy *p, const struct btf *btf,
			  const struct btf_type *t)
{
	const struct btf_member *m = btf_members(p->type);
	const char *name;
	int i;

	for (i = 0; i < btf_vlen(p->type); i++, m++) {
		name = btf__name_by_offset(p->btf, m->name_off);
		if (has_member(btf, t, name) ||
		    is_zero(member_value(p, m), member_size(p, m)))
			continue;
		warn("%s: the loaded module does not know %s.%s; the policy goes without",
		     p->file, OPS_TYPE, name);
		memset(member_value(p, m), 0, member_size(p, m));
	}
}

/**
 * policy_fit - take off the policy what the running module does not know
 * @p: the policy, not loaded yet
 *
 * Return: 0, or -1 after err_set().
 */
int policy_fit(struct policy *p)
{
	struct btf *base = parse(VMLINUX_BTF, NULL);
	struct btf *btf = base ? parse(MODULE_BTF, base) : NULL;
	int id, ret = -1;

	if (btf) {
		id = btf__find_by_name_kind(btf, OPS_TYPE, BTF_KIND_STRUCT);
		if (id < 0) {
			err_set("the loaded module takes no policies; load a newer one, see: mcxctl version");
		} else {
			clear_unknown(p, btf, btf__type_by_id(btf, id));
			ret = 0;
		}
	}
	btf__free(btf);
	btf__free(base);
	return ret;
}
