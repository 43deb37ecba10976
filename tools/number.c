// SPDX-License-Identifier: GPL-2.0-only
/*
 * Numbers on the command line
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"

/* "K", "M", "G" or nothing: the shift it means, or -1. */
static int suffix_shift(const char *text)
{
	static const char suffixes[] = "KMG";
	const char *at;

	if (!*text)
		return 0;
	at = text[1] ? NULL : strchr(suffixes, *text);
	return at ? (int)(at - suffixes + 1) * 10 : -1;
}

/**
 * parse_unsigned - a number, decimal or 0x..., K, M or G may follow
 * @text: the text
 * @value: result
 *
 * Return: 0, -EINVAL if it is none, -ERANGE if it does not fit.
 */
int parse_unsigned(const char *text, uint64_t *value)
{
	const bool hex = text[0] == '0' && (text[1] | 0x20) == 'x';
	char *end;
	int shift;

	/* strtoull() would take a sign, and make -1 a large number. */
	if (*text == '-' && text[1] >= '0' && text[1] <= '9')
		return -ERANGE;
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*value = strtoull(text, &end, hex ? 16 : 10);
	shift = suffix_shift(end);
	if (shift < 0)
		return -EINVAL;
	if (errno || *value > UINT64_MAX >> shift)
		return -ERANGE;
	*value <<= shift;
	return 0;
}

/**
 * parse_signed - the same with a minus in front, perhaps
 * @text: the text
 * @value: result
 *
 * Return: 0, -EINVAL if it is none, -ERANGE if it does not fit.
 */
int parse_signed(const char *text, int64_t *value)
{
	const uint64_t limit = INT64_MAX;
	bool minus = *text == '-';
	uint64_t size;
	int ret;

	if (minus && (text[1] < '0' || text[1] > '9'))
		return -EINVAL;
	ret = parse_unsigned(text + minus, &size);
	if (ret)
		return ret;
	if (size > limit + minus)
		return -ERANGE;
	*value = minus ? -size : size;
	return 0;
}

/**
 * parse_interval - seconds, above 0 and up to MAX_INTERVAL
 * @text: the text
 * @seconds: result
 *
 * Return: true if it is that.
 */
bool parse_interval(const char *text, double *seconds)
{
	char *end;

	*seconds = strtod(text, &end);
	return end != text && !*end && *seconds > 0 &&
	       *seconds <= MAX_INTERVAL;
}
