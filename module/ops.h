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

/* A kernel that has these itself; see MCX_OPS() in bpf/include/mcx.bpf.h. */
#ifndef MCX_UPSTREAM

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

#endif

/**
 * enum mcx_level - how close a managed cgroup is to its limits; see mark.h
 * @MCX_LEVEL_OK: below the wake mark
 * @MCX_LEVEL_LOW: above it: the workers reclaim
 * @MCX_LEVEL_PACED: above the pacing mark: tasks that charge wait a little
 * @MCX_LEVEL_HELD: above the admission mark: they wait until it is below
 * @MCX_LEVEL_STUCK: a limit is exceeded and cannot be met: next to nothing could
 *	be freed for stuck_ms (memory.ext.reclaim); lasts until it is or can be met
 * @MCX_LEVEL_LIMIT: an event rather: a charge did not fit below memory.max. @level of a
 *	policy is told that, and then what the level is; nothing else says it
 */
enum mcx_level {
	MCX_LEVEL_OK,
	MCX_LEVEL_LOW,
	MCX_LEVEL_PACED,
	MCX_LEVEL_HELD,
	MCX_LEVEL_STUCK,
	MCX_LEVEL_LIMIT,
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
 * @MCX_EXIT_ERROR_STALL: a tick or reclaim was not back within timeout_ms, which the
 *	code is
 * @MCX_EXIT_ERROR_STARVE: a limit could not be met for half of stuck_ms, which the code is,
 *	and could when its below_low and below_min were not asked
 * @MCX_EXIT_ERROR_DELAY: it has tasks of a cgroup wait too long (see policy_delay.c); the
 *	code is how many milliseconds for each batch, in the mean
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
	MCX_EXIT_ERROR_STALL	= 1028,
	MCX_EXIT_ERROR_STARVE	= 1029,
	MCX_EXIT_ERROR_DELAY	= 1030,
};

