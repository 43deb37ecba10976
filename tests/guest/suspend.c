// SPDX-License-Identifier: GPL-2.0-only
/*
 * suspend: the system goes to sleep, as far as its CPUs being taken offline and
 * back, while the workers are busy; and they go on afterwards.
 *
 * The kernel's own pm_test does that without sleeping. Not finishing is what
 * this is about: a worker that cannot be parked holds up everything, and the rig
 * then shows where.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define CG	"mcx-test-suspend"

static pid_t writer(void)
{
	static char block[1 << 16];
	pid_t pid = fork();
	int fd, i;

	if (pid)
		return pid;
	if (cg_enter(CG))
		_exit(1);
	fd = open("/scratch/mcx-suspend", O_RDWR | O_CREAT | O_TRUNC, 0600);
	for (i = 0;; i++)
		if (pwrite(fd, block, sizeof(block),
			   (off_t)(i % 1024) * sizeof(block)) < 0)
			_exit(2);
}

static long long passes(void)
{
	return cg_key(CG, "memory.ext.stat", "reclaim_passes");
}

/* The workers make more of them within 5 s. */
static bool passes_grow(void)
{
	long long from = passes();
	int i;

	for (i = 0; i < 500 && passes() <= from; i++)
		nap_ms(10);
	return passes() > from;
}

int main(void)
{
	char modes[256] = "";
	pid_t pid;
	int i, err;

	ktap_start();
	read_file("/sys/power/pm_test", modes, sizeof(modes));
	if (!strstr(modes, "processors"))
		ktap_skip_all("no /sys/power/pm_test (CONFIG_PM_SLEEP_DEBUG)");
	cg_create(CG);
	cg_write(CG, "memory.high", "16M");
	if (mcx_load())
		ktap_skip_all("the module does not load");
	ktap_ok(!mcx_manage(CG), "managed");
	pid = writer();
	ktap_ok(passes_grow(), "the workers reclaim");
	write_file("/sys/power/pm_test", "processors");
	for (i = 0; i < 2; i++) {
		err = write_file("/sys/power/state", i ? "disk" : "mem");
		ktap_ok(!err, "went to sleep and came back (%s)",
			strerror(-err));
		ktap_ok(passes_grow(), "the workers go on");
	}
	write_file("/sys/power/pm_test", "none");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink("/scratch/mcx-suspend");
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
