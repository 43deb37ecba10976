// SPDX-License-Identifier: GPL-2.0-only
/*
 * Flat keyed files ("KEY VALUE" lines), as cgroup files have them
 *
 * Whatever keys a file has are kept, in its order: a newer module may say
 * more than this tool knows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mcxctl.h"

static size_t count_lines(const char *text)
{
	size_t n = 1;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

static void add_line(struct keyed *k, char *line)
{
	char *value = strchr(line, ' ');

	if (!*line)
		return;
	if (value)
		*value++ = '\0';
	k->pairs[k->nr].key = line;
	k->pairs[k->nr].value = value ?: "";
	k->nr++;
}

/**
 * keyed_parse - take the text of a flat keyed file apart
 * @k: result; keyed_free() it
 * @text: the text; it belongs to @k from now on
 */
void keyed_parse(struct keyed *k, char *text)
{
	char *line, *next = text;

	memset(k, 0, sizeof(*k));
	k->text = text;
	k->pairs = new_array(count_lines(text), sizeof(*k->pairs));
	while ((line = strsep(&next, "\n")))
		add_line(k, line);
}

/**
 * keyed_read - read a flat keyed file
 * @k: result; keyed_free() it, also after a failure
 * @path: absolute path
 *
 * Return: 0, or -1 with errno set.
 */
int keyed_read(struct keyed *k, const char *path)
{
	char *text = root_read(path);

	memset(k, 0, sizeof(*k));
	if (!text)
		return -1;
	keyed_parse(k, text);
	return 0;
}

/**
 * keyed_free - forget what keyed_read() gave
 * @k: the file
 */
void keyed_free(struct keyed *k)
{
	free(k->pairs);
	free(k->text);
	memset(k, 0, sizeof(*k));
}

/**
 * keyed_get - the value of a key
 * @k: the file
 * @key: the key
 *
 * Return: the value, or NULL if there is no such key.
 */
const char *keyed_get(const struct keyed *k, const char *key)
{
	size_t i;

	for (i = 0; i < k->nr; i++) {
		if (!strcmp(k->pairs[i].key, key))
			return k->pairs[i].value;
	}
	return NULL;
}

/**
 * keyed_number - the value of a key, as a number
 * @k: the file
 * @key: the key
 * @value: result
 *
 * Return: false if there is no such key or its value is no number.
 */
bool keyed_number(const struct keyed *k, const char *key, uint64_t *value)
{
	const char *text = keyed_get(k, key);
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && !*end;
}

/**
 * keyed_is - does a key have this value
 * @k: the file
 * @key: the key
 * @value: the value
 *
 * Return: true if it has.
 */
bool keyed_is(const struct keyed *k, const char *key, uint64_t value)
{
	uint64_t found;

	return keyed_number(k, key, &found) && found == value;
}

/**
 * keyed_json - the whole file as a JSON object
 * @k: the file
 *
 * Return: a new object.
 */
struct json_object *keyed_json(const struct keyed *k)
{
	struct json_object *obj = json_object_new_object();
	size_t i;

	for (i = 0; i < k->nr; i++)
		json_object_object_add(obj, k->pairs[i].key,
				       json_value(k->pairs[i].value));
	return obj;
}
