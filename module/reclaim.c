// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reclaim engine: one worker per CPU and one queue for all of them keep managed
 * cgroups below their marks (mark.h), so that no allocating task has to.
 *
 * A cgroup above its wake mark is kicked by the charge hook, at most once until
 * it is below its target mark again (MCX_RECLAIMING). The hook may run in NMI
 * or under a run queue lock, so it only adds to a per-CPU list and raises an
 * irq_work, which queues the cgroup and wakes a worker. A worker makes one
 * short pass and puts the cgroup back at the tail, so that cgroups take turns;
 * while one needs more than a pass, it stays in the queue for others to join.
 *
 * A worker is bound to its CPU, where real-time tasks may hold it up for as long
 * as they like, and a pass may block in a file system. Whoever waited for
 * MCX_SPARE_WAIT while no cgroup was taken from the queue gets one more idle
 * worker, and then a spare: a work item of an unbound workqueue that does the
 * same, MCX_SPARES at most. A cgroup whose only pass takes that long is queued
 * again, so that another joins.
 *
 * Kernel threads do not wait in reclaim_throttle(), so the workers limit
 * themselves: after a pass without gain the cgroup rests, longer each time. If
 * nothing was charged until the rest is over, and nothing is to be decided
 * (stuck.c), it is left alone until something is.
 *
 * Locking: run_lock (irqsave) guards the queue and the fields of struct
 * mcx_memcg that say so. MCX_RECLAIMING holds one reference, taken by the hook
 * and dropped by whoever clears it.
 */
#include <linux/cpumask.h>
#include <linux/irq_work.h>
#include <linux/ktime.h>
#include <linux/llist.h>
#include <linux/notifier.h>
#include <linux/rcupdate.h>
#include <linux/sched/clock.h>
#include <linux/sched/isolation.h>
#include <linux/smpboot.h>
#include <linux/spinlock.h>
#include <linux/suspend.h>
#include <linux/timer.h>
#include <linux/topology.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include "adapt.h"
#include "budget.h"
#include "call.h"
#include "compat.h"
#include "cpu.h"
#include "events.h"
#include "mark.h"
#include "memsw.h"
#include "overrun.h"
#include "reclaim.h"
#include "runner.h"
#include "starve.h"
#include "stuck.h"

/*
 * Pages asked for in a pass. Upstream clamps its own background reclaim to 64
 * so as not to hold lru_lock for long; shrink_lruvec() drops that lock every 32
 * pages anyway, and walking the tree for each 64 is what a pass costs most.
 */
#define MCX_PASS_MIN	32UL
#define MCX_PASS_MAX	256UL

/* Rests after passes without gain: 1, 2, 4 ... 128 ms. */
#define MCX_REST_SHIFT_MAX	7
/* So many in a row (about a quarter of a second): nothing can be reclaimed. */
#define MCX_EMPTY_PASSES	9
/* The rest while memory.high is not enforced: only to see whether it can be. */
#define MCX_PROBE_REST		HZ

/* Waiters that look again after a pass, where not all do. */
#define MCX_WAKE_FEW		8

/* Before suspending is given up. */
#define MCX_PAUSE_WAIT		(20 * HZ)

/* Before a spare joins: several times what a pass takes. */
#define MCX_SPARE_WAIT		msecs_to_jiffies(20)
#define MCX_SPARES		4

struct mcx_kick {
	struct llist_head list;
	struct irq_work work;
};

struct mcx_worker {
	struct task_struct *task;
	u64 passes;
	u64 pages;
	u64 usec;
};

static DEFINE_PER_CPU(struct mcx_kick, kicks);
static DEFINE_PER_CPU(struct mcx_worker, workers);

static DEFINE_SPINLOCK(run_lock);
static LIST_HEAD(run_queue);
static cpumask_t idle_workers;

static void mcx_spare_timer(struct timer_list *t);
static void mcx_spare_work(struct work_struct *work);

