// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kills who uses most of a cgroup whose limit cannot be met, by the rules of the
 * kernel's OOM killer: never a process with an oom_score_adj of -1000, never init
 * or a kernel thread; where memory.oom.group is set, the whole cgroup; who shares
 * the memory dies with it; and memory.events counts it.
 *
 * No reference to a victim is kept: whoever is dying of SIGKILL is one, whoever
 * sent that.
 *
 * Locking: RCU. The walks are those of the OOM killer, and as long.
 */
#include <linux/kernfs.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/pid.h>
#include <linux/printk.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/vmstat.h>

#include "compat.h"
#include "kill.h"

/* So many in a row share memory with who must not be killed, or nobody is. */
#define MCX_KILL_CANDIDATES	16

/* The memory of a process: how much, and where it is charged. */
struct mcx_use {
	struct mem_cgroup *memcg;
	unsigned long pages;
	struct mm_struct *mm;	/* to compare; with a reference if asked for */
};

static bool mcx_is_in(struct mem_cgroup *memcg, struct mem_cgroup *top)
{
	return memcg && mem_cgroup_is_descendant(memcg, top);
}

static bool mcx_is_protected(struct task_struct *p)
{
	return p->flags & PF_KTHREAD || is_global_init(p) ||
	       READ_ONCE(p->signal->oom_score_adj) == OOM_SCORE_ADJ_MIN;
}

/* Killed or exiting; one that dumps core is, too, but needs a push. */
static bool mcx_is_exiting(struct task_struct *p)
{
	return READ_ONCE(p->signal->flags) & SIGNAL_GROUP_EXIT &&
	       !READ_ONCE(p->signal->core_state);
}

static unsigned long mcx_mm_pages(struct mm_struct *mm)
{
	return get_mm_counter_sum(mm, MM_ANONPAGES) +
	       get_mm_counter_sum(mm, MM_FILEPAGES) +
	       get_mm_counter_sum(mm, MM_SHMEMPAGES) +
	       get_mm_counter_sum(mm, MM_SWAPENTS) +
	       mm_pgtables_bytes(mm) / PAGE_SIZE;
}

/* Memory is charged to the owner's cgroup, which one who shares it may not be in. */
static bool mcx_fill_use(struct mm_struct *mm, struct mem_cgroup *top, bool pin,
			 struct mcx_use *use)
{
	use->memcg = mem_cgroup_from_task(rcu_dereference(mm->owner));
	if (!mcx_is_in(use->memcg, top))
		return false;
	use->pages = mcx_mm_pages(mm);
	use->mm = mm;
	if (pin)
		mmgrab(mm);
	return true;
}

/*
 * False: none in @top, or none any more. The first thread may be dead and others
 * live.
 */
static bool mcx_use_of(struct task_struct *p, struct mem_cgroup *top, bool pin,
		       struct mcx_use *use)
{
	struct task_struct *t;
	bool found, in = false;

	for_each_thread(p, t) {
		task_lock(t);
		found = t->mm && !(t->flags & PF_EXITING);
		if (found)
			in = mcx_fill_use(t->mm, top, pin, use);
		task_unlock(t);
		if (found)
			break;
	}
	return in;
}

static bool mcx_uses_mm(struct task_struct *p, struct mm_struct *mm)
{
	struct task_struct *t;

	if (p->flags & PF_KTHREAD)
		return false;
	for_each_thread(p, t)
		if (READ_ONCE(t->mm) == mm)
			return true;
	return false;
}

static bool mcx_mm_is_protected(struct mm_struct *mm)
{
	struct task_struct *p;

	for_each_process(p)
		if (mcx_uses_mm(p, mm) && mcx_is_protected(p))
			return true;
	return false;
}

/*
 * LONG_MIN: not this one. A child that did not execute anything yet has its own
 * oom_score_adj and its parent's memory.
 */
