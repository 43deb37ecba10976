// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested keyed files ("NAME KEY=VALUE ..." lines), as debugfs has them
 *
 * As in flat keyed ones, whatever keys there are is kept, in its order.
 */
#include <stdlib.h>
#include <string.h>

#include "nested.h"

static size_t count(const char *text, int c)
{
	size_t n = 1;

	while ((text = strchr(text, c))) {
		text++;
		n++;
	}
	return n;
}

static void add_pair(struct keyed *k, const char *key, const char *value)
{
	k->pairs[k->nr].key = key;
	k->pairs[k->nr].value = value;
	k->nr++;
}

static void parse_line(struct keyed *k, char *line, const char *name)
{
	char *word, *value;

	k->pairs = new_array(count(line, ' '), sizeof(*k->pairs));
	add_pair(k, name, strsep(&line, " "));
	while ((word = strsep(&line, " "))) {
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		if (*word)
			add_pair(k, word, value ?: "");
	}
}

/**
 * nested_read - read a nested keyed file
 * @n: result; nested_free() it, also after a failure
 * @path: absolute path
 * @name: key that the first word of a line gets, which has none
 *
 * Return: 0, or -1 with errno set.
 */
int nested_read(struct nested *n, const char *path, const char *name)
{
	char *line, *next;

	memset(n, 0, sizeof(*n));
	n->text = root_read(path);
	if (!n->text)
		return -1;
	n->lines = new_array(count(n->text, '\n'), sizeof(*n->lines));
	next = n->text;
	while ((line = strsep(&next, "\n"))) {
		if (*line)
			parse_line(&n->lines[n->nr++], line, name);
	}
	return 0;
}

/**
 * nested_free - forget what nested_read() gave
 * @n: the file
 */
void nested_free(struct nested *n)
{
	size_t i;

	for (i = 0; i < n->nr; i++)
		keyed_free(&n->lines[i]);
	free(n->lines);
	free(n->text);
	memset(n, 0, sizeof(*n));
}

/**
 * nested_json - the whole file as a JSON array, one object a line
 * @n: the file
 *
 * Return: a new array.
 */
struct json_object *nested_json(const struct nested *n)
{
	struct json_object *list = json_object_new_array();
	size_t i;

	for (i = 0; i < n->nr; i++)
		json_object_array_add(list, keyed_json(&n->lines[i]));
	return list;
}
