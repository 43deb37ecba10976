// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl stat: what the module counts, per cgroup
 *
 * JSON and the list of one cgroup show every key there is; the two tables
 * have to fit in 80 columns and show the keys of their own lists.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mcxctl.h"
#include "number.h"

#define HEADER_EVERY	20

/* How a column of a table shows its key. */
enum show {
	SHOW_TEXT,	/* as it is */
	SHOW_BYTES,	/* as it is now, scaled by 1024 */
	SHOW_COUNT,	/* grows; with an interval: by how much; by 1000 */
};

struct column {
	const char *key;
	const char *head;
	int width;
	enum show show;
};

/* One line per cgroup. */
static const struct column list_columns[] = {
	{ "usage", "USAGE", 7, SHOW_BYTES },
	{ "limit", "LIMIT", 7, SHOW_BYTES },
	{ "level", "LEVEL", 6, SHOW_TEXT },
	{ "reclaimed_pages", "RECLAIMED", 9, SHOW_COUNT },
	{ "paced", "PACED", 9, SHOW_COUNT },
	{ "stuck", "STUCK", 6, SHOW_COUNT },
};

/* One line per interval; a key that the module does not have is left out. */
static const struct column interval_columns[] = {
	{ "usage", "usage", 5, SHOW_BYTES },
	{ "limit", "limit", 5, SHOW_BYTES },
	{ "level", "level", 5, SHOW_TEXT },
	{ "charged_pages", "charge", 6, SHOW_COUNT },
	{ "reclaimed_pages", "reclm", 6, SHOW_COUNT },
	{ "reclaim_passes", "passes", 6, SHOW_COUNT },
	{ "reclaim_usec", "r-usec", 6, SHOW_COUNT },
	{ "paced", "paced", 6, SHOW_COUNT },
	{ "paced_usec", "p-usec", 6, SHOW_COUNT },
	{ "deferred", "defer", 5, SHOW_COUNT },
	{ "over_high", "o-high", 6, SHOW_COUNT },
	{ "stuck", "stuck", 5, SHOW_COUNT },
};

/* "12345678" -> "12.3M": at most 5 characters and a suffix. */
static char *scaled(uint64_t value, unsigned int base)
{
	static const char suffixes[] = "KMGTPE";
	double v = value;
	int i = -1;

	if (value < (base == 1024 ? 1024 : 100000))
		return fmt_string("%llu", (unsigned long long)value);
	/* 999.95 would round up to a fourth digit before the point. */
	do {
		v /= base;
		i++;
	} while (v >= base - 0.05 && suffixes[i + 1]);
	return fmt_string(v < 99.95 ? "%.1f%c" : "%.0f%c", v, suffixes[i]);
}

/* The growth of a counter; one that went back began anew. */
static uint64_t growth(uint64_t value, const char *key,
		       const struct keyed *before)
{
	uint64_t old;

	if (!before || !keyed_number(before, key, &old))
		return value;
	return value >= old ? value - old : value;
}

static char *cell(const struct column *c, const struct keyed *k,
		  const struct keyed *before)
{
	const char *text = keyed_get(k, c->key);
	uint64_t value;

	if (!text)
		return fmt_string("-");
	if (c->show == SHOW_TEXT || !keyed_number(k, c->key, &value))
		return fmt_string("%.*s", c->width, text);
	if (c->show == SHOW_BYTES)
		return scaled(value, 1024);
	return scaled(growth(value, c->key, before), 1000);
}

/* All of a cgroup, as JSON. */
static struct json_object *cgroup_json(const char *cgroup,
				       const struct keyed *k)
{
	__autofree char *path = cgroup_file(cgroup, "memory.ext.events");
	struct json_object *obj = json_object_new_object();
	struct keyed events;

	json_object_object_add(obj, "cgroup", json_object_new_string(cgroup));
	json_object_object_add(obj, "stat", keyed_json(k));
	if (!keyed_read(&events, path))
		json_object_object_add(obj, "events", keyed_json(&events));
	keyed_free(&events);
	return obj;
}

/* mcxctl stat: every managed cgroup. */

struct listing {
	struct json_object *json;
	int nr;
};

static void print_list_head(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(list_columns); i++)
		printf("%*s ", list_columns[i].width, list_columns[i].head);
	puts("CGROUP");
}

/*
 * The cgroup comes last, without the mount: only a deep one passes column
 * 80, and it is more use whole than cut.
 */
static void print_list_line(const char *cgroup, const struct keyed *k)
{
	__autofree char *shown = cgroup_shown(cgroup);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(list_columns); i++) {
		__autofree char *text = cell(&list_columns[i], k, NULL);

		printf("%*s ", list_columns[i].width, text);
	}
	puts(shown);
}

static int list_one(const char *cgroup, void *arg)
{
	__autofree char *path = cgroup_file(cgroup, "memory.ext.stat");
	struct listing *listing = arg;
	struct keyed k;

	/* No file, or gone since the walk saw it: nothing to list. */
	if (!keyed_read(&k, path) && keyed_is(&k, "managed", 1)) {
		if (listing->json)
			json_object_array_add(listing->json,
					      cgroup_json(cgroup, &k));
		else if (!listing->nr)
			print_list_head();
		if (!listing->json)
			print_list_line(cgroup, &k);
		listing->nr++;
	}
	keyed_free(&k);
	return 0;
}

