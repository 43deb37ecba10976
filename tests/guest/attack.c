// SPDX-License-Identifier: GPL-2.0-only
/*
 * attack: what an unprivileged user, or a careless one, may try.
 *
 * Each case is a function; "attack NAME..." runs these only. A case that may
 * hang the kernel does its work in children and gives up on them: what hangs
 * then is seen by whoever waits for the machine.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/io_uring.h>
#include <linux/types.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "ops.h"
#include "attack_cases.skel.h"
#include "policy_cases.h"

#define TOP	"mcx-test-attack"
#define CHILD	TOP "/child"
#define OTHER	"mcx-test-attack-other"
#define DEBUGFS	"/sys/kernel/debug/memcg_ext/"
#define NOBODY	65534
#define MAX_KIDS	64
#define GROW	"mcx-test-attack-grow"
#define HIGH_MIB	32
#define GROW_MIB	400
#define GROW_MS		3000
#define WRITERS		200
#define BATCH		64	/* pages */

static pid_t kids[MAX_KIDS];
static int nr_kids;

/* A child that does it until it is killed. */
static void start(void (*work)(void))
{
	pid_t pid = fork();

	if (!pid) {
		for (;;)
			work();
	}
	kids[nr_kids++] = pid;
}

static void stop_all(void)
{
	while (nr_kids) {
		kill(kids[--nr_kids], SIGKILL);
		waitpid(kids[nr_kids], NULL, 0);
	}
}

/* Runs @work in a child; false: it did not end within @limit seconds. */
/* Seconds until what must end has not; a kernel that checks itself needs more. */
static int patience = 30;

static bool ends(void (*work)(void), int limit)
{
	uint64_t from = now_ns();
	pid_t pid = fork();
	int status;

	if (!pid) {
		work();
		_exit(0);
	}
	while (now_ns() - from < limit * NSEC) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return !status;
		nap_ms(5);
	}
	return false;
}

/* Nothing that takes a lock of the cgroup core can be done any more. */
static void give_up(void)
{
	int i;

	write_file("/proc/sysrq-trigger", "w");
	for (i = 0; i < nr_kids; i++)
		kill(kids[i], SIGKILL);
	exit(ktap_end());
}

static void read_policy(void)
{
	char path[256], buf[512];

	cg_path(path, sizeof(path), CHILD, "memory.ext.policy");
	read_file(path, buf, sizeof(buf));
}

static void read_cgroups(void)
{
	char buf[16384];

	read_file(DEBUGFS "cgroups", buf, sizeof(buf));
}

static void write_enable(void)
{
	cg_write(CHILD, "memory.ext.enable", "1");
	cg_write(CHILD, "memory.ext.enable", "0");
}

static void make_and_remove(void)
{
	char path[256];
	int i;

	cg_path(path, sizeof(path), CHILD, NULL);
	for (i = 0; i < 300; i++) {
		mkdir(path, 0755);
		nap_ms(1);
		rmdir(path);
	}
}

/* rmdir waits for who reads the file, and holds cgroup_mutex meanwhile. */
static void case_policy_read(void)
{
	struct policy_cases_bpf *c = cases_load(TOP);
	struct bpf_link *link = bpf_map__attach_struct_ops(c->maps.fixed);

	start(read_policy);
	start(read_policy);
	if (!ktap_ok(ends(make_and_remove, patience),
		     "a cgroup can be removed while its memory.ext.policy is read"))
		give_up();
	stop_all();
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(c);
}

static void case_debug_read(void)
{
	cg_write(TOP, "memory.ext.enable", "subtree");
	start(read_cgroups);
	start(write_enable);
	start(write_enable);
	if (!ktap_ok(ends(make_and_remove, patience),
		     "and while debugfs cgroups is read and its enable written"))
		give_up();
	stop_all();
	cg_write(TOP, "memory.ext.enable", "0");
}

static void touch(size_t mib)
{
	char *p = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	for (i = 0; p != MAP_FAILED && i < mib * MIB; i += PAGE)
		((volatile char *)p)[i] = 1;
}

static void load_touch(void)
{
	touch(GROW_MIB);
}

