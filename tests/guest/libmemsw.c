// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libmemsw.h"

struct memsw_task *memsw_task;

long long memsw_sum(const char *cg)
{
	long long cached = cg_key(cg, "memory.stat", "swapcached");
	long long swap = cg_number(cg, "memory.swap.current");

	return cg_number(cg, "memory.current") + swap - (cached < swap ? cached : swap);
}

bool memsw_write(const char *file, size_t mib)
{
	static char buf[MIB];
	int fd = open(file, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	memset(buf, 'm', sizeof(buf));
	while (fd >= 0 && mib && write(fd, buf, sizeof(buf)) == sizeof(buf))
		mib--;
	return fd >= 0 && !close(fd) && !mib;
}

/* Nothing of it is cached. */
static bool make_file(size_t mib)
{
	bool ok = memsw_write(MEMSW_FILE, mib);
	int fd = open(MEMSW_FILE, O_RDONLY);

	return ok && fd >= 0 && !fsync(fd) &&
	       !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) && !close(fd);
}

void memsw_begin(size_t mib)
{
	int err = swap_on();

	if (err)
		ktap_skip_all("no swap disk: %s", strerror(-err));
	thp_off();
	memsw_task = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mib && !make_file(mib))
		ktap_skip_all("no file on the scratch disk");
	if (mcx_load())
		ktap_skip_all("the module does not load");
}

void memsw_fresh(const char *cg, const char *limit, const char *max)
{
	cg_remove(cg);
	cg_create(cg);
	if (max)
		cg_write(cg, "memory.max", max);
	if (limit)
		cg_write(cg, MEMSW_MAX, limit);
}

bool memsw_reads(const char *cg, const char *file, const char *text)
{
	char path[256], now[256];

	cg_path(path, sizeof(path), cg, file);
	return read_file(path, now, sizeof(now)) > 0 && !strcmp(now, text);
}

/* Each CPU: 64 pages charged ahead, 64 not yet in the statistics. */
long long memsw_slack(void)
{
	return get_nprocs_conf() * (64 + 64) * PAGE;
}

static pid_t start(void)
{
	memset((void *)memsw_task, 0, sizeof(*memsw_task));
	return fork();
}

pid_t memsw_toucher(const char *cg, size_t len, long rounds)
{
	pid_t pid = start();
	volatile char *p;
	size_t i;

	if (pid)
		return pid;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || cg_enter(cg))
		_exit(1);
	do {
		for (i = 0; i < len; i += PAGE) {
			/* Where CPUs are emulated p[i]++ would fault twice. */
			p[i] = rounds;
			if (!memsw_task->rounds)
				memsw_task->touched = i + PAGE;
		}
		memsw_task->rounds++;
	} while (--rounds > 0);
	for (;;)
		pause();
}

pid_t memsw_reader(const char *cg, long rounds)
{
	static char buf[MIB];
	pid_t pid = start();
	int fd;

	if (pid)
		return pid;
	fd = open(MEMSW_FILE, O_RDONLY);
	if (fd < 0 || cg_enter(cg) ||
	    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		_exit(1);
	while (rounds--) {
		lseek(fd, 0, SEEK_SET);
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		memsw_task->rounds++;
	}
	_exit(0);
}

struct memsw_seen memsw_look(const char *cg, pid_t pid, size_t len, long rounds,
			     double limit)
{
	struct memsw_seen seen = { .status = -1 };
	uint64_t from = now_ns();
	long long sum;
	int status;

	if (debug_kernel())
		limit *= 3;
	while (now_ns() - from < limit * NSEC) {
		sum = memsw_sum(cg);
		if (sum > seen.most)
			seen.most = sum;
		if (waitpid(pid, &status, WNOHANG) == pid) {
			seen.status = status;
			break;
		}
		if (memsw_task->touched >= len && memsw_task->rounds >= rounds)
			break;
		nap_ms(5);
	}
	seen.seconds = (now_ns() - from) / 1e9;
	return seen;
}

struct memsw_seen memsw_overfill(const char *look, const char *cg, size_t mib)
{
	pid_t pid = memsw_toucher(cg, mib * MIB, 1);
	struct memsw_seen seen = memsw_look(look, pid, mib * MIB, 1, 60);

	memsw_end(pid, &seen);
	return seen;
}

bool memsw_killed_at(const struct memsw_seen *seen, size_t from, size_t to)
{
	return memsw_killed(seen) && memsw_task->touched > from * MIB &&
	       memsw_task->touched < to * MIB;
}

bool memsw_within(const struct memsw_seen *seen, size_t mib)
{
	return seen->most <= (long long)(mib * MIB) + memsw_slack();
}

bool memsw_killed(const struct memsw_seen *seen)
{
	return seen->status != -1 && WIFSIGNALED(seen->status) &&
	       WTERMSIG(seen->status) == SIGKILL;
}

void memsw_end(pid_t pid, const struct memsw_seen *seen)
{
	if (seen->status == -1)
		end_task(pid);
}
