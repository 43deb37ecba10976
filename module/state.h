/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_STATE_H
#define MCX_STATE_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/memcontrol.h>
#include <linux/page_counter.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "ops.h"
#include "stat.h"

struct bpf_link;
struct ftrace_regs;

/**
 * enum mcx_enable - what is written to memory.ext.enable
 * @MCX_ENABLE_NO: not managed, unless an ancestor says subtree
 * @MCX_ENABLE_SELF: this cgroup's own limits, for all charges of its subtree
 * @MCX_ENABLE_SUBTREE: and the own limits of every descendant, now and later
 */
enum mcx_enable {
	MCX_ENABLE_NO,
	MCX_ENABLE_SELF,
	MCX_ENABLE_SUBTREE,
};

/**
 * enum mcx_memcg_flag - bits of mcx_memcg.flags
 * @MCX_MANAGED: limits of this cgroup are enforced by us
 * @MCX_DYING: offline, or unmanaged for good: hands off, the state goes soon
 * @MCX_RESET: the controller was disabled here (css_reset)
 * @MCX_RECLAIMING: workers have it queued, serve it, or will retry
 * @MCX_IS_EMPTY: the last passes freed nothing: nothing to reclaim just now
 * @MCX_IS_STUCK: and so for long above the limit: it cannot be met; see stuck.c
 * @MCX_HIGH_OFF: memory.high does not count for us meanwhile (stuck=max)
 * @MCX_ACTING: a worker is doing what was decided
 * @MCX_KILLED: somebody was killed, and its memory is not back yet
 * @MCX_NO_VICTIM: there was nobody who may be killed
 * @MCX_NOTIFY: pollers of memory.ext.events are about to be woken
 * @MCX_TELLING: somebody is telling the policy of the level
 * @MCX_ASKED: the policy is being asked to reclaim
 * @MCX_DECLINED: it left that to the workers, since they began
 * @MCX_NEWS: no walk has met it yet
 * @MCX_KEPT_MIN: a policy said last that it is below its memory.min
 * @MCX_KEPT_LOW: likewise for memory.low
 * @MCX_COUNT: its swap cache is about to be counted; memsw.c
 */
enum mcx_memcg_flag {
	MCX_MANAGED,
	MCX_DYING,
	MCX_RESET,
	MCX_RECLAIMING,
	MCX_IS_EMPTY,
	MCX_IS_STUCK,
	MCX_HIGH_OFF,
	MCX_ACTING,
	MCX_KILLED,
	MCX_NO_VICTIM,
	MCX_NOTIFY,
	MCX_TELLING,
	MCX_ASKED,
	MCX_DECLINED,
	MCX_NEWS,
	MCX_KEPT_MIN,
	MCX_KEPT_LOW,
	MCX_COUNT,
};

/**
 * struct mcx_policy_stat - how often a policy's members were called, per CPU
 * @high_policy: that member
 * @memcg_charged: that member
 * @level: that member
 * @over_high: memcg_nr_pages_over_high
 * @memcg_uncharged: that member
 * @below_low: that member
 * @below_min: that member
 * @cgroups: handle_cgroup_online and handle_cgroup_offline
 * @tick: that member
 * @reclaim: that member
 * @skipped: calls that were not made: NMI, interrupts off, or a policy was
 *	running on that CPU
 * @slow_all: calls that took too long
 * @began: when the one that is running did, 0: it is not timed; see watch.c, as for
 *	what follows
 * @since: begin of the window that is looked at
 * @bound: what a call may take in it, in ns
 * @nsec: what those calls in it took that were not slow
 * @slow_nsec: and the slow ones
 * @calls: how many there were of both
 * @slow: how many of them were slow
 * @slow_windows: windows in a row, before this, in which slow calls took too much
 */
struct mcx_policy_stat {
	u64 high_policy;
	u64 memcg_charged;
	u64 level;
	u64 over_high;
	u64 memcg_uncharged;
	u64 below_low;
	u64 below_min;
	u64 cgroups;
	u64 tick;
	u64 reclaim;
	u64 skipped;
	u64 slow_all;
	u64 began;
	u64 since;
	u64 bound;
	u64 nsec;
	u64 slow_nsec;
	u32 calls;
	u32 slow;
	u32 slow_windows;
};

