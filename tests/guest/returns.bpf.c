// SPDX-License-Identifier: GPL-2.0-only
/*
 * returns: the witness of the test of that name. Where is a task of one process
 * when the over-high handler is called, and does it reclaim or sleep there?
 *
 * Nothing here comes from the module under test. What a place is called is
 * decided by functions and system calls of the kernel around the call.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "returns.h"

#ifndef PF_IO_WORKER
#define PF_IO_WORKER	0x00000010
#endif
#define NR_IOCTL	16
#define KVM_RUN		0xae80

char LICENSE[] SEC("license") = "GPL";

__u32 target;		/* tgid; 0: nobody */
struct returns_count count[RETURNS_PLACES];
__u64 longest_run_ns;	/* in one KVM_RUN */

struct task_state {
	__u64 run_start;	/* in KVM_RUN since */
	__u64 sleep_start;
	__u32 sleep_place;
	bool entry;
	bool after;
	bool handler;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct task_state);
} states SEC(".maps");

static const struct task_state no_state;

static bool watched(void)
{
	return target && bpf_get_current_pid_tgid() >> 32 == target;
}

static struct task_state *find_state(__u32 tid)
{
	return bpf_map_lookup_elem(&states, &tid);
}

static struct task_state *this_state(void)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();

	bpf_map_update_elem(&states, &tid, &no_state, BPF_NOEXIST);
	return find_state(tid);
}

static __u32 place_of(const struct task_state *s)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (task->flags & PF_IO_WORKER)
		return RETURNS_WORKER;
	if (s->entry)
		return RETURNS_ENTRY;
	if (s->run_start)
		return RETURNS_RUN;
	return s->after ? RETURNS_AFTER : RETURNS_ELSEWHERE;
}

static void add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

static struct returns_count *count_of(__u32 place)
{
	return &count[place < RETURNS_PLACES ? place : 0];
}

SEC("tp_btf/sys_enter")
int BPF_PROG(returns_sys_enter, struct pt_regs *regs, long id)
{
	struct task_state *s;

	if (!watched())
		return 0;
	s = this_state();
	if (!s)
		return 0;
	s->after = false;
	if (id == NR_IOCTL &&
	    (__u32)PT_REGS_PARM2_CORE_SYSCALL(regs) == KVM_RUN)
		s->run_start = bpf_ktime_get_ns();
	return 0;
}

/* Comes before anything is done on the way back to user mode. */
SEC("tp_btf/sys_exit")
int BPF_PROG(returns_sys_exit)
{
	struct task_state *s;
	__u64 ns;

	if (!watched())
		return 0;
	s = find_state((__u32)bpf_get_current_pid_tgid());
	if (!s || !s->run_start)
		return 0;
	ns = bpf_ktime_get_ns() - s->run_start;
	s->run_start = 0;
	s->after = true;
	if (ns > longest_run_ns)
		longest_run_ns = ns;
	return 0;
}

static int set_entry(bool on)
{
	struct task_state *s;

	if (!watched())
		return 0;
	s = this_state();
	if (s)
		s->entry = on;
	return 0;
}

SEC("fentry/xfer_to_guest_mode_handle_work")
int BPF_PROG(returns_entry_begin)
{
	return set_entry(true);
}

SEC("fexit/xfer_to_guest_mode_handle_work")
int BPF_PROG(returns_entry_end)
{
	return set_entry(false);
}

static int handler_begin(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct returns_count *c;
	struct task_state *s;

	if (!watched())
		return 0;
	s = this_state();
	if (!s)
		return 0;
	c = count_of(place_of(s));
	add(&c->calls, 1);
	if (task->memcg_nr_pages_over_high)
		add(&c->owing, 1);
	s->handler = true;
	return 0;
}

static int handler_end(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *s;

	if (!watched())
		return 0;
	s = find_state((__u32)bpf_get_current_pid_tgid());
	if (!s)
		return 0;
	if (task->memcg_nr_pages_over_high)
		add(&count_of(place_of(s))->left, 1);
	s->handler = false;
	return 0;
}

/* One of these two pairs is loaded: 7.3 renamed the handler. */
SEC("?fentry/mem_cgroup_handle_over_high")
int BPF_PROG(returns_high_begin)
{
	return handler_begin();
}

SEC("?fexit/mem_cgroup_handle_over_high")
int BPF_PROG(returns_high_end)
{
	return handler_end();
}

SEC("?fentry/__mem_cgroup_handle_over_high")
int BPF_PROG(returns_high2_begin)
{
	return handler_begin();
}

SEC("?fexit/__mem_cgroup_handle_over_high")
int BPF_PROG(returns_high2_end)
{
	return handler_end();
}

SEC("fentry/try_to_free_mem_cgroup_pages")
int BPF_PROG(returns_reclaim)
{
	struct returns_count *c;
	struct task_state *s;

	if (!watched())
		return 0;
	s = find_state((__u32)bpf_get_current_pid_tgid());
	if (!s)
		return 0;
	c = count_of(place_of(s));
	add(s->handler ? &c->reclaims : &c->direct, 1);
	return 0;
}

static void sleep_begins(__u32 tid)
{
	struct task_state *s = find_state(tid);
	__u32 place;

	if (!s)
		return;
	place = place_of(s);
	if (!s->handler && place != RETURNS_RUN && place != RETURNS_ENTRY)
		return;
	s->sleep_place = place;
	s->sleep_start = bpf_ktime_get_ns();
}

static void sleep_ends(__u32 tid)
{
	struct task_state *s = find_state(tid);
	struct returns_count *c;

	if (!s || !s->sleep_start)
		return;
	c = count_of(s->sleep_place);
	add(&c->sleeps, 1);
	add(&c->sleep_ns, bpf_ktime_get_ns() - s->sleep_start);
	s->sleep_start = 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(returns_switch, bool preempt, struct task_struct *prev,
	     struct task_struct *next, unsigned int prev_state)
{
	if (!target)
		return 0;
	if (prev->tgid == target && !preempt && prev_state)
		sleep_begins(prev->pid);
	if (next->tgid == target)
		sleep_ends(next->pid);
	return 0;
}
