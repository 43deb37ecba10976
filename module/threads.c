// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which threads may be throttled, and which first: what was said of a thread, or what
 * follows from how it is scheduled.
 *
 * What was said belongs to a task and to the cgroup that said so. It is kept over exec,
 * handed on by clone, and void once its task is outside of that cgroup. To learn of
 * clones, exits and moves tracepoints are probed, from the first word on and until
 * MCX_UNPROBE_DELAY after the last, so that who says it and takes it back patches the
 * kernel no more than once in that time.
 *
 * The task is kept until it is forgotten, at its exit or soon after it. A cgroup is known
 * by the serial number of its css, which is never used again.
 *
 * Locking: threads_lock is for writing to the table; nothing sleeps or charges under it.
 * Reading is under RCU: the table is of fixed size, so that this can be done in NMI.
 * probe_mutex is for registering and unregistering the probes, which sleep; it comes
 * first.
 */
#include <linux/cgroup.h>
#include <linux/hashtable.h>
#include <linux/memcontrol.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/rt.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "feature.h"
#include "state.h"
#include "threads.h"

/* From here on a thread is batch without being told. */
#define MCX_NICE_BATCH		10

/* How long who does not belong any more is kept: one walk for many moves. */
#define MCX_SWEEP_DELAY		msecs_to_jiffies(100)
#define MCX_UNPROBE_DELAY	(5 * HZ)

struct mcx_thread {
	struct hlist_node node;
	struct task_struct *task;	/* a reference */
	struct mcx_word said[MCX_NR_SOURCES];
	struct rcu_head rcu;
};

static DEFINE_HASHTABLE(threads, 12);
static DEFINE_SPINLOCK(threads_lock);
/* In the table; threads_lock for writing. */
static unsigned int nr_threads;

/* Policy that is being forgotten: nobody inherits its words; threads_lock. */
static u64 ending;
static DEFINE_MUTEX(ending_mutex);

static DEFINE_MUTEX(probe_mutex);
static bool probed;

static void mcx_threads_sweep(struct work_struct *work);
static void mcx_unprobe_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(sweep_work, mcx_threads_sweep);
static DECLARE_DELAYED_WORK(unprobe_work, mcx_unprobe_work);

/* Under RCU, or with threads_lock. */
static notrace struct mcx_thread *mcx_thread_find(struct task_struct *task)
{
	struct mcx_thread *t;

	hash_for_each_possible_rcu_notrace(threads, t, node,
					   (unsigned long)task)
		if (t->task == task)
			return t;
	return NULL;
}

/* Is @memcg the cgroup where that was said, or below it? Under RCU. */
static notrace bool mcx_word_covers(const struct mcx_word *word,
				    struct mem_cgroup *memcg)
{
	struct cgroup_subsys_state *css = memcg ? &memcg->css : NULL;

	for (; css; css = css->parent)
		if (css->serial_nr == READ_ONCE(word->css))
			return true;
	return false;
}

/* Was something said, where its task still is? Under RCU. */
static notrace bool mcx_word_holds(struct task_struct *task,
				   const struct mcx_word *word)
{
	return READ_ONCE(word->class) != MCX_CLASS_NONE &&
	       mcx_word_covers(word, mem_cgroup_from_task(task));
}

/*
 * What was said of a thread that counts in @memcg, NULL for anywhere. What makes it wait
 * less does not count above the cgroup that said so. Under RCU.
 */
static notrace enum mcx_class mcx_thread_class(const struct mcx_thread *t,
					       struct mem_cgroup *memcg)
{
	enum mcx_class class;
	int i;

	for (i = 0; i < MCX_NR_SOURCES; i++) {
		if (!mcx_word_holds(t->task, &t->said[i]))
			continue;
		class = READ_ONCE(t->said[i].class);
		if (class == MCX_CLASS_BATCH || !memcg ||
		    mcx_word_covers(&t->said[i], memcg))
			return class;
	}
	return MCX_CLASS_NONE;
}

