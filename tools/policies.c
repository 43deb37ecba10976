// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attached policies, as the module tells of them in debugfs
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "debugfs.h"
#include "policy.h"

static const char policies_path[] = DEBUGFS "/policies";

/**
 * policies_read - read the list of attached policies
 * @n: result; nested_free() it, also after a failure
 *
 * Return: 0, or -1 after err_set().
 */
int policies_read(struct nested *n)
{
	if (nested_read(n, policies_path, "id"))
		return debugfs_explain(policies_path, errno);
	return 0;
}

/**
 * policies_find - find one by what no two active ones have in common
 * @n: the list
 * @name: its name
 * @cgroup: id of its cgroup, 0 for the root
 *
 * Return: its line, or NULL.
 */
const struct keyed *policies_find(const struct nested *n, const char *name,
				  uint64_t cgroup)
{
	const struct keyed *k, *found = NULL;
	const char *text, *path;
	size_t i;

	for (i = 0; i < n->nr; i++) {
		k = &n->lines[i];
		text = keyed_get(k, "name");
		path = keyed_get(k, "path");
		if (!text || strcmp(text, name))
			continue;
		/* An ejected one may have a successor, later in the list. */
		if (keyed_is(k, "cgroup", cgroup) ||
		    (!cgroup && path && !strcmp(path, "/")))
			found = k;
	}
	return found;
}

/**
 * policies_on - find the active policy of a cgroup
 * @n: the list
 * @cgroup: id of the cgroup
 *
 * Return: its line, or NULL.
 */
const struct keyed *policies_on(const struct nested *n, uint64_t cgroup)
{
	const char *state;
	size_t i;

	for (i = 0; i < n->nr; i++) {
		state = keyed_get(&n->lines[i], "state");
		if (keyed_is(&n->lines[i], "cgroup", cgroup) && state &&
		    !strcmp(state, "active"))
			return &n->lines[i];
	}
	return NULL;
}

static bool is_octal(const char *s)
{
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' &&
	       s[2] >= '0' && s[2] <= '7';
}

/**
 * unescape - "\040" back to a blank, as in paths of debugfs
 * @text: the text
 *
 * Return: a new string; free() it.
 */
char *unescape(const char *text)
{
	char *clean = fmt_string("%s", text), *to = clean;

	for (; *text; text++) {
		if (*text == '\\' && is_octal(text + 1)) {
			*to++ = (text[1] - '0') << 6 | (text[2] - '0') << 3 |
				(text[3] - '0');
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
	return clean;
}
