/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a BPF policy and the module have in common: the struct_ops type, what is
 * passed to its members, and what they return.
 *
 * The one definition of both: the module includes it after <linux/types.h>, a
 * policy after "vmlinux.h" (see bpf/include/mcx.bpf.h). Where upstream has a
 * name, it is the same name with the same meaning. Members are only ever added
 * at the end; none changes its meaning.
 */
#ifndef MCX_OPS_H
#define MCX_OPS_H

struct mem_cgroup;
struct task_struct;

#define MCX_OPS_NAME_LEN	16
#define MCX_EXIT_MSG_LEN	128

/**
 * enum bpf_memcg_high_request - what high_policy asks for; upstream's names
 * @BPF_MEMCG_HIGH_NO_OPINION: nothing
 * @BPF_MEMCG_HIGH_DEFER_INLINE: no reclaim and no sleep in the middle of the
 *	kernel: the debt is kept, and paid on the way back to user mode
 */
enum bpf_memcg_high_request {
	BPF_MEMCG_HIGH_NO_OPINION	= 0,
	BPF_MEMCG_HIGH_DEFER_INLINE	= 1U << 0,
};

/**
 * struct bpf_memcg_ctx - what high_policy is told; upstream's layout
 * @memcg: cgroup of the task that is over a limit
 * @memcg_over_limit: the nearest at or above it with usage above memory.high,
 *	NULL if there is none (any more)
 * @task: that task, which is current
 * @cgroup_id: id of @memcg, as bpf_get_current_cgroup_id() has it
 * @over_limit_cgroup_id: id of @memcg_over_limit, 0 if that is NULL
 * @nr_pages_over_high: what the task charged above memory.high since it last
 *	paid, in pages
 * @gfp_flags: of the charge
 *
 * Read-only, and valid during the call only. Kfuncs take the pointers;
 * @memcg_over_limit has to be compared with NULL before it is used.
 */
struct bpf_memcg_ctx {
	struct mem_cgroup *memcg;
	struct mem_cgroup *memcg_over_limit;
	struct task_struct *task;
	__u64 cgroup_id;
	__u64 over_limit_cgroup_id;
	__u64 nr_pages_over_high;
	__u32 gfp_flags;
};

/**
 * enum mcx_level - how close a managed cgroup is to its limits; see mark.h
 * @MCX_LEVEL_OK: below the wake mark
 * @MCX_LEVEL_LOW: above it: the workers reclaim
 * @MCX_LEVEL_PACED: above the pacing mark: tasks that charge wait a little
 * @MCX_LEVEL_HELD: above the admission mark: they wait until it is below
 * @MCX_LEVEL_STUCK: a limit is exceeded and cannot be met: next to nothing could
 *	be freed for stuck_ms (memory.ext.reclaim); lasts until it is or can be met
 */
enum mcx_level {
	MCX_LEVEL_OK,
	MCX_LEVEL_LOW,
	MCX_LEVEL_PACED,
	MCX_LEVEL_HELD,
	MCX_LEVEL_STUCK,
};

/**
 * enum mcx_class - how a thread is throttled; see memory.ext.threads
 * @MCX_CLASS_CRITICAL: not at all, within a budget of its cgroup
 * @MCX_CLASS_NORMAL: as mark.h says
 * @MCX_CLASS_BATCH: before all others, and for longer
 * @MCX_NR_CLASSES: how many there are
 */
enum mcx_class {
	MCX_CLASS_CRITICAL,
	MCX_CLASS_NORMAL,
	MCX_CLASS_BATCH,
	MCX_NR_CLASSES,
};

/**
 * enum mcx_exit_kind - why a policy ended
 * @MCX_EXIT_NONE: it has not
 * @MCX_EXIT_UNREG: its link was closed or detached, or has got another policy
 * @MCX_EXIT_CGROUP: its cgroup was removed, or lost the memory controller
 * @MCX_EXIT_ADMIN: somebody had all policies ejected (eject=, sysrq)
 * @MCX_EXIT_ERROR: from here on it was ejected for an error
 * @MCX_EXIT_ERROR_BPF: it said so itself, by mcx_bpf_error()
 * @MCX_EXIT_ERROR_VALUE: a member returned a value that means nothing
 * @MCX_EXIT_ERROR_SLOW: its calls take too long (see watch.c); the code is how many
 *	microseconds the last one did, or all in the mean, or the slow ones in a window
 */
enum mcx_exit_kind {
	MCX_EXIT_NONE		= 0,
	MCX_EXIT_UNREG		= 64,
	MCX_EXIT_CGROUP		= 65,
	MCX_EXIT_ADMIN		= 66,
	MCX_EXIT_ERROR		= 1024,
	MCX_EXIT_ERROR_BPF	= 1025,
	MCX_EXIT_ERROR_VALUE	= 1026,
	MCX_EXIT_ERROR_SLOW	= 1027,
};

