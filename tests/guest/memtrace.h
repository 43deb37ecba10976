/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tracer's two halves, memtrace.bpf.c and ../load/memtrace.c, share.
 * Fixed-size types come from vmlinux.h on one side, linux/types.h on the other.
 */
#ifndef MEMTRACE_H
#define MEMTRACE_H

#define MEMTRACE_TASKS		1024

/* Printed by the cgroup iterator for the cgroup it is pointed at. */
struct memtrace_found {
	__u64 id;
	__u64 counter;		/* address of mem_cgroup.memory */
};

/* One per CPU; all counts are of the cgroup whose usage is sampled. */
struct memtrace_charges {
	__u64 batches;		/* charges of the counter that went through */
	__u64 pages;
	__u64 usage_sum;	/* pages, right after each of these batches */
	__u64 steady;		/* batches since usage first came near the limit */
	__u64 steady_sum;	/* as usage_sum, over these */
	__u64 usage_peak;
	__u64 over;		/* batches after which usage was over the limit */
	__u64 failed;		/* speculative batches of 64 refused */
	__u64 refused;		/* exact charges refused: a limit was hit */
	__u64 forced;		/* charges past the limit check */
	/* With option -r, per call of try_charge_memcg(): */
	__u64 rejected;		/* probes that were refused for good */
	__u64 rejected_max;	/* max events that these raised */
	__u64 forced_max;	/* likewise, calls that ended past the limit */
	__u64 plain_max;	/* likewise, all other calls */
	__u64 plain_refused;	/* exact charges that these others had refused */
};

/* What one task did on behalf of the traced cgroups. */
struct memtrace_task {
	char comm[16];
	__u32 kthread;
	__u32 member;		/* of a traced cgroup */
	__u64 reclaim_calls;
	__u64 reclaim_pages;
	__u64 reclaim_ns;
	__u64 reclaim_cpu_ns;	/* of it, on a CPU */
	__u64 high_calls;	/* over-high handler, entered over the limit */
	__u64 high_sync;	/* of these, called from try_charge_memcg */
	__u64 high_ns;		/* with reclaim and sleep in it */
	__u64 sleeps;		/* in the handler, outside reclaim */
	__u64 sleep_ns;
	__u64 sync_sleeps;	/* of these, with try_charge_memcg as caller */
	__u64 sync_sleep_ns;
};

#endif
