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

#include "compat.h"
#include "kill.h"

/* The memory of a process: how much, and where it is charged. */
struct mcx_use {
	struct mem_cgroup *memcg;
	unsigned long pages;
	struct mm_struct *mm;	/* if asked for, with a reference */
};

/* What is said of a victim. */
struct mcx_death {
	pid_t pid;
	char comm[TASK_COMM_LEN];
	unsigned long pages;
	bool group;
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
	use->mm = pin ? mm : NULL;
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

/* LONG_MIN: not this one. */
static long mcx_badness(struct task_struct *p, struct mem_cgroup *top,
			unsigned long limit)
{
	struct mcx_use use;

	if (mcx_is_protected(p) || mcx_is_exiting(p) ||
	    !mcx_use_of(p, top, false, &use))
		return LONG_MIN;
	return (long)use.pages + READ_ONCE(p->signal->oom_score_adj) *
				 (long)(limit / OOM_SCORE_ADJ_MAX);
}

/* The worst below @ceiling, whose badness is put there. */
static struct task_struct *mcx_select(struct mem_cgroup *top,
				      unsigned long limit, long *ceiling)
{
	struct task_struct *p, *worst = NULL;
	long points, most = LONG_MIN;

	for_each_process(p) {
		points = mcx_badness(p, top, limit);
		if (points > most && points < *ceiling) {
			worst = p;
			most = points;
		}
	}
	*ceiling = most;
	return worst;
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
 * The process whose memory to get rid of, and that, with a reference; NULL if
 * there is none, or -EAGAIN if it ends by itself.
 */
static struct task_struct *mcx_choose(struct mem_cgroup *top,
				      unsigned long limit, struct mcx_use *use)
{
	long ceiling = LONG_MAX;
	struct task_struct *p;

	while ((p = mcx_select(top, limit, &ceiling))) {
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

/* In the cgroup itself, or with memory that is charged there. */
static bool mcx_in_group(struct task_struct *p, struct mem_cgroup *group)
{
	struct mcx_use use;

	return mcx_is_in(mem_cgroup_from_task(p), group) ||
	       mcx_use_of(p, group, false, &use);
}

static int mcx_kill_process(struct task_struct *p)
{
	struct pid *pid = task_tgid(p);

	/* The whole process, from whatever thread of it that is alive. */
	if (!pid || mcx_is_exiting(p) || kill_pid(pid, SIGKILL, 1))
		return 0;
	mcx_memory_event(mem_cgroup_from_task(p), MEMCG_OOM_KILL);
	return 1;
}

static int mcx_kill_all(struct mm_struct *mm, struct mem_cgroup *group)
{
	struct task_struct *p;
	int killed = 0;

	for_each_process(p)
		if (!mcx_is_protected(p) &&
		    (group ? mcx_in_group(p, group) : mcx_uses_mm(p, mm)))
			killed += mcx_kill_process(p);
	if (killed && group)
		mcx_memory_event(group, MEMCG_OOM_GROUP_KILL);
	return killed;
}

static void mcx_report(struct mem_cgroup *top, const struct mcx_death *death,
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

/* Dies of SIGKILL and still has a thread that may hold memory. */
static bool mcx_is_dying(struct task_struct *p)
{
	struct task_struct *t;

	if (!(READ_ONCE(p->signal->flags) & SIGNAL_GROUP_EXIT) ||
	    READ_ONCE(p->signal->group_exit_code) != SIGKILL)
		return false;
	for_each_thread(p, t)
		if (!READ_ONCE(t->exit_state))
			return true;
	return false;
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
		if (mcx_is_dying(p) && mcx_is_in(mem_cgroup_from_task(p), top)) {
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
 * @limit: pages that it should not use more than; scales oom_score_adj
 *
 * Context: Process. May sleep.
 * Return: how many processes were killed, -EAGAIN if somebody is dying already, or
 * 0 if there is nobody who may be killed.
 */
int mcx_kill(struct mem_cgroup *top, unsigned long limit)
{
	struct mcx_death death;
	struct mem_cgroup *group;
	struct task_struct *p;
	struct mcx_use use;
	int killed;

	if (mcx_kill_pending(top))
		return -EAGAIN;
	rcu_read_lock();
	p = mcx_choose(top, limit, &use);
	if (IS_ERR_OR_NULL(p)) {
		rcu_read_unlock();
		return PTR_ERR_OR_ZERO(p);
	}
	group = mcx_group_of(use.memcg, top);
	death.pid = task_tgid_nr(p);
	get_task_comm(death.comm, p);
	death.pages = use.pages;
	death.group = group;
	killed = mcx_kill_all(use.mm, group);
	rcu_read_unlock();
	mmdrop(use.mm);
	if (!killed)
		return -EAGAIN;
	mcx_report(top, &death, killed);
	return killed;
}