static void load_populate(void)
{
	mmap(NULL, GROW_MIB * MIB, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

static void load_fallocate(void)
{
	int fd = memfd_create("attack", 0);

	if (posix_fallocate(fd, 0, GROW_MIB * MIB))
		_exit(1);
}

static void load_many(void)
{
	int i;

	for (i = 0; i < 32; i++) {
		if (fork())
			continue;
		touch(GROW_MIB / 32);
		pause();
	}
}

static void ignore(int sig)
{
}

static void load_itimer(void)
{
	struct itimerval it = { { 0, 1000 }, { 0, 1000 } };

	signal(SIGALRM, ignore);
	setitimer(ITIMER_REAL, &it, NULL);
	touch(GROW_MIB);
	setitimer(ITIMER_REAL, &(struct itimerval){}, NULL);
}

static void load_signals(void)
{
	pid_t me = getpid(), from;

	signal(SIGUSR1, ignore);
	from = fork();
	if (!from) {
		while (!kill(me, SIGUSR1) && getppid() == me)
			;
		_exit(0);
	}
	touch(GROW_MIB);
	kill(from, SIGKILL);
}

/* Writes by io_uring's own workers. */
static void load_uring(void)
{
	struct io_uring_params p = {};
	int ring = syscall(SYS_io_uring_setup, 64, &p), fd, i, n;
	char *buf = malloc(MIB), *sq, *cq;
	unsigned int *tail, *array;
	struct io_uring_sqe *sqe;

	if (ring < 0)
		_exit(1);
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4,
		  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * 16,
		  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		  IORING_OFF_CQ_RING);
	sqe = mmap(NULL, p.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	tail = (void *)(sq + p.sq_off.tail);
	array = (void *)(sq + p.sq_off.array);
	fd = memfd_create("attack", 0);
	/* Batches of 8, each awaited: the ring never fills. */
	for (n = 0; n < GROW_MIB; n += 8) {
		for (i = 0; i < 8; i++) {
			sqe[i] = (struct io_uring_sqe) {
				.opcode = IORING_OP_WRITE, .fd = fd,
				.flags = IOSQE_ASYNC, .len = MIB,
				.addr = (unsigned long)buf,
				.off = (n + i) * MIB,
			};
			array[*tail & 63] = i;
			__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
		}
		syscall(SYS_io_uring_enter, ring, 8, 8, IORING_ENTER_GETEVENTS,
			NULL, 0);
		*(unsigned int *)(cq + p.cq_off.head) =
			*(unsigned int *)(cq + p.cq_off.tail);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} loads[] = {
	{ "one task", load_touch },
	{ "32 tasks", load_many },
	{ "MAP_POPULATE", load_populate },
	{ "fallocate of a memfd", load_fallocate },
	{ "a timer's signals", load_itimer },
	{ "signals of another task", load_signals },
	{ "io_uring workers", load_uring },
};

/*
 * MiB that a load gets above memory.high in a while, with nothing to reclaim
 * and no memory.max: managed, or as the kernel has it alone.
 */
static long long grown(void (*run)(void), bool managed)
{
	long long usage;
	pid_t pid;

	cg_create(GROW);
	cg_write(GROW, "memory.high", "32M");
	if (managed && mcx_manage(GROW))
		return -1;
	pid = fork();
	if (!pid) {
		cg_enter(GROW);
		run();
		pause();
		_exit(0);
	}
	nap_ms(GROW_MS);
	usage = cg_number(GROW, "memory.current");
	cg_write(GROW, "cgroup.kill", "1");
	waitpid(pid, NULL, 0);
	cg_remove(GROW);
	return usage / (long long)MIB - HIGH_MIB;
}

static void case_high(void)
{
	long long stock, ours;
	size_t i;

	for (i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		stock = grown(loads[i].run, false);
		ours = grown(loads[i].run, true);
		ktap_ok(ours < stock * 2 + 64,
			"%s: %lld MiB above memory.high in 3 s, %lld without us",
			loads[i].name, ours, stock);
	}
}

/* How long one call of a policy may keep a CPU. Only measures. */
static void case_spins(void)
{
	struct attack_cases_bpf *c = attack_cases_bpf__open();
	struct bpf_link *link;
	uint64_t from;
	unsigned int n;

	cg_create(CHILD);
	c->struct_ops.spins->cgroup_id = cg_id(CHILD);
	if (attack_cases_bpf__load(c)) {
		ktap_ok(false, "spins loads");
		return;
	}
	link = bpf_map__attach_struct_ops(c->maps.spins);
	nap_ms(300);
	for (n = 1; link && n <= 128; n <<= 3) {
		uint64_t calls = c->bss->nr_calls;

		c->bss->copies = n;
		from = now_ns();
		waitpid(charger(CHILD, 1, BATCH, 1), NULL, 0);
		calls = c->bss->nr_calls - calls;
		ktap_note("%u MiB copied: %llu calls, %.1f ms each", 4 * n,
			  (unsigned long long)calls,
			  calls ? (now_ns() - from) / 1e6 / calls : 0);
	}
	c->bss->copies = 0;
	ktap_ok(link && c->bss->nr_calls, "a policy takes its time");
	bpf_link__destroy(link);
	attack_cases_bpf__destroy(c);
}

/* An ejected policy must not keep a removed cgroup. */
static void case_ejected_pins(void)
{
	struct policy_cases_bpf *c;
	struct bpf_link *link;
	long long dying;
	bool ejected;
	int i;

	cg_create(CHILD);
	c = cases_load(CHILD);
	link = bpf_map__attach_struct_ops(c->maps.gives_up);
	nap_ms(300);
	waitpid(charger(CHILD, 4, BATCH, 1), NULL, 0);
	for (i = 0; i < 300 && c->bss->nr_exits != 1; i++)
		nap_ms(10);
	ejected = c->bss->nr_exits == 1;
	nap_ms(3000);		/* hooks are gone */
	cg_remove(CHILD);
	for (i = 0; i < (debug_kernel() ? 600 : 30); i++) {
		dying = cg_key(TOP, "cgroup.stat", "nr_dying_descendants");
		if (!dying)
			break;
		nap_ms(100);
	}
	ktap_ok(ejected && c->bss->nr_exits == 1 && !dying,
		"a removed cgroup with an ejected policy is freed (%lld dying)",
		dying);
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(c);
}

static void *write_thread(void *arg)
{
	int fd = *(int *)arg;

	for (;;) {
		if (pwrite(fd, "1", 1, 0) < 0 && errno == ENODEV)
			break;
		pwrite(fd, "0", 1, 0);
	}
	return NULL;
}

static void write_many(void)
{
	pthread_t t[WRITERS];
	char path[256];
	int i, fd[WRITERS];

	cg_path(path, sizeof(path), CHILD, "memory.ext.enable");
	for (i = 0; i < WRITERS; i++)
		fd[i] = open(path, O_WRONLY);
	if (setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		_exit(1);
	for (i = 0; i < WRITERS; i++)
		pthread_create(&t[i], NULL, write_thread, &fd[i]);
	for (i = 0; i < WRITERS; i++)
		pthread_join(t[i], NULL);
	_exit(0);
}

static double mkdir_other(void)
{
	uint64_t from = now_ns();

	cg_create(OTHER "/x");
	cg_remove(OTHER "/x");
	return (now_ns() - from) / 1e6;
}

/*
 * A container's own cgroup, handed to nobody: each write walks all that is
 * managed, and rmdir, which has cgroup_mutex, waits for all who write.
 */
static void rmdir_under_writers(int cgroups)
{
	double idle, busy, took;
	char path[256];
	uint64_t from;
	pid_t pid;

	cg_create(CHILD);
	nap_ms(1500);
	idle = mkdir_other();
	pid = fork();
	if (!pid)
		write_many();
	nap_ms(1500);
	busy = mkdir_other();
	cg_path(path, sizeof(path), CHILD, NULL);
	from = now_ns();
	ktap_ok(!rmdir(path) && now_ns() - from < 10 * NSEC,
		"a cgroup can be removed while %d threads write its enable",
		WRITERS);
	took = (now_ns() - from) / 1e6;
	ktap_note("%d cgroups: rmdir %.0f ms; mkdir and rmdir of another %.1f ms, idle %.1f ms",
		  cgroups, took, busy, idle);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void case_writers(void)
{
	const int sizes[] = { 10, 1000, 3000 };
	uint64_t from = now_ns();
	unsigned int s;
	double took;
	char cg[64];
	bool gone;
	int n = 0;

	cg_write(TOP, "memory.ext.enable", "subtree");
	for (s = 0; s < 3; s++) {
		for (; n < sizes[s]; n++) {
			snprintf(cg, sizeof(cg), TOP "/n%d", n);
			cg_create(cg);
		}
		rmdir_under_writers(n);
	}
	ktap_note("%.1f s in all", (now_ns() - from) / 1e9);
	cg_write(TOP, "memory.ext.enable", "0");
	nap_ms(1500);
	from = now_ns();
	cg_write(TOP, "memory.ext.enable", "subtree");
	ktap_note("enable subtree: %.1f ms", (now_ns() - from) / 1e6);
	cg_write(TOP, "memory.ext.enable", "subtree");
	nap_ms(1500);
	from = now_ns();
	gone = !mcx_unload();
	took = (now_ns() - from) / 1e9;
	ktap_ok(gone && took < 5, "unloads with %d managed cgroups in %.2f s",
		n, took);
	mcx_load();
	while (n--) {
		snprintf(cg, sizeof(cg), TOP "/n%d", n);
		cg_remove(cg);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "policy-read", case_policy_read },
	{ "debug-read", case_debug_read },
	{ "high", case_high },
	{ "spins", case_spins },
	{ "ejected-pins", case_ejected_pins },
	{ "writers", case_writers },
};

static bool asked_for(int argc, char **argv, const char *name)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc < 2;
}

int main(int argc, char **argv)
{
	size_t i;

	ktap_start();
	if (debug_kernel())
		patience = 240;
	thp_off();
	cg_create(TOP);
	cg_create(OTHER);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	if (mcx_load())
		ktap_skip_all("the module does not load");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (asked_for(argc, argv, cases[i].name))
			cases[i].run();
	ktap_ok(!mcx_unload(), "unloads");
	cg_remove(CHILD);
	cg_remove(TOP);
	cg_remove(OTHER);
	return ktap_end();
}
