// SPDX-License-Identifier: GPL-2.0-only
/*
 * SIGINT and SIGTERM for commands that run until they are told to stop
 *
 * Both come through a file descriptor, next to whatever else is waited for:
 * none is lost between a look and a wait.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "mcxctl.h"

/**
 * stop_fd - from now on a signal to stop does not end us
 *
 * Return: a file descriptor that can be read once there was one, or -1 after
 * err_set().
 */
int stop_fd(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return err_set("signalfd: %s", strerror(errno));
	return fd;
}

/**
 * stop_wait - wait, but not longer than until we shall stop
 * @fd: stop_fd()
 * @seconds: how long
 *
 * Return: true if we shall stop.
 */
bool stop_wait(int fd, double seconds)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, seconds * 1000) > 0;
}
