// SPDX-License-Identifier: GPL-2.0-only
/*
 * stuck: limits that cannot be met.
 *
 * A hog of anonymous memory without swap grows through memory.high: within
 * stuck_ms of the first pass that frees nothing that is counted and told, and
 * then what memory.ext.reclaim stuck= asks for happens: no more than that
 * (notify), memory.high is not enforced (max), or the largest process is killed
 * (kill), and never one too many. Memory that cannot be reclaimed below the limit
 * is nobody's business, and neither is memory that can be. With "more" as argument
 * what takes longer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libhog.h"

#define TOP		"mcx-test-stuck"
#define CG		TOP "/cg"
#define GROUP		CG "/group"
#define BESIDE		CG "/beside"
#define STUCK_MS	1000
#define MOST		(126 * MIB)	/* of memory.max = 128M */
#define FILE_PATH	"/scratch/stuck"

/* A kernel that checks itself is too slow for figures to mean anything. */
static bool slow;

static long long stat_of(const char *key)
{
	return cg_key(CG, "memory.ext.stat", key);
}

static long long event(const char *key)
{
	return cg_key(CG, "memory.ext.events", key);
}

static bool level_is_stuck(void)
{
	char path[256], buf[8192];

	cg_path(path, sizeof(path), CG, "memory.ext.stat");
	return read_file(path, buf, sizeof(buf)) > 0 &&
	       strstr(buf, "\nlevel stuck\n");
}

/* Is the state over soon? */
static bool unstuck(void)
{
	int i;

	for (i = 0; i < 20 * (slow ? 50 : 1) && level_is_stuck(); i++)
		nap_ms(20);
	return !level_is_stuck() && !stat_of("shed_bytes");
}

/* Does @key of stat become @value within @ms? */
static bool becomes(const char *key, long long value, int ms)
{
	for (; ms >= 0; ms -= 20) {
		if (stat_of(key) == value)
			return true;
		nap_ms(20);
	}
	return false;
}

static void limits(const char *high, const char *max, const char *conf)
{
	cg_remove(GROUP);
	cg_remove(BESIDE);
	cg_remove(CG);
	cg_create(CG);
	cg_write(CG, "memory.high", high);
	cg_write(CG, "memory.max", max);
	cg_write(CG, "memory.ext.reclaim", conf);
	if (mcx_manage(CG))
		ktap_ok(false, "%s: managed", conf);
}

/* M4's load, beginning shortly below memory.high. */
static struct decision grow(struct hog *h, size_t high, const char *conf)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", high);
	limits(text, "128M", conf);
	*h = hog_start(CG, high - 8 * MIB, MOST, 0);
	return decision_wait(CG, high, hog_patience, h);
}

static void decided(const struct decision *d, int ms, const char *what)
{
	ktap_ok(d->after >= 0 && d->after <= (slow ? 10 * ms : ms),
		"%s: decided %.0f ms after the first pass without gain", what,
		d->after);
	ktap_note("seen %.0f ms later; %lld pages freed meanwhile", d->slack,
		  d->gain);
	ktap_ok(d->woken, "%s: and poll() tells", what);
}

/* Returns false if nothing was decided: then the rest means nothing. */
static bool test_notify(size_t high, int ms, const char *what)
{
	struct decision d;
	char conf[64];
	struct hog h;
	size_t at;

	snprintf(conf, sizeof(conf), "stuck_ms=%d stuck=notify", ms);
	d = grow(&h, high, conf);
	decided(&d, ms, what);
	if (d.after < 0) {
		hog_end(&h);
		return false;
	}
	ktap_ok(level_is_stuck() && stat_of("reclaimable") == 0 &&
		stat_of("shed_bytes") > 0 && stat_of("shed_seq") == 1 &&
		event("shed") == 1,
		"%s: the state shows, and a request to shed %lld bytes", what,
		stat_of("shed_bytes"));
	at = *h.touched;
	ktap_ok(at < MOST, "%s: before memory.max is reached (%zu MiB)",
		what, at / MIB);
	ktap_ok(hog_rate(&h, at, MOST) > (slow ? 0 : 2 * MIB) &&
		hog_lives(&h) &&
		!event("stuck_kill"), "%s: from then on that is not held up", what);
	kill(h.pid, SIGUSR1);
	ktap_ok(unstuck() && event("stuck") == 1,
		"%s: freed, and that is the end of the state, decided once",
		what);
	hog_end(&h);
	return true;
}

