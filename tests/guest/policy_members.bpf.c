// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies for policy_members.c, each with some of the members that tell of cgroups and
 * of what becomes of their memory.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

__u64 nr_charged;	/* pages */
__u64 nr_uncharged;
__u64 largest;

__u64 online[16];	/* ids, in order */
__u64 offline[16];
__u32 nr_online;
__u32 nr_offline;

__u64 low_id;		/* the cgroup to be taken for protected */
__u64 min_id;
__u64 seen_usage;	/* of it, the most */
__u64 nr_asked;

__u32 nr_limits;
__u32 nr_after;		/* changes from MCX_LEVEL_LIMIT to another level */
__u32 nr_same;		/* to the same one */

unsigned int MCX_MEMBER(counts_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	__sync_fetch_and_add(&nr_charged, nr_pages);
	return 0;
}

void MCX_MEMBER(counts_uncharged, struct mem_cgroup *memcg, unsigned int nr_pages)
{
	__sync_fetch_and_add(&nr_uncharged, nr_pages);
	if (nr_pages > largest)
		largest = nr_pages;
}

MCX_OPS(counts) = {
	.memcg_charged	= (void *)counts_charged,
	.memcg_uncharged = (void *)counts_uncharged,
	.name		= "counts",
};

void MCX_MEMBER(tree_online, struct mem_cgroup *memcg)
{
	online[nr_online & 15] = mcx_bpf_memcg_id(memcg);
	nr_online++;
}

void MCX_MEMBER(tree_offline, struct mem_cgroup *memcg)
{
	offline[nr_offline & 15] = mcx_bpf_memcg_id(memcg);
	nr_offline++;
}

MCX_OPS(tree) = {
	.handle_cgroup_online	= (void *)tree_online,
	.handle_cgroup_offline	= (void *)tree_offline,
	.name			= "tree",
};

static bool is_kept(struct mem_cgroup *memcg, __u64 id, unsigned long usage)
{
	if (!id || mcx_bpf_memcg_id(memcg) != id)
		return false;
	if (usage > seen_usage)
		seen_usage = usage;
	__sync_fetch_and_add(&nr_asked, 1);
	return true;
}

bool MCX_MEMBER(keeps_low, struct mem_cgroup *memcg, unsigned long elow,
		unsigned long usage)
{
	return is_kept(memcg, low_id, usage);
}

bool MCX_MEMBER(keeps_min, struct mem_cgroup *memcg, unsigned long emin,
		unsigned long usage)
{
	return is_kept(memcg, min_id, usage);
}

struct mcx_exit_info keeps_end;

void MCX_MEMBER(keeps_exit, const struct mcx_exit_info *info)
{
	bpf_probe_read_kernel(&keeps_end, sizeof(keeps_end), info);
}

MCX_OPS(keeps) = {
	.below_low	= (void *)keeps_low,
	.below_min	= (void *)keeps_min,
	.exit		= (void *)keeps_exit,
	.name		= "keeps",
};

void MCX_MEMBER(hears_level, struct mem_cgroup *memcg, __u32 level, __u32 old)
{
	if (level == MCX_LEVEL_LIMIT)
		nr_limits++;
	if (old == MCX_LEVEL_LIMIT)
		nr_after++;
	if (old == level)
		nr_same++;
}

MCX_OPS(hears) = {
	.level		= (void *)hears_level,
	.name		= "hears",
};
