/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How tests open, load and attach what is in policy_cases.bpf.c.
 */
#ifndef MCX_TEST_POLICY_CASES_H
#define MCX_TEST_POLICY_CASES_H

#include "lib.h"
#include "libpolicy.h"
#include "ops.h"
#include "policy_cases.skel.h"

/*
 * A fresh copy of the cases, attached nowhere; @cg is where all of them go. Without those
 * that spin, which take long to be verified.
 */
static inline struct policy_cases_bpf *cases_open(const char *cg)
{
	struct policy_cases_bpf *c = policy_cases_bpf__open();
	uint64_t id = cg_id(cg);

	if (!c)
		ktap_skip_all("cannot open the cases");
	c->struct_ops.fixed->cgroup_id = id;
	c->struct_ops.gives_up->cgroup_id = id;
	c->struct_ops.bad_bits->cgroup_id = id;
	c->struct_ops.refuses->cgroup_id = id;
	c->struct_ops.allocates->cgroup_id = id;
	c->struct_ops.defers->cgroup_id = id;
	c->struct_ops.waits->cgroup_id = id;
	c->struct_ops.levels->cgroup_id = id;
	c->struct_ops.over->cgroup_id = id;
	c->struct_ops.slow->cgroup_id = id;
	c->struct_ops.asks->cgroup_id = id;
	c->struct_ops.classes->cgroup_id = id;
	bpf_map__set_autocreate(c->maps.bad_name, false);
	bpf_map__set_autocreate(c->maps.no_name, false);
	bpf_map__set_autocreate(c->maps.bad_flags, false);
	bpf_map__set_autocreate(c->maps.bad_timeout, false);
	bpf_map__set_autocreate(c->maps.bad_both, false);
	bpf_map__set_autocreate(c->maps.asks, false);
	bpf_map__set_autocreate(c->maps.waits, false);
	bpf_map__set_autocreate(c->maps.levels, false);
	bpf_map__set_autocreate(c->maps.slow, false);
	return c;
}

static inline void cases_ready(struct policy_cases_bpf *c)
{
	int err = policy_cases_bpf__load(c);

	if (err) {
		ktap_ok(false, "the cases load (%d)", err);
		exit(ktap_end());
	}
}

static inline struct policy_cases_bpf *cases_load(const char *cg)
{
	struct policy_cases_bpf *c = cases_open(cg);

	cases_ready(c);
	return c;
}

/* And with @name, one of these. */
static inline struct policy_cases_bpf *cases_load_with(const char *cg, const char *name)
{
	struct policy_cases_bpf *c = cases_open(cg);

	bpf_map__set_autocreate(bpf_object__find_map_by_name(c->obj, name), true);
	cases_ready(c);
	return c;
}

/* Nothing but @only. */
static inline void cases_only(struct policy_cases_bpf *c, struct bpf_map *only)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, c->obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			bpf_map__set_autocreate(map, map == only);
	cases_ready(c);
}

static inline struct bpf_link *attach(struct bpf_map *map)
{
	return bpf_map__attach_struct_ops(map);
}

#endif /* MCX_TEST_POLICY_CASES_H */
