// SPDX-License-Identifier: GPL-2.0-only
/*
 * memtrace: what happens to the memory charge of a few cgroups, seen from
 * outside the module under test. Who charges, how full the cgroup is right
 * after each batch, who reclaims from it, who is put to sleep and where.
 *
 * A page_counter belongs to a traced cgroup if its address is in a map that
 * user space filled from the cgroup iterator below. Counters of swap and
 * hugetlb come by as well, so nothing is derived from a counter's address.
 *
 * Programs only add to maps; user space reads them when it is over. A program
 * that interrupts itself is skipped by the kernel and counted there as a
 * recursion miss, which user space reports.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "memtrace.h"

#ifndef PF_KTHREAD
#define PF_KTHREAD		0x00200000
#endif
#define STACK_DEPTH		12
#define NEAR_CALLER		6	/* with the program's own frames */
#define CHARGE_BATCH		64	/* MEMCG_CHARGE_BATCH */
#define COSTLY_PAGES		8	/* 1 << PAGE_ALLOC_COSTLY_ORDER */

char LICENSE[] SEC("license") = "GPL";

/* Addresses of try_charge_memcg, from kallsyms; 0 if not known. */
const volatile __u64 charge_start;
const volatile __u64 charge_end;
/* From the enum of the running kernel's flag bits; see user space. */
const volatile __u64 gfp_direct_reclaim;
const volatile __u64 gfp_noretry;

/* Written by user space before on is set. */
__u64 sample;			/* counter whose usage is sampled */
__u64 limit;			/* pages */
__u64 near;			/* pages; from then on usage is "steady" */
bool on;

bool reached;			/* usage came near the limit */

struct set {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u32);
};

struct set charged SEC(".maps");	/* counters whose charges count */
struct set reclaimed SEC(".maps");	/* counters whose reclaim counts */
struct set members SEC(".maps");	/* cgroup ids */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct memtrace_charges);
} charges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MEMTRACE_TASKS);
	__type(key, __u32);
	__type(value, struct memtrace_task);
} tasks SEC(".maps");

/* Where a task is right now; exists while it is in one of the functions. */
struct busy {
	__u64 reclaim_start;
	__u64 high_start;
	__u64 sleep_start;
	__u64 off_start;	/* in reclaim, but not on a CPU */
	__u64 off_ns;
	bool sync;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MEMTRACE_TASKS);
	__type(key, __u32);
	__type(value, struct busy);
} busy SEC(".maps");

/* A task in try_charge_memcg(), with option -r. */
struct attempt {
	__u32 depth;		/* reclaim may charge something itself */
	__u32 pages;
	__u32 refused;
	__u32 events;
	bool forced;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MEMTRACE_TASKS);
	__type(key, __u32);
	__type(value, struct attempt);
} attempts SEC(".maps");

/* Zero-filled templates: these structures are large for the BPF stack. */
static const struct memtrace_task no_task;
static const struct busy no_busy;
static const struct attempt no_attempt;

SEC("iter/cgroup")
int memtrace_find(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *cgrp = ctx->cgroup;
	struct cgroup_subsys_state **subsys, *css = NULL;
	struct memtrace_found found = {};
	struct mem_cgroup *memcg;
	int i;

	if (!cgrp)
		return 0;
	i = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	subsys = (void *)cgrp + bpf_core_field_offset(struct cgroup, subsys);
	bpf_probe_read_kernel(&css, sizeof(css), subsys + i);
	if (!css)
		return 0;
	memcg = (void *)css - bpf_core_field_offset(struct mem_cgroup, css);
	found.id = BPF_CORE_READ(cgrp, kn, id);
	found.counter = (__u64)memcg +
		bpf_core_field_offset(struct mem_cgroup, memory);
	bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

static bool in_set(void *set, __u64 key)
{
	return bpf_map_lookup_elem(set, &key);
}

static struct memtrace_charges *this_cpu_charges(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&charges, &zero);
}

static void sample_usage(struct memtrace_charges *c, __u64 pages)
{
	struct page_counter *counter = (void *)sample;
	__u64 usage = BPF_CORE_READ(counter, usage.counter);

	c->batches++;
	c->pages += pages;
	c->usage_sum += usage;
	if (usage > c->usage_peak)
		c->usage_peak = usage;
	if (usage > limit)
		c->over++;
	/* An average over the filling up would hide any excess after it. */
	if (usage >= near)
		reached = true;
	if (reached) {
		c->steady++;
		c->steady_sum += usage;
	}
}

/* Is try_charge_memcg among the nearest @depth frames of the stack? */
static bool called_by_charge(void *ctx, int depth)
{
	__u64 ip[STACK_DEPTH] = {};
	int i;

	if (!charge_start)
		return false;
	if (bpf_get_stack(ctx, ip, sizeof(ip), 0) < 0)
		return false;
	for (i = 0; i < STACK_DEPTH && i < depth; i++)
		if (ip[i] > charge_start && ip[i] < charge_end)
			return true;
	return false;
}

static struct attempt *this_attempt(void)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&attempts, &tid);
}

