// SPDX-License-Identifier: GPL-2.0-only
/*
 * policy: the BPF path, from attaching to the end, good or bad.
 *
 * The policies are those of bpf/ as a user gets them, and those of
 * policy_cases.bpf.c. What they were asked is read from debugfs and from their
 * own globals; where a task sleeps, from its stack.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/types.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "libpolicy.h"
#include "ops.h"
#include "policy_cases.h"
#include "policy_foreign.skel.h"
#include "policy_verified.skel.h"

#define TOP	"mcx-test-policy"
#define CHILD	TOP "/child"
#define OTHER	"mcx-test-policy-other"
#define BRIEF	"mcx-test-policy-brief"
#define TRACING		"/sys/kernel/tracing/"
#define BACKOFF_MS	"/sys/module/memcg_ext/parameters/backoff_ms"
#define SLOW_USEC	"/sys/module/memcg_ext/parameters/slow_usec"
#define DEBUGFS	"/sys/kernel/debug/memcg_ext/"

/* libbpf's own lines, only when something is wrong. */
static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	if (level != LIBBPF_WARN || !getenv("POLICY_VERBOSE"))
		return 0;
	return vprintf(fmt, args);
}

/* A word of the line of policy @name in debugfs policies; -1: no such line. */
static long long policy_value(const char *name, const char *key)
{
	char buf[8192], want[64], *line, *save = NULL;

	if (read_file(DEBUGFS "policies", buf, sizeof(buf)) < 0)
		return -1;
	snprintf(want, sizeof(want), " name=%s ", name);
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (strstr(line, want))
			return kv(line, key, -1);
	return -1;
}

