// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl enable, disable: put cgroups under management, or end it
 *
 * The module attaches its hooks from a work item, not under the write, so
 * after the write we wait until memory.ext.stat tells that it came into
 * effect.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mcxctl.h"

#define POLL_NS		(20 * 1000 * 1000)

enum { OPT_SUBTREE = 's', OPT_TIMEOUT = 't' };

static struct {
	bool subtree;
	double timeout;
} want = { .timeout = 5 };

#define TIMEOUT_OPTION \
	{ "timeout", OPT_TIMEOUT, "SECONDS", 0, \
	  "Wait at most so long for the effect (5; 0 does not wait)", 0 }

const struct argp_option enable_options[] = {
	{ "subtree", OPT_SUBTREE, NULL, 0,
	  "Manage every cgroup below, too, now and later", 0 },
	TIMEOUT_OPTION,
	{}
};

const struct argp_option disable_options[] = {
	TIMEOUT_OPTION,
	{}
};

/**
 * enable_parse - options of enable and disable
 * @key: the option
 * @arg: its argument
 * @state: of argp
 *
 * Return: 0, or an errno for argp.
 */
error_t enable_parse(int key, char *arg, struct argp_state *state)
{
	char *end;

	switch (key) {
	case OPT_SUBTREE:
		want.subtree = true;
		return 0;
	case OPT_TIMEOUT:
		want.timeout = strtod(arg, &end);
		if (end == arg || *end || !isfinite(want.timeout) ||
		    want.timeout < 0)
			argp_error(state, "bad timeout '%s'", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static int write_enable(const char *cgroup, const char *value)
{
	__autofree char *path = cgroup_file(cgroup, "memory.ext.enable");

	if (root_write(path, value))
		return cgroup_io_error(cgroup, errno);
	detail("wrote %s to %s", value, path);
	return 0;
}

static bool is_managed(const struct keyed *k)
{
	return keyed_is(k, "managed", 1);
}

static bool is_attached(const struct keyed *k)
{
	return is_managed(k) && (!keyed_get(k, "attached") ||
				 keyed_is(k, "attached", 1));
}

static bool is_unmanaged(const struct keyed *k)
{
	return keyed_is(k, "managed", 0);
}

/*
 * Wait until @done holds for the stat of a cgroup, which is left in @k.
 * Return: 0 if it holds, 1 if time is up, -1 after err_set().
 */
static int wait_for(const char *cgroup, bool (*done)(const struct keyed *k),
		    struct keyed *k)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	const double start = now();

	for (;;) {
		if (cgroup_stat(cgroup, k))
			return -1;
		if (done(k))
			break;
		if (now() - start >= want.timeout)
			return 1;
		keyed_free(k);
		nanosleep(&pause, NULL);
	}
	detail("%s: took effect after %.0f ms", cgroup,
	       (now() - start) * 1000);
	return 0;
}

static int explain_timeout(const struct keyed *k)
{
	if (!want.timeout)
		return 0;
	if (!is_managed(k))
		return err_set("still not managed after %g s; see: dmesg | grep " MODULE,
			       want.timeout);
	return err_set("managed, but the hooks are not attached after %g s; see: mcxctl features",
		       want.timeout);
}

static void add_state(struct json_object *obj, const struct keyed *k)
{
	static const char * const keys[] = { "managed", "attached" };
	const char *value;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		value = keyed_get(k, keys[i]);
		if (value)
			json_object_object_add(obj, keys[i], json_value(value));
	}
}

static int enable_one(const char *cgroup, struct json_object *obj)
{
	struct keyed k = {};
	int ret;

	ret = write_enable(cgroup, want.subtree ? "subtree" : "1");
	if (ret)
		return ret;
	ret = wait_for(cgroup, is_attached, &k);
	if (ret > 0)
		ret = explain_timeout(&k);
	if (!ret) {
		add_state(obj, &k);
		note("%s: %s%s", cgroup,
		     is_attached(&k) ? "managed" : "enabled",
		     want.subtree ? ", with all below" : "");
	}
	keyed_free(&k);
	return ret;
}

/* The nearest cgroup above whose `subtree` covers this one, or NULL. */
static char *managed_by(const char *cgroup)
{
	char *above = cgroup_parent(cgroup);
	char *next;

	while (above) {
		if (cgroup_has_word(above, "memory.ext.enable", "subtree"))
			return above;
		next = cgroup_parent(above);
		free(above);
		above = next;
	}
	return NULL;
}

static int still_managed(const char *cgroup, const char *above,
			 struct json_object *obj)
{
	json_object_object_add(obj, "managed", json_object_new_uint64(1));
	json_object_object_add(obj, "managed_by",
			       json_object_new_string(above));
	warn("%s: still managed, by 'subtree' of %s; run: mcxctl disable %s",
	     cgroup, above, above);
	return 0;
}

static int disable_one(const char *cgroup, struct json_object *obj)
{
	__autofree char *above = NULL;
	struct keyed k = {};
	int ret;

	ret = write_enable(cgroup, "0");
	if (ret)
		return ret;
	above = managed_by(cgroup);
	if (above)
		return still_managed(cgroup, above, obj);
	ret = wait_for(cgroup, is_unmanaged, &k);
	if (ret > 0 && want.timeout)
		ret = err_set("still managed after %g s; see: dmesg | grep "
			      MODULE, want.timeout);
	if (ret >= 0) {
		add_state(obj, &k);
		note("%s: %s", cgroup, ret ? "disabled" : "not managed");
		ret = 0;
	}
	keyed_free(&k);
	return ret;
}

static int change(const char *arg, struct json_object *list,
		  int (*one)(const char *cgroup, struct json_object *obj))
{
	struct json_object *obj = json_object_new_object();
	__autofree char *cgroup = cgroup_resolve(arg);
	int ret = cgroup ? one(cgroup, obj) : -1;

	json_object_object_add(obj, "cgroup",
			       json_object_new_string(cgroup ?: arg));
	if (ret)
		json_object_object_add(obj, "error",
				       json_object_new_string(err_text()));
	if (ret && !opts.json)
		err_report(cgroup ?: arg);
	json_object_array_add(list, obj);
	return ret;
}

/* One bad name does not keep the others from being done. */
static int change_all(int argc, char **argv,
		      int (*one)(const char *cgroup, struct json_object *obj))
{
	struct json_object *list = json_object_new_array();
	int i, status = EXIT_OK;

	for (i = 0; i < argc; i++) {
		if (change(argv[i], list, one))
			status = EXIT_FAILED;
	}
	if (opts.json)
		out_json(list);
	else
		json_object_put(list);
	return status;
}

/**
 * cmd_enable - mcxctl enable
 * @argc: number of operands
 * @argv: cgroups
 *
 * Return: exit status.
 */
int cmd_enable(int argc, char **argv)
{
	return change_all(argc, argv, enable_one);
}

/**
 * cmd_disable - mcxctl disable
 * @argc: number of operands
 * @argv: cgroups
 *
 * Return: exit status.
 */
int cmd_disable(int argc, char **argv)
{
	return change_all(argc, argv, disable_one);
}
