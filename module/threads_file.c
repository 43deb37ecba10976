// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.ext.threads: "TID critical|normal|batch|default", one thread a write.
 *
 * A workload writes it, so whoever may make cgroups in this one may write it: the file
 * itself is open to all, and the folder's permissions are asked when it is opened. The
 * file could be given the folder's owner when it is made, but not be kept in step with
 * it, since folders are handed on after their files were made.
 *
 * An open file may be handed to anybody: TIDs are read, and shown, in the pid namespace
 * of who opened it, as it is that one's rights that count. The core has no room for
 * that in an open file, so it is in a list of ours.
 *
 * Locking: none but that list's own.
 */
#include <linux/cgroup.h>
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/memcontrol.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rhashtable.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "threads.h"
#include "threads_file.h"
#include "throttle.h"

struct mcx_open {
	struct rhash_head node;
	struct kernfs_open_file *of;	/* the key */
	struct pid_namespace *ns;
	struct rcu_head rcu;
};

static const char * const class_names[] = {
	[MCX_CLASS_CRITICAL] = "critical",
	[MCX_CLASS_NORMAL] = "normal",
	[MCX_CLASS_BATCH] = "batch",
	[MCX_CLASS_NONE] = "default",
};

static const struct rhashtable_params open_params = {
	.key_len = sizeof(struct kernfs_open_file *),
	.key_offset = offsetof(struct mcx_open, of),
	.head_offset = offsetof(struct mcx_open, node),
	.automatic_shrinking = true,
};

static struct rhashtable open_files;

static int mcx_may_write(struct file *file)
{
	struct dentry *folder = dget_parent(file->f_path.dentry);
	int ret;

	ret = inode_permission(file_mnt_idmap(file), d_inode(folder),
			       MAY_WRITE);
	dput(folder);
	return ret;
}

static void mcx_open_free(void *open, void *arg)
{
	struct mcx_open *o = open;

	put_pid_ns(o->ns);
	kfree(o);
}

/**
 * mcx_threads_open() - remember who opened it
 * @of: the open file
 *
 * Context: Process.
 * Return: 0; -EACCES if it is to be written by somebody who may not write in its folder;
 * -ENOMEM.
 */
int mcx_threads_open(struct kernfs_open_file *of)
{
	struct mcx_open *o;
	int ret;

	if (of->file->f_mode & FMODE_WRITE) {
		ret = mcx_may_write(of->file);
		if (ret)
			return ret;
	}
	o = kmalloc(sizeof(*o), GFP_KERNEL_ACCOUNT);
	if (!o)
		return -ENOMEM;
	o->of = of;
	o->ns = get_pid_ns(task_active_pid_ns(current));
	ret = rhashtable_insert_fast(&open_files, &o->node, open_params);
	if (ret)
		mcx_open_free(o, NULL);
	return ret;
}

/* Valid until it is closed, which cannot be while it is read or written. */
static struct mcx_open *mcx_open_find(struct kernfs_open_file *of)
{
	return rhashtable_lookup_fast(&open_files, &of, open_params);
}

/**
 * mcx_threads_release() - it is closed, or removed
 * @of: the open file
 *
 * Context: Process.
 */
void mcx_threads_release(struct kernfs_open_file *of)
{
	struct mcx_open *o = mcx_open_find(of);

	rhashtable_remove_fast(&open_files, &o->node, open_params);
	put_pid_ns(o->ns);
	/* Others may be on their way past it in its chain. */
	kfree_rcu(o, rcu);
}

struct mcx_show_arg {
	struct seq_file *s;
	struct pid_namespace *ns;
};

static void mcx_thread_show(struct task_struct *task, enum mcx_class class,
			    void *arg)
{
	struct mcx_show_arg *a = arg;
	pid_t tid = task_pid_nr_ns(task, a->ns);

	/* One that cannot be seen from there is nobody's business there. */
	if (tid)
		seq_printf(a->s, "%d %s\n", tid, class_names[class]);
}

/**
 * mcx_threads_show() - the threads of which something was said here
 * @s: where to
 * @v: not used
 *
 * Context: Process.
 * Return: 0.
 */
int mcx_threads_show(struct seq_file *s, void *v)
{
	struct mcx_show_arg arg = {
		.s = s, .ns = mcx_open_find(s->private)->ns,
	};

	mcx_threads_for_each(seq_css(s), mcx_thread_show, &arg);
	return 0;
}

/* Workers of io_uring write for others, and never wait. */
static struct task_struct *mcx_writer(void)
{
	return current->flags & (PF_IO_WORKER | PF_USER_WORKER) ? NULL : current;
}

/* The thread, if it is charged here, with a reference; or NULL. 0 is the writer. */
static struct task_struct *mcx_thread_get(pid_t tid, struct pid_namespace *ns,
					  struct mem_cgroup *memcg)
{
	struct task_struct *task;

	rcu_read_lock();
	task = tid ? pid_task(find_pid_ns(tid, ns), PIDTYPE_PID) :
		     mcx_writer();
	if (task && mem_cgroup_from_task(task) != memcg)
		task = NULL;
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	return task;
}

/* "TID CLASS" */
static int mcx_threads_parse(char *buf, pid_t *tid)
{
	char *word = strim(buf), *class;

	class = strpbrk(word, " \t");
	if (!class)
		return -EINVAL;
	*class = '\0';
	if (kstrtoint(word, 10, tid) || *tid < 0)
		return -EINVAL;
	return match_string(class_names, ARRAY_SIZE(class_names),
			    skip_spaces(class + 1));
}

/**
 * mcx_threads_write() - say how a thread shall be throttled
 * @of: the open file
 * @buf: "TID CLASS"
 * @nbytes: its length
 * @off: not used
 *
 * Context: Process.
 * Return: @nbytes; -EINVAL for what is no TID and class; -ESRCH if there is no such thread
 * that is charged to this cgroup and no other; what mcx_threads_set() returns.
 */
ssize_t mcx_threads_write(struct kernfs_open_file *of, char *buf,
			  size_t nbytes, loff_t off)
{
	struct mem_cgroup *memcg = mem_cgroup_from_css(of_css(of));
	struct mcx_word word = { .css = memcg->css.serial_nr };
	struct task_struct *task;
	int class, ret;
	pid_t tid;

	class = mcx_threads_parse(buf, &tid);
	if (class < 0)
		return class;
	task = mcx_thread_get(tid, mcx_open_find(of)->ns, memcg);
	if (!task)
		return -ESRCH;
	word.class = class;
	ret = mcx_threads_set(task, MCX_BY_FILE, &word);
	/* It may be waiting for what it need not any more. */
	if (!ret)
		mcx_throttle_wake(memcg, task);
	put_task_struct(task);
	return ret ?: nbytes;
}

/**
 * mcx_threads_file_init() - make the list of open files
 *
 * Context: Process, from module init only.
 * Return: 0 or -errno.
 */
int mcx_threads_file_init(void)
{
	return rhashtable_init(&open_files, &open_params);
}

/**
 * mcx_threads_file_exit() - done with it; no such file is there any more
 *
 * Context: Process, from module exit only.
 */
void mcx_threads_file_exit(void)
{
	rhashtable_free_and_destroy(&open_files, mcx_open_free, NULL);
}
