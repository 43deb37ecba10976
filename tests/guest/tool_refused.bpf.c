// SPDX-License-Identifier: GPL-2.0-only
/* A policy that the verifier refuses: it follows a pointer that may be NULL. */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

unsigned int MCX_MEMBER(refused_memcg_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__u32 key = nr_pages;
	__u64 *number = bpf_map_lookup_elem(&numbers, &key);

	return *number;
}

MCX_OPS(refused) = {
	.memcg_charged	= (void *)refused_memcg_charged,
	.name		= "refused",
};
