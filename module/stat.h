/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_STAT_H
#define MCX_STAT_H

/*
 * Counters of one managed cgroup, per CPU, so that the charge hook can count
 * in any context, NMI included. One line each: the name in memory.ext.stat,
 * and what it tells an operator.
 */
#define MCX_STATS(S)							\
	/* charge batches (of up to 64 pages) seen, refused ones too */	\
	S(batches)							\
	/* pages in those batches */					\
	S(charged_pages)						\
	/* how often the workers were asked to reclaim */		\
	S(wakeups)							\
	/* passes of the workers, and the pages these freed */		\
	S(reclaim_passes)						\
	S(reclaimed_pages)						\
	/* CPU time of the workers for this cgroup */			\
	S(reclaim_usec)							\
	/* passes that freed nothing */					\
	S(reclaim_empty)						\
	/* times cpu_max= made the workers rest */			\
	S(cpu_throttled)						\
	/* returns to user mode that paid for them, and how long */	\
	S(cpu_paid)							\
	S(cpu_paid_usec)						\
	/* inline throttling in the middle of the kernel, put off */	\
	S(deferred)							\
	/* and that was not, since nothing else would stop that task */	\
	S(not_deferred)							\
	/* returns to user mode that were made to wait, and how long */	\
	S(paced)							\
	S(paced_usec)							\
	/* of those, cut short (a signal, the end of being managed) */	\
	S(paced_interrupted)						\
	/* waits that ended, or did not begin, as the task takes little */ \
	S(spared)							\
	/* pages that these reclaimed themselves instead, when a signal came */ \
	S(hurried_pages)						\
	/* and of batch threads */					\
	S(paced_batch)							\
	/* pages that tasks gave back, having been in debt for as many */	\
	S(given_pages)							\
	/* pages that critical threads did not wait for */		\
	S(critical_pages)						\
	/* times that their budget was used up */			\
	S(critical_over)						\
	/* entries in which one did not wait: it owns a futex others want */ \
	S(futex_owner)							\
	/* charges beyond memory.max put off by overrun=, and their pages */ \
	S(granted)							\
	S(granted_pages)						\
	/* of these, to who owns a lock that others wait for */		\
	S(granted_owner)						\
	/* of these pages, reclaimed by tasks on their return to user mode */	\
	S(repaid_pages)							\
	/* returns above memory.high; also counted in memory.events */	\
	S(over_high)							\
	/* times the workers gave up for now: nothing to reclaim */	\
	S(gave_up)							\
	/* of passes that freed nothing: woke the flushers, for dirty pages */ \
	S(flushed)							\
	/* limits found that cannot be met; processes killed for that */	\
	S(stuck)							\
	S(stuck_kill)							\
	/* requests to shed memory */					\
	S(shed)								\
	/* charges that did not fit below memory.ext.memsw.max, each try */	\
	S(memsw_max)							\
	/* times that nothing was left but to kill for it; kills after that */ \
	S(memsw_oom)							\
	S(memsw_oom_kill)						\
	/* batches that policies in effect have a say in; of more pages: per 64 */ \
	S(policy_batches)						\
	/* returns to user mode that a policy delayed, and how long */	\
	S(policy_delays)						\
	S(policy_delay_usec)

#define MCX_STAT_ENUM(name) MCX_STAT_##name,
enum mcx_stat {
	MCX_STATS(MCX_STAT_ENUM)
	MCX_NR_STATS,
};

struct mcx_stat_cpu {
	u64 v[MCX_NR_STATS];
};

#endif /* MCX_STAT_H */
