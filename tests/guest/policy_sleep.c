// SPDX-License-Identifier: GPL-2.0-only
/*
 * policy_sleep: the members of a policy that sleep are called in a thread of their own,
 * can reclaim from their own cgroups and no others, and nobody waits for them if they do
 * not come back.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/types.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "libpolicy.h"
#include "ops.h"
#include "policy_sleep.skel.h"

#define CG	"mcx-test-tick"
#define CHILD	CG "/a"
#define SIBLING	CG "/b"
#define OTHER	"mcx-test-tick-other"
#define NOTHING_YET	(-1000000)

/* As the object has them. */
enum { DO_NOTHING, DO_RECLAIM, DO_PROACTIVE, DO_READ };

static struct policy_sleep_bpf *load(const char *cg)
{
	struct policy_sleep_bpf *p = policy_sleep_bpf__open();

	if (!p)
		ktap_skip_all("cannot open the policies");
	p->struct_ops.ticks->cgroup_id = cg_id(cg);
	p->struct_ops.hurried->cgroup_id = cg_id(cg);
	p->struct_ops.chooses->cgroup_id = cg_id(cg);
	p->bss->next_ms = 10;
	if (policy_sleep_bpf__load(p)) {
		ktap_ok(false, "the policies load");
		exit(ktap_end());
	}
	return p;
}

static long long ticks_in(struct policy_sleep_bpf *p, unsigned int next_ms, unsigned int ms)
{
	long long before;

	p->bss->next_ms = next_ms;
	nap_ms(1500);		/* the one that was agreed before */
	before = p->bss->nr_ticks;
	nap_ms(ms);
	return p->bss->nr_ticks - before;
}

/* PID of the thread with that name, and its cgroup; 0 if there is none. */
static pid_t thread_named(const char *name, char *cgroup, size_t size)
{
	char path[300], text[64];
	struct dirent *e;
	pid_t pid = 0;
	DIR *d = opendir("/proc");

	while (d && !pid && (e = readdir(d))) {
		if (!atoi(e->d_name))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		if (read_file(path, text, sizeof(text)) <= 0 || strcmp(text, name))
			continue;
		pid = atoi(e->d_name);
		snprintf(path, sizeof(path), "/proc/%s/cgroup", e->d_name);
		read_file(path, cgroup, size);
	}
	if (d)
		closedir(d);
	return pid;
}

/* It has a moment to go. */
static bool thread_goes(const char *name)
{
	char cgroup[256];
	int i;

	for (i = 0; i < 100 && thread_named(name, cgroup, sizeof(cgroup)); i++)
		nap_ms(10);
	return i < 100;
}

static void test_ticks(void)
{
	struct policy_sleep_bpf *p = load(CG);
	struct bpf_link *link = policy_link(p->maps.ticks);
	char cgroup[256] = "";
	long long n;

	n = ticks_in(p, 50, 2000);
	ktap_ok(n >= 20 && n <= 42, "tick every 50 ms: %lld in 2 s", n);
	n = ticks_in(p, 0, 3000);
	ktap_ok(n >= 2 && n <= 4, "tick returns 0: %lld in 3 s", n);
	n = ticks_in(p, 1, 1000);
	ktap_ok(n >= 20 && n <= 105, "tick returns 1: %lld in 1 s", n);
	ktap_ok(thread_named("mcx/ticks\n", cgroup, sizeof(cgroup)) &&
		!strcmp(cgroup, "0::/\n"),
		"its thread is in the root cgroup");
	p->bss->next_ms = 1U << 31;
	nap_ms(1500);
	bpf_link__destroy(link);
	ktap_ok(p->bss->nr_exits == 1 && !strcmp(p->data->mcx_exit.msg, "unloaded") &&
		thread_goes("mcx/ticks\n"),
		"a tick that is far off holds up nobody");
	n = p->bss->nr_ticks;
	nap_ms(500);
	ktap_ok(p->bss->nr_ticks == (__u64)n, "no tick comes after exit");
	policy_sleep_bpf__destroy(p);
}

/* What it says to that, or NOTHING_YET. */
static long long ask(struct policy_sleep_bpf *p, uint32_t what, const char *cg,
		     uint64_t bytes, int swappiness)
{
	int i;

	p->bss->target = cg_id(cg);
	p->bss->bytes = bytes;
	p->bss->swappiness = swappiness;
	p->bss->result = NOTHING_YET;
	p->bss->what = what;
	for (i = 0; i < 500 && p->bss->what; i++)
		nap_ms(10);
	return p->bss->result;
}

