// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies for attack.c: as slow as the verifier lets them be.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

__u32 loops;		/* of bpf_loop(), in each call */
__u64 sink;
__u64 nr_calls;

static long spin(__u32 i, void *arg)
{
	sink += i;
	return 0;
}

unsigned int MCX_MEMBER(spins_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	nr_calls++;
	bpf_loop(loops, spin, 0, 0);
	return 0;
}

MCX_OPS(spins) = {
	.memcg_charged	= (void *)spins_charged,
	.name		= "spins",
};