static struct work_struct spares[MCX_SPARES];
static struct workqueue_struct *spare_wq;
static DEFINE_TIMER(spare_timer, mcx_spare_timer);
/* When a cgroup was last taken from the queue; run_lock. */
static unsigned long taken_at;
static u64 spare_passes;

/* The system is about to sleep: no pass begins. run_lock for writing. */
static bool paused;
static atomic_t nr_passes = ATOMIC_INIT(0);

/* Wakes the next idle worker of these CPUs, if there is one. */
static bool mcx_wake_worker_of(const struct cpumask *cpus)
{
	int cpu;

	/* Another CPU first: this one is allocating. */
	for_each_cpu_wrap(cpu, cpus, raw_smp_processor_id() + 1) {
		if (!cpumask_test_and_clear_cpu(cpu, &idle_workers))
			continue;
		wake_up_process(per_cpu(workers.task, cpu));
		return true;
	}
	return false;
}

/*
 * One near the memory first: pages were just charged here. Isolated CPUs only if
 * there is no other. Caller holds run_lock.
 */
static bool mcx_wake_worker(void)
{
	const struct cpumask *usual = housekeeping_cpumask(HK_TYPE_DOMAIN);
	static cpumask_t near;

	if (paused)
		return false;
	if (nr_online_nodes > 1) {
		cpumask_and(&near, usual, cpumask_of_node(numa_node_id()));
		if (mcx_wake_worker_of(&near))
			return true;
	}
	return mcx_wake_worker_of(usual) || mcx_wake_worker_of(&idle_workers);
}

/* Caller holds run_lock. */
static void mcx_enqueue(struct mcx_memcg *m)
{
	if (list_empty(&m->run)) {
		list_add_tail(&m->run, &run_queue);
		m->queued_at = jiffies;
	}
	/* Pairs with mcx_worker_should_run(): queue and mask, mask and queue. */
	smp_mb();
	mcx_wake_worker();
	if (!timer_pending(&spare_timer))
		mod_timer(&spare_timer, jiffies + MCX_SPARE_WAIT);
}

/* Has nothing moved since? Caller holds run_lock. */
static bool mcx_overdue(unsigned long since)
{
	return time_after_eq(jiffies, since + MCX_SPARE_WAIT);
}

static void mcx_spare_timer(struct timer_list *t)
{
	struct mcx_memcg *m;
	unsigned long flags;
	int i = 0;

	spin_lock_irqsave(&run_lock, flags);
	m = list_first_entry_or_null(&run_queue, struct mcx_memcg, run);
	if (m && !paused) {
		/* A worker that is woken and held up does not count as one. */
		if (mcx_overdue(m->queued_at) && mcx_overdue(taken_at) &&
		    !mcx_wake_worker())
			while (i < MCX_SPARES &&
			       !queue_work(spare_wq, &spares[i]))
				i++;
		mod_timer(&spare_timer, jiffies + MCX_SPARE_WAIT);
	}
	spin_unlock_irqrestore(&run_lock, flags);
}

static void mcx_kick_work(struct irq_work *work)
{
	struct mcx_kick *kick = container_of(work, struct mcx_kick, work);
	struct mcx_memcg *m, *next;
	unsigned long flags;

	spin_lock_irqsave(&run_lock, flags);
	llist_for_each_entry_safe(m, next, llist_del_all(&kick->list), kick) {
		mcx_adapt_kicked(m);
		mcx_enqueue(m);
	}
	spin_unlock_irqrestore(&run_lock, flags);
}

/**
 * mcx_reclaim_kick() - have the workers bring a cgroup below its target mark
 * @m: the cgroup
 *
 * Context: Any, NMI included; caller makes sure that @m stays (RCU, a
 * reference, or the state mutex). One bit test if the workers know already.
 */
