// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks that use memory, and the decision about their limit; see libhog.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libhog.h"

#define CHUNK	(256UL << 10)

int hog_patience = 20;

static void adjust(int adj)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", adj);
	write_file("/proc/self/oom_score_adj", text);
}

static void touch(char *p, size_t from, size_t to, bool write)
{
	for (; from < to; from += PAGE) {
		if (write)
			*(volatile char *)(p + from) = 1;
		else
			(void)*(volatile char *)(p + from);
	}
}

static void run(struct hog *h, size_t quick, size_t len, int fd)
{
	uint64_t from, took;
	sigset_t asked;
	size_t end;
	char *p;

	sigemptyset(&asked);
	sigaddset(&asked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &asked, NULL);
	p = mmap(NULL, len, PROT_READ | (fd < 0 ? PROT_WRITE : 0),
		 fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		_exit(1);
	while (*h->touched < len) {
		from = now_ns();
		end = *h->touched + CHUNK < len ? *h->touched + CHUNK : len;
		touch(p, *h->touched, end, fd < 0);
		*h->touched = end;
		took = (now_ns() - from) / 1000000;
		if (end > quick && took < 25)
			nap_ms(25 - took);
	}
	sigwaitinfo(&asked, NULL);
	munmap(p, len);
	*h->touched = 0;
	pause();
	_exit(0);
}

static struct hog start(const char *cg, size_t quick, size_t len, int adj,
			int fd)
{
	struct hog h = {};

	h.touched = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*h.touched = 0;
	h.pid = fork();
	if (!h.pid) {
		adjust(adj);
		if (cg_enter(cg))
			_exit(1);
		run(&h, quick, len, fd);
	}
	return h;
}

struct hog hog_start(const char *cg, size_t quick, size_t len, int adj)
{
	return start(cg, quick, len, adj, -1);
}

struct hog hog_start_file(const char *cg, const char *file, size_t len)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct hog h = start(cg, 0, len, 0, fd);

	close(fd);
	return h;
}

struct hog hog_hold(const char *cg, size_t len, int adj)
{
	struct hog h = hog_start(cg, len, len, adj);
	int i;

	for (i = 0; i < 100 * hog_patience && *h.touched < len; i++)
		nap_ms(10);
	return h;
}

/* Not for one that is traced and stopped. */
static bool reap(struct hog *h)
{
	if (h->pid && waitpid(h->pid, &h->status, WNOHANG) == h->pid &&
	    !WIFSTOPPED(h->status))
		h->pid = 0;
	return !h->pid;
}

bool hog_killed(struct hog *h, int ms)
{
	for (; ms > 0 && !reap(h); ms -= 10)
		nap_ms(10);
	return reap(h) && WIFSIGNALED(h->status) &&
	       WTERMSIG(h->status) == SIGKILL;
}

bool hog_lives(struct hog *h)
{
	return !reap(h);
}

void hog_end(struct hog *h)
{
	if (h->pid) {
		kill(h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
		h->pid = 0;
	}
	if (h->touched)
		munmap((void *)h->touched, PAGE);
}

double hog_rate(struct hog *h, size_t from, size_t to)
{
	uint64_t begin = now_ns(), start = 0;
	size_t at, first = 0;

	while (now_ns() - begin < hog_patience * NSEC && hog_lives(h)) {
		at = *h->touched;
		if (!start && at >= from) {
			start = now_ns();
			first = at;
		}
		if (at >= to && start)
			return (double)(at - first) * NSEC / (now_ns() - start);
		nap_ms(5);
	}
	return 0;
}

static long long stat_of(const char *cg, const char *key)
{
	return cg_key(cg, "memory.ext.stat", key);
}

static long long event_of(int fd, const char *key)
{
	char buf[1024], *at;
	ssize_t len = pread(fd, buf, sizeof(buf) - 1, 0);

	if (len <= 0)
		return -1;
	buf[len] = '\0';
	at = strstr(buf, key);
	return at ? atoll(at + strlen(key)) : -1;
}

struct decision decision_wait(const char *cg, long long high, double seconds,
			      struct hog *h)
{
	struct decision d = { .after = -1 };
	long long empty = stat_of(cg, "reclaim_empty"), now_empty;
	long long freed = 0, before;
	uint64_t begin = now_ns(), first = 0, last = begin, now;
	struct pollfd pfd = { .events = POLLPRI };
	bool over = false;
	char path[256];

	cg_path(path, sizeof(path), cg, "memory.ext.events");
	pfd.fd = open(path, O_RDONLY | O_CLOEXEC);
	before = event_of(pfd.fd, "\nstuck ");
	while (now_ns() - begin < seconds * NSEC && (!h || hog_lives(h))) {
		d.woken = poll(&pfd, 1, 5) > 0;
		now = now_ns();
		if (event_of(pfd.fd, "\nstuck ") > before) {
			d.after = first ? (double)(now - first) / 1e6 : 0;
			d.gain = stat_of(cg, "reclaimed_pages") - freed;
			if (!d.woken)
				d.woken = poll(&pfd, 1, 1000) > 0;
			break;
		}
		now_empty = stat_of(cg, "reclaim_empty");
		/* Not later than it was: the last look before it was counted. */
		if (!first && over && now_empty > empty) {
			first = last;
			freed = stat_of(cg, "reclaimed_pages");
			d.slack = (double)(now - last) / 1e6;
		}
		over = stat_of(cg, "usage") > high;
		if (!over)
			first = 0;
		empty = now_empty;
		last = now;
	}
	close(pfd.fd);
	return d;
}