static void note_refused(unsigned long nr_pages)
{
	struct attempt *a = this_attempt();

	if (a && a->pages == nr_pages)
		a->refused++;
}

SEC("fexit/page_counter_try_charge")
int BPF_PROG(memtrace_try_charge, struct page_counter *counter,
	     unsigned long nr_pages, struct page_counter **fail, bool ret)
{
	struct memtrace_charges *c;

	if (!on || !in_set(&charged, (__u64)counter))
		return 0;
	c = this_cpu_charges();
	if (!c)
		return 0;
	/*
	 * A charge asks for a whole batch first, then for what it needs: only
	 * when that is refused as well the limit was hit. (A folio of exactly
	 * one batch, which is refused once, is taken for a batch: use the
	 * cgroup's own max counter to judge, and this to cross-check it.)
	 */
	if (ret)
		sample_usage(c, nr_pages);
	else if (nr_pages == CHARGE_BATCH)
		c->failed++;
	else
		c->refused++;
	if (!ret)
		note_refused(nr_pages);
	return 0;
}

/* The kernel's way to charge what must not fail: checks no limit. */
SEC("fexit/page_counter_charge")
int BPF_PROG(memtrace_charge, struct page_counter *counter,
	     unsigned long nr_pages)
{
	struct memtrace_charges *c;
	struct attempt *a;

	if (!on || !in_set(&charged, (__u64)counter))
		return 0;
	c = this_cpu_charges();
	if (!c)
		return 0;
	c->forced++;
	a = this_attempt();
	if (a)
		a->forced = true;
	sample_usage(c, nr_pages);
	return 0;
}

/*
 * Which charges raise a max event? A probe, an attempt at a large folio for which
 * the kernel has a smaller one in store or which it can do without, may be
 * refused at the limit, and the kernel counts that as well (7.x even if it did
 * not try to reclaim). These programs see every page, hence only on demand.
 */
SEC("?fentry/try_charge_memcg")
int BPF_PROG(memtrace_attempt, struct mem_cgroup *memcg, gfp_t gfp,
	     unsigned int nr_pages)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct attempt *a;

	if (!on || !in_set(&charged, (__u64)&memcg->memory))
		return 0;
	bpf_map_update_elem(&attempts, &tid, &no_attempt, BPF_NOEXIST);
	a = bpf_map_lookup_elem(&attempts, &tid);
	if (a && !a->depth++)
		a->pages = nr_pages;
	return 0;
}

static bool is_probe(__u64 gfp, unsigned int nr_pages)
{
	return gfp & gfp_noretry || !(gfp & gfp_direct_reclaim) ||
	       nr_pages > COSTLY_PAGES;
}

SEC("?fexit/try_charge_memcg")
int BPF_PROG(memtrace_attempt_end, struct mem_cgroup *memcg, gfp_t gfp,
	     unsigned int nr_pages, int ret)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct attempt *a = this_attempt();
	struct memtrace_charges *c;

	if (!a || !in_set(&charged, (__u64)&memcg->memory) || --a->depth)
		return 0;
	c = this_cpu_charges();
	if (c && a->forced) {
		c->forced_max += a->events;
	} else if (c && ret && is_probe(gfp, nr_pages)) {
		c->rejected++;
		c->rejected_max += a->events;
	} else if (c) {
		c->plain_max += a->events;
		c->plain_refused += a->refused;
	}
	bpf_map_delete_elem(&attempts, &tid);
	return 0;
}

static int note_event(void)
{
	struct attempt *a = this_attempt();

	if (a)
		a->events++;
	return 0;
}

/*
 * Before 7.x this is all that can be seen of an event, a max event if it comes
 * straight from try_charge_memcg(). A timer calls it, too: a late notification,
 * which interrupts whoever runs.
 */
SEC("?fentry/cgroup_file_notify")
int BPF_PROG(memtrace_event, struct cgroup_file *file)
{
	struct mem_cgroup *memcg = (void *)sample -
		bpf_core_field_offset(struct mem_cgroup, memory);

	if (file != &memcg->events_file || !called_by_charge(ctx, NEAR_CALLER))
		return 0;
	return note_event();
}

SEC("?fentry/__memcg_memory_event")
int BPF_PROG(memtrace_event2, struct mem_cgroup *memcg, int event)
{
	if ((__u64)&memcg->memory != sample || event != MEMCG_MAX)
		return 0;
	return note_event();
}

static struct memtrace_task *this_task(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 tid = task->pid;
	struct memtrace_task *t;

	t = bpf_map_lookup_elem(&tasks, &tid);
	if (t)
		return t;
	bpf_map_update_elem(&tasks, &tid, &no_task, BPF_NOEXIST);
	t = bpf_map_lookup_elem(&tasks, &tid);
	if (!t)
		return NULL;
	bpf_get_current_comm(t->comm, sizeof(t->comm));
	t->kthread = !!(task->flags & PF_KTHREAD);
	t->member = in_set(&members, bpf_get_current_cgroup_id());
	return t;
}

