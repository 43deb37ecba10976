// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl load: attach a policy that stays, by a link pinned in bpffs
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

/* What load did. */
struct loaded {
	char *path;	/* where it is pinned */
	char *old;	/* the policy that it replaced, or NULL */
};

static int pin(const struct policy *p, const char *path)
{
	int ret = bpf_link__pin(p->link, path);

	if (ret)
		return err_set("cannot be pinned at %s: %s; it was detached",
			       path, strerror(-ret));
	return 0;
}

/* The link of the old one is pinned by the name of that. */
static void move_pin(struct loaded *l, char *from)
{
	if (!strcmp(from, l->path) || !rename(from, l->path)) {
		free(from);
		return;
	}
	warn("cannot be pinned at %s: %s; it stays at %s", l->path,
	     strerror(errno), from);
	free(l->path);
	l->path = from;
}

/* Return: 0, or -1 after err_set(). */
static int replace(struct policy *p, struct loaded *l)
{
	char *from = NULL;
	int ret = policy_replace(p, l->path, &l->old, &from);

	if (ret) {
		free(from);
		return ret;
	}
	policy_attached(p);
	if (!from)
		return pin(p, l->path);
	move_pin(l, from);
	return 0;
}

static int load(struct policy *p, struct loaded *l)
{
	if (request.replace)
		return replace(p, l);
	return policy_attach(p) ?: pin(p, l->path);
}

static void report(const struct policy *p, const struct loaded *l)
{
	struct json_object *obj;

	if (!opts.json) {
		note("%s: attached to %s%s%s, pinned at %s", policy_name(p),
		     p->cgroup, l->old ? " in place of " : "", l->old ?: "",
		     l->path);
		return;
	}
	obj = json_object_new_object();
	json_object_object_add(obj, "name",
			       json_object_new_string(policy_name(p)));
	json_object_object_add(obj, "cgroup",
			       json_object_new_string(p->cgroup));
	json_object_object_add(obj, "pin", json_object_new_string(l->path));
	if (l->old)
		json_object_object_add(obj, "replaced",
				       json_object_new_string(l->old));
	out_json(obj);
}

/**
 * cmd_load - mcxctl load
 * @argc: number of operands, 1
 * @argv: an object file
 *
 * Return: exit status.
 */
int cmd_load(int argc __unused, char **argv)
{
	struct loaded l = {};
	int status = EXIT_OK;
	struct policy p;

	if (policy_prepare(&p, argv[0], true)) {
		status = err_report(argv[0]);
	} else {
		l.path = policy_pin_path(&p);
		if (load(&p, &l))
			status = err_report(argv[0]);
		else
			report(&p, &l);
	}
	free(l.path);
	free(l.old);
	policy_close(&p);
	return status;
}
