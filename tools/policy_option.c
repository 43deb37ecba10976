// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options of a policy: its const volatile globals
 *
 * Their names and types are in the object's BTF, their help in declaration
 * tags there, their values in .rodata. They are set before the object is
 * loaded, by name: so a policy needs no program of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"
#include "policy.h"

#define HELP_TAG	"mcx:help:"

/* The map that a section becomes has its type as the type of its value. */
static struct bpf_map *map_of_section(const struct policy *p, unsigned int sec)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, p->obj) {
		if (bpf_map__is_internal(map) &&
		    bpf_map__btf_value_type_id(map) == sec)
			return map;
	}
	return NULL;
}

static const char *help_of(const struct policy *p, unsigned int var)
{
	const struct btf_type *t;
	const char *tag;
	unsigned int id;

	for (id = 1; id < btf__type_cnt(p->btf); id++) {
		t = btf__type_by_id(p->btf, id);
		if (!btf_is_decl_tag(t) || t->type != var)
			continue;
		tag = btf__name_by_offset(p->btf, t->name_off);
		if (!strncmp(tag, HELP_TAG, strlen(HELP_TAG)))
			return tag + strlen(HELP_TAG);
	}
	return "";
}

/* Compilers put const globals there, too, and strings; those are no options. */
static bool is_option(const struct policy *p, const struct btf_type *var)
{
	const struct btf_type *t = btf__type_by_id(p->btf, var->type);
	bool is_const = false, is_volatile = false;

	if (btf_var(var)->linkage != BTF_VAR_GLOBAL_ALLOCATED)
		return false;
	/* Of an array the elements are what is const and volatile. */
	while (t) {
		is_const |= btf_is_const(t);
		is_volatile |= btf_is_volatile(t);
		if (btf_is_array(t))
			t = btf__type_by_id(p->btf, btf_array(t)->type);
		else if (btf_is_mod(t))
			t = btf__type_by_id(p->btf, t->type);
		else
			break;
	}
	return is_const && is_volatile;
}

static void set_int_type(struct policy_option *o, const struct btf_type *t)
{
	int encoding = btf_int_encoding(t);

	if (encoding & BTF_INT_BOOL) {
		o->kind = OPTION_BOOL;
		snprintf(o->type, sizeof(o->type), "bool");
		return;
	}
	o->kind = encoding & BTF_INT_SIGNED ? OPTION_SIGNED : OPTION_UNSIGNED;
	snprintf(o->type, sizeof(o->type), "%c%zu",
		 encoding & BTF_INT_SIGNED ? 's' : 'u', o->size * 8);
}

/* Return: true if it is an array of characters. */
static bool is_string(const struct policy *p, const struct btf_type *t)
{
	const struct btf_type *c;

	if (!btf_is_array(t))
		return false;
	c = btf__type_by_id(p->btf,
			    btf__resolve_type(p->btf, btf_array(t)->type));
	return c && btf_is_int(c) && c->size == 1 &&
	       !(btf_int_encoding(c) & BTF_INT_BOOL);
}

static void set_type(const struct policy *p, struct policy_option *o,
		     const struct btf_type *var)
{
	int id = btf__resolve_type(p->btf, var->type);
	const struct btf_type *t = btf__type_by_id(p->btf, id);

	snprintf(o->type, sizeof(o->type), "other");
	if (id < 0 || !t)
		return;
	if (btf_is_int(t) && t->size <= 8) {
		set_int_type(o, t);
	} else if (is_string(p, t)) {
		o->kind = OPTION_STRING;
		snprintf(o->type, sizeof(o->type), "char[%zu]", o->size);
	}
}

static int visit_section(const struct policy *p, unsigned int sec,
			 int (*visit)(const struct policy_option *o, void *arg),
			 void *arg)
{
	const struct btf_type *t = btf__type_by_id(p->btf, sec);
	const struct btf_var_secinfo *info = btf_var_secinfos(t);
	struct bpf_map *map = map_of_section(p, sec);
	const struct btf_type *var;
	size_t size;
	char *data;
	int i, ret = 0;

	data = map ? bpf_map__initial_value(map, &size) : NULL;
	for (i = 0; data && i < btf_vlen(t) && !ret; i++, info++) {
		struct policy_option o = {};

		var = btf__type_by_id(p->btf, info->type);
		if (!is_option(p, var) || info->offset + info->size > size)
			continue;
		o.name = btf__name_by_offset(p->btf, var->name_off);
		o.help = help_of(p, info->type);
		o.size = info->size;
		o.value = data + info->offset;
		set_type(p, &o, var);
		ret = visit(&o, arg);
	}
	return ret;
}

/**
 * option_each - go through the options of a policy
 * @p: the policy
 * @visit: called for each; anything but 0 ends it
 * @arg: for @visit
 *
 * Return: what the last @visit returned.
 */
int option_each(const struct policy *p,
		int (*visit)(const struct policy_option *o, void *arg),
		void *arg)
{
	const struct btf_type *t;
	unsigned int id;
	int ret = 0;

	for (id = 1; id < btf__type_cnt(p->btf) && !ret; id++) {
		t = btf__type_by_id(p->btf, id);
		if (btf_is_datasec(t) &&
		    !strncmp(btf__name_by_offset(p->btf, t->name_off),
			     ".rodata", strlen(".rodata")))
			ret = visit_section(p, id, visit, arg);
	}
	return ret;
}

