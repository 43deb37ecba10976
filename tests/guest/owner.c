// SPDX-License-Identifier: GPL-2.0-only
/*
 * owner: who owns what others wait for goes first.
 *
 * A task that is made to wait on its return to user mode owns a futex; with priority
 * inheritance the kernel knows, and it need not wait as long as others. And a task in the
 * middle of the kernel owns mmap_lock, with overrun= used up by others: the last quarter
 * of that is for it, if somebody wants that lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define CG	"mcx-test-owner"
#define MAX	(32 * MIB)
#define OVERRUN	(8 * MIB)
#define QUARTER	(OVERRUN / 4)
/* memory.peak has what each CPU tried and took back, a batch. */
#define SLACK	(2 * 64 * PAGE)
#define TAKEN	(24 * MIB)
#define TRIES	9
#define DEBT_US	500000

static struct shared {
	pthread_mutex_t lock;
	volatile bool owned;
} *shared;

/*
 * On a kernel that checks itself populating takes longer than any wait: who owns what is
 * seldom made to wait there, and figures mean nothing.
 */
static bool slow;

/* More than fits, touched round and round: whoever takes new memory has to wait. */
static pid_t hog(void)
{
	size_t size = 96 * MIB, i;
	pid_t pid = cg_fork(CG);
	char *p;

	if (pid)
		return pid;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (;;)
		for (i = 0; i < size; i += PAGE)
			*(volatile char *)(p + i) = 1;
}

/* Takes a batch with the lock held, gives all back now and then. */
static pid_t owner(void)
{
	size_t len = 64 * PAGE, i;
	pid_t pid = cg_fork(CG);
	char *p;

	if (pid)
		return pid;
	p = mmap(NULL, 16 * len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (;;) {
		for (i = 0; i < 16; i++) {
			pthread_mutex_lock(&shared->lock);
			shared->owned = true;
			madvise(p + i * len, len, MADV_POPULATE_WRITE);
			shared->owned = false;
			pthread_mutex_unlock(&shared->lock);
			nap_ms(50);
		}
		madvise(p, 16 * len, MADV_DONTNEED);
	}
}

/* NULL: no such limit. */
static void fresh(const char *high, const char *max, const char *conf)
{
	cg_remove(CG);
	cg_create(CG);
	if (high)
		cg_write(CG, "memory.high", high);
	if (max)
		cg_write(CG, "memory.max", max);
	cg_write(CG, "memory.ext.reclaim", conf);
	mcx_manage(CG);
}

static void lock_init(int protocol)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setprotocol(&attr, protocol);
	memset(shared, 0, sizeof(*shared));
	pthread_mutex_init(&shared->lock, &attr);
}

/* How long others wait for a lock of this protocol, in the middle, ms. */
static double waits(int protocol)
{
	uint64_t took[TRIES], from, begun = now_ns();
	pid_t pid[3];
	int i, n;

	lock_init(protocol);
	for (i = 0; i < 2; i++)
		pid[i] = hog();
	nap_ms(2000);
	pid[2] = owner();
	for (i = 0; i < TRIES && now_ns() - begun < 60 * NSEC;) {
		nap_ms(2);
		if (!shared->owned)
			continue;
		if (!pthread_mutex_trylock(&shared->lock)) {
			pthread_mutex_unlock(&shared->lock);
			continue;
		}
		/* It is being populated, or its owner is already made to wait. */
		nap_ms(30);
		from = now_ns();
		pthread_mutex_lock(&shared->lock);
		took[i++] = now_ns() - from;
		pthread_mutex_unlock(&shared->lock);
		nap_ms(50);
	}
	for (n = 0; n < 3; n++)
		end_task(pid[n]);
	return i == TRIES ? quantile(took, TRIES, 0.5) / 1e6 : -1;
}

static void test_futex(void)
{
	double plain, boosted;

	/* Slow workers, so that waits are long. */
	fresh("64M", NULL, "cpu_max=10%");
	plain = waits(PTHREAD_PRIO_NONE);
	boosted = waits(PTHREAD_PRIO_INHERIT);
	ktap_ok(slow || cg_key(CG, "memory.ext.stat", "futex_owner") > 0,
		"who owns a futex with priority inheritance that others want goes on (%lld times)",
		cg_key(CG, "memory.ext.stat", "futex_owner"));
	ktap_ok(slow || (plain > 30 && boosted >= 0 && boosted < plain / 4),
		"others wait %.1f ms for it (median of %d), %.1f for a plain one",
		boosted, TRIES, plain);
}

