// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl show: what is in an object file, or what an attached policy does
 *
 * For a file neither privilege nor module is needed.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy.h"

/* A word is a file if it looks like one, or is one. */
static bool is_file(const char *word)
{
	size_t len = strlen(word);

	return strchr(word, '/') || !access(word, F_OK) ||
	       (len > 2 && !strcmp(word + len - 2, ".o"));
}

/* mcxctl show FILE.bpf.o */

static int print_option(const struct policy_option *o, void *arg)
{
	__autofree char *value = option_text(o);
	__autofree char *raw_left = fmt_string("%s=%s", o->name, value);
	__autofree char *left = text_clean(raw_left, "");
	__autofree char *help = text_clean(o->help, "");
	bool *head = arg;

	if (!*head)
		puts("options (--set NAME=VALUE):");
	*head = true;
	printf("  %-28s %-10s %s\n", left, o->type, help);
	return 0;
}

static void print_members(const struct policy *p)
{
	const struct btf_member *m = btf_members(p->type);
	int i;

	printf("%-12s", "members");
	for (i = 0; i < btf_vlen(p->type); i++, m++) {
		const char *name = btf__name_by_offset(p->btf, m->name_off);

		if (policy_has(p, name))
			printf(" %s", name);
	}
	putchar('\n');
}

static bool is_number(const struct policy *p, const struct btf_member *m)
{
	return !member_is_function(p, m) &&
	       member_size(p, m) <= sizeof(uint64_t);
}

static void print_file(const struct policy *p)
{
	const struct btf_member *m = btf_members(p->type);
	__autofree char *name_of = text_clean(policy_name(p), "");
	bool head = false;
	int i;

	printf("%-12s %s\n", "name", name_of);
	print_members(p);
	for (i = 0; i < btf_vlen(p->type); i++, m++) {
		const char *name = btf__name_by_offset(p->btf, m->name_off);

		if (is_number(p, m))
			printf("%-12s %llu\n", name,
			       (unsigned long long)policy_number(p, name));
	}
	option_each(p, print_option, &head);
}

static int add_option(const struct policy_option *o, void *arg)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "name", json_object_new_string(o->name));
	json_object_object_add(obj, "type", json_object_new_string(o->type));
	json_object_object_add(obj, "default", option_json(o));
	json_object_object_add(obj, "help", json_object_new_string(o->help));
	json_object_array_add(arg, obj);
	return 0;
}

static void file_json(const struct policy *p)
{
	struct json_object *obj = json_object_new_object();
	struct json_object *members = json_object_new_array();
	struct json_object *options = json_object_new_array();
	const struct btf_member *m = btf_members(p->type);
	int i;

	json_object_object_add(obj, "name",
			       json_object_new_string(policy_name(p)));
	json_object_object_add(obj, "members", members);
	for (i = 0; i < btf_vlen(p->type); i++, m++) {
		const char *name = btf__name_by_offset(p->btf, m->name_off);

		if (policy_has(p, name))
			json_object_array_add(members,
					      json_object_new_string(name));
		else if (is_number(p, m))
			json_object_object_add(obj, name,
					       json_object_new_uint64(policy_number(p, name)));
	}
	option_each(p, add_option, options);
	json_object_object_add(obj, "options", options);
	out_json(obj);
}

static int show_file(const char *file)
{
	int status = EXIT_OK;
	struct policy p;

	if (policy_open(&p, file))
		status = err_report(file);
	else if (opts.json)
		file_json(&p);
	else
		print_file(&p);
	policy_close(&p);
	return status;
}

/* mcxctl show NAME */

static void print_pair(const char *key, const char *value)
{
	__autofree char *clean = text_clean(value, "");

	printf("%-16s %s\n", key, clean);
}

static void print_policy(const struct keyed *k, const struct policy_link *link)
{
	size_t i;

	for (i = 0; i < k->nr; i++) {
		__autofree char *value = unescape(k->pairs[i].value);

		print_pair(k->pairs[i].key, value);
	}
	if (link && link->pin) {
		print_pair("pin", link->pin);
	} else if (link && link->pid) {
		__autofree char *pid = fmt_string("%d (%s)", link->pid,
						  link->comm ?: "?");

		print_pair("pid", pid);
	}
}

static int explain_name(const struct nested *n)
{
	__autofree char *names = fmt_string("%s", "");
	size_t i;

	if (!n->nr)
		return err_set("neither a file nor an attached policy; no policy is attached");
	for (i = 0; i < n->nr; i++) {
		char *longer = fmt_string("%s %s", names,
					  keyed_get(&n->lines[i], "name"));

		free(names);
		names = longer;
	}
	return err_set("neither a file nor an attached policy; there are:%s",
		       names);
}

/* Several can have one name, on different cgroups. */
static int show_lines(const struct nested *n, const char *name,
		      const struct policy_links *l, struct json_object *list)
{
	const struct keyed *k;
	int found = 0;
	size_t i;

	for (i = 0; i < n->nr; i++) {
		const char *text = keyed_get(&n->lines[i], "name");

		k = &n->lines[i];
		if (!text || strcmp(text, name))
			continue;
		if (opts.json)
			json_object_array_add(list, policy_json(k,
								links_find(l, k)));
		else
			print_policy(k, links_find(l, k));
		found++;
	}
	return found;
}

static int show_name(const char *name)
{
	struct json_object *list = json_object_new_array();
	struct policy_links links;
	int status = EXIT_OK;
	struct nested n;

	if (policies_read(&n)) {
		status = err_report(name);
	} else {
		links_read(&links);
		if (!show_lines(&n, name, &links, list)) {
			explain_name(&n);
			status = err_report(name);
		} else if (opts.json) {
			out_json(json_object_get(list));
		}
		links_free(&links);
	}
	json_object_put(list);
	nested_free(&n);
	return status;
}

/**
 * cmd_show - mcxctl show
 * @argc: number of operands, 1
 * @argv: an object file, or the name of a policy
 *
 * Return: exit status.
 */
int cmd_show(int argc __unused, char **argv)
{
	return is_file(argv[0]) ? show_file(argv[0]) : show_name(argv[0]);
}