static void test_reclaim(void)
{
	struct policy_sleep_bpf *p = load(CG);
	struct bpf_link *link = policy_link(p->maps.ticks);
	pid_t pid = cg_keeper(CHILD, 48), other = cg_keeper(OTHER, 8);
	long long before, got, counted;

	cg_fills(CHILD, 48 * (long long)MIB);
	cg_fills(OTHER, 8 * (long long)MIB);
	before = cg_number(CHILD, "memory.current");
	counted = cg_key(CHILD, "memory.ext.stat", "reclaimed_pages");
	got = ask(p, DO_RECLAIM, CHILD, 2 * MIB, -1);
	before -= cg_number(CHILD, "memory.current");
	counted = (cg_key(CHILD, "memory.ext.stat", "reclaimed_pages") - counted) * PAGE;
	ktap_ok(got >= 2 * (long long)MIB && got <= 4 * (long long)MIB &&
		counted == got && before >= got * 3 / 4,
		"of 2 MiB %.2f are freed, %.2f counted, usage is %.2f less",
		got / (double)MIB, counted / (double)MIB, before / (double)MIB);
	got = ask(p, DO_RECLAIM, CHILD, 1ULL << 60, 200);
	ktap_ok(got >= 4 * (long long)MIB && got <= 6 * (long long)MIB,
		"of as much as there is, %.2f MiB in one call", got / (double)MIB);
	got = ask(p, DO_RECLAIM, CHILD, MIB, 201);
	ktap_ok(got == -EINVAL, "no swappiness of 201 (%lld)", got);
	before = cg_number(OTHER, "memory.current");
	got = ask(p, DO_RECLAIM, OTHER, MIB, -1);
	ktap_ok(got == -EPERM, "nothing from another cgroup (%lld)", got);
	got = ask(p, DO_RECLAIM, "", MIB, -1);
	ktap_ok(got == -EPERM, "nor from the root (%lld)", got);
	got = ask(p, DO_PROACTIVE, CHILD, 10 * MIB, -1);
	ktap_ok(got >= 128 * 1024 && got <= (long long)MIB,
		"upstream's kfunc: %lld KiB of 64 pages", got / 1024);
	got = ask(p, DO_PROACTIVE, CHILD, MIB, 300);
	ktap_ok(got == -EINVAL, "no swappiness of 300 (%lld)", got);
	got = ask(p, DO_PROACTIVE, OTHER, MIB, -1);
	ktap_ok(got == -EPERM && cg_number(OTHER, "memory.current") == before,
		"nor another cgroup (%lld)", got);
	bpf_link__destroy(link);
	end_task(pid);
	end_task(other);
	policy_sleep_bpf__destroy(p);
}

/* A program that is no policy has the kernel's meaning of it: any cgroup. */
static void test_syscall(void)
{
	struct policy_sleep_bpf *p = load(CG);
	struct bpf_test_run_opts opts = { .sz = sizeof(opts) };
	pid_t pid = cg_keeper(OTHER, 8);
	int err;

	cg_fills(OTHER, 8 * (long long)MIB);
	p->bss->target = cg_id(OTHER);
	p->bss->bytes = 64 * PAGE;
	p->bss->swappiness = -1;
	err = bpf_prog_test_run_opts(bpf_program__fd(p->progs.proactive), &opts);
	ktap_ok(!err && p->bss->result >= 128 * 1024 && p->bss->result <= (long long)MIB,
		"a program of type syscall: %lld KiB (%d)",
		(long long)p->bss->result / 1024, err);
	end_task(pid);
	policy_sleep_bpf__destroy(p);
}

