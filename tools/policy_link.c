// SPDX-License-Identifier: GPL-2.0-only
/*
 * BPF links of policies: which there are, where they are pinned, who holds
 * them
 *
 * The kernel lists links by their ids. A link of a policy leads to its
 * struct_ops map, whose value is the struct memcg_ext_ops, so it has name and
 * cgroup. (bpftool struct_ops crashes on types of modules, and is not needed.)
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy.h"

#define VALUE_TYPE	"bpf_struct_ops_" OPS_TYPE

/* Where the members that we want are in the value of a map. */
struct layout {
	uint32_t btf_id;
	size_t name;
	size_t cgroup;
};

static long member_offset(const struct btf *btf, int type, const char *name,
			  int *member_type)
{
	const struct btf_type *t = btf__type_by_id(btf, type);
	const struct btf_member *m = btf_members(t);
	int i;

	for (i = 0; i < btf_vlen(t); i++, m++) {
		if (strcmp(btf__name_by_offset(btf, m->name_off), name))
			continue;
		if (member_type)
			*member_type = btf__resolve_type(btf, m->type);
		return m->offset / 8;
	}
	return -1;
}

/* Is the BTF object with this id that of our module? */
static bool is_module_btf(uint32_t id)
{
	struct bpf_btf_info info = {};
	uint32_t len = sizeof(info);
	int fd = bpf_btf_get_fd_by_id(id);
	char name[64] = "";
	int ret;

	if (fd < 0)
		return false;
	info.name = (uintptr_t)name;
	info.name_len = sizeof(name);
	ret = bpf_btf_get_info_by_fd(fd, &info, &len);
	close(fd);
	return !ret && !strcmp(name, MODULE);
}

static bool read_layout(struct layout *l, uint32_t btf_id)
{
	struct btf *base = btf__load_vmlinux_btf();
	struct btf *btf = base ? btf__load_from_kernel_by_id_split(btf_id, base)
			       : NULL;
	int value = btf ? btf__find_by_name_kind(btf, VALUE_TYPE,
						 BTF_KIND_STRUCT) : -1;
	long data = -1, name = -1, cgroup = -1;
	int ops;

	if (value > 0)
		data = member_offset(btf, value, "data", &ops);
	if (data >= 0) {
		name = member_offset(btf, ops, "name", NULL);
		cgroup = member_offset(btf, ops, "cgroup_id", NULL);
	}
	btf__free(btf);
	btf__free(base);
	if (name < 0 || cgroup < 0)
		return false;
	l->btf_id = btf_id;
	l->name = data + name;
	l->cgroup = data + cgroup;
	return true;
}

static void read_value(int map, const struct bpf_map_info *info,
		       const struct layout *layout, struct policy_link *link)
{
	char *value = new_array(1, info->value_size);
	uint32_t zero = 0;

	if (!bpf_map_lookup_elem(map, &zero, value)) {
		link->name = fmt_string("%.*s", OPS_NAME_LEN,
					value + layout->name);
		memcpy(&link->cgroup, value + layout->cgroup,
		       sizeof(link->cgroup));
	}
	free(value);
}

/* Fills in name and cgroup if the map is that of a policy. */
static void read_map(uint32_t id, struct layout *layout,
		     struct policy_link *link)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	int fd = bpf_map_get_fd_by_id(id);

	if (fd < 0)
		return;
	if (!bpf_map_get_info_by_fd(fd, &info, &len) && info.btf_vmlinux_id &&
	    (layout->btf_id == info.btf_vmlinux_id ||
	     (is_module_btf(info.btf_vmlinux_id) &&
	      read_layout(layout, info.btf_vmlinux_id))))
		read_value(fd, &info, layout, link);
	close(fd);
}

static struct policy_link *add_link(struct policy_links *l,
				    const struct policy_link *link)
{
	l->list = grow_array(l->list, l->nr + 1, sizeof(*l->list));
	l->list[l->nr] = *link;
	return &l->list[l->nr++];
}

/* What the kernel calls the file of a link: opened from a pin, and by its id. */
static bool is_link_name(const char *name)
{
	return !strcmp(name, "anon_inode:bpf_link") ||
	       !strcmp(name, "anon_inode:bpf-link");
}

/*
 * The kernel tells of maps and programs, too, when asked for a link, and their
 * types are numbered alike: BPF_LINK_TYPE_STRUCT_OPS is BPF_MAP_TYPE_LRU_HASH.
 */
static bool is_link(int fd)
{
	__autofree char *path = fmt_string("/proc/self/fd/%d", fd);
	char name[32] = "";

	return readlink(path, name, sizeof(name) - 1) > 0 && is_link_name(name);
}

/* The id of a struct_ops link, and its map's, 0 if it was detached. */
static bool link_info(int fd, uint32_t *id, uint32_t *map)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	if (!is_link(fd) || bpf_link_get_info_by_fd(fd, &info, &len) ||
	    info.type != BPF_LINK_TYPE_STRUCT_OPS)
		return false;
	*id = info.id;
	*map = info.struct_ops.map_id;
	return true;
}

static void read_ids(struct policy_links *l)
{
	struct layout layout = {};
	uint32_t id = 0, map;
	int fd;

	while (!bpf_link_get_next_id(id, &id)) {
		struct policy_link link = {};

		fd = bpf_link_get_fd_by_id(id);
		if (fd < 0)
			continue;
		if (link_info(fd, &link.id, &map) && map)
			read_map(map, &layout, &link);
		if (link.name)
			add_link(l, &link);
		close(fd);
	}
}

