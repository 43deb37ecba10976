// SPDX-License-Identifier: GPL-2.0-only
/* A policy that calls a kfunc which no module has. */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

extern __u32 mcx_bpf_of_tomorrow(struct mem_cgroup *memcg) __ksym;

unsigned int MCX_MEMBER(kfunc_memcg_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	return mcx_bpf_of_tomorrow(memcg);
}

MCX_OPS(kfunc) = {
	.memcg_charged	= (void *)kfunc_memcg_charged,
	.name		= "kfunc",
};