static int stat_list(void)
{
	const char *mount = cgroup_mount();
	struct listing listing = {};

	if (!mount || module_explain())
		return err_report(NULL);
	if (opts.json)
		listing.json = json_object_new_array();
	cgroup_walk(mount, list_one, &listing);
	if (listing.json)
		out_json(listing.json);
	else if (!listing.nr)
		note("no cgroup is managed; run: mcxctl enable CGROUP");
	return EXIT_OK;
}

/* mcxctl stat CGROUP: every key. */

static void print_keyed(const struct keyed *k, const char *prefix)
{
	size_t i;

	for (i = 0; i < k->nr; i++) {
		__autofree char *key = fmt_string("%s%s", prefix,
						  k->pairs[i].key);

		printf("%-32s %s\n", key, k->pairs[i].value);
	}
}

static void print_one(const char *cgroup, const struct keyed *k)
{
	__autofree char *path = cgroup_file(cgroup, "memory.ext.events");
	struct keyed events;

	print_keyed(k, "");
	if (!keyed_read(&events, path))
		print_keyed(&events, "events.");
	keyed_free(&events);
}

static int stat_one(const char *cgroup)
{
	struct keyed k;
	int status = EXIT_OK;

	if (cgroup_stat(cgroup, &k))
		status = err_report(cgroup);
	else if (opts.json)
		out_json(cgroup_json(cgroup, &k));
	else
		print_one(cgroup, &k);
	keyed_free(&k);
	return status;
}

/* mcxctl stat CGROUP INTERVAL [COUNT]: what changed. */

static bool column_shown(const struct column *c, const struct keyed *k)
{
	return keyed_get(k, c->key);
}

static void print_interval_head(const struct keyed *k)
{
	const struct column *c;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(interval_columns); i++) {
		c = &interval_columns[i];
		if (column_shown(c, k))
			printf("%s%*s", i ? " " : "", c->width, c->head);
	}
	putchar('\n');
}

static void print_interval(const struct keyed *k, const struct keyed *before)
{
	const struct column *c;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(interval_columns); i++) {
		__autofree char *text = NULL;

		c = &interval_columns[i];
		if (!column_shown(c, k))
			continue;
		text = cell(c, k, before);
		printf("%s%*s", i ? " " : "", c->width, text);
	}
	putchar('\n');
	fflush(stdout);
}

/* Numbers that are a state, not a count: a difference would mean nothing. */
static bool is_state(const char *key)
{
	static const char * const states[] = {
		"managed", "attached", "usage", "limit", "level",
		"burst", "boost", "rate", "arrival", "latency_usec",
	};
	const char *mark = strstr(key, "_mark");
	size_t i;

	if (mark && !mark[strlen("_mark")])
		return true;
	for (i = 0; i < ARRAY_SIZE(states); i++) {
		if (!strcmp(states[i], key))
			return true;
	}
	return false;
}

static struct json_object *delta_json(const struct keyed *k,
				      const struct keyed *before)
{
	struct json_object *obj = json_object_new_object();
	const char *key;
	uint64_t value;
	size_t i;

	for (i = 0; i < k->nr; i++) {
		key = k->pairs[i].key;
		if (is_state(key) || !keyed_number(k, key, &value))
			continue;
		value = growth(value, key, before);
		json_object_object_add(obj, key,
				       json_object_new_uint64(value));
	}
	return obj;
}

/* The keys, and so the columns, change when management begins or ends. */
static void show_interval(const char *cgroup, const struct keyed *k,
			  const struct keyed *before, unsigned long line)
{
	struct json_object *obj;

	if (opts.json) {
		obj = cgroup_json(cgroup, k);
		json_object_object_add(obj, "delta", delta_json(k, before));
		out_json_line(obj);
		return;
	}
	if (!opts.quiet && (line % HEADER_EVERY == 0 || k->nr != before->nr))
		print_interval_head(k);
	print_interval(k, before);
}

static void sleep_for(double seconds)
{
	struct timespec left = {
		.tv_sec = seconds,
		.tv_nsec = (seconds - (time_t)seconds) * 1e9,
	};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* @count 0 is for ever. */
static int stat_interval(const char *cgroup, double interval,
			 unsigned long count)
{
	struct keyed before, k;
	unsigned long line;
	int ret;

	ret = cgroup_stat(cgroup, &before);
	for (line = 0; !ret && (!count || line < count); line++) {
		sleep_for(interval);
		ret = cgroup_stat(cgroup, &k);
		if (!ret)
			show_interval(cgroup, &k, &before, line);
		keyed_free(&before);
		before = k;
		/* A reader like head(1) that left ends us, too. */
		if (ferror(stdout))
			break;
	}
	keyed_free(&before);
	return ret ? err_report(cgroup) : EXIT_OK;
}

static bool parse_count(const char *text, unsigned long *count)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*count = strtoul(text, &end, 10);
	return !errno && !*end && *count;
}

/**
 * cmd_stat - mcxctl stat
 * @argc: number of operands
 * @argv: cgroup, interval, count; all optional
 *
 * Return: exit status.
 */
int cmd_stat(int argc, char **argv)
{
	__autofree char *cgroup = NULL;
	unsigned long count = 0;
	double interval = 0;

	if (argc > 1 && !parse_interval(argv[1], &interval))
		return err_usage("bad interval '%s': seconds, above 0 and up to 86400",
				 argv[1]);
	if (argc > 2 && !parse_count(argv[2], &count))
		return err_usage("bad count '%s': a number of 1 or more",
				 argv[2]);
	if (!argc)
		return stat_list();
	cgroup = cgroup_resolve(argv[0]);
	if (!cgroup)
		return err_report(argv[0]);
	return interval ? stat_interval(cgroup, interval, count) :
			  stat_one(cgroup);
}