static void test_reading(void)
{
	struct policy_sleep_bpf *p = load(CG);
	struct bpf_link *link = policy_link(p->maps.ticks);
	long long psi, cpu, anon;
	char path[256], text[256], *total;
	pid_t pid;

	pid = cg_keeper(CHILD, 24);
	cg_fills(CHILD, 24 * (long long)MIB);
	cg_write(CHILD, "memory.reclaim", "8M");
	cg_write(CHILD, "memory.high", "8M");
	waitpid(charger(CHILD, 16, 64, 1), NULL, 0);
	cg_write(CHILD, "memory.high", "max");
	end_task(pid);
	pid = cg_keeper(CHILD, 6);
	cg_fills(CHILD, 6 * (long long)MIB);
	nap_ms(2500);
	ask(p, DO_READ, CHILD, 0, 0);
	cg_path(path, sizeof(path), CHILD, "memory.pressure");
	read_file(path, text, sizeof(text));
	total = strstr(text, "total=");
	psi = total ? atoll(total + strlen("total=")) : -1;
	cpu = cg_key(CHILD, "cpu.stat", "usage_usec");
	anon = cg_key(CHILD, "memory.stat", "anon");
	ktap_ok(psi > 0 && (long long)p->bss->psi == psi,
		"pressure: %lld us, memory.pressure %lld", (long long)p->bss->psi, psi);
	ktap_ok(cpu > 0 && (long long)p->bss->cpu_time <= cpu &&
		(long long)p->bss->cpu_time >= cpu - 5000,
		"CPU time: %lld us, cpu.stat %lld", (long long)p->bss->cpu_time, cpu);
	ktap_ok(anon > (long long)MIB && llabs((long long)p->bss->anon - anon) <= 64 * 1024,
		"anonymous memory, summed up: %.2f MiB, memory.stat %.2f",
		p->bss->anon / (double)MIB, anon / (double)MIB);
	bpf_link__destroy(link);
	end_task(pid);
	policy_sleep_bpf__destroy(p);
}

/* 25 MiB a second, so that nobody has to wait for it. */
static pid_t grower(const char *cg, size_t mib, int times)
{
	pid_t pid = cg_fork(cg);
	size_t i, step = 256 << 10;
	char *p;

	if (pid)
		return pid;
	for (; times > 0; times--) {
		p = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (i = 0; i < mib * MIB; i += step) {
			memset(p + i, 1, step);
			nap_ms(10);
		}
		munmap(p, mib * MIB);
	}
	_exit(0);
}

/* Who reclaimed how much meanwhile: bytes. */
struct taken {
	double policy;		/* from the child that it chose */
	double workers;		/* from the parent, wherever it was */
};

static double taken_from(const char *cg)
{
	return cg_key(cg, "memory.ext.stat", "reclaimed_pages") * (double)PAGE;
}

/* Two children below the limit of their parent, and the first one grows. */
static struct taken grow(void)
{
	struct taken t;
	pid_t a, b;

	cg_write(CG, "memory.high", "64M");
	a = cg_keeper(CHILD, 24);
	b = cg_keeper(SIBLING, 24);
	cg_fills(CHILD, 24 * (long long)MIB);
	cg_fills(SIBLING, 24 * (long long)MIB);
	t.policy = -taken_from(SIBLING);
	t.workers = -taken_from(CG);
	waitpid(grower(CHILD, 32, 2), NULL, 0);
	t.policy += taken_from(SIBLING);
	t.workers += taken_from(CG);
	cg_write(CG, "memory.high", "max");
	end_task(a);
	end_task(b);
	return t;
}

static void test_chooses(void)
{
	struct policy_sleep_bpf *p = load(CG);
	struct bpf_link *link;
	struct taken t;

	mcx_manage(CG);
	link = policy_link(p->maps.chooses);
	p->bss->target = cg_id(SIBLING);
	p->bss->leave_ms = 100;
	t = grow();
	ktap_ok(p->bss->nr_reclaims && p->bss->asked_of == cg_id(CG) &&
		t.policy > 2.0 * MIB && (t.policy > t.workers || debug_kernel()),
		"a policy that chooses a child frees %.2f MiB there, the workers %.2f (asked %lld times)",
		t.policy / MIB, t.workers / MIB, (long long)p->bss->nr_reclaims);
	/* It does nothing, and wants to be left alone: the workers go on where it matters. */
	p->bss->target = 0;
	p->bss->leave_ms = 1000000;
	p->bss->nr_reclaims = 0;
	t = grow();
	ktap_ok(p->bss->nr_reclaims && t.policy == 0 && t.workers > (double)MIB,
		"one that does nothing is helped: %.2f MiB", t.workers / MIB);
	bpf_link__destroy(link);
	mcx_unmanage(CG);
	policy_sleep_bpf__destroy(p);
}

static bool ended(struct policy_sleep_bpf *p, uint32_t kind, int64_t code)
{
	int i;

	for (i = 0; i < 1500 && !p->bss->nr_exits; i++)
		nap_ms(10);
	return p->bss->nr_exits == 1 && p->data->mcx_exit.kind == kind &&
	       p->data->mcx_exit.code == code;
}

