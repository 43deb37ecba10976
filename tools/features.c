// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl features: what the module can do on this kernel, and why not
 *
 * The module tells in debugfs, one line each: `NAME on|off|degraded REASON`.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "debugfs.h"
#include "features.h"
#include "mcxctl.h"

static const char features_path[] = DEBUGFS "/features";

static void visit_line(char *line,
		       void (*visit)(const struct feature *f, void *arg),
		       void *arg)
{
	struct feature f;

	f.name = strsep(&line, " \t");
	f.state = line ? strsep(&line, " \t") : "";
	f.reason = line ?: "";
	if (*f.name)
		visit(&f, arg);
}

/**
 * features_each - go through the features of the loaded module
 * @visit: called for each
 * @arg: for @visit
 *
 * Return: 0, or -1 after err_set().
 */
int features_each(void (*visit)(const struct feature *f, void *arg), void *arg)
{
	__autofree char *text = root_read(features_path);
	char *line, *next = text;

	if (!text)
		return debugfs_explain(features_path, errno);
	while ((line = strsep(&next, "\n")))
		visit_line(line, visit, arg);
	return 0;
}

static void print_feature(const struct feature *f, void *arg __unused)
{
	printf("%-20s %s%s%s\n", f->name, f->state, *f->reason ? "  " : "",
	       f->reason);
}

static void add_feature(const struct feature *f, void *arg)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "name", json_object_new_string(f->name));
	json_object_object_add(obj, "state", json_object_new_string(f->state));
	json_object_object_add(obj, "reason",
			       json_object_new_string(f->reason));
	json_object_array_add(arg, obj);
}

/**
 * features_json - the features of the loaded module
 *
 * Return: a new array, or NULL after err_set().
 */
struct json_object *features_json(void)
{
	struct json_object *list = json_object_new_array();

	if (!features_each(add_feature, list))
		return list;
	json_object_put(list);
	return NULL;
}

/**
 * cmd_features - mcxctl features
 * @argc: number of operands, 0
 * @argv: none
 *
 * Return: exit status.
 */
int cmd_features(int argc __unused, char **argv __unused)
{
	struct json_object *list;

	if (!opts.json)
		return features_each(print_feature, NULL) ? err_report(NULL) :
							    EXIT_OK;
	list = features_json();
	if (!list)
		return err_report(NULL);
	out_json(list);
	return EXIT_OK;
}
