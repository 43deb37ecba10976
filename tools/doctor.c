// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl doctor: everything that can be wrong, and the command that fixes it
 *
 * Here is what becomes of a finding; the checks are in the other doctor
 * files. A check never stops another: an operator wants the whole list.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

static const char * const words[] = {
	[DOCTOR_OK] = "ok",
	[DOCTOR_WARN] = "warn",
	[DOCTOR_FAIL] = "FAIL",
};

static struct json_object *findings;
static int nr_fails;

static void print_finding(enum verdict verdict, const char *what,
			  const char *text, const char *fix)
{
	__autofree char *line = fmt_string("%-4s  %s: %s%s%s", words[verdict],
					   what, text, fix ? "; run: " : "",
					   fix ?: "");
	__autofree char *clean = text_clean(line, "");

	puts(clean);
}

static void add_finding(enum verdict verdict, const char *what,
			const char *text, const char *fix)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "status",
			       json_object_new_string(words[verdict]));
	json_object_object_add(obj, "what", json_object_new_string(what));
	json_object_object_add(obj, "detail", json_object_new_string(text));
	if (fix)
		json_object_object_add(obj, "fix",
				       json_object_new_string(fix));
	json_object_array_add(findings, obj);
}

/**
 * doctor_report - hand in a finding
 * @verdict: how bad it is
 * @what: what was looked at
 * @fix: command that mends it; NULL if there is nothing to mend, or if the
 *	detail tells already
 * @fmt: printf format of the detail
 */
void doctor_report(enum verdict verdict, const char *what, const char *fix,
		   const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	nr_fails += verdict == DOCTOR_FAIL;
	if (opts.json)
		add_finding(verdict, what, text, fix);
	else if (verdict != DOCTOR_OK || !opts.quiet)
		print_finding(verdict, what, text, fix);
}

/**
 * doctor_run - do all checks
 * @cgroup: this cgroup, too; may be NULL
 *
 * Without --json they are printed as they are made.
 *
 * Return: a new array of the findings with --json, else NULL.
 */
struct json_object *doctor_run(const char *cgroup)
{
	findings = opts.json ? json_object_new_array() : NULL;
	doctor_kernel();
	doctor_module();
	doctor_machine();
	doctor_cgroups(cgroup);
	doctor_build();
	return findings;
}

/**
 * cmd_doctor - mcxctl doctor
 * @argc: number of operands
 * @argv: a cgroup; optional
 *
 * Return: exit status.
 */
int cmd_doctor(int argc, char **argv)
{
	struct json_object *list = doctor_run(argc ? argv[0] : NULL);

	if (list)
		out_json(list);
	return nr_fails ? EXIT_FAILED : EXIT_OK;
}
