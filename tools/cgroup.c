// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cgroups: their names, their files, and why a file is not there
 *
 * A cgroup is named by its absolute path under the cgroup2 mount, without a
 * slash at the end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mcxctl.h"

static const char threaded[] =
	"a threaded cgroup has no memory controller; name its domain, a cgroup above it";
static const char below_threaded[] =
	"below a threaded cgroup, no memory controller; name its domain, a cgroup above it";
static const char no_controller[] =
	"cgroup2 lacks the memory controller; boot with cgroup_no_v1=memory, no cgroup_disable";
static const char not_permitted[] =
	"permission denied; run as root (CAP_SYS_RESOURCE), or name a cgroup below a managed one";
static const char busy[] =
	"busy, another change is under way; wait and run it again, or see: dmesg | grep " MODULE;

/**
 * cgroup_mount - where cgroup2 is mounted
 *
 * Return: the mount point, or NULL after err_set().
 */
const char *cgroup_mount(void)
{
	static char *mount;

	if (!mount)
		mount = mount_of_type("cgroup2");
	if (!mount)
		err_set("cgroup2 is not mounted; run: mount -t cgroup2 none /sys/fs/cgroup");
	return mount;
}

/* The part of an absolute path below @top, or NULL if it is not below. */
static const char *path_below(const char *top, const char *path)
{
	size_t len = strlen(top);

	if (strncmp(path, top, len) || (path[len] && path[len] != '/'))
		return NULL;
	return path + len;
}

/* "a//b/./c/" -> "/a/b/c"; ".." could leave the tree and is refused. */
static char *normalise(const char *path)
{
	__autofree char *copy = fmt_string("%s", path);
	char *clean = fmt_string("%s", "");
	char *part, *save, *longer;

	for (part = strtok_r(copy, "/", &save); part;
	     part = strtok_r(NULL, "/", &save)) {
		if (!strcmp(part, "."))
			continue;
		if (!strcmp(part, "..")) {
			free(clean);
			return NULL;
		}
		longer = fmt_string("%s/%s", clean, part);
		free(clean);
		clean = longer;
	}
	return clean;
}

/**
 * cgroup_resolve - find the cgroup an operand means
 * @arg: absolute path, path relative to the mount, or a line of
 *	/proc/PID/cgroup ("/system.slice/a.service")
 *
 * Return: its path (free() it), or NULL after err_set().
 */
char *cgroup_resolve(const char *arg)
{
	const char *mount = cgroup_mount();
	__autofree char *path = NULL;
	const char *below;

	if (!mount)
		return NULL;
	if (!*arg) {
		err_set("empty name of a cgroup; name one below %s", mount);
		return NULL;
	}
	path = normalise(arg);
	if (!path) {
		err_set("'..' in the name of a cgroup; name it by its path below %s",
			mount);
		return NULL;
	}
	below = *arg == '/' ? path_below(mount, path) : NULL;
	return fmt_string("%s%s", mount, below ?: path);
}

/**
 * cgroup_file - the path of a file of a cgroup
 * @cgroup: the cgroup
 * @file: name of the file
 *
 * Return: the path; free() it.
 */
char *cgroup_file(const char *cgroup, const char *file)
{
	return fmt_string("%s/%s", cgroup, file);
}

/**
 * cgroup_shown - a cgroup in a column of a table
 * @cgroup: the cgroup
 *
 * Return: its path below the mount, fit for a terminal; free() it.
 */
char *cgroup_shown(const char *cgroup)
{
	const char *below = cgroup + strlen(cgroup_mount());

	/* The topmost one of a cgroup namespace can be managed, too. */
	return text_clean(*below ? below + 1 : "/", "");
}

/**
 * cgroup_parent - the parent of a cgroup
 * @cgroup: the cgroup
 *
 * Return: its path (free() it), or NULL for the topmost one.
 */
char *cgroup_parent(const char *cgroup)
{
	const char *mount = cgroup_mount();

	if (!mount || !strcmp(mount, cgroup))
		return NULL;
	return fmt_string("%.*s", (int)(strrchr(cgroup, '/') - cgroup), cgroup);
}