/**
 * struct mcx_runner - what runs the members of a policy that may sleep; see runner.c
 * @task: the thread, NULL: it needs none
 * @wait: where it waits for something to do
 * @stall: runs while a member does
 * @lock: guards the next two
 * @asked: cgroups that it is asked to reclaim from
 * @closed: nobody may ask any more
 * @tick_at: jiffies, next tick; this and the next of the thread alone
 * @began: jiffies when the member that runs did
 */
struct mcx_runner {
	struct task_struct *task;
	wait_queue_head_t wait;
	struct timer_list stall;
	spinlock_t lock;	/* @asked, @closed */
	struct list_head asked;
	bool closed;
	unsigned long tick_at;
	unsigned long began;
};

/* So many policies may be in effect for one cgroup. */
#define MCX_CHAIN_MAX	8

/**
 * struct mcx_policy - an attached policy
 * @ops: its members; valid until its link is gone
 * @link: that link, which tells apart two that attach the same members; never
 *	dereferenced. NULL once it is gone; policy mutex
 * @dead: enum mcx_exit_kind; whoever sets it from 0 fills @exit. Not called any
 *	more from then on
 * @stat: counters
 * @at: object of the cgroup it is attached to, NULL once that is gone; state
 *	mutex
 * @above: the next one that is asked after it, see effect.h; state mutex for writing, RCU
 *	for reading
 * @chain: a number that it and those above have, until one of them is another; state
 *	mutex
 * @above_chain: that of @above
 * @settled: cgroups that come from now on are news to it
 * @delays: it had somebody wait, since it was attached
 * @id: number of its own, for people and tools
 * @cgroup_id: where it was attached
 * @ejects: how often all were ejected by hand before it was made
 * @exit: why it ended
 * @exit_task: name of the task that was running then; likewise
 * @exit_pid: its number, in the initial PID namespace
 * @began: jiffies when it was made
 * @kick: @end_work cannot be queued from where a policy runs
 * @end_work: calls exit
 * @all: in the list of all; policy mutex for writing, RCU for reading
 * @runner: runs tick and reclaim
 * @parts: who has to let go of it before its exit is called: who ends it, its runner
 * @over: its exit was called
 * @ref: its link, and its runner
 */
struct mcx_policy {
	const struct memcg_ext_ops *ops;
	const struct bpf_link *link;
	u32 dead;
	struct mcx_policy_stat __percpu *stat;

	struct mcx_memcg *at;
	struct mcx_policy __rcu *above;
	u64 chain;
	u64 above_chain;
	bool settled;
	bool delays;
	u64 id;
	u64 cgroup_id;
	int ejects;
	struct mcx_exit_info exit;
	char exit_task[TASK_COMM_LEN];
	pid_t exit_pid;
	unsigned long began;
	struct irq_work kick;
	struct work_struct end_work;
	struct list_head all;

	struct mcx_runner runner;
	atomic_t parts;
	struct completion over;
	refcount_t ref;
};

/**
 * struct mcx_policy_delay - how long tasks have waited for policies; see policy_delay.c
 * @nsec: in all, since it was looked at last
 * @waits: how many waits that were
 * @told: what MCX_STAT_policy_batches was then
 * @longest: the longest wait, in ns
 * @by: id of the policy that wanted it
 */
struct mcx_policy_delay {
	u64 nsec;
	u64 waits;
	u64 told;
	u64 longest;
	u64 by;
};

/**
 * enum mcx_cpu_payer - whose CPU time it is that the workers spend
 * @MCX_CPU_SYSTEM: nobody's but their own
 * @MCX_CPU_CGROUP: the cgroup's that they reclaim from; see cpu.h
 */
enum mcx_cpu_payer {
	MCX_CPU_SYSTEM,
	MCX_CPU_CGROUP,
};

/**
 * enum mcx_stuck_action - what to do when a limit cannot be met
 * @MCX_STUCK_NOTIFY: say so, and pace on gently
 * @MCX_STUCK_MAX: and do not enforce memory.high until it can be met
 * @MCX_STUCK_KILL: or kill who uses most
 */
enum mcx_stuck_action {
	MCX_STUCK_NOTIFY,
	MCX_STUCK_MAX,
	MCX_STUCK_KILL,
};

/**
 * struct mcx_conf - what memory.ext.reclaim says
 * @headroom: pages; 0: not given
 * @percent: the same as percent of the limit; 0: not given
 * @overrun: pages that may be charged above memory.max until they are reclaimed
 * @swappiness: 0 to 200 for reclaim by the workers; -1: the system's
 * @cpu: enum mcx_cpu_payer
 * @cpu_max: percent of one CPU that the workers may use; 0: as much as they need
 * @stuck_ms: a limit that is not met for so long without progress cannot be
 * @stuck: what to do then
 *
 * Compared byte by byte: no holes.
 */