static void test_max(void)
{
	size_t high = 64 * MIB;
	double free_rate, now_rate;
	struct decision d;
	struct hog h;

	limits("64M", "160M", "stuck_ms=1000 stuck=max");
	h = hog_start(CG, 20 * MIB, 256 * MIB, 0);
	free_rate = hog_rate(&h, 24 * MIB, 44 * MIB);
	d = decision_wait(CG, high, hog_patience, &h);
	decided(&d, STUCK_MS, "max");
	nap_ms(200);
	now_rate = hog_rate(&h, *h.touched, *h.touched + 20 * MIB);
	ktap_ok(free_rate > 0 && now_rate >= (slow ? 0.5 : 0.9) * free_rate,
		"max: from then on %.1f MiB/s, of %.1f", now_rate / MIB,
		free_rate / MIB);
	ktap_ok(level_is_stuck() && stat_of("limit") == (long long)high &&
		cg_number(CG, "memory.high") == (long long)high,
		"max: the limit is as written, and the state shows");
	ktap_ok(stat_of("admit_mark") > (long long)high,
		"max: tasks are held below memory.max only (%lld)",
		stat_of("admit_mark"));
	hog_end(&h);
	h = hog_hold(CG, 8 * MIB, 0);
	ktap_ok(becomes("admit_mark", high, 3000) && !level_is_stuck(),
		"max: memory.high is enforced again when it can be met");
	hog_end(&h);
}

/*
 * The largest dies, but not one of -1000. Its end is held up (its tracer does
 * not let it go): nobody else is killed meanwhile.
 */
static void test_kill(void)
{
	struct hog protected, large, grower;
	long long during, counted;
	struct decision d;
	int status;

	limits("64M", "160M", "stuck_ms=1000 stuck=kill");
	counted = read_key("/proc/vmstat", "oom_kill");
	protected = hog_hold(CG, 20 * MIB, -1000);
	large = hog_hold(CG, 32 * MIB, 0);
	ptrace(PTRACE_SEIZE, large.pid, NULL, PTRACE_O_TRACEEXIT);
	grower = hog_start(CG, 8 * MIB, 192 * MIB, 0);
	d = decision_wait(CG, 64 * MIB, hog_patience, NULL);
	decided(&d, STUCK_MS, "kill");
	nap_ms(2 * STUCK_MS + 500);
	during = event("stuck_kill");
	ktap_ok(hog_lives(&grower) && hog_lives(&protected) && during == 1 &&
		level_is_stuck() &&
		cg_key(CG, "memory.events", "oom_kill") == 1 &&
		read_key("/proc/vmstat", "oom_kill") == counted + 1,
		"kill: one is killed (%lld), and until it is gone nobody else",
		during);
	ktap_ok(waitpid(large.pid, &status, __WALL | WNOHANG) == large.pid &&
		WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXIT,
		"kill: the largest that may be");
	ptrace(PTRACE_DETACH, large.pid, NULL, NULL);
	ktap_ok(hog_killed(&large, 10000), "kill: let go, it is gone");
	ktap_ok(hog_killed(&grower, 1000 * hog_patience) && event("stuck_kill") == 2,
		"kill: the one that goes on growing is next");
	ktap_ok(hog_lives(&protected), "kill: and one of oom_score_adj -1000 never");
	hog_end(&grower);
	hog_end(&large);
	hog_end(&protected);
}

