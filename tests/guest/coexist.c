// SPDX-License-Identifier: GPL-2.0-only
/*
 * coexist: others want the same kernel functions.
 *
 * Another module that redirects them, a live patch, probes and the function graph tracer,
 * before us and after us. Whoever comes second is refused or goes without, features says
 * which part that is, limits are still enforced, and when the other one goes we take over.
 * (kernel.ftrace_enabled=0 is in failopen, BPF programs are in m2 -l.)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define CG		"mcx-test-coexist"
#define FEATURES	"/sys/kernel/debug/memcg_ext/features"
#define HOOKS		"/sys/kernel/debug/memcg_ext/hooks"
#define TAKER		"mcx_taker"
#define PATCH		"mcx_patch"
#define PATCH_DIR	"/sys/kernel/livepatch/" PATCH
#define TRACING		"/sys/kernel/tracing/"

static const char *over_high;

static int insmod(const char *name, const char *func)
{
	char path[64], params[96];
	int fd, ret;

	snprintf(path, sizeof(path), "/mcx/kmod/%s.ko", name);
	snprintf(params, sizeof(params), "func=%s", func);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return ret;
}

/* A live patch may be in use for a moment. */
static int rmmod(const char *name)
{
	int i;

	for (i = 0; i < 200; i++) {
		if (!syscall(SYS_delete_module, name, O_NONBLOCK))
			return 0;
		nap_ms(50);
	}
	return -errno;
}

static bool feature_comes(const char *line, int seconds)
{
	int i;

	for (i = 0; i < seconds * 10; i++) {
		if (file_has(FEATURES, line))
			return true;
		nap_ms(100);
	}
	return false;
}

static bool kernel_has(const char *name)
{
	char line[512], symbol[256];
	FILE *f = fopen("/proc/kallsyms", "r");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*s %*s %255s", symbol) == 1 &&
			!strcmp(symbol, name);
	if (f)
		fclose(f);
	return found;
}

static void fresh(void)
{
	cg_remove(CG);
	cg_create(CG);
	cg_write(CG, "memory.max", "32M");
	cg_write(CG, "memory.high", "24M");
	mcx_manage(CG);
}

/* Nothing but a module that is there, and one cgroup in its care. */
static int begin(void)
{
	int err = mcx_load();

	if (!err)
		fresh();
	return err;
}

/* What can be reclaimed is, by the workers, and the task gets on. */
static void check_enforced(const char *who)
{
	long long before = cg_key(CG, "memory.ext.stat", "reclaimed_pages");
	pid_t pid = charger(CG, 20, 64, 5);
	int status;

	waitpid(pid, &status, 0);
	/* A second one, so that more is wanted than fits. */
	pid = charger(CG, 40, 64, 1);
	waitpid(pid, &status, 0);
	ktap_ok(cg_key(CG, "memory.ext.stat", "reclaimed_pages") > before &&
		cg_number(CG, "memory.peak") <= 32 * (long long)MIB,
		"%s: limits are enforced (%lld pages by workers, peak %.1f MiB)", who,
		cg_key(CG, "memory.ext.stat", "reclaimed_pages") - before,
		(double)cg_number(CG, "memory.peak") / MIB);
}

static void test_taken_before(void)
{
	ktap_ok(!insmod(TAKER, over_high) && !begin(),
		"the handler is taken before us: cgroups are managed all the same");
	ktap_ok(feature_comes("throttle degraded ", 5),
		"features says that throttling is degraded");
	check_enforced("the handler is taken");
	ktap_ok(!rmmod(TAKER), "it is let go");
	ktap_ok(feature_comes("throttle on\n", 25), "and is ours a while after that");
	check_enforced("the handler is ours again");
}

static void test_taken_after(void)
{
	int err = insmod(TAKER, over_high);

	ktap_ok(err == -EBUSY, "whoever comes after us is refused (%d)", err);
	ktap_ok(file_has(FEATURES, "throttle on\n"), "and changes nothing");
	if (!err)
		rmmod(TAKER);
}

static void test_charge_taken(void)
{
	ktap_ok(!insmod(TAKER, "page_counter_try_charge"),
		"the charge function may be taken beside us");
	ktap_ok(file_has(FEATURES, "account on\n"), "charges are seen all the same");
	cg_write(CG, "memory.ext.reclaim", "overrun=8M");
	ktap_ok(feature_comes("overrun degraded ", 5), "but overrun= is without effect");
	check_enforced("the charge function is taken");
	rmmod(TAKER);
	ktap_ok(feature_comes("overrun on\n", 45), "until it is let go");
	check_enforced("overrun=");
	cg_write(CG, "memory.ext.reclaim", "overrun=0");
}

static int patch_off(void)
{
	int i, err = write_file(PATCH_DIR "/enabled", "0");

	for (i = 0; !err && i < 300 && !access(PATCH_DIR, F_OK); i++)
		nap_ms(100);
	return err ?: rmmod(PATCH);
}

