// SPDX-License-Identifier: GPL-2.0-only
/*
 * What stands in memory.ext.reclaim: words key=value, in any order; what is not
 * named stays as it is.
 *
 * Locking: none; works on copies.
 */
#include <linux/cpumask.h>
#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/math.h>
#include <linux/overflow.h>
#include <linux/parser.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "conf.h"
#include "feature.h"
#include "overrun.h"

#define MCX_MAX_PERCENT		50
#define MCX_MAX_SWAPPINESS	200
#define MCX_MIN_STUCK_MS	100
#define MCX_MAX_STUCK_MS	600000
/* A batch of pages. */
#define MCX_MIN_OVERRUN		SZ_256K
#define MCX_MAX_OVERRUN		(1024ULL * SZ_1G)

enum {
	OPT_HEADROOM, OPT_SWAPPINESS, OPT_CPU, OPT_CPU_MAX, OPT_STUCK_MS,
	OPT_STUCK, OPT_OVERRUN, OPT_UNKNOWN,
};

static const match_table_t tokens = {
	{ OPT_HEADROOM, "headroom=%s" },
	{ OPT_SWAPPINESS, "swappiness=%s" },
	{ OPT_CPU, "cpu=%s" },
	{ OPT_CPU_MAX, "cpu_max=%s" },
	{ OPT_STUCK_MS, "stuck_ms=%s" },
	{ OPT_STUCK, "stuck=%s" },
	{ OPT_OVERRUN, "overrun=%s" },
	{ OPT_UNKNOWN, NULL },
};

static const char * const stuck_names[] = {
	[MCX_STUCK_NOTIFY] = "notify",
	[MCX_STUCK_MAX] = "max",
	[MCX_STUCK_KILL] = "kill",
};

/*
 * Decimal digits, then K, M, G, T, P, E or nothing. memparse() takes what is no
 * number for 0, takes hexadecimal, and does not see overflow.
 */
static int mcx_parse_bytes(char *value, u64 *bytes)
{
	static const char units[] = "KMGTPE";
	size_t digits = strspn(value, "0123456789");
	unsigned int shift = 0;
	const char *unit;
	u64 n;
	int ret;

	if (value[digits]) {
		unit = strchr(units, toupper(value[digits]));
		if (!unit || value[digits + 1])
			return -EINVAL;
		shift = 10 * (unit - units + 1);
		value[digits] = '\0';
	}
	ret = kstrtou64(value, 10, &n);
	if (ret)
		return ret;
	return check_shl_overflow(n, shift, bytes) ? -ERANGE : 0;
}

static int mcx_parse_headroom(struct mcx_conf *conf, char *value)
{
	unsigned int percent;
	u64 bytes;
	char *end;
	int ret;

	if (!strcmp(value, "auto")) {
		conf->headroom = 0;
		conf->percent = 0;
		return 0;
	}
	end = value + strlen(value) - 1;
	if (*value && *end == '%') {
		*end = '\0';
		if (!isdigit(*value) || kstrtouint(value, 10, &percent))
			return -EINVAL;
		if (!percent || percent > MCX_MAX_PERCENT)
			return -ERANGE;
		conf->headroom = 0;
		conf->percent = percent;
		return 0;
	}
	ret = mcx_parse_bytes(value, &bytes);
	if (ret)
		return ret;
	if (bytes < PAGE_SIZE || bytes > LONG_MAX)
		return -ERANGE;
	conf->headroom = bytes >> PAGE_SHIFT;
	conf->percent = 0;
	return 0;
}

/*
 * The kernel heeds it in proactive reclaim only, which also leaves folios alone
 * that it could not demote to a slower node.
 */
static int mcx_parse_swappiness(struct mcx_conf *conf, const char *value)
{
	unsigned int swappiness;

	if (!strcmp(value, "default")) {
		conf->swappiness = -1;
		return 0;
	}
	if (kstrtouint(value, 10, &swappiness))
		return -EINVAL;
	if (swappiness > MCX_MAX_SWAPPINESS)
		return -ERANGE;
	conf->swappiness = swappiness;
	return 0;
}

static int mcx_parse_cpu(struct mcx_conf *conf, const char *value)
{
	if (!strcmp(value, "system")) {
		conf->cpu = MCX_CPU_SYSTEM;
		return 0;
	}
	if (strcmp(value, "cgroup"))
		return -EINVAL;
	if (!mcx_feature_is_on(MCX_FEAT_CPU))
		return -EOPNOTSUPP;
	conf->cpu = MCX_CPU_CGROUP;
	return 0;
}

