// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl events: what memory.ext.events counts, and when it counts more
 *
 * With --follow the kernel wakes us (POLLPRI), once after each read at least:
 * so each wake-up is followed by a read of that file, and only that.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mcxctl.h"

enum { OPT_FOLLOW = 'f' };

static bool follow;

const struct argp_option events_options[] = {
	{ "follow", OPT_FOLLOW, NULL, 0,
	  "Go on, and print what changes when it changes", 0 },
	{}
};

/**
 * events_parse - options of events
 * @key: the option
 * @arg: its argument
 * @state: of argp
 *
 * Return: 0, or an errno for argp.
 */
error_t events_parse(int key, char *arg __unused,
		     struct argp_state *state __unused)
{
	if (key != OPT_FOLLOW)
		return ARGP_ERR_UNKNOWN;
	follow = true;
	return 0;
}

/* An open memory.ext.events, and what it said last. */
struct source {
	char *cgroup;
	int fd;
	struct keyed last;
};

/* The files, with a poll entry each; the last poll entry is stop_fd(). */
struct sources {
	struct source *list;
	struct pollfd *poll;
	int nr;
};

static void source_close(struct source *src)
{
	close(src->fd);
	free(src->cgroup);
	keyed_free(&src->last);
}

/* Return: 0, or -1 with errno set: the cgroup or the module went away. */
static int source_read(const struct source *src, struct keyed *k)
{
	char *text = NULL;

	memset(k, 0, sizeof(*k));
	if (!lseek(src->fd, 0, SEEK_SET))
		text = root_read_fd(src->fd);
	if (!text)
		return -1;
	keyed_parse(k, text);
	return 0;
}

/* Return: 0, or -1 with errno set. */
static int sources_add(struct sources *all, const char *cgroup)
{
	__autofree char *path = cgroup_file(cgroup, "memory.ext.events");
	struct source src = { .fd = root_open(path) };
	int saved;

	if (src.fd < 0)
		return -1;
	if (source_read(&src, &src.last)) {
		saved = errno;
		close(src.fd);
		errno = saved;
		return -1;
	}
	src.cgroup = fmt_string("%s", cgroup);
	all->list = grow_array(all->list, all->nr + 1, sizeof(*all->list));
	all->list[all->nr++] = src;
	return 0;
}

static void sources_remove(struct sources *all, int i)
{
	source_close(&all->list[i]);
	all->nr--;
	memmove(&all->list[i], &all->list[i + 1],
		(all->nr - i) * sizeof(*all->list));
	memmove(&all->poll[i], &all->poll[i + 1],
		(all->nr + 1 - i) * sizeof(*all->poll));
}

static void sources_free(struct sources *all)
{
	while (all->nr)
		source_close(&all->list[--all->nr]);
	free(all->list);
	free(all->poll);
}

static int add_managed(const char *cgroup, void *arg)
{
	__autofree char *path = cgroup_file(cgroup, "memory.ext.stat");
	struct keyed k;

	/* One without the file, or that went away, has no events to show. */
	if (!keyed_read(&k, path) && keyed_is(&k, "managed", 1))
		sources_add(arg, cgroup);
	keyed_free(&k);
	return 0;
}

/* Return: 0, or -1 after err_set(). */
static int collect(struct sources *all, const char *cgroup)
{
	const char *mount = cgroup_mount();

	if (cgroup)
		return sources_add(all, cgroup) ?
			       cgroup_io_error(cgroup, errno) : 0;
	if (!mount || module_explain())
		return -1;
	cgroup_walk(mount, add_managed, all);
	return 0;
}

static bool changed(const struct keyed *k, size_t i, const struct keyed *old)
{
	const char *before = old ? keyed_get(old, k->pairs[i].key) : NULL;

	return !before || strcmp(before, k->pairs[i].value);
}

static struct json_object *source_json(const struct source *src,
				       const struct keyed *k)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "cgroup",
			       json_object_new_string(src->cgroup));
	json_object_object_add(obj, "events", keyed_json(k));
	return obj;
}

