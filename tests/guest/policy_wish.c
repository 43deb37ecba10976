// SPDX-License-Identifier: GPL-2.0-only
/*
 * policy_wish: what a policy sets for a cgroup. Below a limit memory is kept, who charges is
 * paced, nobody is stuck or killed for not meeting it, and it goes with its policy; so does
 * a request to shed memory; and who waits for its delays can be let go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/types.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "libpolicy.h"
#include "ops.h"
#include "wish.h"
#include "policy_wish.skel.h"

#define CG	"mcx-test-cap"
#define A	CG "/a"
#define B	CG "/b"
#define OTHER	"mcx-test-cap-other"
#define BACKOFF	"/sys/module/memcg_ext/parameters/backoff_ms"
#define NONE	(~0ULL)

static struct policy_wish_bpf *load(const char *cg)
{
	struct policy_wish_bpf *p = policy_wish_bpf__open();

	if (!p)
		ktap_skip_all("cannot open the policies");
	p->struct_ops.caps->cgroup_id = cg_id(cg);
	p->struct_ops.own->cgroup_id = cg_id(cg);
	if (policy_wish_bpf__load(p)) {
		ktap_ok(false, "the policies load");
		exit(ktap_end());
	}
	return p;
}

static int wish(struct policy_wish_bpf *p, int what, const char *cg,
		unsigned long long bytes)
{
	return policy_wish(&p->bss->request, what, cg, bytes);
}

static int set(struct policy_wish_bpf *p, const char *cg, unsigned long long bytes)
{
	return wish(p, WISH_HIGH, cg, bytes);
}

static long long policy_limit(const char *cg)
{
	return cg_key(cg, "memory.ext.stat", "policy_limit");
}

static bool limit_goes(const char *cg)
{
	char path[256];
	int i;

	cg_path(path, sizeof(path), cg, "memory.ext.stat");
	for (i = 0; i < 200 && !file_has(path, "policy_limit max\n"); i++)
		nap_ms(10);
	return i < 200;
}

/* What is there above the limit is reclaimed, though nothing is charged. */
static void test_reclaims(struct policy_wish_bpf *p)
{
	long long limit = 24 * MIB;
	pid_t pid = cg_keeper(A, 64);
	char path[256];
	bool falls;

	cg_fills(A, 64 * (long long)MIB);
	ktap_ok(limit_goes(A), "at first there is no limit");
	ktap_ok(!set(p, A, limit) && policy_limit(A) == limit, "one of 24 MiB is set");
	falls = cg_falls(A, limit);
	ktap_ok(falls, "usage falls below it, to %.1f MiB",
		cg_number(A, "memory.current") / (double)MIB);
	cg_path(path, sizeof(path), A, "memory.high");
	ktap_ok(file_has(path, "max\n") && !cg_key(A, "memory.events", "high"),
		"memory.high is as it was, and the kernel does not know of it");
	ktap_ok(!set(p, A, NONE) && limit_goes(A), "it is taken back");
	end_task(pid);
}

/* Seconds that it takes to charge so much; the highest usage meanwhile in @peak. */
static double charge_time(const char *cg, size_t mib, long long *peak)
{
	uint64_t from = now_ns();
	pid_t pid = charger(cg, mib, 64, 1);

	*peak = 0;
	while (!waitpid(pid, NULL, WNOHANG)) {
		long long usage = cg_number(cg, "memory.current");

		if (usage > *peak)
			*peak = usage;
		nap_ms(2);
	}
	return (now_ns() - from) / 1e9;
}

/* Tasks stay below it by being paced. */
static void test_paces(struct policy_wish_bpf *p)
{
	long long limit = 32 * MIB, peak;

	set(p, A, limit);
	charge_time(A, 160, &peak);
	ktap_ok(peak > limit / 2 && peak < limit + 4 * (long long)MIB,
		"who charges five times as much stays below (peak %.1f MiB)",
		peak / (double)MIB);
	ktap_ok(cg_key(A, "memory.ext.stat", "paced") > 0 &&
		cg_key(A, "memory.ext.stat", "reclaimed_pages") > 100 * (long long)MIB / PAGE,
		"it waits, and the workers free what it needs (%lld waits)",
		cg_key(A, "memory.ext.stat", "paced"));
	set(p, A, NONE);
}

/* 48 MiB that cannot be reclaimed; what cannot be met is found soon. */
static pid_t keep_for_good(const char *stuck)
{
	pid_t pid;

	cg_write(A, "memory.swap.max", "0");
	cg_write(A, "memory.ext.reclaim", stuck);
	cg_write(A, "memory.ext.reclaim", "stuck_ms=500");
	pid = cg_keeper(A, 48);
	cg_fills(A, 48 * (long long)MIB);
	return pid;
}