/* Percent of one CPU: more than 100 is more than one. */
static int mcx_parse_cpu_max(struct mcx_conf *conf, char *value)
{
	size_t len = strlen(value);
	unsigned int percent;

	if (!strcmp(value, "max")) {
		conf->cpu_max = 0;
		return 0;
	}
	if (!isdigit(*value) || value[len - 1] != '%')
		return -EINVAL;
	value[len - 1] = '\0';
	if (kstrtouint(value, 10, &percent))
		return -EINVAL;
	if (!percent || percent > 100 * num_possible_cpus())
		return -ERANGE;
	conf->cpu_max = percent;
	return 0;
}

static int mcx_parse_stuck_ms(struct mcx_conf *conf, const char *value)
{
	unsigned int ms;

	if (kstrtouint(value, 10, &ms))
		return -EINVAL;
	if (ms < MCX_MIN_STUCK_MS || ms > MCX_MAX_STUCK_MS)
		return -ERANGE;
	conf->stuck_ms = ms;
	return 0;
}

static int mcx_parse_stuck(struct mcx_conf *conf, const char *value)
{
	int action = match_string(stuck_names, ARRAY_SIZE(stuck_names), value);

	if (action < 0)
		return -EINVAL;
	conf->stuck = action;
	return 0;
}

static int mcx_parse_overrun(struct mcx_conf *conf, char *value)
{
	u64 bytes;
	int ret;

	ret = mcx_parse_bytes(value, &bytes);
	if (ret)
		return ret;
	if (bytes && (bytes < MCX_MIN_OVERRUN || bytes > MCX_MAX_OVERRUN))
		return -ERANGE;
	if (bytes && !mcx_overrun_possible())
		return -EOPNOTSUPP;
	conf->overrun = DIV_ROUND_UP(bytes, PAGE_SIZE);
	return 0;
}

static int mcx_parse_word(struct mcx_conf *conf, char *word)
{
	substring_t args[MAX_OPT_ARGS];

	switch (match_token(word, tokens, args)) {
	case OPT_HEADROOM:
		return mcx_parse_headroom(conf, args[0].from);
	case OPT_SWAPPINESS:
		return mcx_parse_swappiness(conf, args[0].from);
	case OPT_CPU:
		return mcx_parse_cpu(conf, args[0].from);
	case OPT_CPU_MAX:
		return mcx_parse_cpu_max(conf, args[0].from);
	case OPT_STUCK_MS:
		return mcx_parse_stuck_ms(conf, args[0].from);
	case OPT_STUCK:
		return mcx_parse_stuck(conf, args[0].from);
	case OPT_OVERRUN:
		return mcx_parse_overrun(conf, args[0].from);
	}
	return -EINVAL;
}

/**
 * mcx_conf_parse() - read a line of memory.ext.reclaim
 * @conf: what is changed; undefined after an error
 * @text: the line; changed, too
 *
 * Context: Any.
 * Return: 0, -EINVAL (no such key, no such value, or nothing at all), -ERANGE, or
 * -EOPNOTSUPP (not on this kernel).
 */
int mcx_conf_parse(struct mcx_conf *conf, char *text)
{
	bool any = false;
	char *word;
	int ret;

	while ((word = strsep(&text, " \t\n"))) {
		if (!*word)
			continue;
		ret = mcx_parse_word(conf, word);
		if (ret)
			return ret;
		any = true;
	}
	return any ? 0 : -EINVAL;
}

/**
 * mcx_conf_show() - print it as it can be written
 * @s: where to
 * @conf: what
 *
 * Context: Process.
 */
void mcx_conf_show(struct seq_file *s, const struct mcx_conf *conf)
{
	if (conf->percent)
		seq_printf(s, "headroom=%u%%", conf->percent);
	else if (conf->headroom)
		seq_printf(s, "headroom=%llu",
			   (u64)conf->headroom << PAGE_SHIFT);
	else
		seq_puts(s, "headroom=auto");
	if (conf->swappiness < 0)
		seq_puts(s, " swappiness=default");
	else
		seq_printf(s, " swappiness=%d", conf->swappiness);
	seq_printf(s, " cpu=%s", conf->cpu == MCX_CPU_CGROUP ? "cgroup" :
							       "system");
	if (conf->cpu_max)
		seq_printf(s, " cpu_max=%u%%", conf->cpu_max);
	else
		seq_puts(s, " cpu_max=max");
	seq_printf(s, " stuck_ms=%u stuck=%s overrun=%llu\n", conf->stuck_ms,
		   stuck_names[conf->stuck], (u64)conf->overrun << PAGE_SHIFT);
}