/* Exit status, or -1: it was killed after @limit seconds. */
static int reap(pid_t pid, double limit)
{
	uint64_t from = now_ns();
	int status;

	while (now_ns() - from < limit * NSEC) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
		nap_ms(5);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

static int charge(const char *cg, size_t mib, size_t chunk)
{
	return reap(charger(cg, mib, chunk, 1), 60);
}

static void test_simple(void)
{
	struct bpf_object *obj;
	struct bpf_link *link;
	double delays;

	cg_write(TOP, "memory.high", "32M");
	ktap_ok(!mcx_manage(TOP), "managed");
	link = policy_attach("mcx_simple.bpf.o", TOP, &obj);
	if (!ktap_ok(link, "mcx_simple loads and attaches (%s)",
		     strerror(errno)))
		return;
	ktap_ok(policy_in_effect(TOP, "simple /" TOP "\n") &&
		policy_in_effect(CHILD, "simple /" TOP "\n") &&
		policy_in_effect(OTHER, ""),
		"memory.ext.policy: in effect here and below, not beside");
	ktap_ok(policy_value("simple", "flags") == 0 &&
		policy_value("simple", "timeout_ms") == 5000,
		"debugfs policies shows it");

	charge(CHILD, 16, 512);
	ktap_ok(policy_value("simple", "memcg_charged") > 0,
		"memcg_charged was asked (%lld)",
		policy_value("simple", "memcg_charged"));
	delays = cg_key(CHILD, "memory.ext.stat", "policy_delays");
	ktap_ok(delays == 0, "far from the limit nobody waits (%g)", delays);

	charge(CHILD, 31, 512);
	delays = cg_key(CHILD, "memory.ext.stat", "policy_delays");
	ktap_ok(delays > 0, "near it tasks do (%g)", delays);
	ktap_ok(policy_value("simple", "level") > 0,
		"level was told (%lld)", policy_value("simple", "level"));
	ktap_ok(mcx_unload() == -EAGAIN || mcx_loaded(),
		"an attached policy pins the module");
	bpf_link__destroy(link);
	ktap_ok(policy_value("simple", "flags") == -1 &&
		policy_in_effect(TOP, ""), "its link closed, it is gone");
	ktap_ok(file_has(DEBUGFS "last_exit", "name simple\n") &&
		file_has(DEBUGFS "last_exit", "reason unreg\n"),
		"last_exit says so");
	bpf_object__close(obj);
	mcx_unmanage(TOP);
	cg_write(TOP, "memory.high", "max");
}

/* The largest of one entry into the kernel, on the way out, and once. */
static void test_delay(void)
{
	struct policy_cases_bpf *c = cases_load(OTHER);
	struct bpf_link *link;
	double waited, took;
	uint64_t from;
	long long calls;
	int i;

	c->bss->fixed_ms = 50;
	link = attach(c->maps.fixed);
	ktap_ok(link, "a policy attaches to a cgroup that is not managed");
	/* The hooks attach; and warm up: fork and cgroup move charge, too. */
	for (i = 0; i < 50 && !c->bss->nr_charged; i++) {
		nap_ms(200);
		charge(OTHER, 1, 256);
	}
	calls = c->bss->nr_charged;
	from = now_ns();
	waited = cg_key(OTHER, "memory.ext.stat", "policy_delay_usec");
	charge(OTHER, 40, 5120);	/* two calls of 20 MiB, 160 batches */
	took = (now_ns() - from) / 1e6;
	waited = cg_key(OTHER, "memory.ext.stat", "policy_delay_usec") - waited;
	ktap_ok(c->bss->nr_charged - calls >= 160,
		"160 batches and more were told (%lld)",
		(long long)c->bss->nr_charged - calls);
	ktap_ok(took >= 100 && waited >= 100e3 && waited < 1e6,
		"maxed within one call, not summed: waited %.0f of %.0f ms",
		waited / 1e3, took);

	c->bss->fixed_ms = 100000;
	from = now_ns();
	charge(OTHER, 1, 256);
	took = (now_ns() - from) / 1e9;
	ktap_ok(took >= 2 && took < 20,
		"a delay of 100 s is clamped to 2 s an entry (%.1f s in all)",
		took);

	from = now_ns();
	calls = charger(OTHER, 8, 256, 100);
	nap_ms(500);
	from = now_ns();
	kill(calls, SIGTERM);
	waitpid(calls, NULL, 0);
	ktap_ok(now_ns() - from < NSEC,
		"a signal ends a delayed task in %.0f ms",
		(now_ns() - from) / 1e6);

	calls = charger(OTHER, 8, 256, 10);
	nap_ms(500);
	c->bss->fixed_ms = 0;
	from = now_ns();
	bpf_link__destroy(link);
	ktap_ok(reap(calls, 30) == 0,
		"unloading lets a delayed task go on (%.1f s)",
		(now_ns() - from) / 1e9);
	ktap_ok(c->bss->nr_exits == 1 && c->data->mcx_exit.kind == 64,
		"exit was called, once, and says unreg");
	policy_cases_bpf__destroy(c);
}

static void test_refused(void)
{
	struct policy_cases_bpf *c = cases_load(TOP), *below;
	struct bpf_link *link, *second;

	errno = 0;
	link = attach(c->maps.refuses);
	ktap_ok(!link && errno == E2BIG && !c->bss->nr_exits,
		"init can refuse; exit is not called (%s)", strerror(errno));
	link = attach(c->maps.fixed);
	second = attach(c->maps.defers);
	ktap_ok(link && !second && errno == EBUSY,
		"a second one on a cgroup is refused (%s)", strerror(errno));
	below = cases_load(CHILD);
	second = attach(below->maps.fixed);
	ktap_ok(!second && errno == EPERM,
		"one below is refused (%s)", strerror(errno));
	bpf_link__destroy(link);

	link = attach(c->maps.defers);
	second = attach(below->maps.fixed);
	ktap_ok(link && second, "but not below BPF_F_ALLOW_OVERRIDE");
	ktap_ok(policy_in_effect(CHILD, "fixed /" CHILD "\n") &&
		policy_in_effect(TOP, "defers /" TOP "\n"),
		"there the nearest alone is in effect");
	bpf_link__destroy(second);
	ktap_ok(policy_in_effect(CHILD, "defers /" TOP "\n"),
		"and the one above when that is gone");
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(below);
	policy_cases_bpf__destroy(c);
}

/* Nothing but the one map with the bad value; its members are set at attach. */
static int attach_alone(const char *name)
{
	struct policy_cases_bpf *c = policy_cases_bpf__open();
	struct bpf_map *map, *only = NULL;
	struct bpf_link *link = NULL;
	int err;

	bpf_object__for_each_map(map, c->obj) {
		if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS)
			continue;
		if (!strcmp(bpf_map__name(map), name))
			only = map;
		bpf_map__set_autocreate(map, map == only);
	}
	c->struct_ops.fixed->cgroup_id = cg_id(TOP);
	err = policy_cases_bpf__load(c);
	if (!err) {
		link = attach(only);
		err = link ? 0 : -errno;
	}
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(c);
	return err;
}

