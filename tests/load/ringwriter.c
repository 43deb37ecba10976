// SPDX-License-Identifier: GPL-2.0-only
/*
 * ringwriter: writes a file through io_uring, every request by a worker
 * (IOSQE_ASYNC), and every eighth block by itself with pwrite().
 *
 * So page cache is charged by workers of io_uring, which never return to user
 * mode, and by a task that does. Raw system calls: four of them do not make up
 * for one more library in the tests' root.
 *
 * Prints "ready", starts on a byte from stdin, prints what was done and ends
 * when stdin is closed. Exit status 4: no io_uring.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "load.h"

#define DEPTH		8
#define NO_RING		4

static struct ring {
	int fd;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned int *sq_tail, *sq_array, sq_mask;
	unsigned int *cq_head, *cq_tail, cq_mask;
} ring;

static size_t block = 256 * 1024;
static unsigned long ring_bytes, own_bytes, errors, in_flight;

static void *map_ring(size_t size, off_t what)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, ring.fd, what);

	if (p == MAP_FAILED)
		die("mmap of the ring");
	return p;
}

static void make_ring(void)
{
	struct io_uring_params p = { 0 };
	char *sq, *cq;

	ring.fd = syscall(SYS_io_uring_setup, DEPTH, &p);
	if (ring.fd < 0) {
		fprintf(stderr, "ringwriter: io_uring_setup: %s\n",
			strerror(errno));
		exit(NO_RING);
	}
	sq = map_ring(p.sq_off.array + p.sq_entries * sizeof(unsigned int),
		      IORING_OFF_SQ_RING);
	cq = map_ring(p.cq_off.cqes + p.cq_entries * sizeof(*ring.cqes),
		      IORING_OFF_CQ_RING);
	ring.sqes = map_ring(p.sq_entries * sizeof(*ring.sqes),
			     IORING_OFF_SQES);
	ring.sq_tail = (void *)(sq + p.sq_off.tail);
	ring.sq_array = (void *)(sq + p.sq_off.array);
	ring.sq_mask = *(unsigned int *)(sq + p.sq_off.ring_mask);
	ring.cq_head = (void *)(cq + p.cq_off.head);
	ring.cq_tail = (void *)(cq + p.cq_off.tail);
	ring.cq_mask = *(unsigned int *)(cq + p.cq_off.ring_mask);
	ring.cqes = (void *)(cq + p.cq_off.cqes);
}

static void ring_enter(unsigned int submit, unsigned int wait)
{
	while (syscall(SYS_io_uring_enter, ring.fd, submit, wait,
		       wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0) < 0)
		if (errno != EINTR)
			die("io_uring_enter");
}

static void reap(void)
{
	unsigned int head = *ring.cq_head;

	while (head != __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE)) {
		int res = ring.cqes[head++ & ring.cq_mask].res;

		if (res == (int)block)
			ring_bytes += block;
		else
			errors++;
		in_flight--;
	}
	__atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
}

static void ring_write(int fd, const void *buf, off_t off)
{
	unsigned int tail = *ring.sq_tail, i = tail & ring.sq_mask;

	while (in_flight == DEPTH) {
		ring_enter(0, 1);
		reap();
	}
	ring.sqes[i] = (struct io_uring_sqe) {
		.opcode = IORING_OP_WRITE, .flags = IOSQE_ASYNC, .fd = fd,
		.addr = (uintptr_t)buf, .len = block, .off = off,
	};
	ring.sq_array[i] = i;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	in_flight++;
	ring_enter(1, 0);
}

static void write_file(int fd, const void *buf, size_t size)
{
	unsigned long n;

	for (n = 0; n < size / block; n++) {
		if (n % 8)
			ring_write(fd, buf, n * block);
		else if (pwrite(fd, buf, block, n * block) == (ssize_t)block)
			own_bytes += block;
		else
			errors++;
	}
	while (in_flight) {
		ring_enter(0, 1);
		reap();
	}
}

/* What is left of the limit is soon full of the file's pages. */
static void hold_memory(size_t size)
{
	void *p;

	if (!size)
		return;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		die("memory to hold");
}

int main(int argc, char **argv)
{
	const char *cgroup = NULL, *name = "/scratch/ringwriter";
	size_t size = 64 * MIB, own = 0;
	void *buf;
	int fd, o;

	while ((o = getopt(argc, argv, "g:f:s:b:a:")) != -1) {
		switch (o) {
		case 'g': cgroup = optarg; break;
		case 'f': name = optarg; break;
		case 's': size = strtoul(optarg, NULL, 0) * MIB; break;
		case 'a': own = strtoul(optarg, NULL, 0) * MIB; break;
		case 'b': block = strtoul(optarg, NULL, 0) * 1024; break;
		default:
			fputs("usage: ringwriter [-g CGROUP] [-f FILE] [-s MIB] [-b KIB] [-a MIB]\n"
			      "  -s MIB  size of the file (64)\n"
			      "  -b KIB  size of one write (256)\n"
			      "  -a MIB  of anonymous memory held meanwhile (0)\n",
			      stderr);
			return 2;
		}
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter_cgroup(cgroup);
	make_ring();
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die(name);
	unlink(name);
	buf = aligned_alloc(4096, block);
	if (!buf)
		die("buffer");
	memset(buf, 'x', block);
	hold_memory(own);
	wait_for_start();
	write_file(fd, buf, size);
	printf("done ring=%lu own=%lu errors=%lu\n", ring_bytes, own_bytes,
	       errors);
	wait_for_end();
	return 0;
}