static notrace enum mcx_class mcx_class_by_policy(struct task_struct *task)
{
	unsigned int policy = READ_ONCE(task->policy);

	if (rt_or_dl_task_policy(task))
		return MCX_CLASS_CRITICAL;
	if (policy == SCHED_BATCH || policy == SCHED_IDLE ||
	    task_nice(task) >= MCX_NICE_BATCH)
		return MCX_CLASS_BATCH;
	return MCX_CLASS_NORMAL;
}

/**
 * mcx_threads_class() - how a thread shall be throttled
 * @task: the thread
 * @memcg: in which cgroup, that it is charged to directly or not; NULL: in its own
 *
 * Context: Any. Takes RCU. A few loads, and a lookup if anything was said of any
 * thread.
 * Return: what was said of it, if it still is in that cgroup; otherwise what follows
 * from how it is scheduled, as the user wants it and not as a lock boosts it.
 */
notrace enum mcx_class mcx_threads_class(struct task_struct *task,
					 struct mem_cgroup *memcg)
{
	enum mcx_class class = MCX_CLASS_NONE;
	struct mcx_thread *t;

	if (unlikely(READ_ONCE(nr_threads))) {
		rcu_read_lock();
		t = mcx_thread_find(task);
		if (t)
			class = mcx_thread_class(t, memcg);
		rcu_read_unlock();
	}
	return class != MCX_CLASS_NONE ? class : mcx_class_by_policy(task);
}

static void mcx_thread_free(struct rcu_head *rcu)
{
	struct mcx_thread *t = container_of(rcu, struct mcx_thread, rcu);

	put_task_struct(t->task);
	kfree(t);
}

/* Caller holds threads_lock. */
static void mcx_thread_add(struct mcx_thread *t)
{
	get_task_struct(t->task);
	hash_add_rcu(threads, &t->node, (unsigned long)t->task);
	WRITE_ONCE(nr_threads, nr_threads + 1);
}

/* Caller holds threads_lock. */
static void mcx_thread_remove(struct mcx_thread *t)
{
	hash_del_rcu(&t->node);
	WRITE_ONCE(nr_threads, nr_threads - 1);
	call_rcu(&t->rcu, mcx_thread_free);
	if (!nr_threads)
		queue_delayed_work(mcx_wq, &unprobe_work, MCX_UNPROBE_DELAY);
}

/* Is that worth keeping? Caller holds threads_lock. Under RCU. */
static bool mcx_word_stays(struct task_struct *task,
			   const struct mcx_word *word)
{
	return mcx_word_holds(task, word) && !(task->flags & PF_EXITING) &&
	       !(ending && word->policy == ending);
}

/* Caller holds threads_lock. Under RCU. */
static void mcx_thread_tidy(struct mcx_thread *t)
{
	bool any = false;
	int i;

	for (i = 0; i < MCX_NR_SOURCES; i++) {
		if (mcx_word_stays(t->task, &t->said[i]))
			any = true;
		else
			WRITE_ONCE(t->said[i].class, MCX_CLASS_NONE);
	}
	if (!any)
		mcx_thread_remove(t);
}

static void mcx_threads_tidy(void)
{
	struct mcx_thread *t;
	struct hlist_node *next;
	int i;

	for (i = 0; i < HASH_SIZE(threads); i++) {
		if (hlist_empty(&threads[i]))
			continue;
		spin_lock_bh(&threads_lock);
		rcu_read_lock();
		hlist_for_each_entry_safe(t, next, &threads[i], node)
			mcx_thread_tidy(t);
		rcu_read_unlock();
		spin_unlock_bh(&threads_lock);
		cond_resched();
	}
}

static void mcx_threads_sweep(struct work_struct *work)
{
	mcx_threads_tidy();
}

static void mcx_words_clear(struct mcx_thread *t)
{
	int i;

	for (i = 0; i < MCX_NR_SOURCES; i++)
		t->said[i] = (struct mcx_word) { .class = MCX_CLASS_NONE };
}

/*
 * What @from's task hands on to @to's, of which something may have been said already.
 * Returns whether there was anything. Caller holds threads_lock. Under RCU.
 */