static struct policy_link *find_id(struct policy_links *l, uint32_t id)
{
	int i;

	for (i = 0; i < l->nr; i++) {
		if (l->list[i].id == id)
			return &l->list[i];
	}
	return NULL;
}

/*
 * A pin in our folder whose link is detached: in another way than by mcxctl
 * unload, which can still remove it.
 */
static void add_stale(struct policy_links *l, const char *path)
{
	struct policy_link link = { .detached = true };

	if (strncmp(path, PIN_DIR "/", strlen(PIN_DIR "/")))
		return;
	link.name = fmt_string("%s", path + strlen(PIN_DIR "/"));
	link.pin = fmt_string("%s", path);
	add_link(l, &link);
}

static struct policy_links *pins_of;

static int visit_pin(const char *path, const struct stat *st __unused,
		     int type, struct FTW *ftw __unused)
{
	struct policy_link *link = NULL;
	uint32_t id, map;
	int fd;

	if (type != FTW_F)
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (link_info(fd, &id, &map)) {
		link = find_id(pins_of, id);
		if (link && !link->pin)
			link->pin = fmt_string("%s", path);
		/* Else of something else, or loaded since we read the ids. */
		if (!link && !map)
			add_stale(pins_of, path);
	}
	close(fd);
	return 0;
}

/* The link that @fdinfo of an open file tells of, 0 if it is none. */
static uint32_t fdinfo_link(const char *fdinfo)
{
	__autofree char *text = root_read(fdinfo);
	const char *at = text ? strstr(text, "link_id:") : NULL;

	return at ? strtoul(at + strlen("link_id:"), NULL, 10) : 0;
}

static void set_owner(struct policy_link *link, const char *pid)
{
	__autofree char *path = fmt_string("/proc/%s/comm", pid);

	link->pid = atoi(pid);
	link->comm = root_read(path);
	if (link->comm)
		link->comm[strcspn(link->comm, "\n")] = '\0';
}

static void visit_process(struct policy_links *l, const char *pid)
{
	__autofree char *dir = fmt_string("/proc/%s/fd", pid);
	DIR *fds = opendir(dir);
	struct policy_link *link;
	struct dirent *d;

	while (fds && (d = readdir(fds))) {
		__autofree char *fdinfo = fmt_string("/proc/%s/fdinfo/%s", pid,
						     d->d_name);
		char what[32] = "";

		if (readlinkat(dirfd(fds), d->d_name, what,
			       sizeof(what) - 1) < 0 ||
		    strncmp(what, "anon_inode:bpf", strlen("anon_inode:bpf")))
			continue;
		link = find_id(l, fdinfo_link(fdinfo));
		if (link && link->id && !link->pin && !link->pid)
			set_owner(link, pid);
	}
	if (fds)
		closedir(fds);
}

/* Whoever holds a link that is not pinned is an open file of some process. */
static void find_owners(struct policy_links *l)
{
	char **names;
	int i, n;

	n = root_subdirs("/proc", &names);
	for (i = 0; i < n; i++) {
		if (names[i][0] >= '1' && names[i][0] <= '9')
			visit_process(l, names[i]);
	}
	root_names_free(names, n);
}

static bool any_without_pin(const struct policy_links *l)
{
	int i;

	for (i = 0; i < l->nr; i++) {
		if (!l->list[i].pin)
			return true;
	}
	return false;
}

/* On a made-up machine pins are plain files, and all there is. */
static void read_fake(struct policy_links *l)
{
	char **names;
	int i, n;

	n = root_files(PIN_DIR, &names);
	for (i = 0; i < n; i++) {
		__autofree char *path = fmt_string(PIN_DIR "/%s", names[i]);

		add_stale(l, path);
		l->list[l->nr - 1].detached = false;
	}
	root_names_free(names, n);
}

/**
 * links_read - find the links of all policies
 * @l: result, empty if we may not look; links_free() it
 */
void links_read(struct policy_links *l)
{
	memset(l, 0, sizeof(*l));
	if (getenv("MCXCTL_ROOT")) {
		read_fake(l);
		return;
	}
	policy_log_start();
	read_ids(l);
	pins_of = l;
	nftw(BPFFS, visit_pin, 16, FTW_PHYS | FTW_MOUNT);
	if (any_without_pin(l))
		find_owners(l);
}

/**
 * links_free - forget what links_read() gave
 * @l: the links
 */
void links_free(struct policy_links *l)
{
	while (l->nr--) {
		free(l->list[l->nr].name);
		free(l->list[l->nr].pin);
		free(l->list[l->nr].comm);
	}
	free(l->list);
	memset(l, 0, sizeof(*l));
}

/**
 * links_find - find the link of an attached policy
 * @l: the links
 * @policy: its line in the module's list
 *
 * Return: the link, or NULL.
 */
const struct policy_link *links_find(const struct policy_links *l,
				     const struct keyed *policy)
{
	const char *name = keyed_get(policy, "name");
	const char *path = keyed_get(policy, "path");
	const struct policy_link *link;
	int i;

	for (i = 0; i < l->nr; i++) {
		link = &l->list[i];
		if (!name || strcmp(link->name, name) || link->detached)
			continue;
		if (!link->id || keyed_is(policy, "cgroup", link->cgroup) ||
		    (!link->cgroup && path && !strcmp(path, "/")))
			return link;
	}
	return NULL;
}
