// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies for attack.c: as slow as the verifier lets them be.
 */
#include "mcx.bpf.h"
#include "spin.bpf.h"

char LICENSE[] SEC("license") = "GPL";

__u32 copies;		/* of 4 MiB, in each call */
__u64 nr_calls;

unsigned int MCX_MEMBER(spins_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__u32 i;

	__sync_fetch_and_add(&nr_calls, 1);
	for (i = 0; i < 1000 && i < copies; i++)
		spin_copy();
	return 0;
}

MCX_OPS(spins) = {
	.memcg_charged	= (void *)spins_charged,
	.name		= "spins",
};