static bool mcx_thread_inherit(struct mcx_thread *to,
			       const struct mcx_thread *from)
{
	bool any = false;
	int i;

	for (i = 0; i < MCX_NR_SOURCES; i++) {
		if (to->said[i].class != MCX_CLASS_NONE ||
		    !mcx_word_stays(to->task, &from->said[i]))
			continue;
		to->said[i] = from->said[i];
		any = true;
	}
	return any;
}

/*
 * clone: as its maker is. The new task does not run yet, but can be seen, so that
 * something may have been said of it before we come here.
 */
static void mcx_probe_fork(void *data, struct task_struct *parent,
			   struct task_struct *task)
{
	struct mcx_thread *t, *known, *new;

	rcu_read_lock();
	t = mcx_thread_find(parent);
	rcu_read_unlock();
	if (!t)
		return;
	/*
	 * Not charged, or it would fail at memory.max; there are no more than threads.
	 * Without memory for it, it is as if nothing had been said.
	 */
	new = kmalloc(sizeof(*new), GFP_NOWAIT | __GFP_NOWARN);
	if (!new)
		return;
	new->task = task;
	mcx_words_clear(new);
	spin_lock_bh(&threads_lock);
	rcu_read_lock();
	t = mcx_thread_find(parent);
	known = mcx_thread_find(task);
	if (t && mcx_thread_inherit(known ?: new, t) && !known) {
		mcx_thread_add(new);
		new = NULL;
	}
	/* The maker may have nothing to hand on any more, and nobody moved. */
	if (t && new && !known)
		queue_delayed_work(mcx_wq, &sweep_work, MCX_SWEEP_DELAY);
	rcu_read_unlock();
	spin_unlock_bh(&threads_lock);
	kfree(new);
}

static void mcx_thread_forget(struct task_struct *task)
{
	struct mcx_thread *t;

	rcu_read_lock();
	t = mcx_thread_find(task);
	rcu_read_unlock();
	if (likely(!t))
		return;
	spin_lock_bh(&threads_lock);
	t = mcx_thread_find(task);
	if (t)
		mcx_thread_remove(t);
	spin_unlock_bh(&threads_lock);
}

static void mcx_probe_exit(void *data, struct task_struct *task)
{
	/* Pairs with mcx_threads_set(): PF_EXITING and look, add and look. */
	smp_mb();
	mcx_thread_forget(task);
}

static void mcx_probe_exit_group(void *data, struct task_struct *task,
				 bool group_dead)
{
	mcx_probe_exit(data, task);
}

/*
 * Interrupts are off, and a lock of the tracer's is held: who does not belong there any
 * more is looked for later. What was said is void at once.
 */
static void mcx_probe_attach(void *data, struct cgroup *dst, const char *path,
			     struct task_struct *task, bool threadgroup)
{
	queue_delayed_work(mcx_wq, &sweep_work, MCX_SWEEP_DELAY);
}

static struct mcx_probe {
	const char *name;
	void *func;
	struct tracepoint *tp;
} probes[] = {
	{ "sched_process_fork", mcx_probe_fork },
	{ "sched_process_exit", MCX_EXIT_PROBE(mcx_probe_exit,
					       mcx_probe_exit_group) },
	{ "cgroup_attach_task", mcx_probe_attach },
};

static void mcx_probe_find(struct tracepoint *tp, void *arg)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(tp->name, probes[i].name) &&
		    !mcx_hidden(tp->name))
			probes[i].tp = tp;
}

/* Caller holds probe_mutex. */
static void mcx_unprobe(int n)
{
	while (n--)
		tracepoint_probe_unregister(probes[n].tp, probes[n].func, NULL);
	probed = false;
}

/* Caller holds probe_mutex. */
static int mcx_probe(void)
{
	int i, ret;

	if (probed)
		return 0;
	if (!mcx_feature_is_on(MCX_FEAT_THREADS))
		return -EOPNOTSUPP;
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		ret = tracepoint_probe_register(probes[i].tp, probes[i].func,
						NULL);
		if (ret) {
			mcx_unprobe(i);
			return ret;
		}
	}
	probed = true;
	return 0;
}

