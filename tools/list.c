// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl list: the attached policies, and what keeps each attached
 */
#include <stdlib.h>
#include <string.h>

#include "policy.h"

#define FORMAT	"%-15s %-8s %-32s %s\n"

static char *held_by(const struct policy_link *link)
{
	if (!link)
		return fmt_string("-");
	if (link->pin)
		return fmt_string("%s", link->pin);
	if (link->pid)
		return fmt_string("pid %d (%s)", link->pid, link->comm ?: "?");
	return fmt_string("-");
}

static void print_line(const char *name, const char *state,
		       const struct policy_link *link, const char *path)
{
	__autofree char *raw_held = held_by(link);
	__autofree char *raw_cgroup = unescape(path);
	__autofree char *held = text_clean(raw_held, "");
	__autofree char *cgroup = text_clean(raw_cgroup, "");
	__autofree char *clean = text_clean(name, "");

	if (opts.quiet)
		puts(clean);
	else
		printf(FORMAT, clean, state, held, cgroup);
}

static void add_link_json(struct json_object *obj,
			  const struct policy_link *link)
{
	if (!link)
		return;
	if (link->id)
		json_object_object_add(obj, "link",
				       json_object_new_uint64(link->id));
	if (link->pin)
		json_object_object_add(obj, "pin",
				       json_object_new_string(link->pin));
	if (link->pid)
		json_object_object_add(obj, "pid",
				       json_object_new_int(link->pid));
	if (link->comm)
		json_object_object_add(obj, "comm",
				       json_object_new_string(link->comm));
}

/**
 * policy_json - all that is known of an attached policy
 * @k: its line in the module's list
 * @link: what keeps it attached; may be NULL
 *
 * Return: a new object.
 */
struct json_object *policy_json(const struct keyed *k,
				const struct policy_link *link)
{
	struct json_object *obj = keyed_json(k);
	const char *path = keyed_get(k, "path");
	__autofree char *clean = unescape(path ?: "");

	if (path)
		json_object_object_add(obj, "path",
				       json_object_new_string(clean));
	add_link_json(obj, link);
	return obj;
}

static struct json_object *stale_json(const struct policy_link *link)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "name",
			       json_object_new_string(link->name));
	json_object_object_add(obj, "state",
			       json_object_new_string("detached"));
	add_link_json(obj, link);
	return obj;
}

static void list_json(const struct nested *n, const struct policy_links *l)
{
	struct json_object *list = json_object_new_array();
	size_t i;
	int j;

	for (i = 0; i < n->nr; i++)
		json_object_array_add(list, policy_json(&n->lines[i],
							links_find(l, &n->lines[i])));
	for (j = 0; j < l->nr; j++) {
		if (l->list[j].detached)
			json_object_array_add(list, stale_json(&l->list[j]));
	}
	out_json(list);
}

static void list_text(const struct nested *n, const struct policy_links *l)
{
	bool any = n->nr;
	size_t i;
	int j;

	for (j = 0; j < l->nr; j++)
		any |= l->list[j].detached;
	if (!any) {
		note("no policy is attached; run: mcxctl load FILE.bpf.o");
		return;
	}
	if (!opts.quiet)
		printf(FORMAT, "NAME", "STATE", "HELD BY", "CGROUP");
	for (i = 0; i < n->nr; i++)
		print_line(keyed_get(&n->lines[i], "name") ?: "-",
			   keyed_get(&n->lines[i], "state") ?: "-",
			   links_find(l, &n->lines[i]),
			   keyed_get(&n->lines[i], "path") ?: "-");
	for (j = 0; j < l->nr; j++) {
		if (l->list[j].detached)
			print_line(l->list[j].name, "detached", &l->list[j],
				   "-");
	}
}

/**
 * cmd_list - mcxctl list
 * @argc: number of operands, 0
 * @argv: none
 *
 * Return: exit status.
 */
int cmd_list(int argc __unused, char **argv __unused)
{
	struct policy_links links;
	int status = EXIT_OK;
	struct nested n;

	if (policies_read(&n)) {
		status = err_report(NULL);
	} else {
		links_read(&links);
		if (opts.json)
			list_json(&n, &links);
		else
			list_text(&n, &links);
		links_free(&links);
	}
	nested_free(&n);
	return status;
}
