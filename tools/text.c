// SPDX-License-Identifier: GPL-2.0-only
/*
 * Words of others, made fit for a terminal and for JSON
 *
 * Whoever may make a cgroup or a process picks its name, of any bytes: some
 * are orders to the terminal of whoever looks, some are no UTF-8, and so no
 * JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "mcxctl.h"

#define BAD	UINT32_MAX
/* What one byte can become: "\177" is four, "\u007f" six. */
#define GROWTH	6

/* What the first byte of a character says of its length, 0 if it is none. */
static int length(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >> 5 == 0x06)
		return 2;
	if (first >> 4 == 0x0e)
		return 3;
	return first >> 3 == 0x1e ? 4 : 0;
}

/* The character at @text and its length, or BAD: one byte that is no UTF-8. */
static uint32_t decode(const char *text, int *len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *s = (const unsigned char *)text;
	int i, n = length(*s);
	uint32_t c = n > 1 ? *s & (0x7f >> n) : *s;

	*len = 1;
	for (i = 1; i < n; i++) {
		if (s[i] >> 6 != 0x02)
			return BAD;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (!n || c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return BAD;
	*len = n;
	return c;
}

/* Control characters, and those that change the order of the text. */
static bool is_order(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/**
 * text_clean - make text fit for a terminal
 * @text: the text
 * @keep: control characters that may stay; else they become "\033" and the
 *	like, and so do bytes that are no UTF-8
 *
 * Return: a new string; free() it.
 */
char *text_clean(const char *text, const char *keep)
{
	char *clean = new_array(GROWTH, strlen(text) + 1), *to = clean;
	uint32_t c;
	int i, len;

	for (; *text; text += len) {
		c = decode(text, &len);
		if (c != BAD && (!is_order(c) || (c < 0x80 && strchr(keep, c))))
			to = mempcpy(to, text, len);
		else
			for (i = 0; i < len; i++)
				to += sprintf(to, "\\%03o",
					      (unsigned char)text[i]);
	}
	return clean;
}

/**
 * json_clean - make a JSON document fit for a terminal and for every reader
 * @json: the document, as json-c has it
 *
 * json-c itself escapes what is below a blank, and only that.
 *
 * Return: a new string; free() it.
 */
char *json_clean(const char *json)
{
	char *clean = new_array(GROWTH, strlen(json) + 1), *to = clean;
	uint32_t c;
	int len;

	for (; *json; json += len) {
		c = decode(json, &len);
		if (c == BAD)
			to = mempcpy(to, "\xef\xbf\xbd", 3);
		else if (c >= 0x20 && is_order(c))
			to += sprintf(to, "\\u%04x", c);
		else
			to = mempcpy(to, json, len);
	}
	return clean;
}
