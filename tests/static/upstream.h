/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What vmlinux.h will have where the kernel has upstream's own type: as its RFC of
 * 2026-09-21 declares it. For tests/static/upstream.
 */
enum bpf_memcg_high_request {
	BPF_MEMCG_HIGH_NO_OPINION	= 0,
	BPF_MEMCG_HIGH_DEFER_INLINE	= 1U << 0,
};

struct bpf_memcg_ctx {
	struct mem_cgroup *memcg;
	struct mem_cgroup *memcg_over_limit;
	struct task_struct *task;
	u64 cgroup_id;
	u64 over_limit_cgroup_id;
	u64 nr_pages_over_high;
	u32 gfp_flags;
} __attribute__((preserve_access_index));

struct bpf_memcg_ops {
	u32 (*high_policy)(const struct bpf_memcg_ctx *ctx);
};