/**
 * cgroup_has_word - is a word in a file of a cgroup
 * @cgroup: the cgroup
 * @file: name of the file
 * @word: the word
 *
 * Return: true if it is.
 */
bool cgroup_has_word(const char *cgroup, const char *file, const char *word)
{
	__autofree char *path = cgroup_file(cgroup, file);
	__autofree char *text = root_read(path);
	char *token, *save;

	if (!text)
		return false;
	for (token = strtok_r(text, "\n ", &save); token;
	     token = strtok_r(NULL, "\n ", &save)) {
		if (!strcmp(token, word))
			return true;
	}
	return false;
}

/**
 * cgroup_memory_command - how to give a cgroup the memory controller
 * @cgroup: the cgroup
 *
 * The controller is handed down level by level, from the top.
 *
 * Return: a command (free() it), or NULL if nothing is missing.
 */
char *cgroup_memory_command(const char *cgroup)
{
	__autofree char *parent = cgroup_parent(cgroup);
	char *above, *both;

	if (!parent)
		return NULL;
	above = cgroup_memory_command(parent);
	if (cgroup_has_word(parent, "cgroup.subtree_control", "memory"))
		return above;
	both = fmt_string("%s%secho +memory > %s/cgroup.subtree_control",
			  above ?: "", above ? " && " : "", parent);
	free(above);
	return both;
}

static int explain_missing(const char *cgroup)
{
	__autofree char *parent = cgroup_parent(cgroup);

	if (!parent)
		return err_set("the cgroup2 mount is gone; run: mount -t cgroup2 none %s",
			       cgroup);
	if (root_is_dir(parent))
		return err_set("no such cgroup; run: mkdir %s", cgroup);
	return err_set("no such cgroup, nor its parent; see: systemd-cgls");
}

/* The root cgroup of the machine is the only one without a cgroup.type. */
static bool is_root(const char *cgroup)
{
	__autofree char *path = cgroup_file(cgroup, "cgroup.type");
	__autofree char *parent = cgroup_parent(cgroup);

	return !parent && !root_exists(path);
}

static int explain_type(const char *cgroup)
{
	__autofree char *path = cgroup_file(cgroup, "cgroup.type");
	__autofree char *type = root_read(path);

	if (!type || strncmp(type, "domain", strlen("domain")))
		return err_set("%s", threaded);
	if (!strncmp(type, "domain invalid", strlen("domain invalid")))
		return err_set("%s", below_threaded);
	return 0;
}

static int explain_controller(const char *cgroup)
{
	__autofree char *command = cgroup_memory_command(cgroup);

	if (!cgroup_has_word(cgroup_mount(), "cgroup.controllers", "memory"))
		return err_set("%s", no_controller);
	if (command)
		return err_set("no memory controller in this cgroup; run: %s",
			       command);
	return 0;
}

static int explain_no_cgroup(const char *cgroup)
{
	__autofree char *procs = cgroup_file(cgroup, "cgroup.procs");

	if (!root_is_dir(cgroup))
		return explain_missing(cgroup);
	if (!root_exists(procs))
		return err_set("not a cgroup; name a directory below %s",
			       cgroup_mount());
	return 0;
}

/**
 * cgroup_explain_policy - say why a cgroup cannot have a policy
 * @cgroup: the cgroup
 *
 * Return: 0 if it can, else -1 after err_set().
 */
int cgroup_explain_policy(const char *cgroup)
{
	if (explain_no_cgroup(cgroup))
		return -1;
	if (!is_root(cgroup) && explain_type(cgroup))
		return -1;
	return explain_controller(cgroup);
}

/**
 * cgroup_explain - say why a cgroup has no memory.ext files
 * @cgroup: the cgroup
 *
 * Return: 0 if it has them, else -1 after err_set().
 */