void mcx_reclaim_kick(struct mcx_memcg *m)
{
	struct mcx_kick *kick;

	if (test_bit(MCX_RECLAIMING, &m->flags) ||
	    test_and_set_bit(MCX_RECLAIMING, &m->flags))
		return;
	if (!mcx_memcg_tryget(m))
		return;
	mcx_stat_inc(m, wakeups);

	preempt_disable_notrace();
	kick = this_cpu_ptr(&kicks);
	llist_add(&m->kick, &kick->list);
	irq_work_queue(&kick->work);
	preempt_enable_notrace();
}

/*
 * How many may serve a cgroup at once: as many as there are CPUs. No spare beside
 * these: what blocks its passes, a file system whose server is gone, may block them
 * for good, and the spares are for the others then.
 */
static unsigned int mcx_most_workers(struct mcx_memcg *m)
{
	return min(mcx_cpu_workers(m), num_online_cpus());
}

/* The same if those who serve it do not get on. */
static unsigned int mcx_most_helpers(struct mcx_memcg *m)
{
	return max(mcx_most_workers(m) / 2 + 1, 2U);
}

/**
 * mcx_reclaim_nudge() - somebody waits for this cgroup's workers
 * @m: the cgroup
 *
 * The worker that was woken for it is bound to its CPU, which may be held by
 * real-time tasks, or not run at all for a while: wake one more. Or it has begun
 * and does not get on.
 *
 * Context: Process.
 */
void mcx_reclaim_nudge(struct mcx_memcg *m)
{
	mcx_reclaim_kick(m);
	if (list_empty_careful(&m->run) && !READ_ONCE(m->serving))
		return;
	spin_lock_irq(&run_lock);
	if (!list_empty(&m->run))
		mcx_wake_worker();
	else if (m->serving && mcx_overdue(m->taken_at) &&
		 m->serving < mcx_most_helpers(m))
		mcx_enqueue(m);
	spin_unlock_irq(&run_lock);
}

/**
 * mcx_reclaim_excess() - how much the workers have to free
 * @m: the cgroup
 *
 * Context: Any.
 * Return: pages above the target mark; 0 if it is not managed.
 */
unsigned long mcx_reclaim_excess(struct mcx_memcg *m)
{
	unsigned long usage = page_counter_read(m->counter);
	unsigned long goal = mcx_mark_goal(m);

	if (!mcx_memcg_managed(m) || usage <= goal)
		return 0;
	return usage - goal;
}

static void mcx_wake_waiters(struct mcx_memcg *m)
{
	unsigned long admit = mcx_mark_admit(m), gap = mcx_gap(m, admit);
	unsigned long usage = page_counter_read(m->counter);

	/*
	 * Missing one that is just going to sleep costs it one slice at most. Where usage
	 * is only just below the mark a few look again, in the order in which they came
	 * or looked last.
	 */
	if (waitqueue_active(&m->waiters) && usage <= admit)
		wake_up_nr(&m->waiters, usage <= admit - gap / 4 ? 0 :
			   MCX_WAKE_FEW);
	/* These are held a little higher, see mcx_delay(). */
	if (waitqueue_active(&m->light_waiters) &&
	    usage < mcx_mark_light(m, admit))
		wake_up_all(&m->light_waiters);
	/* They wait for half a gap less, see mcx_delay(). */
	if (waitqueue_active(&m->batch_waiters) && usage <= admit - gap / 4 * 3)
		wake_up_all(&m->batch_waiters);
}

/* To swap is of no use where a limit for memory and swap together is what binds. */
static unsigned int mcx_may_swap(struct mcx_memcg *m)
{
	if (unlikely(mcx_memsw_binds(m)) &&
	    page_counter_read(m->counter) <= mcx_high(m))
		return 0;
	return MCX_RECLAIM_MAY_SWAP;
}

/**
 * mcx_reclaim_self() - a pass by who charged too much
 * @m: a managed cgroup
 * @nr_pages: as much at most; it is bounded, so that one can look whether to go on
 *
 * Context: Process, on the way to user mode. Sleeps.
 * Return: pages freed; 0 where it is known that nothing can be.
 */