static void mcx_unprobe_work(struct work_struct *work)
{
	mutex_lock(&probe_mutex);
	/*
	 * Nobody adds one meanwhile: who says something first has the mutex, and a
	 * fork adds one only where there is one.
	 */
	if (probed && !READ_ONCE(nr_threads))
		mcx_unprobe(ARRAY_SIZE(probes));
	mutex_unlock(&probe_mutex);
}

/**
 * mcx_threads_forget_policy() - what a policy said counts no more
 * @id: of the policy, which says nothing any more
 *
 * Context: Process.
 */
void mcx_threads_forget_policy(u64 id)
{
	mutex_lock(&ending_mutex);
	spin_lock_bh(&threads_lock);
	ending = id;
	spin_unlock_bh(&threads_lock);
	mcx_threads_tidy();
	spin_lock_bh(&threads_lock);
	ending = 0;
	spin_unlock_bh(&threads_lock);
	mutex_unlock(&ending_mutex);
}

/*
 * May that be said where @old was? Whoever owns a cgroup further down can neither take
 * back what was said above it nor make less of batch; a policy can change nothing of it.
 * Under RCU.
 */
static bool mcx_word_may(struct task_struct *task, const struct mcx_word *old,
			 const struct mcx_word *word, enum mcx_source by)
{
	struct cgroup_subsys_state *css = &mem_cgroup_from_task(task)->css;
	bool inner;

	/* What a policy said that has been replaced comes late. */
	if (old->css == word->css)
		return word->policy >= old->policy;
	if (!mcx_word_holds(task, old))
		return true;
	if (word->class == MCX_CLASS_NONE)
		return false;
	/* Which of the two comes first on the way up? */
	while (css && css->serial_nr != old->css && css->serial_nr != word->css)
		css = css->parent;
	inner = css && css->serial_nr == old->css;
	return inner || (by != MCX_BY_POLICY && old->class != MCX_CLASS_BATCH);
}

/* Has it moved elsewhere since it was looked at? */
static bool mcx_word_is_late(struct task_struct *task, const struct mcx_word *word)
{
	bool late;

	rcu_read_lock();
	late = word->class != MCX_CLASS_NONE &&
	       !mcx_word_covers(word, mem_cgroup_from_task(task));
	rcu_read_unlock();
	return late;
}

/*
 * Caller holds threads_lock. Returns -EPERM, -ESRCH, or whether @new was used. A reader may
 * see the old class with the new cgroup, once.
 */
static int mcx_thread_say(struct mcx_thread *new, enum mcx_source by)
{
	const struct mcx_word *word = &new->said[by];
	struct mcx_thread *t = mcx_thread_find(new->task);
	int ret = 0;

	if (!t && word->class == MCX_CLASS_NONE)
		return 0;
	if (mcx_word_is_late(new->task, word))
		return -ESRCH;
	if (!t) {
		mcx_thread_add(new);
		return 1;
	}
	rcu_read_lock();
	if (mcx_word_may(t->task, &t->said[by], word, by)) {
		WRITE_ONCE(t->said[by].css, word->css);
		t->said[by].policy = word->policy;
		WRITE_ONCE(t->said[by].class, word->class);
		mcx_thread_tidy(t);
	} else {
		ret = -EPERM;
	}
	rcu_read_unlock();
	return ret;
}

/* Caller holds probe_mutex. */
static int mcx_thread_set(struct mcx_thread *new, enum mcx_source by)
{
	struct task_struct *task = new->task;
	int ret = mcx_probe();

	if (!ret) {
		spin_lock_bh(&threads_lock);
		ret = mcx_thread_say(new, by);
		spin_unlock_bh(&threads_lock);
	}
	if (ret <= 0)
		kfree(new);
	/* Pairs with mcx_probe_exit(): it may have looked before. */
	smp_mb();
	if (READ_ONCE(task->flags) & PF_EXITING) {
		mcx_thread_forget(task);
		ret = -ESRCH;
	}
	/* One that was not needed, for whatever reason, ends as well. */
	if (!READ_ONCE(nr_threads))
		queue_delayed_work(mcx_wq, &unprobe_work, MCX_UNPROBE_DELAY);
	return min(ret, 0);
}