int cgroup_explain(const char *cgroup)
{
	__autofree char *enable = cgroup_file(cgroup, "memory.ext.enable");

	if (explain_no_cgroup(cgroup))
		return -1;
	if (is_root(cgroup))
		return err_set("the root cgroup has no limits; name a cgroup below it");
	if (explain_type(cgroup) || module_explain())
		return -1;
	if (root_exists(enable))
		return 0;
	if (explain_controller(cgroup))
		return -1;
	return err_set("module " MODULE " made no files here; see: mcxctl features");
}

/**
 * cgroup_io_error - say why a memory.ext file cannot be read or written
 * @cgroup: the cgroup
 * @error: errno
 *
 * Return: -1, after err_set().
 */
int cgroup_io_error(const char *cgroup, int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		if (cgroup_explain(cgroup))
			return -1;
		/* It came in between, or the file is of a newer module. */
		return err_set("the file was not there, but is now; run it again");
	case EACCES:
	case EPERM:
		return err_set("%s", not_permitted);
	case EROFS:
		return err_set("cgroup2 is mounted read-only; run: mount -o remount,rw %s",
			       cgroup_mount());
	case EBUSY:
		return err_set("%s", busy);
	case ENODEV:
		return err_set("the cgroup or module " MODULE " went away; run: mcxctl doctor %s",
			       cgroup);
	case EOPNOTSUPP:
		return err_set("not supported on this kernel; see: mcxctl features");
	default:
		return err_set("%s; see: dmesg | grep " MODULE,
			       strerror(error));
	}
}

/**
 * cgroup_stat - read memory.ext.stat
 * @cgroup: the cgroup
 * @k: result; keyed_free() it, also after a failure
 *
 * Return: 0, or -1 after err_set().
 */
int cgroup_stat(const char *cgroup, struct keyed *k)
{
	__autofree char *path = cgroup_file(cgroup, "memory.ext.stat");

	if (keyed_read(k, path))
		return cgroup_io_error(cgroup, errno);
	return 0;
}

/**
 * cgroup_walk - visit a cgroup and all below it, parents first, by name
 * @top: where to begin
 * @visit: called for each; anything but 0 ends the walk
 * @arg: for @visit
 *
 * Return: what the last @visit returned.
 */
int cgroup_walk(const char *top, int (*visit)(const char *cgroup, void *arg),
		void *arg)
{
	int i, n, ret = visit(top, arg);
	char **names;

	if (ret)
		return ret;
	n = root_subdirs(top, &names);
	for (i = 0; i < n && !ret; i++) {
		__autofree char *cgroup = cgroup_file(top, names[i]);

		ret = cgroup_walk(cgroup, visit, arg);
	}
	root_names_free(names, n);
	return ret;
}

struct by_id {
	uint64_t id;
	char *found;
};

static int match_id(const char *cgroup, void *arg)
{
	struct by_id *by = arg;

	if (root_inode(cgroup) != by->id)
		return 0;
	by->found = fmt_string("%s", cgroup);
	return 1;
}

/**
 * cgroup_by_id - find a cgroup by its id
 * @id: the id; 0 is the root
 *
 * Return: its path (free() it), or NULL if there is none.
 */
char *cgroup_by_id(uint64_t id)
{
	struct by_id by = { .id = id };
	const char *mount = cgroup_mount();

	if (!mount)
		return NULL;
	if (!id)
		return fmt_string("%s", mount);
	cgroup_walk(mount, match_id, &by);
	return by.found;
}

static int match_managed(const char *cgroup, void *arg __unused)
{
	__autofree char *path = cgroup_file(cgroup, "memory.ext.stat");
	struct keyed k;
	int managed;

	managed = !keyed_read(&k, path) && keyed_is(&k, "managed", 1);
	keyed_free(&k);
	return managed;
}

/**
 * cgroup_any_managed - is a cgroup, or any below it, managed
 * @top: the cgroup
 *
 * Return: true if one is.
 */
bool cgroup_any_managed(const char *top)
{
	return cgroup_walk(top, match_managed, NULL);
}
