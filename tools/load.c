// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl load: attach a policy that stays, by a link pinned in bpffs
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

static int pin(const struct policy *p, const char *path)
{
	int ret = bpf_link__pin(p->link, path);

	if (ret)
		return err_set("cannot be pinned at %s: %s; it was detached",
			       path, strerror(-ret));
	return 0;
}

static void report(const struct policy *p, const char *path)
{
	struct json_object *obj;

	if (!opts.json) {
		note("%s: attached to %s, pinned at %s", policy_name(p),
		     p->cgroup, path);
		return;
	}
	obj = json_object_new_object();
	json_object_object_add(obj, "name",
			       json_object_new_string(policy_name(p)));
	json_object_object_add(obj, "cgroup",
			       json_object_new_string(p->cgroup));
	json_object_object_add(obj, "pin", json_object_new_string(path));
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
	__autofree char *path = NULL;
	int status = EXIT_OK;
	struct policy p;

	if (policy_prepare(&p, argv[0], true) || policy_attach(&p)) {
		status = err_report(argv[0]);
	} else {
		path = policy_pin_path(&p);
		if (pin(&p, path))
			status = err_report(argv[0]);
		else
			report(&p, path);
	}
	policy_close(&p);
	return status;
}