struct mcx_conf {
	unsigned long headroom;
	unsigned long overrun;
	unsigned int percent;
	int swappiness;
	unsigned int cpu;
	unsigned int cpu_max;
	unsigned int stuck_ms;
	enum mcx_stuck_action stuck;
};

#define MCX_CONF_DEFAULT	((struct mcx_conf) {	\
	.swappiness = -1, .stuck_ms = 5000,		\
})

/**
 * struct mcx_stuck - how a limit comes to be known as one that cannot be met
 * @open: a window is open
 * @tries: passes made in it
 * @excused: windows in a row that were over without a decision, since most of the
 *	excess was dirty
 * @freed: pages that all workers freed in it
 * @time: jiffies in it in which they tried
 * @last: jiffies of the last look
 * @since: jiffies since when there has been nothing to reclaim above the limit;
 *	0: there is, or it is not exceeded
 * @low: the lowest usage at the begin of a window, in pages, of those in a row
 *	that were over without a decision; 0: none yet
 * @dirty: pages to be written and being written, when they were counted last
 * @flushed: jiffies when they were counted last
 * @killed: jiffies when somebody was killed last
 * @checked: jiffies when it was last looked whether that one is gone
 * @impatient: it is not, after all that time: the next may be killed
 *
 * Guarded by the run queue lock up to @low; @since is read without. The rest are
 * single words, written by workers after a pass.
 */
struct mcx_stuck {
	bool open;
	unsigned int tries;
	unsigned int excused;
	unsigned long freed;
	unsigned long time;
	unsigned long last;
	unsigned long since;
	unsigned long low;
	unsigned long dirty;
	unsigned long flushed;
	unsigned long killed;
	unsigned long checked;
	bool impatient;
};

/* By which member a policy has something spared. */
enum mcx_spared { MCX_SPARED_MIN, MCX_SPARED_LOW, MCX_NR_SPARED };

/**
 * struct mcx_starve - whether policies keep a limit from being met; see starve.c
 * @lock: guards the next two
 * @spared: by each member, the most pages of one cgroup that a policy had spared from it
 *	in this window
 * @by: id of that policy
 * @tries: for how many halves of a window none has been asked, this one included; 0: they
 *	are
 * @windows: begun since that was tried last
 * @acquitted: how often in a row it was for nothing
 * @suspect: id of the policy that would be at fault
 * @step: changes when policies are asked again, or no more
 * @freed: pages freed by passes that began since they are not
 * @usage: pages, when that began
 * @enough: so many freed prove it
 */
struct mcx_starve {
	raw_spinlock_t lock;	/* @spared, @by: taken where a policy is asked */
	unsigned long spared[MCX_NR_SPARED];
	u64 by[MCX_NR_SPARED];
	unsigned int tries;
	unsigned int windows;
	unsigned int acquitted;
	u64 suspect;
	unsigned int step;
	unsigned long freed;
	unsigned long usage;
	unsigned long enough;
};

/**
 * struct mcx_cpu - CPU time of the workers for a cgroup; see cpu.h
 * @debt: nanoseconds that its tasks have to pay, 0 to MCX_CPU_DEBT_MAX
 * @free_at: ktime from which on cpu_max= lets it be reclaimed from
 * @share: how much of a CPU its tasks get when they want all of one, in 1/1024,
 *	smoothed; @lock for writing
 * @lock: guards the sample that @share comes from
 * @pid: task that is looked at
 * @ran: CPU time it had
 * @waited: time it had waited for a CPU
 * @at: when that was
 */
struct mcx_cpu {
	atomic64_t debt;
	atomic64_t free_at;
	unsigned int share;
	spinlock_t lock;	/* @pid and what follows, @share */
	pid_t pid;
	u64 ran;
	u64 waited;
	u64 at;
};

/**
 * struct mcx_budget - what critical threads may charge without waiting; budget.c
 * @lock: guards the rest
 * @left: pages; the last one to have some may have taken more
 * @part: as large as the one for critical threads, divided by that
 * @out: it was used up, and has not been half full since
 */
struct mcx_budget {
	spinlock_t lock;	/* all members */
	int left;
	u16 part;
	bool out;
};

/**
 * struct mcx_averted - kills that were averted for a while; see memsw_hook.c
 * @at: jiffies of the last; 0: none, or it was not averted any longer
 * @spent: jiffies between those that belong together, of each pause MCX_AVERT_APART at most
 * @from: jiffies of the first with @swap
 * @swap: pages in swap at the last
 */