static struct busy *make_busy(void)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct busy *b = bpf_map_lookup_elem(&busy, &tid);

	if (b)
		return b;
	bpf_map_update_elem(&busy, &tid, &no_busy, BPF_NOEXIST);
	return bpf_map_lookup_elem(&busy, &tid);
}

static struct busy *find_busy(void)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&busy, &tid);
}

static void drop_busy(void)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&busy, &tid);
}

SEC("fentry/try_to_free_mem_cgroup_pages")
int BPF_PROG(memtrace_reclaim_enter, struct mem_cgroup *memcg)
{
	struct busy *b;

	if (!on || !in_set(&reclaimed, (__u64)&memcg->memory))
		return 0;
	b = make_busy();
	if (b) {
		b->off_ns = 0;
		b->reclaim_start = bpf_ktime_get_ns();
	}
	return 0;
}

SEC("fexit/try_to_free_mem_cgroup_pages")
int BPF_PROG(memtrace_reclaim_exit, struct mem_cgroup *memcg,
	     unsigned long nr_pages, gfp_t gfp_mask,
	     unsigned int reclaim_options, int *swappiness, unsigned long ret)
{
	struct memtrace_task *t;
	struct busy *b = find_busy();
	__u64 ns;

	if (!b || !b->reclaim_start)
		return 0;
	t = this_task();
	if (t) {
		ns = bpf_ktime_get_ns() - b->reclaim_start;
		t->reclaim_calls++;
		t->reclaim_pages += ret;
		t->reclaim_ns += ns;
		t->reclaim_cpu_ns += ns - b->off_ns;
	}
	b->reclaim_start = 0;
	if (!b->high_start)
		drop_busy();
	return 0;
}

/*
 * On 6.12 the handler runs at every TIF_NOTIFY_RESUME and looks for itself
 * whether there is anything to do. Calls with nothing to do are not counted, nor
 * those at which usage is within the limit (again): memcg_ext lets tasks in
 * early, and its workers may have been faster.
 */
static int high_enter(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct page_counter *counter = (void *)sample;
	struct busy *b;

	if (!on || !task->memcg_nr_pages_over_high ||
	    BPF_CORE_READ(counter, usage.counter) <= limit ||
	    !in_set(&members, bpf_get_current_cgroup_id()))
		return 0;
	b = make_busy();
	if (!b)
		return 0;
	b->sync = called_by_charge(ctx, STACK_DEPTH);
	b->high_start = bpf_ktime_get_ns();
	return 0;
}

static int high_exit(void)
{
	struct memtrace_task *t;
	struct busy *b = find_busy();

	if (!b || !b->high_start)
		return 0;
	t = this_task();
	if (t) {
		t->high_calls++;
		t->high_sync += b->sync;
		t->high_ns += bpf_ktime_get_ns() - b->high_start;
	}
	drop_busy();
	return 0;
}

/* One of these two pairs is loaded: 7.3 renamed the handler. */
SEC("?fentry/mem_cgroup_handle_over_high")
int BPF_PROG(memtrace_high_enter)
{
	return high_enter(ctx);
}

SEC("?fexit/mem_cgroup_handle_over_high")
int BPF_PROG(memtrace_high_exit)
{
	return high_exit();
}

SEC("?fentry/__mem_cgroup_handle_over_high")
int BPF_PROG(memtrace_high2_enter)
{
	return high_enter(ctx);
}

SEC("?fexit/__mem_cgroup_handle_over_high")
int BPF_PROG(memtrace_high2_exit)
{
	return high_exit();
}

static void note_sleep(__u32 tid, struct busy *b)
{
	struct memtrace_task *t = bpf_map_lookup_elem(&tasks, &tid);
	__u64 ns = bpf_ktime_get_ns() - b->sleep_start;

	b->sleep_start = 0;
	if (!t)
		return;
	t->sleeps++;
	t->sleep_ns += ns;
	if (b->sync) {
		t->sync_sleeps++;
		t->sync_sleep_ns += ns;
	}
}

/*
 * Sleeps inside the over-high handler are throttle sleeps, whatever function
 * they are made with, except those while the handler reclaims.
 */
SEC("tp_btf/sched_switch")
int BPF_PROG(memtrace_switch, bool preempt, struct task_struct *prev,
	     struct task_struct *next, unsigned int prev_state)
{
	struct busy *b;
	__u32 tid;

	if (!on)
		return 0;
	tid = prev->pid;
	b = bpf_map_lookup_elem(&busy, &tid);
	if (b && b->reclaim_start)
		b->off_start = bpf_ktime_get_ns();
	if (b && b->high_start && !b->reclaim_start && !preempt && prev_state) {
		this_task();	/* prev is still current: make its entry */
		b->sleep_start = bpf_ktime_get_ns();
	}
	tid = next->pid;
	b = bpf_map_lookup_elem(&busy, &tid);
	if (b && b->off_start) {
		b->off_ns += bpf_ktime_get_ns() - b->off_start;
		b->off_start = 0;
	}
	if (b && b->sleep_start)
		note_sleep(tid, b);
	return 0;
}
