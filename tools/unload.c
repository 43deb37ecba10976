// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl unload: detach policies, however they were loaded
 *
 * The link is detached before the pin goes: so it ends now, also if a process
 * holds it, too.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "debugfs.h"
#include "policy.h"

#define WAIT_STEPS	250
#define STEP_USEC	20000

enum { OPT_ALL = 'a' };

static bool all;

const struct argp_option unload_options[] = {
	{ "all", OPT_ALL, NULL, 0, "Unload every policy", 0 },
	{}
};

/**
 * unload_parse - options of unload
 * @key: the option
 * @arg: its argument
 * @state: of argp
 *
 * Return: 0, or an errno for argp.
 */
error_t unload_parse(int key, char *arg __unused,
		     struct argp_state *state __unused)
{
	if (key != OPT_ALL)
		return ARGP_ERR_UNKNOWN;
	all = true;
	return 0;
}

/* Return: 0, or an errno. */
static int detach(uint32_t id)
{
	int fd = bpf_link_get_fd_by_id(id);
	int ret;

	if (fd < 0)
		return errno == ENOENT ? 0 : errno;
	ret = bpf_link_detach(fd) ? errno : 0;
	close(fd);
	return ret;
}

static int remove_pin(const char *path)
{
	__autofree char *real = root_path(path);

	if (!unlink(real) || errno == ENOENT)
		return 0;
	return err_set("%s: %s; run as root", path, strerror(errno));
}

static int unload_link(const struct policy_link *link)
{
	int error = link->id && !link->detached ? detach(link->id) : 0;

	if (error && link->pid)
		return err_set("cannot be detached: %s; run: kill %d",
			       strerror(error), link->pid);
	/* The pin stays: without it we could no longer find the policy. */
	if (error)
		return err_set("cannot be detached: %s; see: dmesg | grep "
			       MODULE, strerror(error));
	return link->pin ? remove_pin(link->pin) : 0;
}

/* Detached is not yet gone from the list: wait for that, where we can see. */
static void wait_until_gone(const struct policy_link *link)
{
	struct nested n;
	int i;

	for (i = 0; i < WAIT_STEPS; i++) {
		bool there = !policies_read(&n) &&
			     policies_find(&n, link->name, link->cgroup);

		nested_free(&n);
		if (!there)
			return;
		usleep(STEP_USEC);
	}
	warn("%s: detached, but still listed; see: dmesg | grep " MODULE,
	     link->name);
}

static void add_result(struct json_object *list, const char *name,
		       const struct policy_link *link, int ret)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "name", json_object_new_string(name));
	if (link && link->pin)
		json_object_object_add(obj, "pin",
				       json_object_new_string(link->pin));
	if (ret)
		json_object_object_add(obj, "error",
				       json_object_new_string(err_text()));
	json_object_array_add(list, obj);
	if (ret && !opts.json)
		err_report(name);
	else if (!ret)
		note("%s: unloaded", name);
}

/* All of that name, or all if it is NULL. Return: how many there were. */
static int unload_name(const struct policy_links *links, const char *name,
		       struct json_object *list, int *status)
{
	const struct policy_link *link;
	int i, ret, found = 0;

	for (i = 0; i < links->nr; i++) {
		link = &links->list[i];
		if (name && strcmp(link->name, name))
			continue;
		found++;
		ret = unload_link(link);
		if (!ret && link->id)
			wait_until_gone(link);
		if (ret)
			*status = EXIT_FAILED;
		add_result(list, link->name, link, ret);
	}
	return found;
}

static int explain_none(const struct policy_links *links)
{
	__autofree char *names = fmt_string("%s", "");
	int i;

	if (!links->nr)
		return module_explain() ?:
			err_set("no policy of that name, nor any other; see: mcxctl list");
	for (i = 0; i < links->nr; i++) {
		char *longer = fmt_string("%s %s", names, links->list[i].name);

		free(names);
		names = longer;
	}
	return err_set("no policy of that name; there are:%s", names);
}

static const char still_in_use[] =
	"module " MODULE " is still in use, by an open file in " DEBUGFS
	" or a process that has a policy loaded; see: fuser -v " DEBUGFS "/*";

/* How many hold the module; 0 also if it does not tell. */
static int module_users(void)
{
	__autofree char *text = root_read("/sys/module/" MODULE "/refcnt");

	return text ? atoi(text) : 0;
}

/*
 * The kernel lets go of the module when it frees the map of a policy, which
 * takes some grace periods: wait, so that modprobe -r may come next.
 */
static void wait_until_free(void)
{
	int i;

	for (i = 0; i < WAIT_STEPS && module_users(); i++)
		usleep(STEP_USEC);
	if (i == WAIT_STEPS)
		warn("%s", still_in_use);
}

static int unload(int argc, char **argv, const struct policy_links *links,
		  struct json_object *list)
{
	int i, status = EXIT_OK;

	if (all && !unload_name(links, NULL, list, &status))
		note("no policy is loaded");
	if (all && !status)
		wait_until_free();
	for (i = 0; i < argc; i++) {
		if (unload_name(links, argv[i], list, &status))
			continue;
		add_result(list, argv[i], NULL, explain_none(links));
		status = EXIT_FAILED;
	}
	return status;
}

/**
 * cmd_unload - mcxctl unload
 * @argc: number of operands
 * @argv: names of policies
 *
 * Return: exit status.
 */
int cmd_unload(int argc, char **argv)
{
	struct json_object *list;
	struct policy_links links;
	int status;

	if (!argc && !all)
		return err_usage("missing operand: NAME..., or --all");
	if (argc && all)
		return err_usage("names and --all do not go together");
	if (!getenv("MCXCTL_ROOT") && kernel_ready_for_policies(false))
		return err_report(NULL);
	list = json_object_new_array();
	links_read(&links);
	status = unload(argc, argv, &links, list);
	links_free(&links);
	if (opts.json)
		out_json(list);
	else
		json_object_put(list);
	return status;
}