static void keep_no_more(struct policy_wish_bpf *p, pid_t pid)
{
	end_task(pid);
	set(p, A, NONE);
	cg_write(A, "memory.swap.max", "max");
	cg_write(A, "memory.ext.reclaim", "stuck=notify stuck_ms=10000");
}

/* Without swap there is nothing to reclaim: nobody shall die for a wish. */
static void test_cannot_be_met(struct policy_wish_bpf *p)
{
	long long kills, stuck, peak;
	double seconds;
	pid_t pid;

	pid = keep_for_good("stuck=kill");
	set(p, A, 16 * MIB);
	nap_ms(3000);
	kills = cg_key(A, "memory.ext.stat", "stuck_kill");
	stuck = cg_key(A, "memory.ext.stat", "stuck_msec");
	ktap_ok(!waitpid(pid, NULL, WNOHANG) && !kills && !stuck,
		"who cannot meet it is not stuck, nor killed");
	set(p, A, 40 * MIB);
	seconds = charge_time(A, 2, &peak);
	ktap_ok(seconds > 0.2 && seconds < 60,
		"who charges above it is slowed down, and gets on (%.1f s for 2 MiB)", seconds);
	keep_no_more(p, pid);
}

/*
 * Nor for what the user wants as well, and has: a task that gives back what it can, slowly,
 * meets the user's limit in time, though not the policy's.
 */
static void test_user_limit(struct policy_wish_bpf *p)
{
	long long excess;
	pid_t pid;

	pid = keep_for_good("stuck=notify");
	set(p, A, 8 * MIB);
	cg_write(A, "memory.high", "44M");
	nap_ms(3000);
	excess = cg_key(A, "memory.ext.stat", "shed_bytes");
	ktap_ok(excess > 0 && excess < 24 * (long long)MIB,
		"a user's limit is met by giving back %.1f MiB, whatever a policy wishes",
		excess / (double)MIB);
	cg_write(A, "memory.high", "max");
	keep_no_more(p, pid);
}

/* Who is held goes on as soon as it is raised. */
static void test_lets_go(struct policy_wish_bpf *p)
{
	long long before;
	uint64_t from;
	pid_t pid;

	cg_write(A, "memory.swap.max", "0");
	set(p, A, 8 * MIB);
	pid = charger(A, 64, 64, 1);
	nap_ms(3000);
	before = cg_number(A, "memory.current");
	set(p, A, NONE);
	from = now_ns();
	waitpid(pid, NULL, 0);
	ktap_ok(before < 48 * (long long)MIB &&
		now_ns() - from < (debug_kernel() ? 10 : 3) * NSEC,
		"with %.1f of 64 MiB it is held, and has had all %.1f s after the limit is gone",
		before / (double)MIB, (now_ns() - from) / 1e9);
	cg_write(A, "memory.swap.max", "max");
}

/* The user's own counts where it is lower. */
static void test_lower(struct policy_wish_bpf *p)
{
	cg_write(A, "memory.high", "16M");
	set(p, A, 48 * MIB);
	ktap_ok(cg_key(A, "memory.ext.stat", "admit_mark") == 16 * MIB,
		"a lower memory.high counts");
	cg_write(A, "memory.high", "max");
	ktap_ok(cg_key(A, "memory.ext.stat", "admit_mark") == 48 * MIB,
		"and when it is gone that of the policy");
	set(p, A, NONE);
}

/* Waits until the events of a cgroup change; false if they do not in so long. */
static bool events_change(int fd, int ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLPRI };
	char buf[4096];
	int ret = poll(&poll_fd, 1, ms);

	(void)!pread(fd, buf, sizeof(buf), 0);
	return ret == 1 && poll_fd.revents & POLLPRI;
}

static void test_sheds(struct policy_wish_bpf *p)
{
	long long seq = cg_key(A, "memory.ext.stat", "shed_seq");
	char path[256];
	int fd;

	cg_path(path, sizeof(path), A, "memory.ext.events");
	fd = open(path, O_RDONLY);
	events_change(fd, 0);
	events_change(fd, 100);
	ktap_ok(!wish(p, WISH_SHED, A, 5 * MIB + 1) && events_change(fd, 2000),
		"who polls hears of a request to shed memory");
	ktap_ok(cg_key(A, "memory.ext.stat", "shed_bytes") == 5 * MIB + PAGE &&
		cg_key(A, "memory.ext.stat", "shed_seq") == seq + 1, "of so much");
	ktap_ok(!wish(p, WISH_SHED, A, 0) && !cg_key(A, "memory.ext.stat", "shed_bytes") &&
		!events_change(fd, 300), "its end is no news");
	ktap_ok(wish(p, WISH_SHED, OTHER, MIB) == -EPERM &&
		!cg_key(OTHER, "memory.ext.stat", "shed_bytes"), "it is not for others");
	close(fd);
}

