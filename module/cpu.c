// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU time of the workers: who is told, who pays, and how much there may be; see
 * cpu.h. No worker is a member of a managed cgroup for that: it would hold up
 * rmdir and the freezer.
 *
 * What cpu= and cpu_max= say counts for the cgroup that is reclaimed from, whose
 * memory.ext.reclaim it is: a limit of a parent is the parent's business, its
 * children's memory included.
 *
 * Locking: @debt and @free_at of struct mcx_cpu are atomic. Its lock guards the
 * sample of how much CPU a task gets; who finds it taken goes without.
 */
#include <linux/cgroup.h>
#include <linux/irqflags.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/random.h>
#include <linux/sched.h>

#include "compat.h"
#include "cpu.h"
#include "reclaim.h"

/* How much of a CPU a task gets that wants all of it, in 1/1024. */
#define MCX_SHARE_ONE	1024U
#define MCX_SHARE_MIN	(MCX_SHARE_ONE / 16)
/* So long a task must have run, or waited for a CPU, to tell. */
#define MCX_SHARE_LEAST	(20ULL * NSEC_PER_MSEC)
/* No task pays more than so many times the price of what it charged. */
#define MCX_CPU_PRESS		4
/* When another task is looked at instead, if that one does not come back. */
#define MCX_SHARE_STALE	(500ULL * NSEC_PER_MSEC)

/**
 * mcx_cpu_init_memcg() - make the CPU part of a new object
 * @m: the object
 *
 * Context: Process.
 */
void mcx_cpu_init_memcg(struct mcx_memcg *m)
{
	spin_lock_init(&m->cpu.lock);
	m->cpu.share = MCX_SHARE_ONE;
}

/**
 * mcx_cpu_clock() - CPU time of the calling worker
 *
 * Context: Process. Takes the run queue lock.
 * Return: nanoseconds.
 */
u64 mcx_cpu_clock(void)
{
	return static_call(mcx_task_runtime)(current);
}

/* Debt never passes its bounds. Negative: some of it was paid. */
static void mcx_cpu_add_debt(struct mcx_memcg *m, s64 nsec)
{
	s64 old = atomic64_read(&m->cpu.debt);

	while (!atomic64_try_cmpxchg(&m->cpu.debt, &old,
				     clamp(old + nsec, 0LL, MCX_CPU_DEBT_MAX)))
		;
}

static void mcx_cpu_spend(struct mcx_memcg *m, unsigned int percent, u64 nsec)
{
	s64 saved = ktime_get_ns() - MCX_CPU_WINDOW;
	s64 cost = div_u64(nsec * 100, percent);
	s64 old = atomic64_read(&m->cpu.free_at);

	while (!atomic64_try_cmpxchg(&m->cpu.free_at, &old,
				     max(old, saved) + cost))
		;
}

/**
 * mcx_cpu_charge() - a worker made a pass
 * @m: the cgroup it reclaimed from
 * @nsec: CPU time of the pass
 *
 * Context: Process.
 */
void mcx_cpu_charge(struct mcx_memcg *m, u64 nsec)
{
	struct cgroup *cgrp = m->memcg->css.cgroup;
	unsigned int percent = READ_ONCE(m->conf.cpu_max);
	unsigned long flags;

	if (percent)
		mcx_cpu_spend(m, percent, nsec);
	if (READ_ONCE(m->conf.cpu) != MCX_CPU_CGROUP)
		return;
	/*
	 * Ancestors get it when somebody reads. Not the root: its cpu.stat is made
	 * of the CPUs' own times, where the worker's is already. An interrupt would
	 * wake tasks, which may account theirs, on this CPU too.
	 */
	local_irq_save(flags);
	mcx_account_cputime(cgrp, nsec);
	local_irq_restore(flags);
	mcx_cpu_add_debt(m, nsec);
}

static void mcx_share_learn(struct mcx_cpu *cpu, u64 ran, u64 waited)
{
	u64 now = div64_u64(ran * MCX_SHARE_ONE, ran + waited);

	WRITE_ONCE(cpu->share, max_t(unsigned int, MCX_SHARE_MIN,
				     cpu->share - cpu->share / 4 + now / 4));
}

/*
 * How much of a CPU do this cgroup's tasks get while they want one? One of those
 * that pay is followed: what it ran, and what it waited in a run queue.
 */
static void mcx_share_look(struct mcx_cpu *cpu)
{
	u64 ran = current->se.sum_exec_runtime, now = ktime_get_ns();
	u64 waited = mcx_run_delay(current);

	if (!spin_trylock(&cpu->lock))
		return;
	/* A pid may be another task's by now. */
	if (cpu->pid == current->pid && ran >= cpu->ran &&
	    waited >= cpu->waited) {
		if (ran - cpu->ran + waited - cpu->waited < MCX_SHARE_LEAST)
			goto out;
		mcx_share_learn(cpu, ran - cpu->ran, waited - cpu->waited);
	} else if (now - cpu->at < MCX_SHARE_STALE) {
		goto out;
	}
	cpu->pid = current->pid;
	cpu->ran = ran;
	cpu->waited = waited;
	cpu->at = now;
out:
	spin_unlock(&cpu->lock);
}

