// SPDX-License-Identifier: GPL-2.0-only
/*
 * reads: asks the kernel's kfuncs for memory cgroups, or what stands for them, all there
 * is to ask, each time memory is charged.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define NR_ITEMS	300	/* more than there are, of either kind */

__u64 usage;
__u64 memsw;
__u64 memsw_max;
__u64 high_events;
__u64 bad_event;
__u64 anon;
__u64 file;
__u64 faults;
__u32 nr_states;	/* of -1 to NR_ITEMS, those that are counted */
__u32 nr_events;
__u64 root_id;		/* in init */
__u64 same_id;

static __u64 id_of(struct mem_cgroup *memcg)
{
	return memcg->css.cgroup->kn->id;
}

__s32 MCX_MEMBER(reads_init, struct mem_cgroup *memcg)
{
	struct mem_cgroup *got;

	got = bpf_get_root_mem_cgroup();
	if (got) {
		root_id = id_of(got);
		bpf_put_mem_cgroup(got);
	}
	got = bpf_get_mem_cgroup(&memcg->css);
	if (got) {
		same_id = id_of(got);
		bpf_put_mem_cgroup(got);
	}
	return 0;
}

static void count_items(struct mem_cgroup *memcg)
{
	__u32 states = 0, events = 0;
	int i;

	for (i = -1; i < NR_ITEMS; i++) {
		states += bpf_mem_cgroup_page_state(memcg, i) != -1UL;
		events += bpf_mem_cgroup_vm_events(memcg, i) != -1UL;
	}
	nr_states = states;
	nr_events = events;
}

unsigned int MCX_MEMBER(reads_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	usage = bpf_mem_cgroup_usage(memcg);
	memsw = mcx_bpf_memsw_usage(memcg);
	memsw_max = mcx_bpf_memsw_max(memcg);
	high_events = bpf_mem_cgroup_memory_events(memcg, MEMCG_HIGH);
	bad_event = bpf_mem_cgroup_memory_events(memcg, 1000);
	anon = bpf_mem_cgroup_page_state(memcg, NR_ANON_MAPPED);
	file = bpf_mem_cgroup_page_state(memcg, NR_FILE_PAGES);
	faults = bpf_mem_cgroup_vm_events(memcg, PGFAULT);
	if (!nr_states)
		count_items(memcg);
	return 0;
}

MCX_OPS(reads) = {
	.init		= (void *)reads_init,
	.memcg_charged	= (void *)reads_charged,
	.name		= "reads",
};