unsigned long mcx_reclaim_self(struct mcx_memcg *m, unsigned long nr_pages)
{
	if (test_bit(MCX_IS_EMPTY, &m->flags))
		return 0;
	return static_call(mcx_try_to_free)(m->memcg,
					    min(nr_pages, 4 * MCX_BATCH),
					    GFP_KERNEL, mcx_may_swap(m), NULL);
}

static unsigned long mcx_try(struct mem_cgroup *memcg, unsigned long nr_pages,
			     unsigned int options, int swappiness)
{
	/* The kernel heeds a swappiness in proactive reclaim only. */
	if (swappiness >= 0)
		options |= MCX_RECLAIM_PROACTIVE;
	return static_call(mcx_try_to_free)(memcg, nr_pages, GFP_KERNEL,
					    options,
					    swappiness < 0 ? NULL : &swappiness);
}

/* What a pass cost, and what it brought, is the cgroup's. Returns us on a CPU. */
static u64 mcx_account_pass(struct mcx_memcg *m, unsigned long freed, u64 cpu_ns)
{
	u64 usec = div_u64(cpu_ns, NSEC_PER_USEC);

	mcx_budget_earn(m, freed / 2);
	mcx_cpu_charge(m, cpu_ns);
	mcx_stat_inc(m, reclaim_passes);
	mcx_stat_add(m, reclaimed_pages, freed);
	mcx_stat_add(m, reclaim_usec, usec);
	return usec;
}

/* Before a pass that is nobody's turn. */
static bool mcx_pass_begin(void)
{
	bool may;

	spin_lock_irq(&run_lock);
	may = !paused;
	if (may)
		atomic_inc(&nr_passes);
	spin_unlock_irq(&run_lock);
	return may;
}

static void mcx_pass_end(void)
{
	if (atomic_dec_and_test(&nr_passes))
		wake_up_var(&nr_passes);
}

/**
 * mcx_reclaim_pass() - a pass because somebody wants it, not for the sake of a limit:
 *	proactive reclaim, which is no sign of pressure
 * @memcg: the cgroup
 * @m: its object, to which the pass is accounted as those of the workers are; or NULL
 * @nr_pages: how many to free, or a few more
 * @swappiness: as the kernel takes it; negative: as the cgroup has it
 *
 * Context: Process; a kernel thread outside of all cgroups. Sleeps.
 * Return: pages freed; -EAGAIN: the system is about to sleep.
 */
long mcx_reclaim_pass(struct mem_cgroup *memcg, struct mcx_memcg *m,
		      unsigned long nr_pages, int swappiness)
{
	u64 cpu = mcx_cpu_clock();
	unsigned long freed;

	if (!mcx_pass_begin())
		return -EAGAIN;
	if (m && swappiness < 0)
		swappiness = READ_ONCE(m->conf.swappiness);
	freed = mcx_try(memcg, nr_pages, MCX_RECLAIM_PROACTIVE |
			MCX_RECLAIM_MAY_SWAP, swappiness);
	if (m)
		mcx_account_pass(m, freed, mcx_cpu_clock() - cpu);
	mcx_pass_end();
	return freed;
}

/* A worker's. Returns pages freed. */
static unsigned long mcx_pass(struct mcx_memcg *m, unsigned long excess)
{
	u64 cpu = mcx_cpu_clock(), wall = local_clock();
	unsigned long freed;

	freed = mcx_try(m->memcg, clamp(excess, MCX_PASS_MIN, MCX_PASS_MAX),
			mcx_may_swap(m), READ_ONCE(m->conf.swappiness));
	mcx_adapt_pass(m, freed, local_clock() - wall);
	cpu = mcx_account_pass(m, freed, mcx_cpu_clock() - cpu);
	this_cpu_inc(workers.passes);
	this_cpu_add(workers.pages, freed);
	this_cpu_add(workers.usec, cpu);
	return freed;
}

/*
 * What came of a pass, for the next. Returns true if it was empty. Caller holds
 * run_lock.
 */
