// SPDX-License-Identifier: GPL-2.0-only
/*
 * returns: tasks that call the over-high handler where they must not wait.
 *
 * - KVM calls it on its way into the guest, with vcpu->mutex held. Nothing is
 *   reclaimed and nobody sleeps there; the debt is paid when KVM_RUN is over.
 * - Workers of io_uring never return to user mode: they are let go, free.
 * - Tasks that end, and tasks that a debugger has stopped, hold nothing up.
 *
 * A witness in BPF (returns.bpf.c) tells where a task reclaims and sleeps; it
 * has to see both on the stock kernel, with the same load, to be believed.
 * Counts and order only: time in an emulated machine says nothing.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/types.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "returns.h"
#include "returns.skel.h"

#define OURS	"mcx-test-returns"
#define STOCK	"mcx-test-returns-stock"
#define PROMPT	(5 * NSEC)	/* "at once", in an emulated machine */

static struct returns_bpf *witness;
/* How long limits are there before the load begins. */
static unsigned int limits_ms;

struct seen {
	struct returns_count at[RETURNS_PLACES];
	long long deferred;
	long long paced;
	long long max;		/* events */
	char done[256];		/* what the load says it did */
	int status;		/* of the load */
};

static int open_witness(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool renamed;

	renamed = btf__find_by_name_kind(btf, "__mem_cgroup_handle_over_high",
					 BTF_KIND_FUNC) > 0;
	btf__free(btf);
	witness = returns_bpf__open();
	if (!witness)
		return -errno;
	bpf_program__set_autoload(witness->progs.returns_high_begin, !renamed);
	bpf_program__set_autoload(witness->progs.returns_high_end, !renamed);
	bpf_program__set_autoload(witness->progs.returns_high2_begin, renamed);
	bpf_program__set_autoload(witness->progs.returns_high2_end, renamed);
	if (returns_bpf__load(witness))
		return -errno;
	return returns_bpf__attach(witness);
}

static void note_place(const char *what, const struct returns_count *c)
{
	ktap_note("  %-14s calls %llu (owing %llu, left owing %llu), reclaims %llu, at memory.max %llu, sleeps %llu of %llu ms in all",
		  what, c->calls, c->owing, c->left, c->reclaims, c->direct,
		  c->sleeps, c->sleep_ns / 1000000);
}

static void note_seen(const char *title, const struct seen *s)
{
	ktap_note("%s: %s; deferred %lld, paced %lld, max %lld, longest KVM_RUN %llu ms",
		  title, s->done, s->deferred, s->paced, s->max,
		  witness->bss->longest_run_ns / 1000000);
	note_place("in KVM_RUN", &s->at[RETURNS_RUN]);
	note_place("at KVM entry", &s->at[RETURNS_ENTRY]);
	note_place("after KVM_RUN", &s->at[RETURNS_AFTER]);
	note_place("io workers", &s->at[RETURNS_WORKER]);
	note_place("elsewhere", &s->at[RETURNS_ELSEWHERE]);
}

static long long stat_of(const char *cg, const char *key)
{
	long long n = cg_key(cg, "memory.ext.stat", key);

	return n < 0 ? 0 : n;
}

/* Runs a load under the eyes of the witness; limits are set when it is ready. */
static void watch(const char *cg, const char *const argv[], const char *high,
		  const char *max, struct seen *s)
{
	long long deferred, paced, events;
	char line[256];
	struct proc p;

	memset(s, 0, sizeof(*s));
	s->status = proc_start(&p, argv);
	if (s->status)
		return;
	if (!proc_line(&p, line, sizeof(line)))
		goto out;
	cg_write(cg, "memory.high", high);
	cg_write(cg, "memory.max", max);
	nap_ms(limits_ms);
	deferred = stat_of(cg, "deferred");
	paced = stat_of(cg, "paced");
	events = cg_key(cg, "memory.events", "max");
	memset(witness->bss->count, 0, sizeof(witness->bss->count));
	witness->bss->longest_run_ns = 0;
	witness->bss->target = p.pid;
	fputc('\n', p.in);
	fflush(p.in);
	if (proc_line(&p, line, sizeof(line))) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(s->done, sizeof(s->done), "%s", line);
	}
	witness->bss->target = 0;
	memcpy(s->at, witness->bss->count, sizeof(s->at));
	s->deferred = stat_of(cg, "deferred") - deferred;
	s->paced = stat_of(cg, "paced") - paced;
	s->max = cg_key(cg, "memory.events", "max") - events;
out:
	cg_write(cg, "memory.high", "max");
	cg_write(cg, "memory.max", "max");
	s->status = proc_wait(&p);
}