static long mcx_badness(struct task_struct *p, struct mem_cgroup *top,
			unsigned long scale)
{
	struct mcx_use use;

	if (mcx_is_protected(p) || mcx_is_exiting(p) || in_vfork(p) ||
	    !mcx_use_of(p, top, false, &use))
		return LONG_MIN;
	return (long)use.pages + READ_ONCE(p->signal->oom_score_adj) *
				 (long)(scale / OOM_SCORE_ADJ_MAX);
}

/*
 * The worst after @last, whose badness is @points: of those with as much, only who
 * comes behind it; without @last the worst of all.
 */
static struct task_struct *mcx_select(struct mem_cgroup *top,
				      unsigned long scale,
				      struct task_struct *last, long *points)
{
	struct task_struct *p, *worst = NULL;
	long now, most = LONG_MIN;
	bool behind = false;

	for_each_process(p) {
		now = mcx_badness(p, top, scale);
		if (now > most && (!last || now < *points ||
				   (now == *points && behind))) {
			worst = p;
			most = now;
		}
		behind |= p == last;
	}
	*points = most;
	return worst;
}

/*
 * The process whose memory to get rid of, and that, with a reference; NULL if
 * there is none, or -EAGAIN if it ends by itself. It takes a privilege to share
 * memory with who must not be killed: few do.
 */
static struct task_struct *mcx_choose(struct mem_cgroup *top,
				      unsigned long scale, struct mcx_use *use)
{
	struct task_struct *p = NULL;
	long points = LONG_MAX;
	int i;

	for (i = 0; i < MCX_KILL_CANDIDATES; i++) {
		p = mcx_select(top, scale, p, &points);
		if (!p)
			return NULL;
		if (!mcx_use_of(p, top, true, use))
			return ERR_PTR(-EAGAIN);
		if (!mcx_mm_is_protected(use->mm))
			return p;
		mmdrop(use->mm);
	}
	return NULL;
}

/* The highest with memory.oom.group from @memcg, in @top, up to that; or NULL. */
static struct mem_cgroup *mcx_group_of(struct mem_cgroup *memcg,
				       struct mem_cgroup *top)
{
	struct mem_cgroup *group = NULL;

	for (;; memcg = mem_cgroup_from_css(memcg->css.parent)) {
		if (READ_ONCE(memcg->oom_group))
			group = memcg;
		if (memcg == top)
			return group;
	}
}

/*
 * Has it a thread there? The first may have exited, and stayed behind when the
 * others were moved.
 */
static bool mcx_lives_in(struct task_struct *p, struct mem_cgroup *group)
{
	struct task_struct *t;

	for_each_thread(p, t)
		if (!READ_ONCE(t->exit_state) &&
		    mcx_is_in(mem_cgroup_from_task(t), group))
			return true;
	return false;
}

/* Counted before it is told: whoever reaps it may look. */
static void mcx_count_kill(struct mem_cgroup *memcg)
{
	count_vm_event(OOM_KILL);
	mcx_memory_event(memcg, MEMCG_OOM_KILL);
}

/* The whole process, from whatever thread of it that is alive. @memcg counts it. */
static bool mcx_kill_process(struct task_struct *p, struct mem_cgroup *memcg)
{
	struct pid *pid = task_tgid(p);

	if (!pid || mcx_is_exiting(p))
		return false;
	if (memcg)
		mcx_count_kill(memcg);
	return !kill_pid(pid, SIGKILL, 1);
}

/* Who shares the memory goes with it: one death, as the OOM killer counts. */
static int mcx_kill_sharers(const struct mcx_use *use)
{
	struct task_struct *p;
	bool killed = false;

	for_each_process(p)
		if (!mcx_is_protected(p) && mcx_uses_mm(p, use->mm))
			killed |= mcx_kill_process(p, killed ? NULL :
						   use->memcg);
	return killed;
}