/* Who is delayed by two seconds at each batch has 8 batches to go. */
static void test_wakes(struct policy_wish_bpf *p)
{
	uint64_t from;
	pid_t pid;

	p->bss->delay = 2000;
	from = now_ns();
	pid = charger(A, 1, 32, 1);
	nap_ms(700);
	ktap_ok(!waitpid(pid, NULL, WNOHANG), "who is delayed for long waits");
	p->bss->delay = 0;
	ktap_ok(wish(p, WISH_WAKE, OTHER, 0) == -EPERM && !wish(p, WISH_WAKE, CG, 0),
		"a policy wakes its own, and those below");
	waitpid(pid, NULL, 0);
	ktap_ok(now_ns() - from < 1800000000ULL, "it is let go (%.1f s)",
		(now_ns() - from) / 1e9);
}

static void test_refused(struct policy_wish_bpf *p)
{
	struct policy_wish_bpf *own = load(B);
	struct bpf_link *link;

	ktap_ok(set(p, OTHER, 16 * MIB) == -EPERM && limit_goes(OTHER),
		"not for a cgroup that is not below its own");
	link = policy_link(own->maps.own);
	ktap_ok(set(p, B, 16 * MIB) == -EPERM && limit_goes(B),
		"nor for one with a policy of its own");
	own->bss->own_bytes = 20 * MIB;
	nap_ms(500);
	ktap_ok(!own->bss->own_result && policy_limit(B) == 20 * MIB, "that may (%d)",
		own->bss->own_result);
	bpf_link__destroy(link);
	ktap_ok(limit_goes(B), "it goes with its policy");
	policy_wish_bpf__destroy(own);
	set(p, A, 20 * MIB);
	mcx_unmanage(A);
	ktap_ok(set(p, A, 16 * MIB) == -ENOENT, "nor for one that is not managed");
	mcx_manage(A);
	ktap_ok(limit_goes(A), "of which nothing is left");
}

static bool is_ejected(struct policy_wish_bpf *p)
{
	p->bss->gives_up = 1;
	return policy_becomes(A, "");
}

static void test_ends(struct policy_wish_bpf *p, struct bpf_link *link)
{
	ktap_ok(!set(p, A, 16 * MIB) && policy_limit(A) == 16 * MIB, "one is set");
	ktap_ok(is_ejected(p) && limit_goes(A), "it goes when its policy is ejected");
	bpf_link__destroy(link);
}

/* Loads it anew. Returns 0 if it attached, and was ejected once more, or errno. */
static int again(void)
{
	struct policy_wish_bpf *p = load(CG);
	struct bpf_link *link = bpf_map__attach_struct_ops(p->maps.caps);
	int err = link ? 0 : errno;

	if (link && !is_ejected(p))
		err = ETIMEDOUT;
	bpf_link__destroy(link);
	policy_wish_bpf__destroy(p);
	return err;
}

/*
 * What was ejected, and is loaded again by who does not look. Once it was before. To load
 * it takes its time, too, of which there is plenty.
 */
static void test_backs_off(void)
{
	const unsigned int wait = debug_kernel() ? 12000 : 3000;
	int first, second, third;

	write_file(BACKOFF, debug_kernel() ? "12000" : "3000");
	first = again();
	ktap_ok(!first, "what was ejected once can be loaded anew at once (%d)", first);
	first = again();
	nap_ms(wait);
	second = again();
	nap_ms(wait);
	third = again();
	ktap_ok(first == EAGAIN && !second && third == EAGAIN,
		"what was twice has to wait, and longer after the third time (%d, %d, %d)",
		first, second, third);
	nap_ms(wait);
	first = again();
	ktap_ok(!first, "until that is over (%d)", first);
	write_file(BACKOFF, "0");
	first = again();
	ktap_ok(!first, "or somebody says that it need not (%d)", first);
	write_file(BACKOFF, "1000");
}

int main(void)
{
	struct policy_wish_bpf *p;
	struct bpf_link *link;

	ktap_start();
	thp_off();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	swap_on();
	cg_create(CG);
	cg_create(OTHER);
	cg_write(CG, "cgroup.subtree_control", "+memory");
	cg_create(A);
	cg_create(B);
	mcx_manage(A);
	mcx_manage(B);
	mcx_manage(OTHER);
	p = load(CG);
	link = policy_link(p->maps.caps);
	if (ktap_ok(link, "the policy attaches (%s)", strerror(errno))) {
		test_reclaims(p);
		test_paces(p);
		test_cannot_be_met(p);
		test_user_limit(p);
		test_lets_go(p);
		test_lower(p);
		test_sheds(p);
		test_wakes(p);
		test_refused(p);
		test_ends(p, link);
		test_backs_off();
	}
	policy_wish_bpf__destroy(p);
	cg_remove(A);
	cg_remove(B);
	cg_remove(CG);
	cg_remove(OTHER);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
