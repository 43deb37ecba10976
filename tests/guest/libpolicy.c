// SPDX-License-Identifier: GPL-2.0-only
/* See libpolicy.h. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/libbpf.h>
#include <linux/types.h>

#include "lib.h"
#include "libpolicy.h"
#include "ops.h"
#include "wish.h"

#define INSTALLED	"/mcx/lib/memcg_ext"

uint64_t cg_id(const char *cg)
{
	char path[256];
	struct stat st;

	cg_path(path, sizeof(path), cg, NULL);
	return stat(path, &st) ? 0 : st.st_ino;
}

bool policy_in_effect(const char *cg, const char *line)
{
	char path[256], buf[4096];

	cg_path(path, sizeof(path), cg, "memory.ext.policy");
	return read_file(path, buf, sizeof(buf)) >= 0 && !strcmp(buf, line);
}

bool policy_becomes(const char *cg, const char *line)
{
	int i;

	for (i = 0; i < 300 && !policy_in_effect(cg, line); i++)
		nap_ms(10);
	return i < 300;
}

static struct bpf_map *struct_ops_map(struct bpf_object *obj)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			return map;
	}
	errno = ENOENT;
	return NULL;
}

struct bpf_link *policy_attach(const char *file, const char *cg,
			       struct bpf_object **obj)
{
	struct memcg_ext_ops *ops;
	struct bpf_map *map;
	char path[256];
	size_t size;

	snprintf(path, sizeof(path), INSTALLED "/%s", file);
	*obj = bpf_object__open_file(path, NULL);
	map = *obj ? struct_ops_map(*obj) : NULL;
	if (!map)
		return NULL;
	/* Built from the same header: the layout is ours. */
	ops = bpf_map__initial_value(map, &size);
	ops->cgroup_id = cg_id(cg);
	if (bpf_object__load(*obj))
		return NULL;
	return bpf_map__attach_struct_ops(map);
}

struct bpf_link *policy_link(struct bpf_map *map)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(map);

	if (!link)
		ktap_ok(false, "%s attaches (%s)", bpf_map__name(map),
			strerror(errno));
	return link;
}

int policy_wish(struct wish_request *r, int what, const char *cg,
		unsigned long long bytes)
{
	volatile struct wish_request *now = r;
	int i;

	now->what = what;
	now->result = WISH_NOTHING_YET;
	now->bytes = bytes;
	now->target = cg_id(cg);
	for (i = 0; i < 300 && now->result == WISH_NOTHING_YET; i++)
		nap_ms(10);
	return now->result;
}
