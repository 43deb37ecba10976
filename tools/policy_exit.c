// SPDX-License-Identifier: GPL-2.0-only
/*
 * Why a policy ended
 *
 * The policy itself tells in its global mcx_exit, if it has one; the module
 * tells of the last one in debugfs.
 */
#include <stdlib.h>
#include <string.h>

#include "debugfs.h"
#include "policy.h"

/* enum mcx_exit_kind of module/ops.h. */
static const struct {
	uint32_t kind;
	const char *reason;
} reasons[] = {
	{ EXIT_KIND_UNREG, "unreg" },
	{ 65, "cgroup" },
	{ 66, "admin" },
	{ EXIT_KIND_ERROR, "error" },
	{ 1025, "error-bpf" },
	{ 1026, "error-value" },
	{ 1027, "error-slow" },
	{ 1028, "error-stall" },
	{ 1029, "error-starve" },
	{ 1030, "error-delay" },
};

/* The one value of a map of globals; free() it. NULL if it is not loaded. */
static char *read_map(const struct bpf_map *map)
{
	size_t size = bpf_map__value_size(map);
	char *value = new_array(1, size);
	uint32_t zero = 0;

	if (!bpf_map__lookup_elem(map, &zero, sizeof(zero), value, size, 0))
		return value;
	free(value);
	return NULL;
}

/*
 * The value of the map that the global variable @name is in; free() it. @at is
 * where in it, @type what. Read anew each time: not every libbpf maps the map.
 */
static char *read_global(const struct policy *p, const char *name,
			 const struct btf_type **type, size_t *at)
{
	const struct btf_var_secinfo *info;
	const struct btf_type *sec, *var;
	struct bpf_map *map;
	int i;

	bpf_object__for_each_map(map, p->obj) {
		sec = btf__type_by_id(p->btf, bpf_map__btf_value_type_id(map));
		if (!bpf_map__is_internal(map) || !sec || !btf_is_datasec(sec))
			continue;
		info = btf_var_secinfos(sec);
		for (i = 0; i < btf_vlen(sec); i++, info++) {
			var = btf__type_by_id(p->btf, info->type);
			if (strcmp(btf__name_by_offset(p->btf, var->name_off),
				   name))
				continue;
			*type = btf__type_by_id(p->btf,
						btf__resolve_type(p->btf, var->type));
			*at = info->offset;
			return read_map(map);
		}
	}
	return NULL;
}

/* Copy the member @name of a struct, as far as it fits. */
static void get_member(const struct policy *p, const struct btf_type *t,
		       const char *data, const char *name, void *to,
		       size_t size)
{
	const struct btf_member *m = btf_members(t);
	long long have;
	int i;

	for (i = 0; i < btf_vlen(t); i++, m++) {
		if (strcmp(btf__name_by_offset(p->btf, m->name_off), name))
			continue;
		have = btf__resolve_size(p->btf, m->type);
		if (have > 0)
			memcpy(to, data + m->offset / 8,
			       (size_t)have < size ? (size_t)have : size);
	}
}

/**
 * policy_exit_read - has a policy ended, by its own word
 * @p: the policy, loaded
 * @e: result: kind 0 while it runs; valid until the next call
 *
 * Return: false if the policy has no mcx_exit.
 */
bool policy_exit_read(const struct policy *p, struct policy_exit *e)
{
	__autofree char *value = NULL;
	const struct btf_type *t = NULL;
	size_t at = 0;
	static char msg[256];

	memset(e, 0, sizeof(*e));
	e->msg = msg;
	memset(msg, 0, sizeof(msg));
	value = read_global(p, "mcx_exit", &t, &at);
	if (!value || !t || !btf_is_struct(t))
		return false;
	get_member(p, t, value + at, "kind", &e->kind, sizeof(e->kind));
	get_member(p, t, value + at, "code", &e->code, sizeof(e->code));
	get_member(p, t, value + at, "msg", msg, sizeof(msg) - 1);
	return true;
}

/*
 * Several can have one name. A module that tells neither id nor cgroup leaves
 * nothing else to go by.
 */
static bool is_ours(const struct policy *p, const struct keyed *last)
{
	const char *name = keyed_get(last, "name");
	uint64_t cgroup = policy_number(p, "cgroup_id");

	if (!name || strcmp(name, policy_name(p)))
		return false;
	if (p->id && keyed_get(last, "id"))
		return keyed_is(last, "id", p->id);
	return !cgroup || !keyed_get(last, "cgroup") ||
	       keyed_is(last, "cgroup", cgroup);
}

/**
 * policy_exit_last - the last policy that ended, if it was this
 * @p: the policy
 * @e: result, valid as long as @last
 * @last: keyed_free() it
 *
 * Return: false if the module tells of another, or of none.
 */
bool policy_exit_last(const struct policy *p, struct policy_exit *e,
		      struct keyed *last)
{
	uint64_t kind = 0;
	const char *code;

	memset(e, 0, sizeof(*e));
	e->msg = "";
	if (keyed_read(last, DEBUGFS "/last_exit"))
		return false;
	if (!is_ours(p, last) || !keyed_number(last, "kind", &kind))
		return false;
	code = keyed_get(last, "code");
	e->kind = kind;
	e->code = code ? strtoll(code, NULL, 10) : 0;
	e->msg = keyed_get(last, "msg") ?: "";
	return true;
}

static char *reason_of(uint32_t kind)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].kind == kind)
			return fmt_string("%s", reasons[i].reason);
	}
	return fmt_string("kind-%u", kind);
}

/**
 * policy_exit_print - print why a policy ended
 * @e: why
 *
 * Return: exit status: an error of the policy is a failure.
 */
int policy_exit_print(const struct policy_exit *e)
{
	__autofree char *reason = reason_of(e->kind);
	__autofree char *msg = NULL;
	struct json_object *obj;

	if (opts.json) {
		obj = json_object_new_object();
		json_object_object_add(obj, "exit",
				       json_object_new_string(reason));
		json_object_object_add(obj, "kind",
				       json_object_new_uint64(e->kind));
		json_object_object_add(obj, "code",
				       json_object_new_int64(e->code));
		json_object_object_add(obj, "msg",
				       json_object_new_string(e->msg));
		out_json_line(obj);
	} else {
		msg = text_clean(e->msg, "");
		printf("EXIT: %s code=%lld%s%s\n", reason, (long long)e->code,
		       *msg ? " " : "", msg);
	}
	return e->kind >= EXIT_KIND_ERROR ? EXIT_FAILED : EXIT_OK;
}