/* A call that the workers cannot keep up with; killed in it, it pays for nothing. */
static void make_debt(void)
{
	uint64_t from = now_ns();
	pid_t pid = cg_fork(CG);

	if (!pid) {
		mmap(NULL, 256 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		     MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		_exit(0);
	}
	while (now_ns() - from < 20 * NSEC &&
	       cg_key(CG, "memory.ext.stat", "cpu_debt_usec") < DEBT_US)
		nap_ms(2);
	end_task(pid);
}

/* Pays for all that with the lock held, and then ends. */
static pid_t debtor(void)
{
	pid_t pid = cg_fork(CG);

	if (pid)
		return pid;
	pthread_mutex_lock(&shared->lock);
	shared->owned = true;
	mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	     MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	pthread_mutex_unlock(&shared->lock);
	_exit(0);
}

/* How long others wait for who pays for the CPU time of the workers, ms. */
static double waits_for_debtor(int protocol)
{
	uint64_t from;
	pid_t pid;

	lock_init(protocol);
	make_debt();
	ktap_note("%lld us owed, usage %.1f MiB of 64",
		  cg_key(CG, "memory.ext.stat", "cpu_debt_usec"),
		  cg_number(CG, "memory.current") / (double)MIB);
	pid = debtor();
	while (!shared->owned)
		nap_ms(1);
	nap_ms(30);
	from = now_ns();
	pthread_mutex_lock(&shared->lock);
	from = now_ns() - from;
	pthread_mutex_unlock(&shared->lock);
	waitpid(pid, NULL, 0);
	return (double)from / 1e6;
}

/* There is nobody else in the cgroup, and room for what it takes. */
static void test_cpu_debt(void)
{
	double plain, boosted;
	int i;

	fresh("64M", "96M", "cpu=cgroup");
	plain = waits_for_debtor(PTHREAD_PRIO_NONE);
	boosted = waits_for_debtor(PTHREAD_PRIO_INHERIT);
	/* What is paid differs by a factor of four, and either may find the machine busy. */
	for (i = 0; i < 3 && !slow && (plain <= 50 || boosted >= plain / 4); i++) {
		plain = waits_for_debtor(PTHREAD_PRIO_NONE);
		boosted = waits_for_debtor(PTHREAD_PRIO_INHERIT);
	}
	ktap_ok(slow || (plain > 50 && boosted < plain / 4),
		"nor does it pay for the workers' CPU time meanwhile (others wait %.1f ms, %.1f for a plain one)",
		boosted, plain);
}

static void *want(void *page)
{
	bool writable = false;

	for (;;) {
		nap_ms(1);
		writable = !writable;
		mprotect(page, PAGE, writable ? PROT_READ | PROT_WRITE : PROT_READ);
	}
	return NULL;
}

/* Takes 24 MiB in one call, four times, with or without a thread that wants mmap_lock. */
static pid_t populate(bool wanted)
{
	pid_t pid = cg_fork(CG);
	pthread_t thread;
	int i;
	char *p;

	if (pid)
		return pid;
	/* What it owned meanwhile nobody wants any more. */
	nap_ms(1500);
	if (wanted)
		pthread_create(&thread, NULL, want,
			       mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE |
				    MAP_ANONYMOUS, -1, 0));
	p = mmap(NULL, TAKEN, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < 4; i++) {
		madvise(p, TAKEN, MADV_POPULATE_WRITE);
		madvise(p, TAKEN, MADV_DONTNEED);
	}
	_exit(0);
}

/* Anonymous memory, 28 MiB, that stays. */
static pid_t keeper(void)
{
	pid_t pid = cg_fork(CG);

	if (pid)
		return pid;
	mmap(NULL, 28 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	     MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	for (;;)
		pause();
}

static double over_max(bool wanted, long long *granted)
{
	pid_t pid[3];
	int i;

	fresh(NULL, "33554432", "headroom=1M overrun=8M");
	memset(shared, 0, sizeof(*shared));
	pid[0] = keeper();
	nap_ms(1500);
	pid[1] = populate(wanted);
	pid[2] = populate(wanted);
	for (i = 1; i < 3; i++)
		waitpid(pid[i], NULL, 0);
	*granted = cg_key(CG, "memory.ext.stat", "granted_owner");
	end_task(pid[0]);
	return (cg_number(CG, "memory.peak") - (double)MAX);
}

static void test_lock(void)
{
	long long idle, granted;
	double peak;

	/* A worker may wait for anon_vma's lock of somebody, now and then. */
	peak = over_max(false, &idle);
	ktap_ok(peak <= OVERRUN - QUARTER + SLACK + (double)idle * 64 * PAGE &&
		peak > QUARTER,
		"a quarter of overrun= is kept (%.2f MiB above memory.max, of 8)",
		peak / MIB);
	peak = over_max(true, &granted);
	ktap_ok(slow || (granted > 0 && peak > OVERRUN - QUARTER),
		"for a task whose mmap_lock another one wants (%.2f MiB, %lld)",
		peak / MIB, granted);
	ktap_ok(slow || idle <= granted / 10,
		"and hardly used where nobody wants it (%lld)", idle);
	ktap_ok(peak <= OVERRUN + SLACK, "and no more than that");
}

int main(void)
{
	ktap_start();
	thp_off();
	slow = debug_kernel();
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mcx_load())
		ktap_skip_all("the module does not load");
	if (swap_on())
		ktap_skip_all("no swap device");
	test_lock();
	test_futex();
	test_cpu_debt();
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	swap_off();
	return ktap_end();
}