/**
 * struct mcx_exit_info - why a policy ended, as its exit is told
 * @code: the code of mcx_bpf_error(), the value that was refused, microseconds of slow
 *	calls, or 0
 * @kind: enum mcx_exit_kind
 * @msg: a sentence for people
 */
struct mcx_exit_info {
	__s64 code;
	__u32 kind;
	char msg[MCX_EXIT_MSG_LEN];
};

/**
 * struct memcg_ext_ops - a policy for a cgroup and all below it
 *
 * All members are optional. None may sleep, loop but as the verifier can follow, or start
 * what runs beside it (see verify.c). A call is skipped, and counted, in
 * NMI, with interrupts off, and where a policy is running on this CPU already (a
 * program that allocates charges, and would call itself). Of a descendant with a policy of
 * its own only that one is asked (BPF_F_ALLOW_OVERRIDE).
 */
struct memcg_ext_ops {
	/**
	 * @high_policy: What shall become of a task above memory.high that is about
	 * to be reclaimed for and put to sleep in the middle of the kernel, with
	 * whatever locks it holds? The meaning is upstream's: bits of &enum
	 * bpf_memcg_high_request. In a cgroup that memcg_ext manages that is
	 * deferred in any case; in others this defers it.
	 *
	 * Context: task, in try_charge_memcg(); locks of any kind that can be
	 * held while sleeping.
	 * Absent: no opinion. Unknown bits: the policy is ejected.
	 */
	__u32 (*high_policy)(const struct bpf_memcg_ctx *ctx);

	/**
	 * @memcg_charged: A batch of @nr_pages (64 as a rule) is being charged to
	 * @memcg and fits below all its limits. Returns for how many milliseconds
	 * the task shall wait on its way back to user mode, a lower bound, also
	 * below memory.high. The largest of all batches of one entry into the kernel
	 * counts, 2000 at most. No task waits that does not go back to user mode
	 * (kernel threads, interrupts), nor one in neither @memcg nor a cgroup above
	 * or below it (a debugger that writes into memory charged there).
	 *
	 * Context: task or softirq, interrupts on.
	 * Absent: 0.
	 */
	unsigned int (*memcg_charged)(struct mem_cgroup *memcg,
				      unsigned int nr_pages);

	/**
	 * @level: The level of @memcg, a managed cgroup, changed from @old to @level
	 * (&enum mcx_level). Levels that come and go between two looks of the
	 * workers are not told.
	 *
	 * Context: a worker of memcg_ext, no lock held, but not sleepable.
	 */
	void (*level)(struct mem_cgroup *memcg, __u32 level, __u32 old);

	/**
	 * @init: The policy is about to be attached to @memcg; no other member was
	 * called yet. Returns 0, or a negative errno: attaching fails with it.
	 * mcx_bpf_error() does nothing here.
	 *
	 * Context: whoever attaches. Called once.
	 */
	__s32 (*init)(struct mem_cgroup *memcg);

	/**
	 * @exit: The policy ended as @info says; no other member is called any
	 * more. Not called if @init failed, or was not called. If @init succeeded and
	 * the cgroup went meanwhile, that is the end, too.
	 *
	 * Context: whoever detaches, or a work item. Called once.
	 */
	void (*exit)(const struct mcx_exit_info *info);

	/**
	 * @cgroup_id: where to attach: the inode number of the cgroup's folder,
	 * inside the caller's cgroup namespace. 0: the root, so all cgroups.
	 */
	__u64 cgroup_id;

	/**
	 * @flags: 0, or BPF_F_ALLOW_OVERRIDE: descendants may have policies of their
	 * own. Without it attaching one below is refused (-EPERM).
	 */
	__u32 flags;

	/**
	 * @timeout_ms: how long a cgroup may stay over its limit because of this
	 * policy, 100 to 60000; 0 means 5000. Checked and shown; no watchdog acts on
	 * it yet.
	 */
	__u32 timeout_ms;

	/** @name: letters, digits, '_' and '.'; what lists and messages say. */
	char name[MCX_OPS_NAME_LEN];

	/**
	 * @memcg_nr_pages_over_high: By how many pages shall @memcg be taken to be
	 * above its memory.high, though it may be below? Asked at each batch, of the
	 * cgroup that is charged and of those above it up to the policy's own. The
	 * kernel's formula (mem_find_max_overage() and calculate_high_delay()) turns
	 * the largest, in relation to memory.high, into a delay, which counts as one
	 * of @memcg_charged; so where there is no memory.high there is none.
	 *
	 * Context: as @memcg_charged.
	 * Absent: 0.
	 */
	unsigned int (*memcg_nr_pages_over_high)(struct mem_cgroup *memcg);
};

#endif /* MCX_OPS_H */