/* Far above a small limit, oom_score_adj counts as much as ever. */
static void test_score(void)
{
	struct hog spared, other;
	bool killed;

	limits("max", "max", "stuck_ms=500 stuck=kill");
	spared = hog_hold(CG, 12 * MIB, -999);
	other = hog_start(CG, 4 * MIB, 64 * MIB, 0);
	while (*other.touched < 4 * MIB && hog_lives(&other))
		nap_ms(10);
	cg_write(CG, "memory.high", "3M");
	killed = hog_killed(&other, 1000 * hog_patience);
	ktap_note("stuck %lld, killed %lld, usage %lld", event("stuck"),
		  event("stuck_kill"), stat_of("usage"));
	ktap_ok(killed && hog_lives(&spared),
		"score: of 12 MiB with -999 and less with 0 the latter is killed");
	hog_end(&other);
	hog_end(&spared);
}

/*
 * A child that did not execute anything yet says of itself that it should be
 * killed: its memory is its parent's, which says the opposite.
 */
static void test_vfork(void)
{
	struct hog parent = {}, other;
	char *p;

	limits("64M", "max", "stuck_ms=500 stuck=kill");
	parent.pid = fork();
	if (!parent.pid) {
		if (cg_enter(CG) || write_file("/proc/self/oom_score_adj", "-500"))
			_exit(1);
		p = mmap(NULL, 40 * MIB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (p == MAP_FAILED)
			_exit(1);
		if (!vfork()) {
			write_file("/proc/self/oom_score_adj", "1000");
			for (;;)
				pause();
		}
		_exit(0);
	}
	nap_ms(1000);
	other = hog_start(CG, 30 * MIB, 30 * MIB, 0);
	ktap_ok(hog_killed(&other, 1000 * hog_patience) && hog_lives(&parent),
		"vfork: the parent of a child that asks for it lives");
	hog_end(&other);
	/* A parent that waits for its child is gone only with that. */
	cg_write(CG, "cgroup.kill", "1");
	hog_end(&parent);
}

/* Who writes it reclaims by itself, for as long as that gets anywhere. */
static void lower_high(const char *high)
{
	pid_t pid = fork();

	if (!pid)
		_exit(!!cg_write(CG, "memory.high", high));
	nap_ms(300);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Has 100 MiB; once told to, it gives back 1 MiB every 100 ms. */
static pid_t shedder(volatile int *go)
{
	size_t len = 100 * MIB;
	pid_t pid = fork();
	char *p;

	if (pid)
		return pid;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || cg_enter(CG))
		_exit(1);
	memset(p, 1, len);
	while (!*go)
		nap_ms(10);
	for (; len > 48 * MIB; len -= MIB) {
		madvise(p + len - MIB, MIB, MADV_DONTNEED);
		nap_ms(100);
	}
	pause();
	_exit(0);
}

/* Who sheds memory by itself is given the time. */
static void test_falls(void)
{
	struct hog h = {}, other;
	volatile int *go;
	int i;

	go = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	limits("max", "max", "stuck_ms=1000 stuck=kill");
	h.pid = shedder(go);
	for (i = 0; i < 100 * hog_patience &&
	     cg_number(CG, "memory.current") < 100 * (long long)MIB; i++)
		nap_ms(10);
	nap_ms(300);
	lower_high("64M");
	/* Something has to be charged, or nobody looks. */
	other = hog_start(CG, 0, 2 * MIB, 0);
	for (i = 0; i < 500 * hog_patience && !stat_of("reclaim_empty"); i++)
		nap_ms(2);
	*go = 1;
	for (i = 0; i < 100 * hog_patience && hog_lives(&h) &&
	     stat_of("usage") > 60 * (long long)MIB; i++)
		nap_ms(10);
	ktap_note("stuck %lld, killed %lld, usage %lld, empty %lld",
		  event("stuck"), event("stuck_kill"), stat_of("usage"),
		  stat_of("reclaim_empty"));
	ktap_ok(hog_lives(&h) && stat_of("reclaim_empty") > 0 && !event("stuck"),
		"falls: usage comes down by itself, and nobody is killed");
	munmap((void *)go, PAGE);
	hog_end(&other);
	hog_end(&h);
}

/* Nobody may be killed, and then somebody may. */
static void test_new_victim(void)
{
	char path[64];
	struct hog h;

	limits("64M", "max", "stuck_ms=500 stuck=kill");
	h = hog_hold(CG, 70 * MIB, -1000);
	ktap_ok(becomes("stuck", 1, 1000 * hog_patience) && hog_lives(&h),
		"victim: stuck, and nobody there who may be killed");
	nap_ms(1000);
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", h.pid);
	write_file(path, "0");
	cg_write(CG, "memory.ext.reclaim", "stuck=kill");
	ktap_ok(hog_killed(&h, 1000 * hog_patience) && event("stuck_kill") == 1,
		"victim: told to look again, it finds who may be killed now");
	hog_end(&h);
}

/* memory.oom.group: all of it but -1000, and nobody beside it. */
static void test_group(void)
{
	struct hog a, b, protected, beside;

	limits("64M", "160M", "stuck_ms=500 stuck=kill");
	cg_write(CG, "cgroup.subtree_control", "+memory");
	cg_create(GROUP);
	cg_create(BESIDE);
	cg_write(GROUP, "memory.oom.group", "1");
	protected = hog_hold(GROUP, 4 * MIB, -1000);
	beside = hog_hold(BESIDE, 16 * MIB, 0);
	a = hog_hold(GROUP, 2 * MIB, 0);
	b = hog_start(GROUP, 36 * MIB, 128 * MIB, 0);
	ktap_ok(hog_killed(&b, 1000 * hog_patience) && hog_killed(&a, 10000) &&
		event("stuck_kill") == 2,
		"memory.oom.group: all of the group are killed");
	ktap_ok(hog_lives(&protected) && hog_lives(&beside),
		"memory.oom.group: but not -1000, nor who is beside it");
	ktap_ok(cg_key(GROUP, "memory.events", "oom_kill") == 2 &&
		cg_key(GROUP, "memory.events", "oom_group_kill") == 1,
		"memory.oom.group: memory.events counts it");
	hog_end(&a);
	hog_end(&b);
	hog_end(&protected);
	hog_end(&beside);
}

/* A cgroup and one in it cannot meet their limits at once: one death is enough for both. */
static void test_nested(void)
{
	struct hog small, beside, large;
	bool lived = true;
	long long killed;
	int i, n = 0;

	limits("64M", "160M", "stuck_ms=500 stuck=kill");
	cg_write(CG, "cgroup.subtree_control", "+memory");
	cg_create(GROUP);
	cg_create(BESIDE);
	cg_write(GROUP, "memory.high", "44M");
	cg_write(GROUP, "memory.ext.reclaim", "stuck_ms=500 stuck=kill");
	mcx_manage(GROUP);
	small = hog_hold(GROUP, 4 * MIB, 0);
	beside = hog_hold(BESIDE, 20 * MIB, 0);
	for (i = 0; i < 3; i++) {
		large = hog_start(GROUP, 36 * MIB, 128 * MIB, 0);
		n += hog_killed(&large, 1000 * hog_patience);
		hog_end(&large);
		/* As long as it takes to decide once more. */
		nap_ms(1500);
		lived &= hog_lives(&small) && hog_lives(&beside);
	}
	killed = event("stuck_kill") +
		 cg_key(GROUP, "memory.ext.events", "stuck_kill");
	ktap_ok(n == 3 && killed == 3 && lived,
		"nested: of two cgroups with the same victim one kills it (%d victims, %lld killed, by the upper one %lld), and no other",
		n, killed, event("stuck_kill"));
	hog_end(&small);
	hog_end(&beside);
}

/* Passes that the workers make in @ms. */
static long long passes(int ms)
{
	long long before = stat_of("reclaim_passes");

	nap_ms(ms);
	return stat_of("reclaim_passes") - before;
}

/* Between the workers' target and the limit: nothing to see there. */
static void test_below(void)
{
	struct hog h;
	long long n;

	limits("64M", "max", "stuck_ms=200 stuck=kill");
	h = hog_hold(CG, 61 * MIB, 0);
	nap_ms(1000);
	ktap_ok(stat_of("usage") > stat_of("wake_mark") &&
		stat_of("usage") < stat_of("limit") &&
		stat_of("reclaim_empty") > 0,
		"below: %lld of %lld bytes, which cannot be reclaimed",
		stat_of("usage"), stat_of("limit"));
	ktap_ok(hog_lives(&h) && !event("stuck") && !event("stuck_kill") &&
		!level_is_stuck(), "below: that is not stuck, and nobody dies");
	n = passes(1500);
	ktap_ok(n == 0, "below: nothing is charged, and the workers rest (%lld)",
		n);
	hog_end(&h);
}

/* Above it and decided, the workers rest, too; freeing ends the state. */
static void test_rest(void)
{
	struct hog h;
	long long n;

	limits("64M", "max", "stuck_ms=200 stuck=notify");
	h = hog_start(CG, 60 * MIB, 66 * MIB, 0);
	ktap_ok(becomes("stuck", 1, 1000 * hog_patience), "rest: decided");
	while (*h.touched < 66 * MIB && hog_lives(&h))
		nap_ms(50);
	nap_ms(1000);
	n = passes(1500);
	ktap_ok(n == 0 && level_is_stuck(),
		"rest: nothing is charged, and the workers rest (%lld)", n);
	kill(h.pid, SIGUSR1);
	ktap_ok(unstuck(), "rest: freed, and the state is over");
	hog_end(&h);
	nap_ms(1500);
	h = hog_start(CG, 60 * MIB, 80 * MIB, 0);
	ktap_ok(becomes("stuck", 2, 1000 * hog_patience) && event("shed") == 2,
		"rest: again above it, and it is decided again");
	hog_end(&h);
}

/* A file of more than the limit, written again and again. */
static pid_t writer(void)
{
	static char buf[1 << 18];
	pid_t pid = fork();
	int fd, i;

	if (pid)
		return pid;
	fd = open(FILE_PATH, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || cg_enter(CG))
		_exit(1);
	for (;;) {
		lseek(fd, 0, SEEK_SET);
		for (i = 0; i < 96 * 4; i++)
			if (write(fd, buf, sizeof(buf)) < 0)
				_exit(1);
	}
}

static void test_reclaimable(void)
{
	struct hog h = {};
	int i;

	limits("32M", "40M", "stuck_ms=1000 stuck=kill");
	h.pid = writer();
	for (i = 0; i < 100 * hog_patience && !stat_of("reclaimed_pages"); i++)
		nap_ms(10);
	nap_ms(4000);
	ktap_ok(hog_lives(&h) && !event("stuck") && !level_is_stuck() &&
		stat_of("reclaimed_pages") > 0,
		"reclaimable: %lld pages reclaimed, and nothing to decide",
		stat_of("reclaimed_pages"));
	hog_end(&h);
	unlink(FILE_PATH);
}

/* Of the disk that the file is on: bytes written a second. */
static void write_rate(const char *rate)
{
	struct stat st;
	char text[64];

	if (stat("/scratch", &st))
		return;
	snprintf(text, sizeof(text), "%u:%u wbps=%s", major(st.st_dev),
		 minor(st.st_dev), rate);
	cg_write(CG, "io.max", text);
}

/*
 * What could be reclaimed is dirty, and the disk is slow: the workers wake the
 * flushers. As long as something is written, that is progress.
 */
static void test_dirty(void)
{
	struct hog h = {};
	int i;

	limits("32M", "max", "stuck_ms=5000 stuck=kill");
	/* Slower than the machine is. */
	write_rate(debug_kernel() ? "200000" : "1000000");
	h.pid = writer();
	/* So long it may take until nothing but dirty pages is left. */
	for (i = 0; i < 3000 && !stat_of("flushed"); i++)
		nap_ms(20);
	nap_ms(2000);
	ktap_ok(stat_of("flushed") > 0 && stat_of("reclaim_empty") > 0,
		"dirty: the flushers are woken (%lld times)",
		stat_of("flushed"));
	ktap_note("stuck %lld, killed %lld, usage %lld, dirty %lld, writeback %lld, pages %lld, empty %lld",
		  event("stuck"), event("stuck_kill"), stat_of("usage"),
		  cg_key(CG, "memory.stat", "file_dirty"),
		  cg_key(CG, "memory.stat", "file_writeback"),
		  stat_of("reclaimed_pages"), stat_of("reclaim_empty"));
	ktap_ok(!event("stuck") && hog_lives(&h), "dirty: and nothing to decide");
	write_rate("max");
	hog_end(&h);
	unlink(FILE_PATH);
}

/*
 * A lot that is dirty, on a disk that takes ages: less than 1 % in each window, but
 * it is being written.
 */
static void test_slow_disk(void)
{
	struct hog h = {}, other;
	int i;

	limits("max", "max", "stuck_ms=2000 stuck=kill");
	write_rate("100000");
	h.pid = writer();
	for (i = 0; i < 100 * hog_patience &&
	     cg_number(CG, "memory.current") < 80 * (long long)MIB; i++)
		nap_ms(10);
	kill(h.pid, SIGSTOP);
	lower_high("4M");
	other = hog_start(CG, 0, 2 * MIB, 0);
	for (i = 0; i < 50 * hog_patience && !stat_of("reclaim_empty"); i++)
		nap_ms(20);
	nap_ms(8000);
	ktap_note("stuck %lld, lives %d, empty %lld, dirty %lld of %lld", event("stuck"),
		  hog_lives(&h), stat_of("reclaim_empty"),
		  cg_key(CG, "memory.stat", "file_dirty") +
		  cg_key(CG, "memory.stat", "file_writeback"), stat_of("usage"));
	ktap_ok(stat_of("reclaim_empty") > 0 && stat_of("usage") > 32 * (long long)MIB &&
		!event("stuck") && hog_lives(&h),
		"slow disk: %lld MiB too much after 8 s, and nobody is killed for it",
		stat_of("usage") / (long long)MIB - 4);
	write_rate("max");
	hog_end(&other);
	hog_end(&h);
	unlink(FILE_PATH);
}

/* One that never finishes dying does not keep the next from being killed. */
static void test_undying(void)
{
	struct hog undying, next;

	limits("64M", "max", "stuck_ms=500 stuck=kill");
	undying = hog_hold(CG, 50 * MIB, 0);
	ptrace(PTRACE_SEIZE, undying.pid, NULL, PTRACE_O_TRACEEXIT);
	next = hog_start(CG, 30 * MIB, 30 * MIB, 0);
	nap_ms(15000);
	ktap_ok(event("stuck_kill") == 1 && hog_lives(&next),
		"undying: one is killed, and waited for");
	ktap_ok(hog_killed(&next, 30000 + 1000 * hog_patience) &&
		event("stuck_kill") == 2, "undying: but not for ever");
	ptrace(PTRACE_DETACH, undying.pid, NULL, NULL);
	hog_end(&undying);
	hog_end(&next);
}

/* What takes longer. */
static void test_more(void)
{
	test_slow_disk();
	test_undying();
}

static void test_all(void)
{
	if (!test_notify(128 * MIB / 10 * 8, STUCK_MS, "0.8"))
		return;
	/* Without rationing memory.max would be reached in 2 s. */
	test_notify(128 * MIB / 10 * 9, 3 * STUCK_MS, "0.9");
	test_max();
	test_kill();
	test_group();
	test_nested();
	test_score();
	test_vfork();
	test_falls();
	test_new_victim();
	test_below();
	test_rest();
	test_reclaimable();
	test_dirty();
}

int main(int argc, char **argv)
{
	ktap_start();
	slow = debug_kernel();
	if (slow)
		hog_patience = 120;
	thp_off();
	dirty_limit_far();
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory +io");
	if (mcx_load())
		ktap_skip_all("the module does not load");
	if (argc > 1 && !strcmp(argv[1], "more"))
		test_more();
	else
		test_all();
	limits("max", "max", "stuck_ms=1000");
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	cg_remove(TOP);
	return ktap_end();
}
