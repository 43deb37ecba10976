// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl dump: all that a bug report needs, in one piece
 *
 * As text the files of the module are printed as they are; JSON has them taken
 * apart. What is missing is part of the report, and no failure.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "debugfs.h"
#include "doctor.h"
#include "features.h"
#include "nested.h"

#define PARAMETERS	"/sys/module/" MODULE "/parameters"

/* A section that is a file, and how JSON has it. */
struct section {
	const char *name;
	struct json_object *(*json)(const char *path, const char *name);
	/* What the first word of a line is, in a nested keyed file. */
	const char *key;
};

static struct json_object *as_features(const char *path __unused,
				       const char *key __unused)
{
	return features_json();
}

static struct json_object *as_keyed(const char *path, const char *key __unused)
{
	struct json_object *obj = NULL;
	struct keyed k;

	if (!keyed_read(&k, path))
		obj = keyed_json(&k);
	keyed_free(&k);
	return obj;
}

static struct json_object *as_nested(const char *path, const char *key)
{
	struct json_object *list = NULL;
	struct nested n;

	if (!nested_read(&n, path, key))
		list = nested_json(&n);
	nested_free(&n);
	return list;
}

/* Files of debugfs. */
static const struct section sections[] = {
	{ "features", as_features, NULL },
	{ "hooks", as_nested, "name" },
	{ "workers", as_nested, "cpu" },
	{ "policies", as_nested, "id" },
	{ "last_exit", as_keyed, NULL },
	{ "events", as_keyed, NULL },
	{ "cgroups", as_nested, "id" },
};

static char *section_path(const struct section *s)
{
	return fmt_string(DEBUGFS "/%s", s->name);
}

/* A file of one value, without its newline. */
static char *read_value(const char *path)
{
	char *text = root_read(path);

	if (text)
		text[strcspn(text, "\n")] = '\0';
	return text;
}

static struct json_object *string_or_null(const char *text)
{
	return text ? json_object_new_string(text) : NULL;
}

static struct json_object *parameters_json(void)
{
	struct json_object *obj = json_object_new_object();
	char **names;
	int i, n;

	n = root_files(PARAMETERS, &names);
	for (i = 0; i < n; i++) {
		__autofree char *path = fmt_string(PARAMETERS "/%s", names[i]);
		__autofree char *value = read_value(path);

		json_object_object_add(obj, names[i], string_or_null(value));
	}
	root_names_free(names, n);
	return obj;
}

static void dump_json(const char *release, const char *kernel,
		      const char *module)
{
	struct json_object *obj = json_object_new_object();
	size_t i;

	json_object_object_add(obj, "mcxctl",
			       json_object_new_string(MCXCTL_VERSION));
	json_object_object_add(obj, "module", string_or_null(module));
	json_object_object_add(obj, "kernel", json_object_new_string(release));
	json_object_object_add(obj, "kernel_version", string_or_null(kernel));
	json_object_object_add(obj, "parameters", parameters_json());
	for (i = 0; i < ARRAY_SIZE(sections); i++) {
		__autofree char *path = section_path(&sections[i]);

		json_object_object_add(obj, sections[i].name,
				       sections[i].json(path, sections[i].key));
	}
	json_object_object_add(obj, "doctor", doctor_run(NULL));
	out_json(obj);
}

static void print_parameters(void)
{
	char **names;
	int i, n;

	n = root_files(PARAMETERS, &names);
	for (i = 0; i < n; i++) {
		__autofree char *path = fmt_string(PARAMETERS "/%s", names[i]);
		__autofree char *value = read_value(path);

		printf("%s %s\n", names[i], value ?: "(not readable)");
	}
	root_names_free(names, n);
}

static void print_section(const struct section *s)
{
	__autofree char *path = section_path(s);
	__autofree char *text = root_read(path);
	__autofree char *clean = NULL;

	printf("\n== %s ==\n", s->name);
	if (text) {
		clean = text_clean(text, "\n");
		fputs(clean, stdout);
	} else {
		printf("(%s)\n", strerror(errno));
	}
}

static void dump_text(const char *release, const char *kernel,
		      const char *module)
{
	size_t i;

	puts("== version ==");
	print_version(stdout);
	printf("module " MODULE " %s\nkernel %s %s\n", module ?: "not loaded",
	       release, kernel ?: "");
	puts("\n== parameters ==");
	print_parameters();
	for (i = 0; i < ARRAY_SIZE(sections); i++)
		print_section(&sections[i]);
	puts("\n== doctor ==");
	doctor_run(NULL);
}

/**
 * cmd_dump - mcxctl dump
 * @argc: number of operands, 0
 * @argv: none
 *
 * Return: exit status.
 */
int cmd_dump(int argc __unused, char **argv __unused)
{
	__autofree char *module = read_value("/sys/module/" MODULE "/version");
	__autofree char *kernel = read_value("/proc/sys/kernel/version");
	__autofree char *release = kernel_release();

	if (opts.json)
		dump_json(release, kernel, module);
	else
		dump_text(release, kernel, module);
	return EXIT_OK;
}
