// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy for a later module: it implements a member and sets a field that
 * this one does not have.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct memcg_ext_ops___newer {
	void (*tomorrow)(struct mem_cgroup *memcg);
	void (*level)(struct mem_cgroup *memcg, __u32 level, __u32 old);
	__u64 cgroup_id;
	__u32 flags;
	__u32 color;
	char name[MCX_OPS_NAME_LEN];
};

void MCX_MEMBER(newer_tomorrow, struct mem_cgroup *memcg)
{
}

void MCX_MEMBER(newer_level, struct mem_cgroup *memcg, __u32 level, __u32 old)
{
}

SEC(".struct_ops.link")
struct memcg_ext_ops___newer newer = {
	.tomorrow	= (void *)newer_tomorrow,
	.level		= (void *)newer_level,
	.color		= 3,
	.name		= "newer",
};
