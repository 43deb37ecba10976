// SPDX-License-Identifier: GPL-2.0-only
/*
 * Output: results and errors, as text or as JSON
 *
 * With --json standard output carries exactly one JSON document, errors
 * included, so that a script parses one stream; without it errors go to
 * standard error. Warnings are text on standard error in both.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mcxctl.h"

#define JSON_PRETTY	(JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_PRETTY | \
			 JSON_C_TO_STRING_NOSLASHESCAPE)
#define JSON_LINE	(JSON_C_TO_STRING_PLAIN | \
			 JSON_C_TO_STRING_NOSLASHESCAPE)

static char last_error[4096];
static const char *command_name;

/**
 * out_command - name the command that messages come from
 * @name: word of the command table
 */
void out_command(const char *name)
{
	command_name = name;
}

/**
 * err_set - keep a sentence about what went wrong and how to mend it
 * @fmt: printf format, no newline
 *
 * Return: -1, so that callers can return it.
 */
int err_set(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(last_error, sizeof(last_error), fmt, ap);
	va_end(ap);
	return -1;
}

/**
 * err_text - the sentence of the last err_set()
 *
 * Return: the text, valid until the next err_set().
 */
const char *err_text(void)
{
	return last_error;
}

static void print_prefix(void)
{
	/* Keep the order of the two streams when they end in one file. */
	fflush(stdout);
	fputs("mcxctl: ", stderr);
	if (command_name)
		fprintf(stderr, "%s: ", command_name);
}

/* The rest of a message, with the newline. */
static void print_rest(FILE *to, const char *fmt, va_list ap)
{
	__autofree char *clean = NULL;
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		text = fmt_string("%s", fmt);
	clean = text_clean(text, "");
	free(text);
	fprintf(to, "%s\n", clean);
}

/**
 * err_report - show the last error
 * @subject: what it is about, such as a cgroup; may be NULL
 *
 * Return: EXIT_FAILED.
 */
int err_report(const char *subject)
{
	__autofree char *text = fmt_string("%s%s%s", subject ?: "",
					   subject ? ": " : "", last_error);
	__autofree char *clean = text_clean(text, "");
	struct json_object *obj;

	if (opts.json) {
		obj = json_object_new_object();
		json_object_object_add(obj, "error",
				       json_object_new_string(text));
		out_json(obj);
	} else {
		print_prefix();
		fprintf(stderr, "%s\n", clean);
	}
	return EXIT_FAILED;
}

/**
 * err_usage - refuse a command line
 * @fmt: printf format, no newline
 *
 * Return: EXIT_USAGE.
 */
int err_usage(const char *fmt, ...)
{
	__autofree char *help = fmt_string("mcxctl help%s%s",
					   command_name ? " " : "",
					   command_name ?: "");
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set("%s; see: %s", text, help);
	err_report(NULL);
	return EXIT_USAGE;
}

/**
 * warn - say what is not as asked for, but no failure
 * @fmt: printf format, no newline
 */
void warn(const char *fmt, ...)
{
	va_list ap;

	print_prefix();
	fputs("warning: ", stderr);
	va_start(ap, fmt);
	print_rest(stderr, fmt, ap);
	va_end(ap);
}

/**
 * note - say what was done, unless --quiet or --json
 * @fmt: printf format, no newline
 */
void note(const char *fmt, ...)
{
	va_list ap;

	if (opts.quiet || opts.json)
		return;
	va_start(ap, fmt);
	print_rest(stdout, fmt, ap);
	va_end(ap);
}

/**
 * detail - say what is being done, only with --verbose
 * @fmt: printf format, no newline
 */
void detail(const char *fmt, ...)
{
	va_list ap;

	if (!opts.verbose)
		return;
	print_prefix();
	va_start(ap, fmt);
	print_rest(stderr, fmt, ap);
	va_end(ap);
}

static void print_json(struct json_object *obj, int style)
{
	const char *text = json_object_to_json_string_ext(obj, style);
	__autofree char *clean = json_clean(text);

	puts(clean);
}

/**
 * out_json - print a document and drop it
 * @obj: the document
 */
void out_json(struct json_object *obj)
{
	print_json(obj, JSON_PRETTY);
	json_object_put(obj);
}

/**
 * out_json_line - print a document on one line, at once, and drop it
 * @obj: the document
 */
void out_json_line(struct json_object *obj)
{
	print_json(obj, JSON_LINE);
	fflush(stdout);
	json_object_put(obj);
}

/**
 * json_value - a number where the text is one, else a string
 * @text: the text
 *
 * Return: a new JSON value.
 */
struct json_object *json_value(const char *text)
{
	unsigned long long value;
	char *end;

	/* strtoull() takes signs and blanks; the kernel prints neither. */
	if (*text >= '0' && *text <= '9') {
		errno = 0;
		value = strtoull(text, &end, 10);
		if (!errno && !*end)
			return json_object_new_uint64(value);
	}
	return json_object_new_string(text);
}

/**
 * out_finish - make sure that the output arrived
 * @status: exit status so far
 *
 * Return: @status, or EXIT_FAILED if standard output could not be written.
 */
int out_finish(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	err_set("cannot write the output: %s", strerror(errno));
	print_prefix();
	fprintf(stderr, "%s\n", last_error);
	return EXIT_FAILED;
}