static bool mcx_note_progress(struct mcx_memcg *m, unsigned long freed)
{
	if (freed >= MCX_PASS_MIN / 2) {
		m->empty = 0;
		clear_bit(MCX_IS_EMPTY, &m->flags);
		return false;
	}
	/*
	 * With others in a pass, one that finds them walking the page tables
	 * (MGLRU aging) gets nothing, which means nothing.
	 */
	if (m->serving)
		return false;
	mcx_stat_inc(m, reclaim_empty);
	m->empty++;
	if (m->empty == MCX_EMPTY_PASSES) {
		mcx_stat_inc(m, gave_up);
		set_bit(MCX_IS_EMPTY, &m->flags);
	}
	return true;
}

/*
 * Rest before the next try; shortest if there was no try, longer if cpu_max=
 * says so. Caller holds run_lock and the reference.
 */
static void mcx_rest(struct mcx_memcg *m)
{
	unsigned int shift = min(m->empty, MCX_REST_SHIFT_MAX + 1U);
	unsigned long rest = msecs_to_jiffies((1U << shift) / 2);
	unsigned long bound = mcx_cpu_rest(m);

	if (test_bit(MCX_HIGH_OFF, &m->flags))
		rest = MCX_PROBE_REST;
	rest = min(rest, mcx_stuck_left(m));
	if (bound)
		mcx_stat_inc(m, cpu_throttled);
	bound = max(bound, mcx_runner_left(m));
	m->rested = mcx_memcg_stat(m, MCX_STAT_batches);
	m->rested_high = READ_ONCE(m->policy_high);
	/* A turn for a decision that is due makes no pass. */
	bound = min(bound, mcx_stuck_left(m));
	mod_timer(&m->retry, jiffies + max(rest, bound));
}

/* Was anything charged since it rests, or a lower limit set? */
static bool mcx_has_news(struct mcx_memcg *m, u64 rested, unsigned long high)
{
	return mcx_memcg_stat(m, MCX_STAT_batches) != rested ||
	       READ_ONCE(m->policy_high) != high;
}

/*
 * Nothing was charged while it rested, and nothing is to be decided: no pass will
 * free more than the last one did, or a policy sees to it. Caller holds run_lock.
 */
static bool mcx_may_idle(struct mcx_memcg *m)
{
	return mcx_memcg_managed(m) && !mcx_starve_tries(m) &&
	       (test_bit(MCX_IS_EMPTY, &m->flags) || mcx_runner_left(m)) &&
	       !mcx_has_news(m, m->rested, m->rested_high) &&
	       (!mcx_over_limit_mark(m) || mcx_stuck_settled(m));
}

/*
 * Decide how a cgroup goes on after a pass. Caller holds run_lock. Returns
 * true if it is done: the caller then ends its turn.
 */
static bool mcx_requeue(struct mcx_memcg *m, unsigned long freed)
{
	if (!mcx_reclaim_excess(m)) {
		mcx_starve_end(m);
		list_del_init(&m->run);
		m->empty = 0;
		clear_bit(MCX_IS_EMPTY, &m->flags);
		return !m->serving;
	}
	if (freed >= MCX_PASS_MIN / 2 && !mcx_cpu_rest(m)) {
		mcx_enqueue(m);
		return false;
	}
	/*
	 * An empty pass recruits nobody. Whoever still serves it decides at the
	 * end of that pass; the last one lets it rest.
	 */
	list_del_init(&m->run);
	if (!m->serving)
		mcx_rest(m);
	return false;
}

/*
 * Take the next cgroup. It stays in the queue while it needs more workers. @step: what
 * starve.step is.
 */
static struct mcx_memcg *mcx_take(unsigned long *excess, unsigned int *step)
{
	struct mcx_memcg *m;

