/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the loads share that a test runs as a co-process (struct proc of
 * guest/lib.h): a cgroup to move into, and when to start and to end. A load is
 * one .c file; it has no library but this header.
 */
#ifndef MCX_TEST_LOAD_H
#define MCX_TEST_LOAD_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB		(1UL << 20)

/* Ends the program, with the reason of what just failed. Needs _GNU_SOURCE. */
static inline void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
		strerror(errno));
	exit(1);
}

/* Moves this task into the cgroup at @dir; NULL: it stays where it is. */
static inline void enter_cgroup(const char *dir)
{
	char path[512];
	int fd;

	if (!dir)
		return;
	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die(dir);
	close(fd);
}

/* The test sets the limits when it reads this. */
static inline void say_ready(void)
{
	puts("ready");
	fflush(stdout);
}

/* Starts on a byte from stdin; without one the test is gone. */
static inline void wait_for_start(void)
{
	char c;

	say_ready();
	if (read(STDIN_FILENO, &c, 1) != 1)
		exit(1);
}

/* What was charged stays, for the test to look at, until stdin is closed. */
static inline void wait_for_end(void)
{
	char c;

	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

#endif
