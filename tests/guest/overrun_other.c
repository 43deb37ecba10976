// SPDX-License-Identifier: GPL-2.0-only
/*
 * overrun_other: overrun= and those who are not simply made to wait later.
 *
 * - The worker of a loop device charges its backing file to the cgroup of who wrote, and
 *   never comes to user mode: what it charges goes above memory.max only where others
 *   brought usage there, and all is written.
 * - A task that a debugger stops, in the middle of what it owes or on its way there, is
 *   stopped at once; usage is below memory.max while it stands, and it goes on.
 * - A process that ends while its threads owe is gone, and nothing stays charged.
 *
 * The first is run with "loop" as argument: the kernel has somebody killed now and then
 * where all that the device has cached is being written.
 *
 * KVM and io_uring: returns.c. Huge pages, and tasks that are killed: overrun.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define CG	"mcx-test-other"
#define MAX	(32 * MIB)
#define OVERRUN	(8 * MIB)
/* memory.peak has what each CPU tried and took back, a batch. */
#define SLACK	(2 * 64 * PAGE)
#define IMAGE	"/scratch/overrun.img"
#define BLOCK	MIB
#define WRITTEN	(96 * MIB)
#define PROMPT	(2 * NSEC)

static volatile bool *exits;	/* shared: a process is about to */

static long long stat_of(const char *key)
{
	return cg_key(CG, "memory.ext.stat", key);
}

static double above(void)
{
	return (double)cg_number(CG, "memory.peak") - (double)MAX;
}

static void fresh(void)
{
	cg_remove(CG);
	cg_create(CG);
	cg_write(CG, "memory.max", "33554432");
	cg_write(CG, "memory.ext.reclaim", "headroom=1M");
	cg_write(CG, "memory.ext.reclaim", "overrun=8M");
	mcx_manage(CG);
	nap_ms(500);
}

/* Takes 24 MiB in calls of 3 MiB and gives it back, until it is killed. */
static pid_t taker(void)
{
	return charger(CG, 24, 768, 1000000);
}

/* A loop device with an image of which nothing is cached; -1: there is none. */
static int loop_open(char *path, size_t size)
{
	struct loop_config config = {};
	int control, fd, image, nr;

	if (system("modprobe -q loop"))
		return -1;
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	nr = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	image = open(IMAGE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (nr < 0 || image < 0 || ftruncate(image, WRITTEN))
		return -1;
	config.fd = image;
	snprintf(path, size, "/dev/loop%d", nr);
	fd = open(path, O_RDWR | O_CLOEXEC);
	config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config)) {
		close(fd);
		fd = -1;
	}
	close(image);
	return fd;
}

/* Nothing of this is charged to who writes: all by the device's worker. */
static pid_t loop_writer(const char *path)
{
	char *buf = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	pid_t pid = cg_fork(CG);
	size_t at;
	int fd;

	if (pid) {
		munmap(buf, BLOCK);
		return pid;
	}
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	for (at = 0; fd >= 0 && at < WRITTEN; at += BLOCK) {
		memset(buf, (int)(at / BLOCK) + 1, BLOCK);
		if (pwrite(fd, buf, BLOCK, at) != (ssize_t)BLOCK)
			_exit(1);
	}
	_exit(fd < 0);
}

static size_t loop_wrong(int fd)
{
	size_t at, wrong = 0;
	char byte;

	for (at = 0; at < WRITTEN; at += BLOCK)
		if (pread(fd, &byte, 1, at + BLOCK - 1) != 1 ||
		    byte != (char)(at / BLOCK + 1))
			wrong++;
	return wrong;
}

/* Returns what the writer ended with; -1 if it did not. */
static int loop_written(const char *path, int takers)
{
	pid_t pid, other[2];
	int i, status = -1;

	for (i = 0; i < takers; i++)
		other[i] = taker();
	pid = loop_writer(path);
	for (i = 0; i < 6000 && waitpid(pid, &status, WNOHANG) != pid; i++)
		nap_ms(10);
	if (i == 6000)
		end_task(pid);
	for (i = 0; i < takers; i++)
		end_task(other[i]);
	return status;
}