struct mcx_averted {
	unsigned long at;
	unsigned long spent;
	unsigned long from;
	unsigned long swap;
};

/**
 * struct mcx_memsw - one limit for memory and swap; see memsw.c
 * @given: pages that are configured; PAGE_COUNTER_MAX: none; state mutex
 * @limit: pages that are enforced; likewise
 * @owned: memory.max is read and written by way of us
 * @fresh: but somebody may still write it who began before that
 * @relaxed: a grace period has begun since there is no limit
 * @max: what the user wrote there, while it is owned
 * @base: pages of swap cache when it was counted, and @gone of before
 * @counted: and @gone of after
 * @gone: pages that left the swap cache
 * @counted_at: jiffies
 * @peak: pages, the most that was seen of memory and swap
 * @no_swap_at: jiffies when somebody reclaimed for it without swapping; 0: nobody did
 * @averted: kills at the limit
 * @killer: the task that has the kernel kill, or NULL; never followed
 * @killed: what came of the last time
 * @resets: how often the controller went, and all limits with it
 * @tell: it was met, which pollers are not told yet
 * @dirty_max: pages; the memory.max by which the kernel bounds dirty pages, about
 * @list: waits to be counted
 * @began: how often a count began
 * @counting: one at a time: nobody shall go by a count that began before it came
 * @m: whose it is
 */
struct mcx_memsw {
	unsigned long given;
	unsigned long limit;
	bool owned;
	bool fresh;
	bool relaxed;
	unsigned long max;
	long base;
	long counted;
	atomic_long_t gone;
	unsigned long counted_at;
	unsigned long peak;
	unsigned long no_swap_at;
	struct mcx_averted averted;
	struct task_struct *killer;
	bool killed;
	unsigned int resets;
	bool tell;
	unsigned long dirty_max;
	struct llist_node list;
	unsigned int began;
	struct mutex counting;	/* of the swap cache */
	struct mcx_memcg *m;
};

/**
 * struct mcx_memcg - what we know of one cgroup at or below a configured one
 * @counter: &@memcg->memory, the key by which the charge hook finds us
 * @flags: enum mcx_memcg_flag
 * @up: nearest managed ancestor; RCU
 * @policy: the first policy in effect, of this cgroup or the nearest ancestor; RCU, see
 *	effect.h
 * @policy_high: pages; what policies set as memory.high, the lowest; policy_wish.c
 * @burst: pages by which usage was seen to pass the pacing mark before its
 *	tasks could be held; see adapt.c for this and what follows
 * @doubt: quarters of @burst that are kept free besides
 * @gap: pages between the admission mark and where the workers wake, as far as
 *	they can be predicted
 * @boost: more of them, for what cannot
 * @peak: highest usage above the pacing mark since it was last looked at
 * @crossed: usage when it last passed that mark; 0: it is below
 * @rate: pages a second that one worker frees here, smoothed
 * @conf: memory.ext.reclaim; state mutex for writing, each member by itself for
 *	reading
 * @stat: counters
 * @cpu: CPU time of the workers, and what is owed for it
 * @overrun_from: pages; a memory.max no lower than that was met, and overrun= counts
 * @max_written: jiffies when memory.max was written last
 * @decide_delay: jiffies until the kernel is made to decide once more
 * @owner_skip_cpu: jiffies when the next owner of a futex need not wait for CPU time
 * @owner_skip_delay: the same for a policy's delay
 * @decider: the task that makes the kernel decide at memory.max, or NULL; never followed
 * @overrun_decided: jiffies when the kernel was last made to decide, see overrun.c
 * @critical: what critical threads may charge without waiting
 * @owners: the same for owners of futexes that others wait for
 * @light: the same for who takes little
 * @memcg: the cgroup; we hold a reference to its css
 * @ref: of this object: one for the table, one for each user outside RCU
 * @level: enum mcx_level that the policy was last told; whoever set MCX_TELLING
 * @hash: in the table; mutex for writing, RCU for reading
 * @all: in the list of all, guarded by the state mutex
 * @rcu: for freeing, when it is in that list no more
 * @max_events: how often a charge had not fit by then; likewise
 * @own: what was written to memory.ext.enable; state mutex
 * @policy_lock: for writing @wishes, @policy_high, @policy_shed, @left_by, @left_until and
 *	@delayed, so that who is in effect no more writes none of them
 * @wishes: what each policy in effect set
 * @delayed: how long its tasks wait for policies; @policy_lock
 * @policy_shed: pages; what they ask to be given back, the largest
 * @wakes: changes when a policy ends its delays
 * @samples: taken in this window, see @burst_new
 * @attached: policy attached to this cgroup itself; state mutex
 * @chain: that of @policy, when it was looked at last; state mutex
 * @inherit: descendants are managed too; state mutex
 * @seen: last walk that met it; state mutex
 * @kick: hook -> irq_work
 * @run: in the run queue; run queue lock
 * @queued_at: jiffies when it was queued; run queue lock
 * @taken_at: jiffies when its last pass began; run queue lock
 * @serving: workers in a pass; run queue lock
 * @empty: passes without gain in a row; run queue lock
 * @rested: charge batches seen when the last rest began; run queue lock
 * @rested_high: the policy's limit then; run queue lock
 * @retry: comes back after an empty pass
 * @stuck: whether its limit can be met
 * @starve: whether that is for a policy
 * @burst_new: the largest burst of this window; this and what follows up to
 *	@charged_then: whoever takes a sample
 * @burst_old: of the window before
 * @burst_at: jiffies when this window began
 * @arrival: pages charged a second, the highest of late
 * @charged_then: pages charged until the last sample
 * @latency: ns from a kick to the first pages freed, the longest of late
 * @kicked_at: when the workers were asked to reclaim; 0: they have begun
 * @sampled_at: ns, last sample
 * @asked: in the list of a policy's runner
 * @left_by: id of the policy that was asked to reclaim last; @policy_lock for writing
 * @left_until: jiffies until which the workers leave it to that one; likewise
 * @memsw: one limit for memory and swap; one for all that never had one, read-only
 * @notify: waits for its pollers to be woken
 * @waiters: tasks paced on their return to user mode
 * @batch_waiters: batch threads among them, which wait for less usage
 * @light_waiters: light tasks among them, which do for more; see mcx_delay()
 * @delay_waiters: tasks that a policy delays
 */