static void watch_kvm(const char *cg, const char *mib, const char *step,
		      const char *high, const char *max, struct seen *s)
{
	char dir[128];
	const char *const argv[] = {
		"kvmtouch", "-g", dir, "-m", mib, "-r", step, NULL,
	};

	cg_path(dir, sizeof(dir), cg, NULL);
	watch(cg, argv, high, max, s);
}

/* @held MiB are taken before, then @mib are written, @block KiB at once. */
static void watch_ring(const char *cg, const char *high, const char *max,
		       const char *held, int mib, const char *block,
		       struct seen *s)
{
	char dir[128], size[16];
	const char *const argv[] = {
		"ringwriter", "-g", dir, "-s", size, "-a", held, "-b", block,
		NULL,
	};

	snprintf(size, sizeof(size), "%d", mib);
	cg_path(dir, sizeof(dir), cg, NULL);
	watch(cg, argv, high, max, s);
}

/* In KVM_RUN, which is all the time in which vcpu->mutex is held. */
static unsigned long long kvm_waits(const struct seen *s)
{
	return s->at[RETURNS_RUN].sleeps + s->at[RETURNS_ENTRY].sleeps;
}

static unsigned long long kvm_reclaims(const struct seen *s)
{
	return s->at[RETURNS_RUN].reclaims + s->at[RETURNS_ENTRY].reclaims;
}

static unsigned long long kvm_direct(const struct seen *s)
{
	return s->at[RETURNS_RUN].direct + s->at[RETURNS_ENTRY].direct;
}

/* Upper bound of what may be counted as paced: one level, once a return. */
static long long returns_owing(const struct seen *s)
{
	return s->at[RETURNS_AFTER].owing + s->at[RETURNS_ELSEWHERE].owing;
}

static bool kvm_did(const struct seen *s, unsigned long pages)
{
	return !s->status && kv(s->done, "pages", 0) == pages - 1 &&
	       kv(s->done, "touched", 0) == pages - 1;
}

static void judge_kvm(const char *title, const struct seen *s, int mib)
{
	note_seen(title, s);
	ktap_ok(kvm_did(s, mib * MIB / PAGE),
		"%s: the guest touched all of its %d MiB", title, mib);
	ktap_ok(s->at[RETURNS_ENTRY].owing > 0 &&
		s->deferred >= (long long)s->at[RETURNS_ENTRY].owing,
		"%s: on its way into the guest it owed %llu times, put off %lld times",
		title, s->at[RETURNS_ENTRY].owing, s->deferred);
	ktap_ok(!kvm_reclaims(s) && !kvm_waits(s),
		"%s: with vcpu->mutex held, reclaim passes %llu, waits %llu",
		title, kvm_reclaims(s), kvm_waits(s));
	ktap_ok(s->at[RETURNS_ENTRY].left > 0,
		"%s: the debt stayed %llu times", title,
		s->at[RETURNS_ENTRY].left);
	ktap_ok(s->at[RETURNS_AFTER].sleeps > 0 && s->paced > 0 &&
		s->paced <= returns_owing(s),
		"%s: but paid on return to user mode (waits %llu, paced %lld)",
		title, s->at[RETURNS_AFTER].sleeps, s->paced);
}

static bool have_kvm(void)
{
	if (system("modprobe -q kvm_amd || modprobe -q kvm_intel"))
		return false;
	return !access("/dev/kvm", W_OK);
}

/*
 * Little is kept free, the workers are slower than a guest in an emulated machine, and for
 * a second after memory.max is written nothing is granted.
 */
static void beyond(const char *overrun)
{
	char conf[64];

	snprintf(conf, sizeof(conf), "headroom=1M cpu_max=2%% overrun=%s", overrun);
	cg_write(OURS, "memory.ext.reclaim", conf);
	limits_ms = 1500;
}

static void not_beyond(void)
{
	cg_write(OURS, "memory.ext.reclaim",
		 "headroom=auto cpu_max=max overrun=0");
	limits_ms = 0;
}

/* As much of a file, cached and written back, as makes a limit of 16 MiB near. */
static void fill_cache(const char *cg)
{
	char dir[128];
	const char *const argv[] = {
		"filewriter", "-g", dir, "-s", "14M", "-k", NULL,
	};
	struct proc p;

	cg_path(dir, sizeof(dir), cg, NULL);
	if (!proc_start(&p, argv))
		proc_wait(&p);
	sync();
}

/*
 * At memory.max, where the guest's memory takes the place of a file's: with overrun= in
 * one KVM_RUN that does not end, as it would for each vCPU thread of a busy guest.
 */