static void test_loop(void)
{
	char path[32];
	int fd = loop_open(path, sizeof(path)), status;
	double alone;

	if (fd < 0) {
		ktap_skip("no loop device");
		return;
	}
	fresh();
	status = loop_written(path, 0);
	alone = above();
	ktap_ok(!status && cg_key(CG, "memory.stat", "file") > 4 * (long long)MIB,
		"a loop device's worker charges to who writes (%.1f MiB)",
		cg_key(CG, "memory.stat", "file") / (double)MIB);
	ktap_ok(alone <= SLACK, "and does not exceed memory.max by itself (%.2f MiB)",
		alone / MIB);
	fresh();
	status = loop_written(path, 2);
	ktap_ok(!status && stat_of("granted") > 0 &&
		cg_key(CG, "memory.events", "oom") == 0,
		"beside tasks that do it writes all (%lld granted)",
		stat_of("granted"));
	ktap_ok(above() <= OVERRUN + SLACK, "and usage is %.2f MiB above, of 8",
		above() / MIB);
	ktap_ok(!loop_wrong(fd), "what it wrote reads as it was written");
	close(fd);
	unlink(IMAGE);
}

static bool stopped_in_time(pid_t pid, uint64_t *worst)
{
	uint64_t from = now_ns();
	int status;

	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) ||
	    waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		return false;
	from = now_ns() - from;
	*worst = from > *worst ? from : *worst;
	return true;
}

static void test_ptrace(void)
{
	long long granted, most = 0, usage;
	uint64_t worst = 0;
	pid_t pid[2];
	int i, n = 0;

	fresh();
	for (i = 0; i < 2; i++)
		pid[i] = taker();
	for (i = 0; i < 500 && !stat_of("granted"); i++)
		nap_ms(10);
	ptrace(PTRACE_SEIZE, pid[0], 0, 0);
	for (i = 0; i < 10; i++) {
		if (!stopped_in_time(pid[0], &worst))
			break;
		n++;
		ptrace(PTRACE_CONT, pid[0], 0, 0);
		nap_ms(70);
	}
	ktap_ok(n == 10 && worst < PROMPT,
		"a debugger stops a task beyond memory.max %d times, within %.0f ms",
		n, (double)worst / 1e6);
	/* Nobody else charges then: it is for the workers. */
	stopped_in_time(pid[0], &worst);
	kill(pid[1], SIGSTOP);
	nap_ms(1000);
	for (i = 0; i < 20; i++) {
		usage = cg_number(CG, "memory.current");
		most = usage > most ? usage : most;
		nap_ms(10);
	}
	ktap_ok(most <= (long long)MAX,
		"while they stand usage is below memory.max (%.1f MiB of 32)",
		(double)most / MIB);
	kill(pid[1], SIGCONT);
	ptrace(PTRACE_DETACH, pid[0], 0, 0);
	granted = stat_of("granted");
	for (i = 0; i < 500 && stat_of("granted") == granted; i++)
		nap_ms(10);
	ktap_ok(stat_of("granted") > granted, "let go it goes on");
	for (i = 0; i < 2; i++)
		end_task(pid[i]);
}

/* The same as a thread, which ends with its process. */
static void *take_thread(void *arg)
{
	size_t size = 24 * MIB, part = 3 * MIB, at;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (;;) {
		for (at = 0; at < size; at += part)
			madvise(p + at, part, MADV_POPULATE_WRITE);
		madvise(p, size, MADV_DONTNEED);
	}
	return NULL;
}

/* One of its threads calls exit_group() while the others charge, or owe. */
static void test_exit(void)
{
	pid_t pid;
	pthread_t thread;
	uint64_t from;
	int i, status;

	fresh();
	pid = cg_fork(CG);
	if (!pid) {
		for (i = 0; i < 3; i++)
			pthread_create(&thread, NULL, take_thread, NULL);
		while (stat_of("granted") < 20)
			nap_ms(5);
		*exits = true;
		_exit(0);
	}
	for (i = 0; i < 1000 && !*exits; i++)
		nap_ms(10);
	from = now_ns();
	waitpid(pid, &status, 0);
	from = now_ns() - from;
	ktap_ok(i < 1000 && WIFEXITED(status) && from < PROMPT,
		"a process ends while its threads owe (%.0f ms, %lld granted)",
		(double)from / 1e6, stat_of("granted"));
	nap_ms(500);
	ktap_ok(cg_number(CG, "memory.current") < (long long)(2 * MIB),
		"and nothing stays charged (%.2f MiB)",
		cg_number(CG, "memory.current") / (double)MIB);
}

int main(int argc, char **argv)
{
	ktap_start();
	thp_off();
	/* Or all that the loop device has cached is dirty, and the kernel kills for it. */
	dirty_limit_far();
	exits = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cg_write("", "cgroup.subtree_control", "+io");
	if (mcx_load())
		ktap_skip_all("the module does not load");
	if (swap_on())
		ktap_skip_all("no swap device");
	if (argc > 1 && !strcmp(argv[1], "loop")) {
		test_loop();
	} else {
		test_ptrace();
		test_exit();
	}
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	swap_off();
	return ktap_end();
}
