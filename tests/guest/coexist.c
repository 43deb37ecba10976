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
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

/* Let it try again now. */
static void poke(void)
{
	cg_write(CG, "memory.ext.reclaim", "overrun=1M");
	nap_ms(200);
	cg_write(CG, "memory.ext.reclaim", "overrun=0");
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
	ktap_ok(!kmod_load(TAKER, over_high) && !begin(),
		"the handler is taken before us: cgroups are managed all the same");
	ktap_ok(feature_comes("throttle degraded ", 5),
		"features says that throttling is degraded");
	check_enforced("the handler is taken");
	ktap_ok(!kmod_unload(TAKER), "it is let go");
	/* Tried again after 10, 20, 40 s. */
	ktap_ok(feature_comes("throttle on\n", debug_kernel() ? 120 : 60), "and is ours a while after that");
	check_enforced("the handler is ours again");
}

static void test_taken_after(void)
{
	int err = kmod_load(TAKER, over_high);

	ktap_ok(err == -EBUSY, "whoever comes after us is refused (%d)", err);
	ktap_ok(file_has(FEATURES, "throttle on\n"), "and changes nothing");
	if (!err)
		kmod_unload(TAKER);
}

static void test_charge_taken(void)
{
	ktap_ok(!kmod_load(TAKER, "page_counter_try_charge"),
		"the charge function may be taken beside us");
	ktap_ok(file_has(FEATURES, "account on\n"), "charges are seen all the same");
	cg_write(CG, "memory.ext.reclaim", "overrun=8M");
	ktap_ok(feature_comes("overrun degraded ", 5), "but overrun= is without effect");
	check_enforced("the charge function is taken");
	kmod_unload(TAKER);
	cg_write(CG, "memory.ext.reclaim", "overrun=0");
	cg_write(CG, "memory.ext.reclaim", "overrun=8M");
	ktap_ok(feature_comes("overrun on\n", 30), "until it is let go");
	check_enforced("overrun=");
	cg_write(CG, "memory.ext.reclaim", "overrun=0");
}

static int patch_off(void)
{
	int i, err = write_file(PATCH_DIR "/enabled", "0");

	for (i = 0; !err && i < 300 && !access(PATCH_DIR, F_OK); i++)
		nap_ms(100);
	return err ?: kmod_unload(PATCH);
}

static void test_patch_after(void)
{
	int err = kmod_load(PATCH, over_high);

	ktap_ok(err == -EBUSY || err == -EINVAL,
		"a live patch of the handler is refused while we have it (%d)", err);
	if (!err)
		patch_off();
	ktap_ok(file_has(FEATURES, "throttle on\n"), "and changes nothing");
}

static void test_patch_before(void)
{
	if (mcx_unload() || kmod_load(PATCH, over_high)) {
		ktap_ok(false, "a live patch of the handler can be had without us");
		return;
	}
	ktap_ok(!begin() && feature_comes("throttle degraded ", 5),
		"the handler has a live patch: features says that throttling is degraded");
	check_enforced("the live patch is in");
	ktap_ok(!patch_off(), "it is taken out");
	poke();
	ktap_ok(feature_comes("throttle on\n", 30), "and the handler is ours a while after that");
	check_enforced("the live patch is out");
}

/* @how: O_TRUNC, which empties a list, or O_APPEND. */
static int trace(const char *path, int how, const char *text)
{
	int fd = open(path, O_WRONLY | how), ret = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* As bpftrace and perf set them: at the entry, and on the return. */
static int probe(const char *func, int n)
{
	char text[128];
	int err;

	snprintf(text, sizeof(text), "p:mcx/entry%d %s\n", n, func);
	err = trace(TRACING "kprobe_events", O_APPEND, text);
	snprintf(text, sizeof(text), "r:mcx/return%d %s\n", n, func);
	return err ?: trace(TRACING "kprobe_events", O_APPEND, text);
}

static int unprobe(void)
{
	return trace(TRACING "events/mcx/enable", 0, "0") ?:
	       trace(TRACING "kprobe_events", O_TRUNC, "\n");
}

static const char *probed[4];

static int probe_all(void)
{
	int i, err = 0;

	for (i = 0; i < 4; i++)
		err = err ?: probe(probed[i], i);
	return err ?: trace(TRACING "events/mcx/enable", 0, "1");
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
		bad += !!unprobe();
		bad += !!probe_all();
	}
	ktap_ok(!bad, "we and they come and go beside each other (%d failures)", bad);
	check_enforced("after that");
	unprobe();
}

static void test_graph(void)
{
	int i, err = 0;

	for (i = 0; i < 4; i++)
		err = err ?: trace(TRACING "set_graph_function", O_APPEND, probed[i]);
	err = err ?: trace(TRACING "current_tracer", 0, "function_graph");
	if (err) {
		ktap_skip("no function graph tracer");
		return;
	}
	check_enforced("with the function graph tracer");
	ktap_ok(file_has(TRACING "trace", "page_counter_try_charge"),
		"which has seen what we hook");
	ktap_ok(!mcx_unload() && !begin(), "we go and come back under it");
	check_enforced("and then");
	trace(TRACING "current_tracer", 0, "nop");
	trace(TRACING "set_graph_function", O_TRUNC, "\n");
}

int main(void)
{
	ktap_start();
	thp_off();
	if (access("/mcx/kmod/" TAKER ".ko", R_OK))
		ktap_skip_all("the tests' modules are not there");
	if (swap_on())
		ktap_skip_all("no swap device");
	over_high = over_high_name();
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
