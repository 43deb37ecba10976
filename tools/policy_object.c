// SPDX-License-Identifier: GPL-2.0-only
/*
 * Object files of policies, and the struct memcg_ext_ops in them
 *
 * Members are found by name in the object's own types: a policy may be older
 * or newer than this tool.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy.h"

/* "memcg_ext_ops___v2" is a flavour of memcg_ext_ops. */
static bool is_ops_type(const char *name)
{
	size_t len = strlen(OPS_TYPE);

	return !strncmp(name, OPS_TYPE, len) &&
	       (!name[len] || !strncmp(name + len, "___", 3));
}

/* The type of the variable @name in the section @sec, or NULL. */
static const struct btf_type *var_in(const struct btf *btf,
				     const struct btf_type *sec,
				     const char *name)
{
	const struct btf_var_secinfo *info = btf_var_secinfos(sec);
	const struct btf_type *var;
	int i;

	for (i = 0; i < btf_vlen(sec); i++) {
		var = btf__type_by_id(btf, info[i].type);
		if (!strcmp(btf__name_by_offset(btf, var->name_off), name))
			return btf__type_by_id(btf,
					       btf__resolve_type(btf, var->type));
	}
	return NULL;
}

/* A struct_ops map is a variable of a section .struct_ops*. */
static const struct btf_type *map_type(const struct btf *btf, const char *map)
{
	const struct btf_type *t, *found = NULL;
	unsigned int id;

	for (id = 1; id < btf__type_cnt(btf) && !found; id++) {
		t = btf__type_by_id(btf, id);
		if (btf_is_datasec(t) &&
		    !strncmp(btf__name_by_offset(btf, t->name_off),
			     ".struct_ops", strlen(".struct_ops")))
			found = var_in(btf, t, map);
	}
	return found;
}

static int check_map(struct policy *p)
{
	const char *name;

	if (!p->map)
		return err_set("no policy in it: no struct_ops map; define one with MCX_OPS(name)");
	name = bpf_map__name(p->map);
	p->type = map_type(p->btf, name);
	if (!p->type || !is_ops_type(btf__name_by_offset(p->btf,
							 p->type->name_off)))
		return err_set("'%s' in it is no struct " OPS_TYPE ", so nothing for "
			       MODULE, name);
	if (!(bpf_map__map_flags(p->map) & BPF_F_LINK))
		return err_set("'%s' must be in section .struct_ops.link; define it with MCX_OPS(name)",
			       name);
	p->data = bpf_map__initial_value(p->map, NULL);
	return 0;
}

static int find_map(struct policy *p)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, p->obj) {
		if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS)
			continue;
		if (p->map)
			return err_set("two policies in it, '%s' and '%s'; one file, one policy",
				       bpf_map__name(p->map),
				       bpf_map__name(map));
		p->map = map;
	}
	return check_map(p);
}

/*
 * A name without a folder that is not here is one of the policies that were
 * installed, in ../lib/memcg_ext as seen from the program.
 */