struct mcx_memcg {
	/* Read in the charge hook. */
	struct page_counter *counter;
	unsigned long flags;
	struct mcx_memcg __rcu *up;
	struct mcx_policy __rcu *policy;
	unsigned long policy_high;
	unsigned long burst;
	unsigned int doubt;
	unsigned long gap;
	unsigned long boost;
	unsigned long peak;
	unsigned long crossed;
	unsigned long rate;
	struct mcx_conf conf;
	struct mcx_stat_cpu __percpu *stat;
	struct mcx_cpu cpu;
	unsigned long overrun_from;
	unsigned long max_written;
	unsigned long decide_delay;
	unsigned long owner_skip_cpu;
	unsigned long owner_skip_delay;
	struct task_struct *decider;
	unsigned long overrun_decided;
	struct mcx_budget critical;
	struct mcx_budget owners;
	struct mcx_budget light;

	struct mem_cgroup *memcg;
	refcount_t ref;
	u32 level;
	struct hlist_node hash;
	union {
		struct list_head all;
		struct rcu_head rcu;
	};
	unsigned long max_events;
	enum mcx_enable own;
	spinlock_t policy_lock;	/* who is in effect, and what they say */
	struct mcx_policy_delay delayed;
	struct hlist_head wishes;
	unsigned long policy_shed;
	unsigned int wakes;
	unsigned int samples;
	struct mcx_policy *attached;
	u64 chain;
	bool inherit;
	unsigned int seen;

	struct llist_node kick;
	struct list_head run;
	unsigned long queued_at;
	unsigned long taken_at;
	unsigned int serving;
	unsigned int empty;
	u64 rested;
	unsigned long rested_high;
	struct timer_list retry;
	struct mcx_stuck stuck;
	struct mcx_starve starve;

	unsigned long burst_new;
	unsigned long burst_old;
	unsigned long burst_at;
	u64 arrival;
	u64 charged_then;
	u64 latency;
	u64 kicked_at;
	u64 sampled_at;

	struct list_head asked;
	u64 left_by;
	unsigned long left_until;

	struct mcx_memsw *memsw;
	struct llist_node notify;
	wait_queue_head_t waiters;
	wait_queue_head_t batch_waiters;
	wait_queue_head_t light_waiters;
	wait_queue_head_t delay_waiters;
};

/*
 * What we know of a cgroup is charged to its parent, as the cgroup itself is; but a limit,
 * of all things, can be written when that is full. Once or twice it is reclaimed from then,
 * and charged by force: nobody is killed for it, nor does the state mutex wait for that.
 */