static uint64_t get_unsigned(const struct policy_option *o)
{
	uint64_t value = 0;

	memcpy(&value, o->value, o->size);
	return value;
}

static int64_t get_signed(const struct policy_option *o)
{
	unsigned int unused = 64 - o->size * 8;

	return (int64_t)(get_unsigned(o) << unused) >> unused;
}

/**
 * option_text - the value of an option, as text
 * @o: the option
 *
 * Return: the text; free() it.
 */
char *option_text(const struct policy_option *o)
{
	switch (o->kind) {
	case OPTION_BOOL:
		return fmt_string("%s", get_unsigned(o) ? "true" : "false");
	case OPTION_SIGNED:
		return fmt_string("%lld", (long long)get_signed(o));
	case OPTION_UNSIGNED:
		return fmt_string("%llu", (unsigned long long)get_unsigned(o));
	case OPTION_STRING:
		return fmt_string("%.*s", (int)o->size,
				  (const char *)o->value);
	default:
		return fmt_string("-");
	}
}

/**
 * option_json - the value of an option, for JSON
 * @o: the option
 *
 * Return: a new value; NULL is null.
 */
struct json_object *option_json(const struct policy_option *o)
{
	__autofree char *text = option_text(o);

	switch (o->kind) {
	case OPTION_BOOL:
		return json_object_new_boolean(get_unsigned(o));
	case OPTION_SIGNED:
		return json_object_new_int64(get_signed(o));
	case OPTION_UNSIGNED:
		return json_object_new_uint64(get_unsigned(o));
	case OPTION_STRING:
		return json_object_new_string(text);
	default:
		return NULL;
	}
}

static int set_bool(const struct policy_option *o, const char *text)
{
	static const char * const yes[] = { "true", "1", "yes", "on" };
	static const char * const no[] = { "false", "0", "no", "off" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
			*(uint8_t *)o->value = !strcmp(text, yes[i]);
			return 0;
		}
	}
	return err_set("option '%s': '%s' is neither true nor false", o->name,
		       text);
}

static int set_signed(const struct policy_option *o, const char *text)
{
	const int64_t max = INT64_MAX >> (64 - o->size * 8), min = -max - 1;
	int64_t value;

	switch (parse_signed(text, &value)) {
	case -EINVAL:
		return err_set("option '%s': '%s' is no number; K, M and G may follow one",
			       o->name, text);
	case 0:
		if (value >= min && value <= max)
			break;
		/* fallthrough */
	default:
		return err_set("option '%s': %s is out of range: %lld to %lld",
			       o->name, text, (long long)min, (long long)max);
	}
	memcpy(o->value, &value, o->size);
	return 0;
}

static int set_unsigned(const struct policy_option *o, const char *text)
{
	const uint64_t max = UINT64_MAX >> (64 - o->size * 8);
	uint64_t value;

	switch (parse_unsigned(text, &value)) {
	case -EINVAL:
		return err_set("option '%s': '%s' is no number; K, M and G may follow one",
			       o->name, text);
	case 0:
		if (value <= max)
			break;
		/* fallthrough */
	default:
		return err_set("option '%s': %s is out of range: 0 to %llu",
			       o->name, text, (unsigned long long)max);
	}
	memcpy(o->value, &value, o->size);
	return 0;
}

static int set_string(const struct policy_option *o, const char *text)
{
	if (strlen(text) >= o->size)
		return err_set("option '%s': '%s' is too long: %zu characters at most",
			       o->name, text, o->size - 1);
	memset(o->value, 0, o->size);
	memcpy(o->value, text, strlen(text));
	return 0;
}

static int set_value(const struct policy_option *o, const char *text)
{
	switch (o->kind) {
	case OPTION_BOOL:
		return set_bool(o, text);
	case OPTION_SIGNED:
		return set_signed(o, text);
	case OPTION_UNSIGNED:
		return set_unsigned(o, text);
	case OPTION_STRING:
		return set_string(o, text);
	default:
		return err_set("option '%s' has a type that cannot be set; change it in the source",
			       o->name);
	}
}

/* What --set asks for, and the names met on the way. */
struct assignment {
	const char *name;
	size_t len;
	const char *value;
	char *names;
	int ret;
};

static int visit_set(const struct policy_option *o, void *arg)
{
	struct assignment *a = arg;
	char *longer;

	if (strlen(o->name) == a->len && !strncmp(o->name, a->name, a->len)) {
		a->ret = set_value(o, a->value);
		if (!a->ret) {
			__autofree char *text = option_text(o);

			detail("option %s=%s", o->name, text);
		}
		return 1;
	}
	longer = fmt_string("%s %s", a->names, o->name);
	free(a->names);
	a->names = longer;
	return 0;
}

/**
 * option_set - set an option
 * @p: the policy, not loaded yet
 * @assignment: NAME=VALUE
 *
 * Return: 0, or -1 after err_set().
 */
int option_set(const struct policy *p, const char *assignment)
{
	struct assignment a = {
		.name = assignment,
		.len = strcspn(assignment, "="),
		.names = fmt_string("%s", ""),
	};

	a.value = assignment + a.len + 1;
	if (!option_each(p, visit_set, &a))
		a.ret = *a.names ?
			err_set("unknown option '%.*s'; the policy has:%s",
				(int)a.len, a.name, a.names) :
			err_set("unknown option '%.*s'; the policy has none",
				(int)a.len, a.name);
	free(a.names);
	return a.ret;
}