static char *find_file(const char *file)
{
	char exe[4096] = "", *path, *slash;
	int i;

	if (strchr(file, '/') || !access(file, F_OK) ||
	    readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
		return fmt_string("%s", file);
	for (i = 0; i < 2; i++) {
		slash = strrchr(exe, '/');
		if (slash)
			*slash = '\0';
	}
	path = fmt_string("%s/lib/" MODULE "/%s", exe, file);
	if (!access(path, F_OK))
		return path;
	free(path);
	return fmt_string("%s", file);
}

static int check_file(const char *file)
{
	struct stat st;

	if (stat(file, &st) && errno == ENOENT)
		return err_set("no such file, here or among the installed policies");
	if (stat(file, &st))
		return err_set("%s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return err_set("is a directory; name a file .bpf.o");
	return 0;
}

static const char no_btf[] =
	"has no BTF; compile it with -g: clang -O2 -g -target bpf -c";

static int open_error(int error)
{
	if (error == EACCES || error == EPERM)
		return err_set("%s", strerror(error));
	if (policy_log_has("BTF is required"))
		return err_set("%s", no_btf);
	return err_set("not a BPF object; compile it with: clang -O2 -g -target bpf -c");
}

/**
 * policy_open - open an object file; needs no privilege and no module
 * @p: result; policy_close() it, also after a failure
 * @file: its name; without a folder also one of those installed
 *
 * Return: 0, or -1 after err_set().
 */
int policy_open(struct policy *p, const char *file)
{
	__autofree char *path = find_file(file);

	memset(p, 0, sizeof(*p));
	p->file = file;
	policy_log_start();
	if (check_file(path))
		return -1;
	p->obj = bpf_object__open_file(path, NULL);
	if (!p->obj)
		return open_error(errno);
	p->btf = bpf_object__btf(p->obj);
	return p->btf ? find_map(p) : err_set("%s", no_btf);
}

/**
 * policy_close - undo policy_open(), and detach if that was not pinned
 * @p: the policy
 */
void policy_close(struct policy *p)
{
	bpf_link__destroy(p->link);
	bpf_object__close(p->obj);
	free(p->cgroup);
	memset(p, 0, sizeof(*p));
}

/**
 * policy_member - find a member of struct memcg_ext_ops
 * @p: the policy
 * @name: of the member
 *
 * Return: the member, or NULL if the policy's struct has none of that name.
 */
const struct btf_member *policy_member(const struct policy *p,
				       const char *name)
{
	const struct btf_member *m = btf_members(p->type);
	int i;

	for (i = 0; i < btf_vlen(p->type); i++, m++) {
		if (!strcmp(btf__name_by_offset(p->btf, m->name_off), name))
			return m;
	}
	return NULL;
}

/**
 * member_is_function - is it one that the module calls
 * @p: the policy
 * @m: the member
 *
 * Return: false if it is data.
 */
bool member_is_function(const struct policy *p, const struct btf_member *m)
{
	int id = btf__resolve_type(p->btf, m->type);

	return id > 0 && btf_is_ptr(btf__type_by_id(p->btf, id));
}

/**
 * member_value - where the value of a member is
 * @p: the policy
 * @m: the member
 *
 * Return: the address.
 */
void *member_value(const struct policy *p, const struct btf_member *m)
{
	return (char *)p->data + m->offset / 8;
}

/**
 * member_size - of how many bytes a member is
 * @p: the policy
 * @m: the member
 *
 * Return: the size.
 */
size_t member_size(const struct policy *p, const struct btf_member *m)
{
	long long size = btf__resolve_size(p->btf, m->type);

	return size > 0 ? size : 0;
}

/**
 * policy_number - the value of a member that is a number
 * @p: the policy
 * @name: of the member
 *
 * Return: the value, 0 if there is no such member.
 */
uint64_t policy_number(const struct policy *p, const char *name)
{
	const struct btf_member *m = policy_member(p, name);
	uint64_t value = 0;

	/* Little-endian, as all machines the module is for. */
	if (m && member_size(p, m) <= sizeof(value))
		memcpy(&value, member_value(p, m), member_size(p, m));
	return value;
}

/**
 * policy_set_number - set a member that is a number
 * @p: the policy, not loaded yet
 * @name: of the member
 * @value: what
 *
 * Return: 0, or -1 after err_set().
 */
int policy_set_number(struct policy *p, const char *name, uint64_t value)
{
	const struct btf_member *m = policy_member(p, name);

	if (!m || member_size(p, m) > sizeof(value))
		return err_set("its struct " OPS_TYPE " has no %s; compile it anew, with the header of this version",
			       name);
	memcpy(member_value(p, m), &value, member_size(p, m));
	return 0;
}

static int check_name(const char *name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

	if (!*name)
		return err_set("the policy has no name; give it one: -n NAME");
	if (strlen(name) >= OPS_NAME_LEN)
		return err_set("name '%s' is too long: %d characters at most",
			       name, OPS_NAME_LEN - 1);
	/* As the module has it; bpffs is stricter, see check_pin_name(). */
	if (name[strspn(name, letters)] || *name == '.')
		return err_set("bad name '%s': letters, digits, '_' and '.' only, and no '.' in front",
			       name);
	return 0;
}

/**
 * policy_set_name - give the policy a name
 * @p: the policy, not loaded yet
 * @name: the name; NULL to check the one it has
 *
 * Return: 0, or -1 after err_set().
 */
int policy_set_name(struct policy *p, const char *name)
{
	const struct btf_member *m = policy_member(p, "name");

	if (check_name(name ?: policy_name(p)))
		return -1;
	if (name && m)
		strncpy(member_value(p, m), name, member_size(p, m));
	return 0;
}

/**
 * policy_name - the name of the policy
 * @p: the policy
 *
 * Return: the name, empty if it has none.
 */
const char *policy_name(const struct policy *p)
{
	static char name[64];
	const struct btf_member *m = policy_member(p, "name");

	if (!m)
		return "";
	snprintf(name, sizeof(name), "%.*s", (int)member_size(p, m),
		 (const char *)member_value(p, m));
	return name;
}

/**
 * policy_has - does it implement a member
 * @p: the policy
 * @member: its name
 *
 * Return: true if it does.
 */
bool policy_has(const struct policy *p, const char *member)
{
	const struct btf_member *m = policy_member(p, member);

	return m && member_is_function(p, m) && *(void **)member_value(p, m);
}