	spin_lock_irq(&run_lock);
	m = paused ? NULL : list_first_entry_or_null(&run_queue,
						     struct mcx_memcg, run);
	if (m) {
		atomic_inc(&nr_passes);
		list_del_init(&m->run);
		taken_at = jiffies;
		m->taken_at = jiffies;
		*excess = mcx_reclaim_excess(m);
		*step = m->starve.step;
		m->serving++;
		if (*excess > m->serving * MCX_PASS_MAX &&
		    m->serving < mcx_most_workers(m))
			mcx_enqueue(m);
	}
	spin_unlock_irq(&run_lock);
	return m;
}

/* The end of a turn: gives back the reference of MCX_RECLAIMING. */
static void mcx_done(struct mcx_memcg *m)
{
	unsigned long admit;

	clear_bit(MCX_DECLINED, &m->flags);
	clear_bit(MCX_RECLAIMING, &m->flags);
	/*
	 * What was charged meanwhile found the bit set and left it to us: look
	 * at usage after the bit. The hook sees a batch just before it is charged,
	 * so that the last one may be missed; the next, or a task that is paced for
	 * it, kicks again.
	 */
	smp_mb__after_atomic();
	admit = mcx_mark_admit(m);
	if (mcx_memcg_managed(m) &&
	    page_counter_read(m->counter) > mcx_mark_wake(m, admit))
		mcx_reclaim_kick(m);
	mcx_memcg_put(m);
}

/*
 * The end of a turn without success. Charges tell when to go on; what was charged
 * since the rest began, and found MCX_RECLAIMING set, is looked for here.
 */
static void mcx_idle(struct mcx_memcg *m)
{
	unsigned long high = m->rested_high;
	u64 rested = m->rested;

	clear_bit(MCX_DECLINED, &m->flags);
	clear_bit(MCX_RECLAIMING, &m->flags);
	/* As in mcx_done(): look after the bit. */
	smp_mb__after_atomic();
	if (mcx_has_news(m, rested, high))
		mcx_reclaim_kick(m);
	mcx_memcg_put(m);
}

/* The end of a pass, @step when it began. */
static void mcx_finish(struct mcx_memcg *m, bool tried, unsigned long freed,
		       unsigned int step)
{
	const unsigned long mask = BIT(MCX_IS_EMPTY) | BIT(MCX_IS_STUCK);
	enum mcx_stuck_news news;
	unsigned long before;
	bool empty, done, counts;

	/* Once out of run_lock, somebody else may end the turn. */
	refcount_inc(&m->ref);

	spin_lock_irq(&run_lock);
	before = m->flags & mask;
	m->serving--;
	empty = tried && mcx_note_progress(m, freed);
	counts = mcx_starve_counts(m, step, freed);
	news = mcx_stuck_look(m, tried && counts, counts ? freed : 0, empty);
	done = mcx_requeue(m, freed);
	before ^= m->flags & mask;
	spin_unlock_irq(&run_lock);

	if (done)
		mcx_done(m);
	if (tried)
		mcx_stuck_after_pass(m, empty);
	mcx_stuck_act(m, news);
	/* Not before: being stuck, which has just been decided, is a level. */
	mcx_call_level(m);
	if (done || before)
		mcx_events_notify(m);
	mcx_memcg_put(m);
}

/* One pass for the next cgroup. Returns false if there is none. */
static bool mcx_serve(void)
{
	unsigned long excess, freed = 0;
	struct mcx_memcg *m;
	unsigned int step;
	bool try;

	m = mcx_take(&excess, &step);
	if (!m)
		return false;
	mcx_call_level(m);
	mcx_overrun_seen(m);
	mcx_memsw_seen(m);
	try = excess && !mcx_cpu_rest(m) && !mcx_runner_reclaims(m);
	if (try)
		freed = mcx_pass(m, excess);
	mcx_wake_waiters(m);
	mcx_finish(m, try, freed, step);
	mcx_pass_end();
	/*
	 * ftrace waits for each task to pass a quiescent state when it is detached,
	 * ours at unloading too. A busy worker would not, where it is preempted
	 * lazily and cond_resched() does nothing.
	 */
	cond_resched_tasks_rcu_qs();
	return true;
}