static void test_kvm_max(void)
{
	long long granted;
	struct seen s;

	fill_cache(STOCK);
	watch_kvm(STOCK, "12", "999999", "max", "16M", &s);
	note_seen("stock", &s);
	ktap_ok(kvm_did(&s, 12 * MIB / PAGE) && kvm_direct(&s) > 0,
		"stock at memory.max: reclaim with vcpu->mutex held (%llu passes)",
		kvm_direct(&s));
	beyond("16M");
	fill_cache(OURS);
	granted = stat_of(OURS, "granted");
	watch_kvm(OURS, "12", "999999", "max", "16M", &s);
	granted = stat_of(OURS, "granted") - granted;
	note_seen("overrun=", &s);
	/* It leaves KVM_RUN with each batch that it owes, so it may need none. */
	ktap_ok(kvm_did(&s, 12 * MIB / PAGE) && granted + s.deferred > 0,
		"with overrun= the guest is granted %lld batches above it, or pays for them before that (%lld)",
		granted, s.deferred);
	ktap_ok(!kvm_reclaims(&s) && !kvm_direct(&s) && !kvm_waits(&s),
		"with vcpu->mutex held, reclaim passes %llu, waits %llu",
		kvm_reclaims(&s) + kvm_direct(&s), kvm_waits(&s));
	ktap_ok(s.max == 0 && cg_key(OURS, "memory.events", "oom") == 0,
		"and memory.max is not met (%lld)", s.max);
	not_beyond();
}

static void test_kvm(void)
{
	struct seen s;

	if (!have_kvm()) {
		ktap_skip("KVM cannot be loaded on this machine's CPU");
		return;
	}
	watch_kvm(STOCK, "17", "64", "16M", "max", &s);
	note_seen("stock", &s);
	ktap_ok(kvm_did(&s, 17 * MIB / PAGE) && kvm_reclaims(&s) > 0,
		"stock: the witness sees reclaim with vcpu->mutex held (%llu passes, %llu waits)",
		kvm_reclaims(&s), kvm_waits(&s));
	watch_kvm(OURS, "20", "64", "16M", "max", &s);
	judge_kvm("many runs", &s, 20);
	watch_kvm(OURS, "20", "999999", "16M", "max", &s);
	judge_kvm("one run", &s, 20);
	test_kvm_max();
}

/*
 * The kernel gives debt to workers at memory.high; at memory.max it would be the
 * module that does, and it leaves them alone.
 */
static void judge_ring(const char *title, const struct seen *s, int mib,
		       bool owing)
{
	const struct returns_count *w = &s->at[RETURNS_WORKER];

	note_seen(title, s);
	/* One write in eight is not by the ring. */
	ktap_ok(!s->status && kv(s->done, "ring", 0) == mib / 8 * 7 * MIB &&
		kv(s->done, "own", 0) == mib / 8 * MIB,
		"%s: all was written", title);
	ktap_ok((w->calls > 0 || !owing) && !w->sleeps && !w->reclaims,
		"%s: workers came %llu times, waited %llu times, reclaimed %llu times",
		title, w->calls, w->sleeps, w->reclaims);
	ktap_ok(!w->left, "%s: and went without debt", title);
	ktap_ok(s->paced > 0 && s->at[RETURNS_ELSEWHERE].sleeps > 0 &&
		s->paced <= returns_owing(s),
		"%s: the task that submits was made to wait (paced %lld)",
		title, s->paced);
}

static void test_ring(void)
{
	long long granted;
	struct seen s;

	watch_ring(STOCK, "16M", "max", "14", 32, "1024", &s);
	if (s.status == KSFT_SKIP) {
		ktap_skip("no io_uring");
		return;
	}
	note_seen("stock", &s);
	ktap_ok(s.at[RETURNS_WORKER].owing > 0 &&
		s.at[RETURNS_WORKER].reclaims > 0,
		"stock: the witness sees workers reclaim (%llu passes, %llu waits)",
		s.at[RETURNS_WORKER].reclaims, s.at[RETURNS_WORKER].sleeps);
	/*
	 * Two such writes do not fit: a worker is over the limit, and owes. Without
	 * a memory.max behind it one far above is left to the kernel's handler.
	 */
	watch_ring(OURS, "16M", "256M", "14", 32, "1024", &s);
	judge_ring("io_uring, memory.high", &s, 32, true);
	/* Long enough that some of its own writes end where it has to wait. */
	watch_ring(OURS, "max", "16M", "7", 128, "256", &s);
	judge_ring("io_uring, memory.max", &s, 128, false);
	beyond("4M");
	granted = stat_of(OURS, "granted");
	watch_ring(OURS, "max", "16M", "7", 128, "1024", &s);
	granted = stat_of(OURS, "granted") - granted;
	judge_ring("io_uring, overrun=", &s, 128, false);
	ktap_ok(granted > 0, "io_uring, overrun=: %lld batches were granted",
		granted);
	not_beyond();
}