static void test_bad_values(void)
{
	static const char *const bad[] = {
		"bad_name", "no_name", "bad_flags", "bad_timeout", "bad_both",
	};
	static char log[1 << 18];
	struct policy_cases_bpf *c;
	struct bpf_link *link;
	size_t i;
	int err;

	ktap_ok(!attach_alone("fixed"), "one alone attaches");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = attach_alone(bad[i]);
		ktap_ok(err == -EINVAL, "%s is refused (%s)", bad[i],
			strerror(-err));
	}
	klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1);
	ktap_ok(strstr(log, "unknown flags") && !strstr(log, "faked line"),
		"a bad name is not printed");
	c = cases_open(TOP);
	c->struct_ops.fixed->cgroup_id = 1ULL << 60;
	policy_cases_bpf__load(c);
	link = attach(c->maps.fixed);
	ktap_ok(!link && errno == ENOENT,
		"an id of no cgroup is refused (%s)", strerror(errno));
	policy_cases_bpf__destroy(c);
}

static bool becomes(const __u64 *value, __u64 want)
{
	int i;

	for (i = 0; i < 3000 && __atomic_load_n(value, __ATOMIC_SEQ_CST) != want;
	     i++)
		nap_ms(10);
	return *value == want;
}

/* This task, and those it forks from now on, to one CPU; -1: to all. */
static void run_on(int cpu)
{
	cpu_set_t set;
	int i;

	CPU_ZERO(&set);
	for (i = 0; i < 2; i++)
		if (cpu < 0 || cpu == i)
			CPU_SET(i, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void test_twice(void)
{
	struct policy_cases_bpf *c = cases_load_with(TOP, "waits");
	struct policy_cases_bpf *other = cases_load_with(TOP, "waits");
	struct bpf_link *link, *second;

	c->bss->init_may_go = 1;
	other->bss->init_may_go = 1;
	link = attach(c->maps.waits);
	second = attach(c->maps.waits);
	ktap_ok(link && !second && errno == EBUSY && c->bss->nr_inits == 1 &&
		!c->bss->nr_exits,
		"attached twice: refused, and init and exit not called (%s)",
		strerror(errno));
	second = attach(other->maps.waits);
	ktap_ok(!second && errno == EBUSY && !other->bss->nr_inits,
		"nor is init of another that cannot be attached (%s)",
		strerror(errno));
	bpf_link__destroy(link);
	link = attach(c->maps.waits);
	ktap_ok(link && c->bss->nr_inits == 2 && c->bss->nr_exits == 1,
		"once its link is closed it can be attached again");
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(other);
	policy_cases_bpf__destroy(c);
}

/* Its cgroup goes while its init runs: too late to refuse it without an exit. */
static void test_too_late(void)
{
	struct policy_cases_bpf *c;
	struct bpf_link *link;
	pid_t pid;
	int err;

	cg_create(BRIEF);
	c = cases_load_with(BRIEF, "waits");
	run_on(1);
	pid = fork();
	if (!pid) {
		while (!__atomic_load_n(&c->bss->init_waits, __ATOMIC_SEQ_CST))
			nap_ms(1);
		err = rmdir(CGROUP_ROOT "/" BRIEF);
		__atomic_store_n(&c->bss->init_may_go, 1, __ATOMIC_SEQ_CST);
		_exit(!!err);
	}
	run_on(0);
	link = attach(c->maps.waits);
	err = errno;
	run_on(-1);
	ktap_ok(reap(pid, 10) == 0 && !link && err == ENODEV,
		"the cgroup goes during init: refused (%s)", strerror(err));
	nap_ms(500);
	ktap_ok(c->bss->nr_exits == 1 && c->data->mcx_exit.kind == 64 &&
		!file_has(DEBUGFS "last_exit", "reason error-bpf"),
		"an error in exit then does nothing: one exit (%llu)",
		(unsigned long long)c->bss->nr_exits);
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(c);
}

/* What libbpf says, the verifier's log with it. */
static char said[1 << 16];

static int remember(enum libbpf_print_level level, const char *fmt, va_list args)
{
	size_t n = strlen(said);

	return level == LIBBPF_DEBUG ? 0 :
	       vsnprintf(said + n, sizeof(said) - n, fmt, args);
}

/* Only @name of them is loaded. */
static int load_verified(const char *name)
{
	struct policy_verified_bpf *v = policy_verified_bpf__open();
	struct bpf_map *map;
	int err;

	if (!v)
		return -errno;
	bpf_object__for_each_map(map, v->obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			bpf_map__set_autocreate(map, !strcmp(bpf_map__name(map),
							     name));
	said[0] = '\0';
	libbpf_set_print(remember);
	err = policy_verified_bpf__load(v);
	libbpf_set_print(quiet);
	policy_verified_bpf__destroy(v);
	return err;
}

/* Did the kernel log @text lately? */
static bool logged(const char *text)
{
	static char log[1 << 16];
	int n = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1);

	log[n < 0 ? 0 : n] = '\0';
	return strstr(log, text);
}

/* Where a page is charged nobody loops for long, and nothing runs beside a policy. */
static void test_verified(void)
{
	static const struct {
		const char *name, *why;
	} bad[] = {
		{ "loops", "cannot use helper bpf_loop#" },
		{ "walks", "cannot use helper bpf_for_each_map_elem#" },
		{ "ticks", "cannot use helper bpf_timer_init#" },
		{ "drains", "cannot use helper bpf_user_ringbuf_drain#" },
		{ "locks", "cannot use helper bpf_spin_lock#" },
		{ "iterates", "iterates_high uses bpf_iter_num_new" },
		{ "globals", "uses a function that is not static" },
		{ "throws", "uses bpf_throw" },
	};
	bool named;
	size_t i;
	int err;

	err = load_verified("bounded");
	ktap_ok(!err, "a member may have a loop that the verifier follows (%d)",
		err);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		err = load_verified(bad[i].name);
		named = strstr(said, bad[i].why) || logged(bad[i].why);
		ktap_ok(err == -EINVAL && named,
			"a policy that %s is refused (%s), and it is said why (%d)",
			bad[i].name, strerror(-err), named);
	}
}

static int load_foreign(bool calls)
{
	struct policy_foreign_bpf *f = policy_foreign_bpf__open();
	int err;

	bpf_map__set_autocreate(calls ? f->maps.calm : f->maps.calls, false);
	err = policy_foreign_bpf__load(f);
	policy_foreign_bpf__destroy(f);
	return err;
}

static void test_foreign(void)
{
	int err;

	ktap_ok(!load_foreign(false), "a TCP congestion control loads");
	err = load_foreign(true);
	ktap_ok(err == -EACCES, "but not with a kfunc for policies (%s)",
		strerror(-err));
}

/* So many MiB at once, and then nothing for so long. */
struct pace {
	size_t mib;
	unsigned int rest_ms;
};

/* How it ends if each call, or one in so many, takes @ms; 0: not within @seconds. */
static uint32_t slow_ends_at(uint32_t ms, uint32_t one_in, int seconds,
			     const struct pace *pace, long long *calls)
{
	struct policy_cases_bpf *c = cases_load_with(OTHER, "slow");
	uint64_t from = now_ns();
	struct bpf_link *link;
	uint32_t kind;

	c->bss->slow_ms = ms;
	c->bss->slow_one_in = one_in;
	link = attach(c->maps.slow);
	while (now_ns() - from < seconds * NSEC && !c->bss->nr_exits) {
		charge(OTHER, pace->mib, 64);
		nap_ms(pace->rest_ms);
	}
	kind = c->data->mcx_exit.kind;
	*calls = c->bss->nr_charged;
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(c);
	return kind;
}

static uint32_t slow_ends(uint32_t ms, uint32_t one_in, int seconds, long long *calls)
{
	const struct pace pace = { .mib = 8 };

	return slow_ends_at(ms, one_in, seconds, &pace, calls);
}

/* The bounds are scaled, by about 20 in an emulated machine. */
static void test_slow(void)
{
	const struct pace seldom = { .mib = 1, .rest_ms = 3000 };
	long long calls;
	uint32_t kind;

	kind = slow_ends(200, 0, 20, &calls);
	ktap_ok(kind == MCX_EXIT_ERROR_SLOW && calls < 20,
		"calls of 200 ms: ejected (kind %u) after %lld", kind, calls);
	ktap_ok(file_has(DEBUGFS "last_exit", "reason error-slow"),
		"last_exit says so");
	kind = slow_ends(800, 0, 20, &calls);
	ktap_ok(kind == MCX_EXIT_ERROR_SLOW && calls < 20,
		"calls of 800 ms: ejected (kind %u) after %lld", kind, calls);
	kind = slow_ends(800, 60, 60, &calls);
	ktap_ok(kind == MCX_EXIT_ERROR_SLOW && calls > 60,
		"one call in 60 of 800 ms: ejected (kind %u) after %lld", kind,
		calls);
	/* A twentieth of the time, and a second without between any two of them. */
	kind = slow_ends_at(150, 5, 40, &seldom, &calls);
	ktap_ok(kind == MCX_EXIT_ERROR_SLOW,
		"one call in five of 150 ms every three seconds: ejected (kind %u) after %lld",
		kind, calls);
	if (!debug_kernel()) {
		kind = slow_ends(2, 0, 20, &calls);
		ktap_ok(kind == MCX_EXIT_ERROR_SLOW && calls >= 100,
			"more than a hundred calls a second of 2 ms: ejected (kind %u) after %lld",
			kind, calls);
	}
	kind = slow_ends(0, 0, 5, &calls);
	ktap_ok(!kind && calls > (debug_kernel() ? 20 : 100),
		"quick calls: not (%lld)", calls);
	write_file(SLOW_USEC, "0");
	kind = slow_ends(200, 0, 5, &calls);
	write_file(SLOW_USEC, "1000");
	ktap_ok(!kind && calls > 3, "not watched: not (%lld of 200 ms)", calls);
}

/* Both workers serve the cgroup while the policy is being told. */
static void test_level(void)
{
	struct policy_cases_bpf *c = cases_load_with(TOP, "levels");
	struct bpf_link *link;
	pid_t pid[2];
	int i;

	cg_write(TOP, "memory.high", "32M");
	mcx_manage(TOP);
	/* It takes its time, so that both come. */
	write_file(SLOW_USEC, "0");
	link = attach(c->maps.levels);
	for (i = 0; i < 2; i++)
		pid[i] = charger(CHILD, 20, 512, 1000000);
	for (i = 0; i < 300 && (i < 80 || c->bss->nr_levels < 6); i++)
		nap_ms(100);
	for (i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	ktap_ok(link && c->bss->nr_levels > 3,
		"levels are told (%llu)",
		(unsigned long long)c->bss->nr_levels);
	ktap_ok(!c->bss->nr_at_once && !c->bss->nr_gaps,
		"one by one (%llu at once), in order (%llu gaps)",
		(unsigned long long)c->bss->nr_at_once,
		(unsigned long long)c->bss->nr_gaps);
	pid[0] = charger(CHILD, 64, 512, 1);
	i = becomes(&c->bss->last_level, MCX_LEVEL_STUCK);
	kill(pid[0], SIGKILL);
	waitpid(pid[0], NULL, 0);
	ktap_ok(i, "being stuck is told");
	ktap_ok(becomes(&c->bss->last_level, MCX_LEVEL_OK),
		"and its end, too");
	bpf_link__destroy(link);
	mcx_unmanage(TOP);
	cg_write(TOP, "memory.high", "max");
	policy_cases_bpf__destroy(c);
}

static void test_asks(void)
{
	struct policy_cases_bpf *c = cases_open(TOP);
	struct bpf_link *link;

	bpf_map__set_autocreate(c->maps.asks, true);
	if (!ktap_ok(!policy_cases_bpf__load(c),
		     "high_policy may pass its pointers to kfuncs"))
		return policy_cases_bpf__destroy(c);
	cg_write(TOP, "memory.high", "8M");
	link = attach(c->maps.asks);
	nap_ms(200);
	reap(charger(CHILD, 12, 1024, 1), 10);
	ktap_ok(link && c->bss->nr_right > 0 &&
		c->bss->nr_right == c->bss->nr_asks,
		"which work on the right ones (%llu of %llu)",
		(unsigned long long)c->bss->nr_right,
		(unsigned long long)c->bss->nr_asks);
	bpf_link__destroy(link);
	cg_write(TOP, "memory.high", "max");
	policy_cases_bpf__destroy(c);
}

/* A task in CHILD that goes above memory.high whenever it is told to. */
static pid_t start_goer(int *to, int *from)
{
	int in[2], out[2], i;
	pid_t pid;
	char c;

	if (pipe(in) || pipe(out))
		return -1;
	pid = fork();
	if (pid) {
		close(in[0]);
		close(out[1]);
		*to = in[1];
		*from = out[0];
		return pid;
	}
	if (cg_enter(CHILD))
		_exit(1);
	while (read(in[0], &c, 1) == 1) {
		void *p[40];

		for (i = 0; i < 40; i++)
			p[i] = mmap(NULL, MIB / 2, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
				    -1, 0);
		for (i = 0; i < 40; i++)
			munmap(p[i], MIB / 2);
		if (write(out[1], &c, 1) != 1)
			break;
	}
	_exit(0);
}

/* What it did not wait for as a critical thread meanwhile. */
static long long critical_pages(int to, int from)
{
	long long before = cg_key(CHILD, "memory.ext.stat", "critical_pages");
	char c = 0;

	if (write(to, &c, 1) != 1 || read(from, &c, 1) != 1)
		return -1;
	return cg_key(CHILD, "memory.ext.stat", "critical_pages") - before;
}

/* A policy says of a thread that it is critical, as long as there is that policy. */
static void test_classes(void)
{
	struct policy_cases_bpf *c = cases_load(CHILD);
	struct bpf_link *link;
	long long with = 0, without;
	int to, from, tries;
	pid_t pid;

	cg_write(CHILD, "memory.high", "16M");
	/* Beyond what can be reclaimed the budget ends. */
	swap_on();
	mcx_manage(CHILD);
	pid = start_goer(&to, &from);
	without = critical_pages(to, from);
	link = attach(c->maps.classes);
	nap_ms(200);
	/*
	 * It is critical a moment after it was told, and uses its budget only where it
	 * happens to be seen above the mark: a slow machine needs a few goes.
	 */
	for (tries = 0; (!with || !c->bss->nr_critical) && tries < 20; tries++)
		with += critical_pages(to, from);
	ktap_ok(link && without == 0 && with > 0,
		"a policy makes threads critical (%lld pages, %lld without it)",
		with, without);
	ktap_ok(c->bss->nr_told > 0 && c->bss->nr_critical > 0,
		"and sees that they are (told %llu, seen %llu)",
		(unsigned long long)c->bss->nr_told,
		(unsigned long long)c->bss->nr_critical);
	ktap_ok(c->bss->bad_class == -EINVAL, "there is no other class");
	bpf_link__destroy(link);
	ktap_ok(critical_pages(to, from) == 0,
		"with its end they are not any more");
	close(to);
	close(from);
	reap(pid, 5);
	cg_write(CHILD, "memory.high", "max");
	swap_off();
	mcx_unmanage(CHILD);
	policy_cases_bpf__destroy(c);
}

/* Memory in OTHER that a task in CHILD faults in; a policy is asked about both. */
static void test_remote(void)
{
	struct policy_cases_bpf *c = cases_load(OTHER), *own = cases_load(TOP);
	struct bpf_link *link[2] = {
		attach(c->maps.fixed), attach(own->maps.defers),
	};
	static char from[8 * MIB];
	struct iovec local = { from, sizeof(from) }, remote = local;
	long long delays;
	ssize_t done;
	bool entered;
	pid_t pid;

	c->bss->fixed_ms = 1000;
	remote.iov_base = mmap(NULL, sizeof(from), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	nap_ms(200);
	pid = fork();
	if (!pid) {
		cg_enter(OTHER);
		pause();
		_exit(0);
	}
	nap_ms(200);
	entered = !cg_enter(CHILD);
	delays = cg_key(CHILD, "memory.ext.stat", "policy_delays");
	c->bss->nr_charged = 0;
	done = process_vm_writev(pid, &local, 1, &remote, 1, 0);
	delays = cg_key(CHILD, "memory.ext.stat", "policy_delays") - delays;
	entered = !cg_enter("") && entered;
	ktap_ok(link[0] && link[1] && entered && done == sizeof(from) &&
		/* A batch of them may have been charged before, on this CPU. */
		c->bss->nr_charged >= sizeof(from) / PAGE / 64 - 1,
		"memory of a task elsewhere is charged there (%llu batches)",
		(unsigned long long)c->bss->nr_charged);
	ktap_ok(delays == 0, "whoever writes to it does not wait for that (%lld)",
		delays);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(remote.iov_base, sizeof(from));
	bpf_link__destroy(link[0]);
	bpf_link__destroy(link[1]);
	policy_cases_bpf__destroy(own);
	policy_cases_bpf__destroy(c);
}

static void test_ejection(void)
{
	struct policy_cases_bpf *c = cases_load(TOP), *below = cases_load(CHILD);
	struct bpf_link *link = attach(c->maps.gives_up), *second;
	uint64_t calls;

	nap_ms(200);
	write_file(TRACING "events/memcg_ext/memcg_ext_policy_exit/enable", "1");
	charge(CHILD, 4, 256);
	ktap_ok(becomes(&c->bss->nr_exits, 1) &&
		c->data->mcx_exit.kind == 1025 &&
		c->data->mcx_exit.code == 42,
		"mcx_bpf_error() ejects: exit is told (kind %u)",
		c->data->mcx_exit.kind);
	calls = c->bss->nr_charged;
	charge(CHILD, 4, 256);
	ktap_ok(c->bss->nr_charged == calls, "it is not asked any more");
	ktap_ok(file_has(DEBUGFS "policies", "state=ejected") &&
		policy_in_effect(TOP, ""), "nor in effect");
	ktap_ok(file_has(DEBUGFS "last_exit", "reason error-bpf\ncode 42\n") &&
		!file_has(DEBUGFS "last_exit", "\nname forged"),
		"last_exit has the reason, on one line");
	ktap_ok(file_has(DEBUGFS "last_exit", "\ntask policy\npid ") &&
		file_has(DEBUGFS "last_exit", "\ncalls high_policy=0 memcg_charged="),
		"and who was running, and what was called");
	ktap_ok(file_has(TRACING "trace", "memcg_ext_policy_exit: name=gives_up") &&
		file_has(TRACING "trace", "kind=1025 code=42"), "a tracepoint tells, too");
	write_file(TRACING "events/memcg_ext/memcg_ext_policy_exit/enable", "0");
	second = attach(below->maps.defers);
	ktap_ok(second && policy_in_effect(CHILD, "defers /" CHILD "\n"),
		"it does not forbid others below it");
	bpf_link__destroy(second);
	second = attach(c->maps.gives_up);
	ktap_ok(!second && errno == EBUSY,
		"nor comes back while its link is open (%s)", strerror(errno));
	policy_cases_bpf__destroy(below);
	bpf_link__destroy(link);
	ktap_ok(c->bss->nr_exits == 1, "and exit is not called again");

	c->bss->nr_exits = 0;
	cg_write(TOP, "memory.high", "8M");
	link = attach(c->maps.bad_bits);
	nap_ms(200);
	reap(charger(CHILD, 12, 1024, 1), 10);
	ktap_ok(becomes(&c->bss->nr_exits, 1) &&
		c->data->mcx_exit.kind == 1026,
		"bits that mean nothing eject (kind %u)",
		c->data->mcx_exit.kind);
	bpf_link__destroy(link);
	cg_write(TOP, "memory.high", "max");
	policy_cases_bpf__destroy(c);
}

/* The program's own allocations are charged to the cgroup it is asked about. */
static void test_recursion(void)
{
	struct policy_cases_bpf *c;
	struct bpf_link *link;
	long long calls;

	cg_enter(TOP);
	c = cases_load(TOP);
	cg_enter("");
	link = attach(c->maps.allocates);
	nap_ms(200);
	ktap_ok(charge(TOP, 64, 1024) == 0, "a policy that allocates");
	calls = policy_value("allocates", "memcg_charged");
	ktap_ok(calls > 0, "was asked %lld times, skipped %lld", calls,
		policy_value("allocates", "skipped"));
	bpf_link__destroy(link);
	policy_cases_bpf__destroy(c);
}

/*
 * How often a task that is over memory.high, in a cgroup that is not managed, is
 * found asleep in the over-high handler: in the middle of a system call, or on
 * its way out of it.
 */
struct sleeps {
	int inside;
	int outside;
};

static void look(pid_t pid, struct sleeps *s)
{
	char path[64], stack[4096];

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	if (read_file(path, stack, sizeof(stack)) <= 0 ||
	    !strstr(stack, "mem_cgroup_handle_over_high"))
		return;
	if (strstr(stack, "try_charge_memcg"))
		s->inside++;
	else
		s->outside++;
}

/* Of a task that takes 24 MiB, so many pages in one call. */
static struct sleeps over_high_sleeps(struct bpf_map *map, size_t pages)
{
	struct bpf_link *link = attach(map);
	struct sleeps s = {};
	uint64_t from;
	pid_t pid;

	nap_ms(200);
	pid = charger(OTHER, 24, pages, 1);
	from = now_ns();
	while ((now_ns() - from < 4 * NSEC ||
		(!s.inside && !s.outside && now_ns() - from < 60 * NSEC)) &&
	       !waitpid(pid, NULL, WNOHANG)) {
		look(pid, &s);
		nap_ms(20);
	}
	reap(pid, 0);
	bpf_link__destroy(link);
	return s;
}

static void test_defer(void)
{
	struct policy_cases_bpf *c = cases_load(OTHER);
	struct sleeps none, defer, large;

	cg_write(OTHER, "memory.high", "8M");
	none = over_high_sleeps(c->maps.fixed, 512);
	defer = over_high_sleeps(c->maps.defers, 512);
	large = over_high_sleeps(c->maps.defers, 6144);
	ktap_ok(none.inside > 0,
		"no opinion: the kernel sleeps in the middle of a call (seen %d times)",
		none.inside);
	ktap_ok(defer.inside == 0 && defer.outside > 0,
		"BPF_MEMCG_HIGH_DEFER_INLINE: only on the way out (seen %d and %d times)",
		defer.inside, defer.outside);
	ktap_ok(large.inside > 0,
		"but not for 24 MiB in one call, where nobody reclaims (seen %d times)",
		large.inside);
	cg_write(OTHER, "memory.high", "max");
	policy_cases_bpf__destroy(c);
}

static void test_rmdir(void)
{
	struct policy_cases_bpf *c = cases_load(CHILD);
	struct bpf_link *link = attach(c->maps.fixed);

	ktap_ok(!cg_remove(CHILD), "a cgroup with a policy can be removed");
	ktap_ok(becomes(&c->bss->nr_exits, 1) && c->data->mcx_exit.kind == 65,
		"the policy ends with it (kind %u)", c->data->mcx_exit.kind);
	bpf_link__destroy(link);
	ktap_ok(c->bss->nr_exits == 1, "and exit is called once");
	policy_cases_bpf__destroy(c);
}

/* Attached and detached under load. */
static void test_storm(void)
{
	struct policy_cases_bpf *c = cases_load(TOP);
	struct bpf_link *link;
	pid_t pid[2];
	int i, good = 0;

	for (i = 0; i < 2; i++)
		pid[i] = charger(TOP, 2, 64, 1000000);
	for (i = 0; i < 20; i++) {
		link = attach(i % 2 ? c->maps.fixed : c->maps.gives_up);
		nap_ms(20);
		good += !!link;
		bpf_link__destroy(link);
	}
	for (i = 0; i < 2; i++)
		reap(pid[i], 0);
	ktap_ok(good == 20 && c->bss->nr_exits == 20,
		"attached and detached under load 20 times, as many exits (%llu)",
		(unsigned long long)c->bss->nr_exits);
	policy_cases_bpf__destroy(c);
}

int main(void)
{
	ktap_start();
	libbpf_set_print(quiet);
	thp_off();
	cg_create(TOP);
	cg_create(OTHER);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	cg_create(CHILD);
	if (mcx_load())
		ktap_skip_all("the module does not load");
	/* The same ones are ejected again and again; policy_wish is about that. */
	write_file(BACKOFF_MS, "0");
	test_simple();
	test_delay();
	test_refused();
	test_twice();
	test_too_late();
	test_bad_values();
	test_ejection();
	test_verified();
	test_foreign();
	test_slow();
	test_level();
	write_file(SLOW_USEC, "1000");
	test_asks();
	test_classes();
	test_remote();
	test_defer();
	test_rmdir();
	cg_write(TOP, "cgroup.subtree_control", "-memory");
	test_recursion();
	test_storm();
	ktap_ok(!mcx_unload(), "unloads");
	cg_remove(TOP);
	cg_remove(OTHER);
	return ktap_end();
}