static bool mcx_thread_known(struct task_struct *task)
{
	bool known;

	rcu_read_lock();
	known = mcx_thread_find(task);
	rcu_read_unlock();
	return known;
}

/**
 * mcx_threads_set() - say of a thread how it shall be throttled
 * @task: the thread; the caller has a reference
 * @by: who says so
 * @word: what
 *
 * Context: Process. May sleep.
 * Return: 0; -ESRCH if it is exiting, or is elsewhere by now; -EPERM if a cgroup above said
 * what this one may not take back; -EOPNOTSUPP if this kernel does not tell of forks and
 * exits; -ENOMEM; -EINTR.
 */
int mcx_threads_set(struct task_struct *task, enum mcx_source by,
		    const struct mcx_word *word)
{
	struct mcx_thread *new;
	int ret;

	if (READ_ONCE(task->flags) & PF_EXITING)
		return -ESRCH;
	if (word->class == MCX_CLASS_NONE && !mcx_thread_known(task))
		return 0;
	new = kmalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	new->task = task;
	mcx_words_clear(new);
	new->said[by] = *word;

	if (mutex_lock_killable(&probe_mutex)) {
		kfree(new);
		return -EINTR;
	}
	ret = mcx_thread_set(new, by);
	mutex_unlock(&probe_mutex);
	return ret;
}

/**
 * mcx_threads_for_each() - all threads of which the file of a cgroup says something
 * @css: that cgroup
 * @fn: called with each, and what was said, under RCU
 * @arg: for @fn
 *
 * Context: Process.
 */
void mcx_threads_for_each(struct cgroup_subsys_state *css,
			  void (*fn)(struct task_struct *task,
				     enum mcx_class class, void *arg),
			  void *arg)
{
	struct mcx_thread *t;
	int i;

	for (i = 0; i < HASH_SIZE(threads); i++) {
		rcu_read_lock();
		hlist_for_each_entry_rcu(t, &threads[i], node) {
			struct mcx_word *word = &t->said[MCX_BY_FILE];

			if (READ_ONCE(word->css) == css->serial_nr &&
			    mcx_word_holds(t->task, word))
				fn(t->task, READ_ONCE(word->class), arg);
		}
		rcu_read_unlock();
		cond_resched();
	}
}

/**
 * mcx_threads_show_hooks() - print the tracepoints as mcx_hooks_show() does functions
 * @s: where to
 *
 * Context: Process.
 */
void mcx_threads_show_hooks(struct seq_file *s)
{
	int i;

	mutex_lock(&probe_mutex);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		seq_printf(s, "%s found=%d attached=%d redirect=0\n",
			   probes[i].name, !!probes[i].tp, probed);
	mutex_unlock(&probe_mutex);
}

/**
 * mcx_threads_init() - find the tracepoints, probe none
 *
 * Context: Process, from module init only.
 */
void mcx_threads_init(void)
{
	int i;

	for_each_kernel_tracepoint(mcx_probe_find, NULL);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!probes[i].tp)
			mcx_feature_off(MCX_FEAT_THREADS,
					"tracepoint %s not found",
					probes[i].name);
}

/**
 * mcx_threads_exit() - forget all
 *
 * Nobody may call anything of the above any more.
 *
 * Context: Process, from module exit only.
 */
void mcx_threads_exit(void)
{
	struct mcx_thread *t;
	struct hlist_node *next;
	int i;

	mutex_lock(&probe_mutex);
	if (probed)
		mcx_unprobe(ARRAY_SIZE(probes));
	mutex_unlock(&probe_mutex);
	tracepoint_synchronize_unregister();

	spin_lock_bh(&threads_lock);
	hash_for_each_safe(threads, i, next, t, node)
		mcx_thread_remove(t);
	spin_unlock_bh(&threads_lock);
	cancel_delayed_work_sync(&sweep_work);
	cancel_delayed_work_sync(&unprobe_work);
	/* mcx_thread_free() is ours. */
	rcu_barrier();
}
