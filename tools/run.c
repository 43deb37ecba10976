// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl run: attach a policy for as long as we run, and show what it does
 *
 * Nothing is pinned: however we end, the kernel detaches it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "policy.h"

/* How soon we see that it ended, in seconds. */
#define LOOK		0.1

/* Numbers of the module's line that are no counters. */
static bool is_counter(const char *key)
{
	static const char * const others[] = {
		"id", "cgroup", "flags", "timeout_ms",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		if (!strcmp(others[i], key))
			return false;
	}
	return true;
}

/* By the id it was attached with: that of a removed cgroup cannot be asked. */
static const struct keyed *find_line(const struct policy *p,
				     const struct nested *n)
{
	return policies_find(n, policy_name(p), policy_number(p, "cgroup_id"));
}

static void print_line(const struct keyed *k, const struct keyed *before)
{
	struct json_object *obj = json_object_new_object();
	uint64_t value, old;
	const char *blank = "";
	size_t i;

	for (i = 0; i < k->nr; i++) {
		const char *key = k->pairs[i].key;

		if (!is_counter(key) || !keyed_number(k, key, &value))
			continue;
		if (before && keyed_number(before, key, &old) && value >= old)
			value -= old;
		json_object_object_add(obj, key, json_object_new_uint64(value));
		if (!opts.json)
			printf("%s%s=%llu", blank, key,
			       (unsigned long long)value);
		blank = " ";
	}
	if (opts.json) {
		out_json_line(obj);
		return;
	}
	json_object_put(obj);
	putchar('\n');
	fflush(stdout);
}

/* The list of policies, with the line of ours in it. */
struct look {
	struct nested n;
	const struct keyed *line;
};

/* Return: 0, or -1 after err_set(). */
static int look(struct policy *p, struct look *l)
{
	memset(l, 0, sizeof(*l));
	if (policies_read(&l->n))
		return -1;
	l->line = find_line(p, &l->n);
	if (l->line && !p->id)
		keyed_number(l->line, "id", &p->id);
	return 0;
}

/* By its own word, or, as not every policy has one, by the module's. */
static bool has_ended(const struct policy *p, const struct look *l)
{
	const char *state = l->line ? keyed_get(l->line, "state") : NULL;
	struct policy_exit e;

	if (policy_exit_read(p, &e) && e.kind)
		return true;
	return !state || strcmp(state, "active");
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Return: true if we shall stop, or the policy did. */
static bool wait_interval(const struct policy *p, const struct look *l,
			  int stop)
{
	const double end = now() + request.interval;
	double left;

	while ((left = end - now()) > 0) {
		if (stop_wait(stop, left < LOOK ? left : LOOK))
			return true;
		if (has_ended(p, l))
			return true;
	}
	return false;
}

/* Return: 0 when it ended or we shall stop, or -1 after err_set(). */
static int watch(struct policy *p, int stop)
{
	struct look before, l;
	int ret;

	ret = look(p, &before);
	while (!ret && !has_ended(p, &before) &&
	       !wait_interval(p, &before, stop) && !ferror(stdout)) {
		ret = look(p, &l);
		if (!ret && l.line)
			print_line(l.line, before.line);
		nested_free(&before.n);
		before = l;
	}
	nested_free(&before.n);
	return ret;
}

/* It may end by itself while we are about to end it: what it says counts. */
static int finish(struct policy *p)
{
	struct policy_exit e;
	struct keyed last = {};
	bool own;
	int status, i;

	own = policy_exit_read(p, &e);
	if (!own || !e.kind) {
		if (bpf_link__detach(p->link) && errno != EOPNOTSUPP)
			detail("detaching: %s", strerror(errno));
		for (i = 0; own && !e.kind && i < 10; i++) {
			policy_exit_read(p, &e);
			if (!e.kind)
				usleep(LOOK * 1e6);
		}
	}
	if (!e.kind && !policy_exit_last(p, &e, &last))
		e.kind = EXIT_KIND_UNREG;
	status = policy_exit_print(&e);
	keyed_free(&last);
	return status;
}

/**
 * cmd_run - mcxctl run
 * @argc: number of operands, 1
 * @argv: an object file
 *
 * Return: exit status.
 */
int cmd_run(int argc __unused, char **argv)
{
	int stop, status = EXIT_OK;
	struct policy p;

	if (policy_prepare(&p, argv[0], false))
		status = err_report(argv[0]);
	if (!status) {
		stop = stop_fd();
		if (stop < 0 || policy_attach(&p)) {
			status = err_report(argv[0]);
		} else {
			note("%s: attached to %s, until ctrl-c", policy_name(&p),
			     p.cgroup);
			fflush(stdout);
			if (watch(&p, stop))
				status = err_report(argv[0]);
			status = finish(&p) ?: status;
		}
	}
	policy_close(&p);
	return status;
}