static void touch_memory(size_t mib)
{
	char *p = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	for (i = 0; p != MAP_FAILED && i < mib * MIB; i += PAGE)
		*(volatile char *)(p + i) = 1;
}

static void *touch_thread(void *arg)
{
	touch_memory(256);
	return NULL;
}

/* More than it may have, so that it is held for as long as it lives. */
static pid_t greedy(int threads)
{
	pthread_t t;
	pid_t pid = fork();
	int i;

	if (pid)
		return pid;
	if (cg_enter(OURS))
		_exit(1);
	for (i = 1; i < threads; i++)
		pthread_create(&t, NULL, touch_thread, NULL);
	if (threads > 1) {
		nap_ms(1500);
		_exit(0);
	}
	touch_memory(256);
	_exit(0);
}

/* ns until @pid ended, killed if it does not. */
static uint64_t end_of(pid_t pid, int *status)
{
	uint64_t from = now_ns();

	while (now_ns() - from < 20 * NSEC) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return now_ns() - from;
		nap_ms(5);
	}
	kill(pid, SIGKILL);
	waitpid(pid, status, 0);
	return now_ns() - from;
}

static bool wait_paced(void)
{
	long long from = stat_of(OURS, "paced");
	int i;

	for (i = 0; i < 500 && stat_of(OURS, "paced") < from + 2; i++)
		nap_ms(10);
	return i < 500;
}

static void test_exit(void)
{
	uint64_t took, worst = 0;
	pid_t pid[4];
	int i, status;
	bool paced;

	cg_write(OURS, "memory.high", "16M");
	for (i = 0; i < 4; i++)
		pid[i] = greedy(1);
	paced = wait_paced();
	for (i = 0; i < 4; i++)
		kill(pid[i], SIGKILL);
	for (i = 0; i < 4; i++) {
		took = end_of(pid[i], &status);
		worst = took > worst ? took : worst;
	}
	ktap_ok(paced && worst < PROMPT,
		"four tasks killed over the limit are gone in %.0f ms",
		worst / 1e6);

	pid[0] = greedy(4);
	paced = wait_paced();
	took = end_of(pid[0], &status);
	ktap_ok(paced && took < PROMPT && WIFEXITED(status) &&
		!WEXITSTATUS(status),
		"a process ends by exit_group() while its threads owe (%.0f ms)",
		took / 1e6);
	cg_write(OURS, "memory.high", "max");
}

/* Stopped by a debugger while it was paced; the rest of its debt is its own. */
static void test_ptrace(void)
{
	pid_t pid;
	uint64_t from;
	int status, err;
	bool paced, stopped;

	cg_write(OURS, "memory.high", "16M");
	pid = greedy(1);
	paced = wait_paced();
	ptrace(PTRACE_SEIZE, pid, 0, 0);
	from = now_ns();
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, &status, __WALL);
	stopped = WIFSTOPPED(status);
	ktap_ok(paced && stopped && now_ns() - from < PROMPT,
		"a debugger stops a paced task (%.0f ms)",
		(now_ns() - from) / 1e6);
	err = mcx_unload();
	ktap_ok(!err && !mcx_loaded(), "the module unloads while it is stopped");
	ptrace(PTRACE_DETACH, pid, 0, 0);
	nap_ms(200);
	kill(pid, SIGKILL);
	from = now_ns();
	end_of(pid, &status);
	ktap_ok(WIFSIGNALED(status) && now_ns() - from < PROMPT,
		"and the task can still be killed");
}

int main(int argc, char **argv)
{
	uint64_t start = now_ns();
	int err;

	ktap_start();
	thp_off();
	dirty_limit_far();
	cg_create(OURS);
	cg_create(STOCK);
	if (mcx_load())
		ktap_skip_all("the module does not load");
	err = open_witness();
	if (!ktap_ok(!err, "the witness is attached"))
		return ktap_end();
	ktap_ok(!mcx_manage(OURS), "managed");
	test_kvm();
	test_ring();
	test_exit();
	test_ptrace();
	returns_bpf__destroy(witness);
	cg_remove(OURS);
	cg_remove(STOCK);
	ktap_note("took %.0f s", (now_ns() - start) / 1e9);
	return ktap_end();
}