static void test_patch_after(void)
{
	int err = insmod(PATCH, over_high);

	ktap_ok(err == -EBUSY || err == -EINVAL,
		"a live patch of the handler is refused while we have it (%d)", err);
	if (!err)
		patch_off();
	ktap_ok(file_has(FEATURES, "throttle on\n"), "and changes nothing");
}

static void test_patch_before(void)
{
	if (mcx_unload() || insmod(PATCH, over_high)) {
		ktap_ok(false, "a live patch of the handler can be had without us");
		return;
	}
	ktap_ok(!begin() && feature_comes("throttle degraded ", 5),
		"the handler has a live patch: features says that throttling is degraded");
	check_enforced("the live patch is in");
	ktap_ok(!patch_off(), "it is taken out");
	ktap_ok(feature_comes("throttle on\n", 60), "and the handler is ours a while after that");
	check_enforced("the live patch is out");
}

static int trace(const char *file, const char *fmt, ...)
{
	char path[128], text[256];
	va_list args;

	snprintf(path, sizeof(path), TRACING "%s", file);
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return write_file(path, text);
}

/* As bpftrace and perf set them: at the entry, and on the return. */
static int probe(const char *func, int n)
{
	char path[128];
	int fd, ret;
	char text[128];

	snprintf(path, sizeof(path), TRACING "kprobe_events");
	fd = open(path, O_WRONLY | O_APPEND);
	if (fd < 0)
		return -errno;
	snprintf(text, sizeof(text), "p:mcx/entry%d %s\n", n, func);
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	snprintf(text, sizeof(text), "r:mcx/return%d %s\n", n, func);
	if (!ret && write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static void unprobe(void)
{
	trace("events/mcx/enable", "0");
	trace("kprobe_events", " ");
}

static const char *probed[4];

static int probe_all(void)
{
	int i, err = 0;

	for (i = 0; i < 4; i++)
		err = err ?: probe(probed[i], i);
	return err ?: trace("events/mcx/enable", "1");
}

/* How often one of the probes was hit. */
static long long hits(const char *name)
{
	char line[256], event[64];
	FILE *f = fopen(TRACING "kprobe_profile", "r");
	long long n, found = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lld", event, &n) == 2 && !strcmp(event, name))
			found = n;
	if (f)
		fclose(f);
	return found;
}

static void test_probes(void)
{
	int i, bad = 0;

	cg_write(CG, "memory.ext.reclaim", "overrun=8M");
	ktap_ok(!probe_all(), "probes can be set on what we hook");
	check_enforced("with probes");
	ktap_ok(hits("entry0") > 0 && hits("return0") > 0 && hits("entry1") > 0,
		"and are hit (%lld and %lld times, %lld)", hits("entry0"),
		hits("return0"), hits("entry1"));
	/* Either comes and goes while the other one is there. */
	for (i = 0; i < 3; i++) {
		bad += !!mcx_unload();
		bad += !!begin();
		unprobe();
		bad += !!probe_all();
	}
	ktap_ok(!bad, "we and they come and go beside each other (%d failures)", bad);
	check_enforced("after that");
	unprobe();
}

static void test_graph(void)
{
	int i, err = 0;

	for (i = 0; i < 4; i++) {
		int fd = open(TRACING "set_graph_function", O_WRONLY | O_APPEND);

		err |= fd < 0 || write(fd, probed[i], strlen(probed[i])) < 0;
		close(fd);
	}
	err |= trace("current_tracer", "function_graph");
	if (err) {
		ktap_skip("no function graph tracer");
		return;
	}
	check_enforced("with the function graph tracer");
	ktap_ok(file_has(TRACING "trace", "page_counter_try_charge"),
		"which has seen what we hook");
	ktap_ok(!mcx_unload() && !begin(), "we go and come back under it");
	check_enforced("and then");
	trace("current_tracer", "nop");
	trace("set_graph_function", " ");
}

int main(void)
{
	ktap_start();
	thp_off();
	if (access("/mcx/kmod/" TAKER ".ko", R_OK))
		ktap_skip_all("the tests' modules are not there");
	if (swap_on())
		ktap_skip_all("no swap device");
	over_high = kernel_has("__mem_cgroup_handle_over_high") ?
		    "__mem_cgroup_handle_over_high" : "mem_cgroup_handle_over_high";
	probed[0] = "page_counter_try_charge";
	probed[1] = over_high;
	probed[2] = "page_counter_uncharge";
	probed[3] = "mem_cgroup_css_offline";
	test_taken_before();
	test_taken_after();
	test_charge_taken();
	test_patch_after();
	test_patch_before();
	test_probes();
	test_graph();
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	swap_off();
	return ktap_end();
}