/* One line: what differs from @old, or everything. */
static void print_line(const struct source *src, const struct keyed *k,
		       const struct keyed *old)
{
	__autofree char *shown = cgroup_shown(src->cgroup);
	size_t i;

	if (opts.json) {
		out_json_line(source_json(src, k));
		return;
	}
	fputs(shown, stdout);
	for (i = 0; i < k->nr; i++) {
		if (changed(k, i, old))
			printf(" %s=%s", k->pairs[i].key, k->pairs[i].value);
	}
	putchar('\n');
	fflush(stdout);
}

static void print_all(const struct sources *all)
{
	struct json_object *list;
	int i;

	if (!opts.json || follow) {
		for (i = 0; i < all->nr; i++)
			print_line(&all->list[i], &all->list[i].last, NULL);
		return;
	}
	list = json_object_new_array();
	for (i = 0; i < all->nr; i++)
		json_object_array_add(list, source_json(&all->list[i],
							&all->list[i].last));
	out_json(list);
}

static bool same(const struct keyed *a, const struct keyed *b)
{
	size_t i;

	for (i = 0; i < a->nr; i++) {
		if (changed(a, i, b))
			return false;
	}
	return a->nr == b->nr;
}

/* Return: 0, or -1 with errno set. */
static int update(struct source *src)
{
	struct keyed k;

	if (source_read(src, &k))
		return -1;
	if (!same(&k, &src->last))
		print_line(src, &k, &src->last);
	keyed_free(&src->last);
	src->last = k;
	return 0;
}

static void poll_init(struct sources *all, int stop)
{
	int i;

	all->poll = new_array(all->nr + 1, sizeof(*all->poll));
	for (i = 0; i < all->nr; i++) {
		all->poll[i].fd = all->list[i].fd;
		all->poll[i].events = POLLPRI;
	}
	all->poll[i].fd = stop;
	all->poll[i].events = POLLIN;
}

/* Nobody is woken for a cgroup that goes away: look now and then. */
#define LOOK_MS		1000

/*
 * Read those that were woken, or all of them if time was up.
 * Return: 0, or -1 with errno set, with the last one gone.
 */
static int update_all(struct sources *all, bool woken)
{
	int i;

	for (i = all->nr - 1; i >= 0; i--) {
		if (woken && !all->poll[i].revents)
			continue;
		if (!update(&all->list[i]))
			continue;
		if (all->nr == 1)
			return -1;
		sources_remove(all, i);
	}
	return 0;
}

/* Return: 0 when told to stop, or -1 after err_set(). */
static int follow_all(struct sources *all)
{
	int n, stop = stop_fd();

	if (stop < 0)
		return -1;
	poll_init(all, stop);
	while (!ferror(stdout)) {
		n = poll(all->poll, all->nr + 1, LOOK_MS);
		if (n < 0 && errno != EINTR)
			return err_set("poll: %s", strerror(errno));
		if (n > 0 && all->poll[all->nr].revents)
			return 0;
		if (update_all(all, n > 0))
			return cgroup_io_error(all->list[0].cgroup, errno);
	}
	return 0;
}

/**
 * cmd_events - mcxctl events
 * @argc: number of operands
 * @argv: a cgroup; optional, else all managed ones
 *
 * Return: exit status.
 */
int cmd_events(int argc, char **argv)
{
	__autofree char *cgroup = argc ? cgroup_resolve(argv[0]) : NULL;
	struct sources all = {};
	int status = EXIT_OK;

	if (argc && !cgroup)
		return err_report(argv[0]);
	if (collect(&all, cgroup)) {
		status = err_report(cgroup);
	} else if (!all.nr && !opts.json) {
		note("no cgroup is managed; run: mcxctl enable CGROUP");
	} else {
		print_all(&all);
		if (follow && all.nr && follow_all(&all))
			status = err_report(all.list[0].cgroup);
	}
	sources_free(&all);
	return status;
}
