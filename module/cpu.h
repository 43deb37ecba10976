/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the workers' CPU time costs the cgroup that they reclaim from.
 *
 * cpu=cgroup: it is added to the cgroup's cpu.stat, and becomes debt. Tasks that
 * charge to the cgroup pay it on their return to user mode, by waiting. A wait of
 * less than a scheduler slice costs nothing, the task gets its turn later; so debt
 * is paid MCX_CPU_QUANTUM at a time, and who pays it is drawn, each batch that
 * was charged being a lot: in the long run each task pays for what it charged,
 * and who charges little hardly ever waits.
 *
 * How long? A worker that takes c of a CPU takes it from all who want it. A task
 * of the cgroup that would get the part s of it loses s c itself, others lose
 * (1 - s) c. While it waits for w they get s w that was its own, so it has to wait
 * (1 - s) / s c; then the worker and the cgroup's tasks together got what the tasks
 * alone would have got. Where s is near 1 nobody else wants the CPU, and nobody
 * lost anything: the task still waits for c, the time that it would have
 * reclaimed for without a worker.
 *
 * cpu_max=N%: the workers, all together, get N % of a CPU for this cgroup: after
 * c of CPU time it may not be reclaimed from for c * 100 / N, less what was saved
 * up, at most MCX_CPU_WINDOW. In any time t they take no more than N % of
 * t + MCX_CPU_WINDOW, and the rest of the last pass of each worker: a pass is not
 * cut short (256 pages, well below 1 ms as a rule), its time is paid back
 * by a longer rest. No more workers than N % keep busy are put to it.
 */
#ifndef MCX_CPU_H
#define MCX_CPU_H

#include <linux/atomic.h>
#include <linux/time64.h>

#include "state.h"

/* So much CPU time is paid at once. */
#define MCX_CPU_QUANTUM	(5LL * NSEC_PER_MSEC)
/* What a cgroup may owe at most: nobody shall pay for long ago. */
#define MCX_CPU_DEBT_MAX	((s64)NSEC_PER_SEC)
/* For how long what cpu_max= allows can be saved up. */
#define MCX_CPU_WINDOW	(100LL * NSEC_PER_MSEC)

void mcx_cpu_init_memcg(struct mcx_memcg *m);
u64 mcx_cpu_clock(void);
void mcx_cpu_charge(struct mcx_memcg *m, u64 nsec);
u64 mcx_cpu_take(struct mcx_memcg *m, unsigned long nr_pages, u64 *amount);
void mcx_cpu_waited(struct mcx_memcg *m, u64 nsec);
void mcx_cpu_give_back(struct mcx_memcg *m, u64 amount, u64 taken, u64 waited);
unsigned long mcx_cpu_rest(struct mcx_memcg *m);
void mcx_cpu_renew(struct mcx_memcg *m);

/**
 * mcx_cpu_owes() - is there debt that is worth a wait
 * @m: the cgroup
 *
 * Context: Any, NMI included.
 * Return: true if whoever charges to it shall be seen on its way out.
 */
static inline bool mcx_cpu_owes(struct mcx_memcg *m)
{
	return unlikely(atomic64_read(&m->cpu.debt) >= MCX_CPU_QUANTUM) &&
	       READ_ONCE(m->conf.cpu) == MCX_CPU_CGROUP;
}

/**
 * mcx_cpu_workers() - how many workers shall serve a cgroup at a time
 * @m: the cgroup
 *
 * Context: Any.
 * Return: their number, UINT_MAX without a bound.
 */
static inline unsigned int mcx_cpu_workers(struct mcx_memcg *m)
{
	unsigned int percent = READ_ONCE(m->conf.cpu_max);

	return percent ? DIV_ROUND_UP(percent, 100) : UINT_MAX;
}

/**
 * mcx_cpu_slowed() - a time in which a worker that never rests frees something
 * @m: the cgroup
 * @nsec: that time
 *
 * Context: Any.
 * Return: the same with the rests that cpu_max= makes it take.
 */
static inline u64 mcx_cpu_slowed(struct mcx_memcg *m, u64 nsec)
{
	unsigned int percent = READ_ONCE(m->conf.cpu_max);

	if (likely(!percent) || percent >= 100)
		return nsec;
	return div_u64(nsec * 100, percent);
}

#endif /* MCX_CPU_H */