/**
 * struct mcx_exit_info - why a policy ended, as its exit is told
 * @code: the code of mcx_bpf_error(), the value that was refused, microseconds of slow
 *	calls, timeout_ms, or 0
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
 * All members are optional. None may loop but as the verifier can follow, or start what
 * runs beside it (see verify.c), and none but @tick and @reclaim may sleep. A call of the
 * others is skipped, and counted, in
 * NMI, with interrupts off, and where a policy is running on this CPU already (a
 * program that allocates charges, and would call itself).
 *
 * Of a cgroup the nearest policy is asked, its own or that of an ancestor, and after it
 * those further up that have BPF_F_ALLOW_MULTI, MCX_CHAIN_MAX in all. What one says about
 * @high_policy and @below_min counts for limits at or below its cgroup only; of delays the
 * longest counts, of protection what any of them says, of threads' classes what the one
 * furthest up does. @reclaim is for the nearest alone that has it. None is told what the
 * others said.
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
	 * @memcg_charged: A batch of @nr_pages (64 as a rule, 512 for a huge page) is being
	 * charged to @memcg, the policy's cgroup or one below it, and fits below all its
	 * limits. Of those above @memcg it is not asked. Returns for how many milliseconds
	 * the task shall wait on its way back to user mode, a lower bound, also
	 * below memory.high. The largest of all batches of one entry into the kernel
	 * counts, 2000 (delay_ms=) at most; and a policy that has tasks of a cgroup wait for
	 * more than 500 (delay_mean_ms=) for each batch, in the mean of 10 s of waiting, is
	 * ejected. No task waits that does not go back to user mode
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
	 * workers are not told, but for MCX_LEVEL_LIMIT.
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
	 * Context: whoever detaches, a work item, or the policy's thread. Called once; if
	 * @tick or @reclaim is running, when that is back.
	 */
	void (*exit)(const struct mcx_exit_info *info);

	/**
	 * @cgroup_id: where to attach: the inode number of the cgroup's folder,
	 * inside the caller's cgroup namespace. 0: the root, so all cgroups.
	 */
	__u64 cgroup_id;

	/**
	 * @flags: Whether descendants may have policies of their own. 0: attaching one
	 * below is refused (-EPERM). BPF_F_ALLOW_OVERRIDE: that one is asked instead of
	 * this one. BPF_F_ALLOW_MULTI: this one is asked, too.
	 */
	__u32 flags;

	/**
	 * @timeout_ms: how long one call of @tick or @reclaim may take, 100 to 60000;
	 * 0 means 5000. Beyond it the policy is ejected. Whenever mcx_bpf_reclaim() frees
	 * something that time begins anew.
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

	/**
	 * @tick: Called again and again, first when the policy is attached to @memcg.
	 * Returns in how many milliseconds to call it again: 10 to 60000; 0 means 1000.
	 * While one call runs there is no other, and none of @reclaim.
	 *
	 * Context: a thread of the policy's own, outside of all cgroups; no lock. May
	 * sleep (section struct_ops.s): mcx_bpf_reclaim() does.
	 */
	unsigned int (*tick)(struct mem_cgroup *memcg);

	/**
	 * @reclaim: @memcg, a managed cgroup, is above its wake mark (mark.h), and to
	 * be brought to its target mark @nr_pages are to be freed. The policy may choose
	 * where below @memcg, by mcx_bpf_reclaim(). Returns for how many milliseconds the
	 * workers shall leave the rest to it, too, timeout_ms at most; 0: not at all. It
	 * is asked again after that, as long as more is needed. Above the pacing mark,
	 * and when there is no answer for 20 ms, they reclaim in any case.
	 *
	 * Context: as @tick.
	 * Absent: 0.
	 */
	unsigned int (*reclaim)(struct mem_cgroup *memcg, unsigned long nr_pages);

	/**
	 * @memcg_uncharged: @nr_pages were given back to @memcg: freed, or charged in
	 * advance and not used. The latter the kernel does with interrupts off as a rule:
	 * such calls are skipped and counted, so that what was charged less what was
	 * given back is not quite the usage.
	 *
	 * Context: task or softirq, interrupts on.
	 */
	void (*memcg_uncharged)(struct mem_cgroup *memcg, unsigned int nr_pages);

	/**
	 * @handle_cgroup_online: @memcg, below the policy's cgroup, was made (or was given the
	 * memory controller), some ms ago. Not called for those that were there when
	 * the policy was attached.
	 *
	 * Context: process, a mutex of memcg_ext held; not sleepable.
	 */
	void (*handle_cgroup_online)(struct mem_cgroup *memcg);

	/**
	 * @handle_cgroup_offline: @memcg, below the policy's cgroup, was removed (or has lost
	 * the memory controller). Memory may still be charged there.
	 *
	 * Context: as @handle_cgroup_online.
	 */
	void (*handle_cgroup_offline)(struct mem_cgroup *memcg);

	/**
	 * @below_low: Reclaim for the limit of a cgroup above @memcg, or for the whole machine,
	 * comes by. Shall @memcg be taken for
	 * below its memory.low, whatever that is? @elow: its effective memory.low, @usage:
	 * both in pages. false leaves it as it is. As for memory.low itself, reclaim comes
	 * back for it if there is nothing else, not even a page. A policy that so keeps the
	 * limit of a managed cgroup from being met is ejected, see starve.c.
	 *
	 * Context: whoever reclaims; not sleepable.
	 * Absent: false.
	 */
	bool (*below_low)(struct mem_cgroup *memcg, unsigned long elow,
			  unsigned long usage);

	/**
	 * @below_min: The same for memory.min: if it is true nothing is reclaimed from
	 * @memcg, even if tasks have to be killed for want of it. Not asked about the limit
	 * of a cgroup above the policy's own; and while the machine is out of memory
	 * nobody is asked, see protect.c. Who so keeps a limit from being met is ejected,
	 * too.
	 *
	 * Context: as @below_low.
	 * Absent: false.
	 */
	bool (*below_min)(struct mem_cgroup *memcg, unsigned long emin,
			  unsigned long usage);
};

#endif /* MCX_OPS_H */
