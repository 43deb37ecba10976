// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl set: write the memory.ext.* files of a cgroup
 *
 * What can be set is what the loaded module has files and keys for: neither is
 * known here. Everything is checked before the first write.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mcxctl.h"

#define PREFIX		"memory.ext."
#define WRITABLE	0222

/* One write: KEY=VALUE as given, and what becomes of it. */
struct setting {
	const char *arg;
	char *file;
	char *text;
};

static char *file_of(const char *cgroup, const char *key, size_t len)
{
	return fmt_string("%s/" PREFIX "%.*s", cgroup, (int)len, key);
}

static bool writable(const char *path)
{
	return root_mode(path) & WRITABLE;
}

/* Is there a word KEY=... in the text of a nested keyed file? */
static bool text_has_key(const char *text, const char *key, size_t len)
{
	const char *at = text;

	while (at && *at) {
		at += strspn(at, " \n");
		if (!strncmp(at, key, len) && at[len] == '=')
			return true;
		at = strpbrk(at, " \n");
	}
	return false;
}

static bool file_has_key(const char *path, const char *key, size_t len)
{
	__autofree char *text = root_read(path);

	return text && len && text_has_key(text, key, len);
}

/* A word of a list of what can be set, after a blank. */
static void add_word(char **list, const char *name, const char *key, size_t len)
{
	char *longer = fmt_string("%s %s%s%.*s", *list, name, len ? "." : "",
				  (int)len, key);

	free(*list);
	*list = longer;
}

static void add_keys(char **list, const char *name, const char *path)
{
	__autofree char *text = root_read(path);
	char *word, *save;
	size_t len;

	for (word = text ? strtok_r(text, " \n", &save) : NULL; word;
	     word = strtok_r(NULL, " \n", &save)) {
		len = strcspn(word, "=");
		if (word[len])
			add_word(list, name, word, len);
	}
}

/* " enable reclaim reclaim.swappiness ...": all that can be set. */
static char *allowed(const char *cgroup)
{
	char *list = fmt_string("%s", "");
	char **names;
	int i, n;

	n = root_files(cgroup, &names);
	for (i = 0; i < n; i++) {
		__autofree char *path = cgroup_file(cgroup, names[i]);
		const char *name = names[i] + strlen(PREFIX);

		if (strncmp(names[i], PREFIX, strlen(PREFIX)) ||
		    !writable(path))
			continue;
		add_word(&list, name, "", 0);
		add_keys(&list, name, path);
	}
	root_names_free(names, n);
	return list;
}

static int explain_key(const char *cgroup, const char *arg, size_t len)
{
	__autofree char *path = file_of(cgroup, arg, len);
	__autofree char *list = NULL;

	/* No file at all has a reason that no other key mends. */
	if (cgroup_explain(cgroup))
		return -1;
	list = allowed(cgroup);
	if (root_exists(path))
		return err_set("'%.*s' is read-only; one of:%s", (int)len, arg,
			       list);
	return err_set("unknown key '%.*s'; one of:%s", (int)len, arg, list);
}

/*
 * KEY is a file, or FILE.KEY: files have dots in their names, too, so a file
 * of that name comes first.
 * Return: 0, or -1 after err_set().
 */
static int prepare(struct setting *s, const char *cgroup, const char *arg)
{
	const char *value = strchr(arg, '=');
	const char *dot = value ? memrchr(arg, '.', value - arg) : NULL;

	s->arg = arg;
	s->file = file_of(cgroup, arg, value - arg);
	if (writable(s->file)) {
		s->text = fmt_string("%s", value + 1);
		return 0;
	}
	if (dot) {
		free(s->file);
		s->file = file_of(cgroup, arg, dot - arg);
		if (writable(s->file) &&
		    file_has_key(s->file, dot + 1, value - dot - 1)) {
			s->text = fmt_string("%s", dot + 1);
			return 0;
		}
	}
	return explain_key(cgroup, arg, value - arg);
}

static void add_list(struct json_object *obj, const char *key,
		     const struct setting *s, int from, int to)
{
	struct json_object *list = json_object_new_array();

	for (; from < to; from++)
		json_object_array_add(list,
				      json_object_new_string(s[from].arg));
	json_object_object_add(obj, key, list);
}

/* @written of @nr were; if not all, err_set() tells why. */
static int report(const char *cgroup, const struct setting *s, int written,
		  int nr)
{
	struct json_object *obj;
	int i;

	if (opts.json) {
		obj = json_object_new_object();
		json_object_object_add(obj, "cgroup",
				       json_object_new_string(cgroup));
		add_list(obj, "written", s, 0, written);
		add_list(obj, "not_written", s, written, nr);
		if (written < nr)
			json_object_object_add(obj, "error",
					       json_object_new_string(err_text()));
		out_json(obj);
		return written < nr ? EXIT_FAILED : EXIT_OK;
	}
	for (i = 0; i < written; i++)
		note("%s: %s", cgroup, s[i].arg);
	return written < nr ? err_report(cgroup) : EXIT_OK;
}

/* Say why the write of @s[@at] failed, and which then were not done. */
static void explain_write(const char *cgroup, const struct setting *s, int at,
			  int nr, int error)
{
	__autofree char *now = root_read(s[at].file);
	__autofree char *rest = fmt_string("%s", "");
	__autofree char *why = NULL;
	int i;

	if (error == EINVAL || error == ERANGE) {
		if (now)
			now[strcspn(now, "\n")] = '\0';
		err_set("the module refuses this value; now it is: %s",
			now ?: "unknown");
	} else {
		cgroup_io_error(cgroup, error);
	}
	why = fmt_string("%s", err_text());
	for (i = at + 1; i < nr; i++)
		add_word(&rest, s[i].arg, "", 0);
	err_set("%s: %s%s%s", s[at].arg, why,
		*rest ? "; so not written either:" : "", rest);
}

static int write_all(const char *cgroup, const struct setting *s, int nr)
{
	int i;

	for (i = 0; i < nr; i++) {
		if (root_write(s[i].file, s[i].text)) {
			explain_write(cgroup, s, i, nr, errno);
			break;
		}
		detail("wrote %s to %s", s[i].text, s[i].file);
	}
	return report(cgroup, s, i, nr);
}

static void free_settings(struct setting *s, int nr)
{
	while (nr--) {
		free(s[nr].file);
		free(s[nr].text);
	}
	free(s);
}

static int check_words(int argc, char **argv)
{
	int i;

	for (i = 0; i < argc; i++) {
		if (!strchr(argv[i], '=') || *argv[i] == '=')
			return err_usage("'%s' is no KEY=VALUE", argv[i]);
		if (!strchr(argv[i], '=')[1])
			return err_usage("'%s' has no value", argv[i]);
	}
	return EXIT_OK;
}

/**
 * cmd_set - mcxctl set
 * @argc: number of operands
 * @argv: a cgroup, and KEY=VALUE words
 *
 * Return: exit status.
 */
int cmd_set(int argc, char **argv)
{
	int i, nr = argc - 1, status = check_words(nr, argv + 1);
	__autofree char *cgroup = cgroup_resolve(argv[0]);
	struct setting *s;

	if (status)
		return status;
	if (!cgroup)
		return err_report(argv[0]);
	s = new_array(nr, sizeof(*s));
	for (i = 0; i < nr && !status; i++) {
		if (prepare(&s[i], cgroup, argv[i + 1]))
			status = err_report(cgroup);
	}
	if (!status)
		status = write_all(cgroup, s, nr);
	free_settings(s, nr);
	return status;
}
