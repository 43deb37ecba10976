// SPDX-License-Identifier: GPL-2.0-only
/*
 * What libbpf and the verifier say, and the sentence in it that matters
 *
 * Warnings are kept, not printed: most follow from the first. With --verbose
 * all is printed as it comes.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

#define TAIL_LINES	40
#define LOG_BEGIN	"-- BEGIN PROG LOAD LOG --\n"
#define LOG_END		"-- END PROG LOAD LOG --"

static char *kept;

static int keep(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char *text, *longer;

	if (vasprintf(&text, fmt, ap) < 0)
		return 0;
	if (opts.verbose)
		fputs(text, stderr);
	if (level == LIBBPF_WARN) {
		longer = fmt_string("%s%s", kept ?: "", text);
		free(kept);
		kept = longer;
	}
	free(text);
	return 0;
}

/**
 * policy_log_start - keep what libbpf says from now on
 */
void policy_log_start(void)
{
	free(kept);
	kept = NULL;
	libbpf_set_print(keep);
}

/**
 * policy_log_has - did libbpf say something
 * @text: what
 *
 * Return: true if it did.
 */
bool policy_log_has(const char *text)
{
	return kept && strstr(kept, text);
}

/* What stands between @before and @after in the log; free() it, or NULL. */
static char *between(const char *before, const char *after)
{
	const char *from = kept ? strstr(kept, before) : NULL;
	const char *to;

	if (!from)
		return NULL;
	from += strlen(before);
	to = strstr(from, after);
	return to ? fmt_string("%.*s", (int)(to - from), from) : NULL;
}

/* The verifier's reason is at the end of its log. */
static void print_tail(const char *log)
{
	const char *from = log + strlen(log);
	int lines = 0;

	while (from > log && lines <= TAIL_LINES) {
		from--;
		lines += *from == '\n';
	}
	if (*from == '\n')
		from++;
	fputs("the verifier's last words (-v prints all of them):\n", stderr);
	fputs(from, stderr);
}

/* libbpf's own last line, without its name. */
static char *last_line(void)
{
	const char *end = kept ? kept + strlen(kept) : NULL, *from;

	if (!end || end == kept)
		return fmt_string("libbpf said nothing");
	if (end[-1] == '\n')
		end--;
	for (from = end; from > kept && from[-1] != '\n'; from--)
		;
	if (!strncmp(from, "libbpf: ", strlen("libbpf: ")))
		from += strlen("libbpf: ");
	return fmt_string("%.*s", (int)(end - from), from);
}

/* A weak one is missed by the verifier only, and only if it is called. */
static char *missing_kfunc(void)
{
	return between("extern (func ksym) '", "': not found in kernel") ?:
	       between("kfunc '", "' is referenced but wasn't resolved");
}

/**
 * policy_load_error - say why bpf_object__load() failed
 * @p: the policy
 * @error: what it returned
 *
 * Return: -1, after err_set().
 */
int policy_load_error(const struct policy *p, int error)
{
	__autofree char *kfunc = missing_kfunc();
	__autofree char *prog = between("prog '", "': BPF program load failed");
	__autofree char *log = between(LOG_BEGIN, LOG_END);
	__autofree char *line = last_line();

	if (kfunc)
		return err_set("calls %s(), which neither this kernel nor the loaded module has; load a newer module, see: mcxctl version",
			       kfunc);
	if (log && !opts.verbose)
		print_tail(log);
	if (prog && log)
		return err_set("the verifier refuses program '%s' (%s); mend it in the source of %s",
			       prog, strerror(-error), p->file);
	if (error == -EPERM)
		return err_set("permission denied, or locked memory used up; run as root");
	return err_set("cannot be loaded: %s (%s); all of it with -v", line,
		       strerror(-error));
}