static void mcx_worker_run(unsigned int cpu)
{
	cpumask_clear_cpu(cpu, &idle_workers);
	mcx_serve();
}

static void mcx_spare_work(struct work_struct *work)
{
	while (mcx_serve())
		spare_passes++;
}

static bool mcx_work_to_do(void)
{
	return !READ_ONCE(paused) && !list_empty_careful(&run_queue);
}

static int mcx_worker_should_run(unsigned int cpu)
{
	if (mcx_work_to_do())
		return 1;
	cpumask_set_cpu(cpu, &idle_workers);
	/* Pairs with mcx_enqueue(). */
	smp_mb__after_atomic();
	return mcx_work_to_do();
}

static void mcx_workers_resume(void)
{
	spin_lock_irq(&run_lock);
	WRITE_ONCE(paused, false);
	if (!list_empty(&run_queue)) {
		mcx_wake_worker();
		mod_timer(&spare_timer, jiffies + MCX_SPARE_WAIT);
	}
	spin_unlock_irq(&run_lock);
}

/* As long as the freezer waits for tasks, by default. */
static int mcx_workers_pause(void)
{
	spin_lock_irq(&run_lock);
	WRITE_ONCE(paused, true);
	spin_unlock_irq(&run_lock);
	if (wait_var_event_timeout(&nr_passes, !atomic_read(&nr_passes),
				   MCX_PAUSE_WAIT))
		return 0;
	/* Who refuses is not told that nothing comes of it. */
	mcx_workers_resume();
	pr_warn("a worker is held up in reclaim: not suspended\n");
	return -EBUSY;
}

/*
 * No page may be written once a suspended system's image is made. The workers
 * cannot be freezable for that, as kswapd is: threads of one CPU are parked when
 * it goes, which a frozen one never does.
 */