/* One call takes longer than timeout_ms. */
static void test_stall(void)
{
	struct policy_sleep_bpf *p = load(CG);
	struct bpf_link *link;

	p->bss->spin = 4000;
	p->bss->what = DO_RECLAIM;
	p->bss->target = cg_id(CHILD);
	p->bss->bytes = MIB;
	p->bss->result = NOTHING_YET;
	link = policy_link(p->maps.hurried);
	nap_ms(700);
	ktap_ok(!p->bss->nr_exits && policy_in_effect(CG, ""),
		"a tick that takes 4 s of 0.2 is not in effect any more");
	ktap_ok(ended(p, MCX_EXIT_ERROR_STALL, 200), "and hears of it when it is back: %s",
		p->data->mcx_exit.msg);
	ktap_ok(p->bss->result == -ESHUTDOWN, "meanwhile it can do nothing (%lld)",
		(long long)p->bss->result);
	bpf_link__destroy(link);
	policy_sleep_bpf__destroy(p);
}

/* Who closes the link, and who attaches another, does not wait for it. */
static void test_left_behind(void)
{
	struct policy_sleep_bpf *p = load(CG), *next = load(CG);
	struct bpf_link *link, *other;
	uint64_t took;
	int err = 0;

	p->bss->spin = 6000;
	link = policy_link(p->maps.ticks);
	nap_ms(300);
	took = now_ns();
	bpf_link__destroy(link);
	other = policy_link(next->maps.ticks);
	took = now_ns() - took;
	ktap_ok(other && took < 3 * NSEC && !p->bss->nr_exits &&
		policy_in_effect(CG, "ticks /" CG "\n"),
		"a tick of 6 s: its link is closed and another attached after %.2f s",
		took / 1e9);
	if (!bpf_map__attach_struct_ops(p->maps.ticks))
		err = errno;
	ktap_ok(err == EBUSY, "it cannot be attached again meanwhile (%s)",
		strerror(err));
	bpf_link__destroy(other);
	ktap_ok(ended(p, MCX_EXIT_UNREG, 0), "its exit is called in the end: %s",
		p->data->mcx_exit.msg);
	ktap_ok(thread_goes("mcx/ticks\n"), "no thread stays");
	policy_sleep_bpf__destroy(next);
	policy_sleep_bpf__destroy(p);
}

/* With its cgroup a policy ends, and its thread. */
static void test_gone(void)
{
	struct policy_sleep_bpf *p = load(OTHER);
	struct bpf_link *link = policy_link(p->maps.ticks);

	nap_ms(300);
	cg_remove(OTHER);
	ktap_ok(ended(p, MCX_EXIT_CGROUP, 0) &&
		thread_goes("mcx/ticks\n"),
		"its cgroup goes: %s", p->data->mcx_exit.msg);
	bpf_link__destroy(link);
	policy_sleep_bpf__destroy(p);
	cg_create(OTHER);
}

/* Replaced while it ticks. */
static void test_swaps(void)
{
	struct policy_sleep_bpf *p[2] = { load(CG), load(CG) };
	struct bpf_link *link = policy_link(p[0]->maps.ticks);
	long long before;
	int i, err = 0;

	for (i = 1; i <= 20 && !err; i++) {
		nap_ms(30);
		err = bpf_link__update_map(link, p[i % 2]->maps.ticks);
	}
	before = p[1]->bss->nr_ticks;
	nap_ms(300);
	ktap_ok(!err && p[0]->bss->nr_exits == 10 && p[1]->bss->nr_exits == 10 &&
		p[0]->bss->nr_ticks > 20 && p[1]->bss->nr_ticks == (__u64)before,
		"replaced %d times (%s)", i - 1, strerror(-err));
	bpf_link__destroy(link);
	policy_sleep_bpf__destroy(p[1]);
	policy_sleep_bpf__destroy(p[0]);
}

int main(void)
{
	ktap_start();
	thp_off();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	swap_on();
	cg_create(CG);
	cg_create(OTHER);
	cg_write(CG, "cgroup.subtree_control", "+memory");
	cg_create(CHILD);
	cg_create(SIBLING);
	test_ticks();
	test_reclaim();
	test_syscall();
	test_reading();
	test_chooses();
	test_stall();
	test_left_behind();
	test_gone();
	test_swaps();
	cg_remove(CHILD);
	cg_remove(SIBLING);
	cg_remove(CG);
	cg_remove(OTHER);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
