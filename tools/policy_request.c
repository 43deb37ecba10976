// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command line of load and run, and everything that is checked and set
 * before a policy goes to the kernel
 */
#include <linux/bpf.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "number.h"
#include "policy.h"

enum {
	OPT_CGROUP = 'c',
	OPT_NAME = 'n',
	OPT_INTERVAL = 'i',
	OPT_SET = 0x100,
	OPT_OVERRIDE,
	OPT_MULTI,
	OPT_PIN,
	OPT_REPLACE,
};

struct policy_request request = { .interval = 1 };

#define POLICY_OPTIONS \
	{ "cgroup", OPT_CGROUP, "CGROUP", 0, \
	  "Attach it to CGROUP and all below (all cgroups, unless the policy says another)", \
	  0 }, \
	{ "name", OPT_NAME, "NAME", 0, "Call it NAME", 0 }, \
	{ "set", OPT_SET, "OPTION=VALUE", 0, \
	  "Set an option of the policy; see: mcxctl show FILE.bpf.o", 0 }, \
	{ "override", OPT_OVERRIDE, NULL, 0, \
	  "Let cgroups below have policies of their own instead", 0 }, \
	{ "multi", OPT_MULTI, NULL, 0, \
	  "Let cgroups below have policies of their own besides", 0 }

const struct argp_option load_options[] = {
	POLICY_OPTIONS,
	{ "pin", OPT_PIN, "PATH", 0,
	  "Pin it there and not at " PIN_DIR "/NAME", 0 },
	{ "replace", OPT_REPLACE, NULL, 0,
	  "Take the place of the policy that CGROUP has, if it has one", 0 },
	{}
};

const struct argp_option run_options[] = {
	POLICY_OPTIONS,
	{ "interval", OPT_INTERVAL, "SECONDS", 0,
	  "Print what changed so often (1)", 0 },
	{}
};

static void add_set(const char *arg, struct argp_state *state)
{
	if (!strchr(arg, '=') || *arg == '=')
		argp_error(state, "'%s' is no OPTION=VALUE", arg);
	request.sets = grow_array(request.sets, request.nr_sets + 1,
				  sizeof(*request.sets));
	request.sets[request.nr_sets++] = arg;
}

static void add_below(uint32_t flag, struct argp_state *state)
{
	if (request.below && request.below != flag)
		argp_error(state, "--override and --multi exclude each other");
	request.below = flag;
}

/**
 * request_parse - options of load and run
 * @key: the option
 * @arg: its argument
 * @state: of argp
 *
 * Return: 0, or an errno for argp.
 */
error_t request_parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case OPT_CGROUP:
		request.cgroup = arg;
		return 0;
	case OPT_NAME:
		request.name = arg;
		return 0;
	case OPT_SET:
		add_set(arg, state);
		return 0;
	case OPT_OVERRIDE:
		add_below(BPF_F_ALLOW_OVERRIDE, state);
		return 0;
	case OPT_MULTI:
		add_below(BPF_F_ALLOW_MULTI, state);
		return 0;
	case OPT_PIN:
		request.pin = arg;
		return 0;
	case OPT_REPLACE:
		request.replace = true;
		return 0;
	case OPT_INTERVAL:
		if (!parse_interval(arg, &request.interval))
			argp_error(state, "bad interval '%s'", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Where it goes: by -c, else as the policy says. */
static int set_cgroup(struct policy *p)
{
	uint64_t id = policy_number(p, "cgroup_id");

	if (!request.cgroup) {
		p->cgroup = cgroup_by_id(id);
		if (p->cgroup)
			return 0;
		return cgroup_mount() ?
			err_set("no cgroup has the id %llu that the policy names; name one: -c CGROUP",
				(unsigned long long)id) : -1;
	}
	p->cgroup = cgroup_resolve(request.cgroup);
	if (!p->cgroup)
		return -1;
	id = root_inode(p->cgroup);
	if (cgroup_explain_policy(p->cgroup)) {
		__autofree char *why = fmt_string("%s", err_text());

		return err_set("%s: %s", p->cgroup, why);
	}
	/* It can be removed at any time, and 0 would mean all cgroups. */
	if (!id)
		return err_set("%s: no such cgroup; run: mkdir %s", p->cgroup,
			       p->cgroup);
	return policy_set_number(p, "cgroup_id", id);
}

/**
 * policy_pin_path - where load pins a policy
 * @p: the policy
 *
 * Return: the path; free() it.
 */
char *policy_pin_path(const struct policy *p)
{
	return request.pin ? fmt_string("%s", request.pin) :
			     fmt_string(PIN_DIR "/%s", policy_name(p));
}

/* libbpf makes PIN_DIR itself; of another path the folder must be there. */
static int check_pin_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	__autofree char *folder = fmt_string("%.*s", slash > path ?
					     (int)(slash - path) : 1,
					     slash ? path : ".");
	__autofree char *real = root_path(folder);
	struct statfs st;

	if (*path != '/')
		return err_set("--pin %s: name an absolute path", path);
	if (statfs(real, &st))
		return err_set("--pin %s: no such folder; run: mkdir -p %s",
			       path, folder);
	if (st.f_type != BPF_FS_MAGIC)
		return err_set("--pin %s: not on bpffs; name a path below "
			       BPFFS, path);
	return 0;
}

/* Else it would be attached, refused by bpffs, and detached again. */
static int check_pin_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	if (!strchr(name, '.'))
		return 0;
	if (request.pin)
		return err_set("--pin %s: bpffs takes no name with a '.'; name another path",
			       path);
	return err_set("bpffs takes no name with a '.', such as '%s'; give it another, -n NAME, or another path, --pin PATH",
		       name);
}

/**
 * policy_pin_free - is there nothing yet where load pins a policy
 * @p: the policy
 *
 * Return: 0, or -1 after err_set().
 */
int policy_pin_free(const struct policy *p)
{
	__autofree char *path = policy_pin_path(p);

	if (!root_exists(path))
		return 0;
	if (request.pin)
		return err_set("%s exists; name another path, or see: mcxctl list",
			       path);
	return err_set("a policy '%s' is loaded; run: mcxctl unload %s (or give this one another name: -n NAME)",
		       policy_name(p), policy_name(p));
}

static int check_pin(const struct policy *p)
{
	__autofree char *path = policy_pin_path(p);

	if (check_pin_name(path) || (request.pin && check_pin_folder(path)))
		return -1;
	/* It may be that of the one that is replaced. */
	return request.replace ? 0 : policy_pin_free(p);
}

static int set_options(struct policy *p)
{
	uint64_t flags;
	int i;

	for (i = 0; i < request.nr_sets; i++) {
		if (option_set(p, request.sets[i]))
			return -1;
	}
	if (!request.below)
		return 0;
	flags = policy_number(p, "flags") &
		~(uint64_t)(BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI);
	return policy_set_number(p, "flags", flags | request.below);
}

/**
 * policy_prepare - do all of the command line but what changes the kernel
 * @p: result; policy_close() it, also after a failure
 * @file: object file
 * @pin: it shall be pinned
 *
 * Return: 0, or -1 after err_set().
 */
int policy_prepare(struct policy *p, const char *file, bool pin)
{
	if (policy_open(p, file) || kernel_ready_for_policies(pin) ||
	    set_cgroup(p) || policy_set_name(p, request.name))
		return -1;
	if (pin && check_pin(p))
		return -1;
	return set_options(p) ?: policy_fit(p);
}