#define MCX_GFP	(GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_HIGH | __GFP_NOWARN)

#define mcx_stat_inc(m, name)	\
	this_cpu_inc((m)->stat->v[MCX_STAT_##name])
#define mcx_stat_add(m, name, n)	\
	this_cpu_add((m)->stat->v[MCX_STAT_##name], n)

extern struct workqueue_struct *mcx_wq;

int mcx_state_init(void);
void mcx_state_stop(void);
void mcx_state_exit(void);
void mcx_state_clear(void);
void mcx_state_resync(void);
void mcx_state_hook(unsigned long ip, struct ftrace_regs *fregs);
int mcx_state_set(struct mem_cgroup *memcg, enum mcx_enable own,
		  bool privileged);
enum mcx_enable mcx_state_get(struct mem_cgroup *memcg);
int mcx_state_configure(struct mem_cgroup *memcg, const struct mcx_conf *conf,
			bool privileged);
struct mcx_conf mcx_state_conf(struct mem_cgroup *memcg);
int mcx_state_limit(struct mem_cgroup *memcg, unsigned long limit,
		    bool privileged);
void mcx_state_unlimit(struct mem_cgroup *memcg, unsigned long limit);
int mcx_state_may_attach(struct mem_cgroup *memcg, const struct mcx_policy *p,
			 struct mcx_policy *old);
int mcx_state_attach(struct mem_cgroup *memcg, struct mcx_policy *p,
		     struct mcx_policy *old);
void mcx_state_detach(struct mcx_policy *p);
void mcx_policy_note_task(struct mcx_policy *p);
void mcx_policy_end(struct mcx_policy *p, enum mcx_exit_kind kind, s64 code,
		    const char *msg);

struct mcx_memcg *mcx_memcg_find(struct page_counter *counter);
struct mcx_memcg *mcx_memcg_lookup(struct mem_cgroup *memcg);
void mcx_memcg_put(struct mcx_memcg *m);
u64 mcx_memcg_stat(struct mcx_memcg *m, enum mcx_stat i);
void mcx_state_for_each(void (*fn)(struct mcx_memcg *m, void *arg), void *arg);
void mcx_state_visit(void (*fn)(struct mcx_memcg *m));

static inline bool mcx_memcg_tryget(struct mcx_memcg *m)
{
	return refcount_inc_not_zero(&m->ref);
}

/* What current allocates is the parent's, until set_active_memcg() with what is returned. */
static inline struct mem_cgroup *mcx_charge_parent(struct mem_cgroup *memcg)
{
	struct cgroup_subsys_state *parent = memcg->css.parent;

	return set_active_memcg(parent ? mem_cgroup_from_css(parent) : NULL);
}

/* Whoever waits here shall look again whether it has to. */
static inline void mcx_memcg_wake(struct mcx_memcg *m)
{
	wake_up_all(&m->waiters);
	wake_up_all(&m->batch_waiters);
	wake_up_all(&m->light_waiters);
	wake_up_all(&m->delay_waiters);
}

static inline bool mcx_memcg_managed(struct mcx_memcg *m)
{
	return (READ_ONCE(m->flags) & (BIT(MCX_MANAGED) | BIT(MCX_DYING))) ==
	       BIT(MCX_MANAGED);
}

/**
 * mcx_memcg_nearest() - the managed cgroup at or above one
 * @counter: memory counter of that one
 *
 * Context: Any, NMI included, inside an RCU read-side section.
 * Return: the nearest managed cgroup, or NULL.
 */
static inline struct mcx_memcg *mcx_memcg_nearest(struct page_counter *counter)
{
	struct mcx_memcg *m = mcx_memcg_find(counter);

	if (m && !mcx_memcg_managed(m))
		m = rcu_dereference(m->up);
	return m;
}

/**
 * mcx_current_memcg() - the cgroup that current's memory is charged to
 *
 * As the kernel's over-high handler has it: of the mm's owner, which another
 * process may share before it executes something.
 *
 * Context: task, NMI included, inside an RCU read-side section.
 * Return: the cgroup, or NULL if current has no memory of its own.
 */
static __always_inline struct mem_cgroup *mcx_current_memcg(void)
{
	struct mm_struct *mm = current->mm;

	return mm ? mem_cgroup_from_task(rcu_dereference(mm->owner)) : NULL;
}

#endif /* MCX_STATE_H */