/* If it is in the cgroup itself, or its memory is charged there. */
static bool mcx_kill_member(struct task_struct *p, struct mem_cgroup *group)
{
	struct mcx_use use;

	if (mcx_is_protected(p))
		return false;
	if (mcx_use_of(p, group, false, &use))
		return mcx_kill_process(p, use.memcg);
	return mcx_lives_in(p, group) && mcx_kill_process(p, group);
}

static int mcx_kill_group(struct mem_cgroup *group)
{
	struct task_struct *p;
	int killed = 0;

	mcx_memory_event(group, MEMCG_OOM_GROUP_KILL);
	for_each_process(p)
		killed += mcx_kill_member(p, group);
	return killed;
}

/**
 * mcx_kill_report() - say in the kernel's log who was killed
 * @top: the cgroup
 * @death: who
 * @killed: how many in all
 *
 * Context: Process. May sleep.
 */
void mcx_kill_report(struct mem_cgroup *top, const struct mcx_death *death,
		     int killed)
{
	char *path = kmalloc(PATH_MAX, GFP_KERNEL);

	if (!path || kernfs_path_from_node(top->css.cgroup->kn, NULL, path,
					   PATH_MAX) < 0)
		pr_info_ratelimited("memory.high of cgroup %llu cannot be met: killed %d (%*pE)\n",
				    cgroup_id(top->css.cgroup), death->pid,
				    (int)strlen(death->comm), death->comm);
	else
		pr_info_ratelimited("memory.high of %*pE cannot be met: killed %d (%*pE), %lu KiB%s, %d in all\n",
				    (int)strlen(path), path, death->pid,
				    (int)strlen(death->comm), death->comm,
				    death->pages << (PAGE_SHIFT - 10),
				    death->group ? ", and its group" : "",
				    killed);
	kfree(path);
}

/* Dies of SIGKILL, with a thread there that may hold memory. */
static bool mcx_is_dying(struct task_struct *p, struct mem_cgroup *top)
{
	return READ_ONCE(p->signal->flags) & SIGNAL_GROUP_EXIT &&
	       READ_ONCE(p->signal->group_exit_code) == SIGKILL &&
	       mcx_lives_in(p, top);
}

/**
 * mcx_kill_pending() - is somebody dying whose memory is not back yet
 * @top: the cgroup with all below
 *
 * Context: Process.
 * Return: true if so.
 */
bool mcx_kill_pending(struct mem_cgroup *top)
{
	struct task_struct *p;
	bool pending = false;

	rcu_read_lock();
	for_each_process(p) {
		if (mcx_is_dying(p, top)) {
			pending = true;
			break;
		}
	}
	rcu_read_unlock();
	return pending;
}

/**
 * mcx_kill() - kill who uses most
 * @top: the cgroup with all below
 * @scale: pages that a process in it may have at most; scales oom_score_adj
 * @impatient: even if somebody is dying, who takes too long
 * @death: filled for mcx_kill_report() if somebody was killed
 *
 * Context: Process. One caller at a time, or both may kill for the same reason.
 * Return: how many processes were killed, -EAGAIN if somebody is dying already, or
 * 0 if there is nobody who may be killed.
 */
int mcx_kill(struct mem_cgroup *top, unsigned long scale, bool impatient,
	     struct mcx_death *death)
{
	struct mem_cgroup *group;
	struct task_struct *p;
	struct mcx_use use;
	int killed;

	if (!impatient && mcx_kill_pending(top))
		return -EAGAIN;
	rcu_read_lock();
	p = mcx_choose(top, scale, &use);
	if (IS_ERR_OR_NULL(p)) {
		rcu_read_unlock();
		return PTR_ERR_OR_ZERO(p);
	}
	group = mcx_group_of(use.memcg, top);
	death->pid = task_tgid_nr(p);
	get_task_comm(death->comm, p);
	death->pages = use.pages;
	death->group = group;
	killed = group ? mcx_kill_group(group) : mcx_kill_sharers(&use);
	rcu_read_unlock();
	mmdrop(use.mm);
	return killed ?: -EAGAIN;
}