static int mcx_pm_notify(struct notifier_block *nb, unsigned long action,
			 void *data)
{
	switch (action) {
	case PM_HIBERNATION_PREPARE:
	case PM_SUSPEND_PREPARE:
	case PM_RESTORE_PREPARE:
		return notifier_from_errno(mcx_workers_pause());
	case PM_POST_HIBERNATION:
	case PM_POST_SUSPEND:
	case PM_POST_RESTORE:
		mcx_workers_resume();
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pm_notifier = {
	.notifier_call = mcx_pm_notify,
};

static void mcx_worker_park(unsigned int cpu)
{
	unsigned long flags;

	spin_lock_irqsave(&run_lock, flags);
	cpumask_clear_cpu(cpu, &idle_workers);
	/* This one may have been woken for it, and parks instead. */
	if (!list_empty(&run_queue))
		mcx_wake_worker();
	spin_unlock_irqrestore(&run_lock, flags);
}

static void mcx_worker_cleanup(unsigned int cpu, bool online)
{
	mcx_worker_park(cpu);
}

static struct smp_hotplug_thread worker_threads = {
	.store = &workers.task,
	.thread_should_run = mcx_worker_should_run,
	.thread_fn = mcx_worker_run,
	.park = mcx_worker_park,
	.cleanup = mcx_worker_cleanup,
	.thread_comm = "memcg_ext/%u",
};

static void mcx_retry(struct timer_list *t)
{
	struct mcx_memcg *m = container_of(t, struct mcx_memcg, retry);
	unsigned long flags;
	bool idle;

	spin_lock_irqsave(&run_lock, flags);
	idle = mcx_may_idle(m);
	if (!idle)
		mcx_enqueue(m);
	spin_unlock_irqrestore(&run_lock, flags);
	if (idle)
		mcx_idle(m);
}

/**
 * mcx_reclaim_init_memcg() - make the reclaim part of a new object
 * @m: the object
 *
 * Context: Process.
 */
void mcx_reclaim_init_memcg(struct mcx_memcg *m)
{
	INIT_LIST_HEAD(&m->run);
	timer_setup(&m->retry, mcx_retry, 0);
}

/**
 * mcx_reclaim_renew() - it begins or ends to be managed: what was decided is void
 * @m: the object
 *
 * Context: Process.
 */
void mcx_reclaim_renew(struct mcx_memcg *m)
{
	spin_lock_irq(&run_lock);
	mcx_stuck_renew(m);
	spin_unlock_irq(&run_lock);
}

/**
 * mcx_reclaim_end_rest() - a cgroup that rests is looked at now
 * @m: the cgroup
 *
 * Context: Process.
 */
void mcx_reclaim_end_rest(struct mcx_memcg *m)
{
	/* Who is just about to let it rest holds the lock. */
	spin_lock_irq(&run_lock);
	mod_timer_pending(&m->retry, jiffies);
	spin_unlock_irq(&run_lock);
}

/**
 * mcx_reclaim_forget() - an object is going: end its rest
 * @m: the object, MCX_DYING set
 *
 * Whoever has it in a pass or in the queue ends its turn soon, since it is no
 * longer managed.
 *
 * Context: Process.
 */
void mcx_reclaim_forget(struct mcx_memcg *m)
{
	/*
	 * Whoever takes the lock from now on sees that it is not managed, and
	 * arms no timer.
	 */
	mcx_reclaim_renew(m);
	if (timer_delete_sync(&m->retry))
		mcx_retry(&m->retry);
}

/**
 * mcx_reclaim_init() - start the workers
 *
 * Context: Process, from module init only.
 * Return: 0 or -errno.
 */
int mcx_reclaim_init(void)
{
	int cpu, ret, i;

	/* Not at build time: 6.12 does not relocate a module's per-CPU data. */
	for_each_possible_cpu(cpu)
		per_cpu(kicks.work, cpu) = IRQ_WORK_INIT(mcx_kick_work);
	for (i = 0; i < MCX_SPARES; i++)
		INIT_WORK(&spares[i], mcx_spare_work);
	spare_wq = alloc_workqueue("memcg_ext_spare",
				   WQ_UNBOUND | WQ_MEM_RECLAIM, MCX_SPARES);
	if (!spare_wq)
		return -ENOMEM;
	ret = smpboot_register_percpu_thread(&worker_threads);
	if (ret)
		destroy_workqueue(spare_wq);
	else
		register_pm_notifier(&pm_notifier);
	return ret;
}

/**
 * mcx_reclaim_exit() - stop the workers
 *
 * Hooks must be detached and all objects removed from the table; this waits
 * for the last turns.
 *
 * Context: Process, from module exit only.
 */
void mcx_reclaim_exit(void)
{
	struct mcx_memcg *m;
	int cpu;

	unregister_pm_notifier(&pm_notifier);
	for_each_possible_cpu(cpu)
		irq_work_sync(&per_cpu(kicks.work, cpu));
	timer_shutdown_sync(&spare_timer);
	destroy_workqueue(spare_wq);
	smpboot_unregister_percpu_thread(&worker_threads);

	/* Nobody serves any more; what is left was queued and never taken. */
	while ((m = list_first_entry_or_null(&run_queue, struct mcx_memcg,
					     run))) {
		list_del_init(&m->run);
		mcx_memcg_put(m);
	}
}

/**
 * mcx_reclaim_show() - print all workers, nested keyed
 * @s: where to
 *
 * Context: Process.
 */
void mcx_reclaim_show(struct seq_file *s)
{
	struct mcx_worker *w;
	int cpu;

	for_each_possible_cpu(cpu) {
		w = per_cpu_ptr(&workers, cpu);
		if (w->task)
			seq_printf(s, "%d pid=%d idle=%d passes=%llu pages=%llu usec=%llu\n",
				   cpu, w->task->pid,
				   cpumask_test_cpu(cpu, &idle_workers),
				   w->passes, w->pages, w->usec);
	}
	seq_printf(s, "spare passes=%llu\n", READ_ONCE(spare_passes));
}