/* Half of a CPU and more: as much as others get. See cpu.h. */
static unsigned int mcx_cpu_share(struct mcx_memcg *m)
{
	return min(READ_ONCE(m->cpu.share), MCX_SHARE_ONE / 2);
}

/* How long to wait for that much CPU time. */
static u64 mcx_cpu_price(struct mcx_memcg *m, u64 nsec)
{
	unsigned int share = mcx_cpu_share(m);

	return div_u64(nsec * (MCX_SHARE_ONE - share), share);
}

/* The CPU time that a wait is worth. */
static u64 mcx_cpu_worth(struct mcx_memcg *m, u64 nsec)
{
	unsigned int share = mcx_cpu_share(m);

	return div_u64(nsec * share, MCX_SHARE_ONE - share);
}

/* What the draw says that current pays for what it charged. */
static s64 mcx_cpu_draw(struct mcx_memcg *m, unsigned long nr_pages, s64 debt)
{
	u64 due = div64_ul((u64)nr_pages * NSEC_PER_SEC, READ_ONCE(m->rate));
	s64 most = debt;
	u32 rest;

	/*
	 * The more is owed, the more is paid; but what one who charges much owes, in
	 * a system call that does not end, is not for who charges little.
	 */
	debt = min(debt, MCX_CPU_PRESS * MCX_CPU_QUANTUM);
	due = min_t(u64, due, MCX_CPU_DEBT_MAX) * div_u64(debt, NSEC_PER_USEC);
	due = div_u64(due, MCX_CPU_QUANTUM / NSEC_PER_USEC);
	due = min_t(u64, due, MCX_CPU_DEBT_MAX);
	due = div_u64_rem(due, MCX_CPU_QUANTUM, &rest);
	if (get_random_u32_below(MCX_CPU_QUANTUM) < rest)
		due++;
	return min_t(s64, due * MCX_CPU_QUANTUM, most);
}

/**
 * mcx_cpu_take() - what current shall pay for what it charged
 * @m: the cgroup
 * @nr_pages: what it charged since it was here last
 * @amount: the CPU time that is paid with that
 *
 * That is debt no longer; mcx_cpu_give_back() takes back the rest.
 *
 * Context: Process: current, on its return to user mode.
 * Return: nanoseconds to wait; 0 as a rule.
 */
u64 mcx_cpu_take(struct mcx_memcg *m, unsigned long nr_pages, u64 *amount)
{
	s64 debt;

	*amount = 0;
	if (!mcx_cpu_owes(m))
		return 0;
	mcx_share_look(&m->cpu);
	debt = atomic64_read(&m->cpu.debt);
	do {
		*amount = mcx_cpu_draw(m, nr_pages, debt);
		if (debt < MCX_CPU_QUANTUM || !*amount)
			return 0;
	} while (!atomic64_try_cmpxchg(&m->cpu.debt, &debt, debt - *amount));
	return mcx_cpu_price(m, *amount);
}

/**
 * mcx_cpu_waited() - current waited for this cgroup's workers anyway
 * @m: the cgroup
 * @nsec: how long
 *
 * Context: Process.
 */
void mcx_cpu_waited(struct mcx_memcg *m, u64 nsec)
{
	if (atomic64_read(&m->cpu.debt))
		mcx_cpu_add_debt(m, -(s64)mcx_cpu_worth(m, nsec));
}

/**
 * mcx_cpu_give_back() - current was not made to pay all
 * @m: the cgroup
 * @amount: the CPU time it was to pay
 * @taken: the wait that mcx_cpu_take() said
 * @waited: how long it waited
 *
 * Context: Process.
 */
void mcx_cpu_give_back(struct mcx_memcg *m, u64 amount, u64 taken, u64 waited)
{
	/* A second, times less than a minute. */
	if (waited < taken)
		mcx_cpu_add_debt(m, div64_u64(amount * (taken - waited), taken));
}

/**
 * mcx_cpu_rest() - has a cgroup used up what cpu_max= gives it
 * @m: the cgroup
 *
 * Context: Any but NMI.
 * Return: jiffies until it may be reclaimed from again, 0: now.
 */
unsigned long mcx_cpu_rest(struct mcx_memcg *m)
{
	s64 left;

	if (likely(!READ_ONCE(m->conf.cpu_max)))
		return 0;
	left = atomic64_read(&m->cpu.free_at) - ktime_get_ns();
	return left > 0 ? nsecs_to_jiffies(left) + 1 : 0;
}

/**
 * mcx_cpu_renew() - what it says about CPU time has changed: what was owed is void
 * @m: the cgroup
 *
 * Context: Process, under the state mutex.
 */
void mcx_cpu_renew(struct mcx_memcg *m)
{
	atomic64_set(&m->cpu.free_at, 0);
	if (m->conf.cpu != MCX_CPU_CGROUP)
		atomic64_set(&m->cpu.debt, 0);
	/* A rest that the old bound made it take is over. */
	mcx_reclaim_end_rest(m);
}
