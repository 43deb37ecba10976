// SPDX-License-Identifier: GPL-2.0-only
/*
 * failopen: a kernel without some of the functions the module looks for.
 *
 * Each is hidden in turn (module parameter hide=), and all at once. What then
 * happens is what module/README.md promises: the module does not load, or that
 * one part is off, with the reason in features, and the kernel enforces the
 * limits as ever; and after unloading nothing is left. Likewise without ftrace,
 * and with ftrace coming back.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "lib.h"
#include "libpolicy.h"

#define CG		"mcx-test-failopen"
#define PARAMS		"/mcx/modparams"
#define DEBUGFS		"/sys/kernel/debug/memcg_ext"
#define KPROBES		"/sys/kernel/debug/kprobes/list"
#define FTRACE		"/proc/sys/kernel/ftrace_enabled"
#define LIMIT		"16777216"

enum outcome {
	NO_LOAD,	/* refused, cleanly */
	NO_HOOKS,	/* nothing can be managed, and no policy attached */
	NO_RECLAIM,	/* nothing can be managed; a policy can be attached */
	MANAGES,
};

static const struct lost {
	const char *hide;
	enum outcome outcome;
	const char *feature;	/* what features says, and of nothing else */
	const char *unless;	/* not if the kernel has this one, too */
	const char *name;	/* if @hide is too long for a line */
	bool overrun;		/* that is off, too */
	bool memsw;		/* so is that */
} losses[] = {
	{ "cgroup_add_dfl_cftypes", NO_LOAD },
	{ "cgroup_rm_cftypes", NO_LOAD },
	{ "mem_cgroup_css_online", NO_HOOKS,
	  "lifetime off kernel function mem_cgroup_css_online not found\n" },
	{ "mem_cgroup_css_offline", NO_HOOKS,
	  "lifetime off kernel function mem_cgroup_css_offline not found\n" },
	{ "mem_cgroup_css_reset", NO_HOOKS,
	  "lifetime off kernel function mem_cgroup_css_reset not found\n" },
	{ "page_counter_try_charge", NO_HOOKS,
	  "account off kernel function page_counter_try_charge not found\n",
	  .overrun = true },
	{ "page_counter_uncharge", MANAGES,
	  "given off kernel function page_counter_uncharge not found\n",
	  .overrun = true },
	{ "sched_process_fork", MANAGES,
	  "threads off tracepoint sched_process_fork not found\n" },
	{ "sched_process_exit", MANAGES,
	  "threads off tracepoint sched_process_exit not found\n" },
	{ "cgroup_attach_task", MANAGES,
	  "threads off tracepoint cgroup_attach_task not found\n" },
	{ "page_counter_charge", MANAGES,
	  "overrun off kernel function page_counter_charge not found\n" },
	{ "memory_max_write", MANAGES,
	  "overrun off kernel function memory_max_write not found\n",
	  .memsw = true },
	{ "memory_max_show", MANAGES,
	  "memsw off kernel function memory_max_show not found\n" },
	{ "mem_cgroup_out_of_memory", MANAGES,
	  "memsw off kernel function mem_cgroup_out_of_memory not found\n" },
	{ "out_of_memory", MANAGES,
	  "memsw off kernel function out_of_memory not found\n" },
	{ "__swap_cache_del_folio", MANAGES,
	  "memsw off kernel function __swap_cache_del_folio not found\n",
	  "__delete_from_swap_cache" },
	{ "__delete_from_swap_cache", MANAGES,
	  "memsw off kernel function __swap_cache_del_folio not found\n",
	  "__swap_cache_del_folio" },
	{ "rt_mutex_setprio", MANAGES,
	  "owner off kernel function rt_mutex_setprio not found\n" },
	{ "uncharge_batch", MANAGES,
	  "given off kernel function uncharge_batch not found\n" },
	{ "try_to_free_mem_cgroup_pages", NO_RECLAIM,
	  "reclaim off kernel function try_to_free_mem_cgroup_pages not found\n",
	  .memsw = true },
	{ "mem_cgroup_handle_over_high", MANAGES,
	  "throttle off kernel function mem_cgroup_handle_over_high not found\n",
	  "__mem_cgroup_handle_over_high" },
	{ "__mem_cgroup_handle_over_high", MANAGES,
	  "throttle off kernel function mem_cgroup_handle_over_high not found\n",
	  "mem_cgroup_handle_over_high" },
	{ "mem_cgroup_handle_over_high,__mem_cgroup_handle_over_high", MANAGES,
	  "throttle off kernel function mem_cgroup_handle_over_high not found\n",
	  .name = "both over-high handlers" },
	{ "cgroup_file_notify", MANAGES,
	  "notify off kernel function cgroup_file_notify not found\n",
	  "__memcg_memory_event" },
	{ "__cgroup_account_cputime", MANAGES,
	  "cpu off kernel function __cgroup_account_cputime not found\n" },
	{ "__cgroup_account_cputime_field", MANAGES,
	  "cpu off kernel function __cgroup_account_cputime_field not found\n" },
	{ "task_sched_runtime", MANAGES,
	  "cpu degraded kernel function task_sched_runtime not found" },
	{ "memcg_page_state", MANAGES,
	  "flush off kernel function memcg_page_state not found\n",
	  .memsw = true },
	{ "mem_cgroup_flush_stats", MANAGES,
	  "flush off kernel function mem_cgroup_flush_stats not found\n" },
	{ "wakeup_flusher_threads", MANAGES,
	  "flush off kernel function wakeup_flusher_threads not found\n" },
	{ "bpf_get_btf_vmlinux", MANAGES,
	  "kfuncs off kernel function bpf_get_btf_vmlinux not found\n" },
	{ "btf_name_by_offset", MANAGES,
	  "kfuncs off kernel function btf_name_by_offset not found\n" },
	{ "bpf_struct_ops_get", MANAGES,
	  "sleep off kernel function bpf_struct_ops_get not found\n" },
	{ "bpf_struct_ops_put", MANAGES,
	  "sleep off kernel function bpf_struct_ops_put not found\n" },
	{ "css_rstat_flush,cgroup_rstat_flush", MANAGES,
	  "sleep degraded kernel function css_rstat_flush not found",
	  .memsw = true },
	{ "page_counter_calculate_protection", MANAGES,
	  "protect off kernel function page_counter_calculate_protection not found\n" },
	{ "memcg_page_state_output", MANAGES,
	  "kfuncs off kernel function memcg_page_state_output not found\n",
	  "__memcg_memory_event" },
	{ "memcg_events", MANAGES,
	  "kfuncs off kernel function memcg_events not found\n",
	  "__memcg_memory_event" },
	{ "ipmodify", MANAGES, "throttle degraded " },
	{ "", MANAGES, .name = "nothing hidden" },
};

static int libbpf_quiet(enum libbpf_print_level level, const char *fmt,
			va_list args)
{
	return 0;
}

static void hide(const char *names)
{
	FILE *f = fopen(PARAMS, "w");

	if (!f)
		return;
	fprintf(f, "hide=%s\n", names);
	fclose(f);
}

static void unhide(void)
{
	unlink(PARAMS);
}

static void ftrace_on(void)
{
	write_file(FTRACE, "1");
}

static bool thread_left(void)
{
	DIR *proc = opendir("/proc");
	char path[300], comm[64];
	bool left = false;
	struct dirent *d;

	while (proc && !left && (d = readdir(proc))) {
		if (!isdigit(d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", d->d_name);
		left = read_file(path, comm, sizeof(comm)) > 0 &&
		       (!strncmp(comm, "mcx", 3) ||
			!strncmp(comm, "memcg_ext", 9));
	}
	if (proc)
		closedir(proc);
	return left;
}

/* What is left of the module; NULL: nothing. */
static const char *left_behind(void)
{
	if (mcx_loaded())
		return "the module";
	if (!access(DEBUGFS, F_OK))
		return "its debugfs folder";
	if (!access("/sys/kernel/btf/memcg_ext", F_OK))
		return "its BTF";
	if (cg_has(CG, "memory.ext.enable") || cg_has(CG, "memory.ext.stat") ||
	    cg_has(CG, "memory.ext.events") || cg_has(CG, "memory.ext.policy"))
		return "a file in a cgroup";
	if (file_has("/sys/kernel/tracing/enabled_functions", "[memcg_ext]"))
		return "a hook";
	if (file_has(KPROBES, "DISABLED"))
		return "a kprobe";
	if (thread_left())
		return "a thread";
	if (cg_number(CG, "memory.high") != atoll(LIMIT))
		return "another memory.high than was written";
	return NULL;
}

static void unload(const char *what)
{
	int ret = mcx_unload();
	const char *left = left_behind();

	ktap_ok(!ret && !left, "%s: unloads (%d), %s is left behind", what, ret,
		left ? left : "nothing");
}

/* Charges more than the limit that nobody can reclaim. */
static void hog(void)
{
	size_t i, len = 16 * MIB + MIB / 2;
	pid_t pid = fork();
	char *p;

	if (pid) {
		waitpid(pid, NULL, 0);
		return;
	}
	p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || cg_enter(CG))
		_exit(1);
	for (i = 0; i < len; i += PAGE)
		*(volatile char *)(p + i) = 1;
	_exit(0);
}

/* Writes a file of twice the limit. */
static void writer(void)
{
	static char buf[1 << 16];
	pid_t pid = fork();
	int fd, i;

	if (pid) {
		waitpid(pid, NULL, 0);
		unlink("/scratch/failopen");
		return;
	}
	fd = open("/scratch/failopen", O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || cg_enter(CG))
		_exit(1);
	for (i = 0; i < 32 * 16; i++)
		if (write(fd, buf, sizeof(buf)) < 0)
			_exit(1);
	_exit(0);
}

/* Above memory.high that is counted, and memory.max is a limit. */
static void check_limits(const char *what)
{
	long long high, peak;

	hog();
	high = cg_key(CG, "memory.events.local", "high");
	cg_remove(CG);
	cg_create(CG);
	cg_write(CG, "memory.max", LIMIT);
	writer();
	peak = cg_number(CG, "memory.peak");
	cg_write(CG, "memory.max", "max");
	cg_write(CG, "memory.high", LIMIT);
	ktap_ok(high > 0 && peak > atoll(LIMIT) / 2 && peak <= atoll(LIMIT),
		"%s: the limits are enforced (high %lld, peak %lld)", what,
		high, peak);
}

/* 0 or -errno. */
static int try_policy(void)
{
	struct bpf_object *obj = NULL;
	struct bpf_link *link;
	int err;

	link = policy_attach("mcx_noop.bpf.o", CG, &obj);
	err = link ? 0 : -errno;
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return err;
}

static int count(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

/* Nothing but @says, and @also others, is not on; NULL: all are on. */
static void check_features(const char *what, const char *says, int also)
{
	char buf[4096];
	bool right = false;
	int on, lines, i;

	/* What was wanted a moment ago may still be on its way out. */
	for (i = 0; i < 20 && !right; i++) {
		if (i)
			nap_ms(100);
		if (read_file(DEBUGFS "/features", buf, sizeof(buf)) < 0)
			buf[0] = '\0';
		on = count(buf, " on\n");
		lines = count(buf, "\n");
		right = lines && on == lines - !!says - also &&
			(!says || strstr(buf, says));
	}
	if (!ktap_ok(right, "%s: features says so, and nothing else", what))
		ktap_note("%s", buf);
}

static void check_unmanageable(const char *what)
{
	ktap_ok(cg_write(CG, "memory.ext.enable", "1") == -EOPNOTSUPP &&
		cg_write(CG, "memory.ext.enable", "subtree") == -EOPNOTSUPP &&
		!cg_write(CG, "memory.ext.enable", "0") &&
		!cg_key(CG, "memory.ext.stat", "managed"),
		"%s: managing is not supported", what);
}

/* Whatever is missing, these are about no more than the files. */
static void check_rest(const char *what)
{
	ktap_ok(!cg_write(CG, "memory.ext.reclaim", "headroom=8M") &&
		cg_key(CG, "memory.ext.events", "wakeups") >= 0 &&
		file_has(DEBUGFS "/hooks", "page_counter_try_charge found="),
		"%s: the files work", what);
}

/* cpu=cgroup is refused where nothing would come of it. */
static void check_cpu(const char *what, const char *says)
{
	bool off = says && !strncmp(says, "cpu off ", 8);
	int ret = cg_write(CG, "memory.ext.reclaim", "cpu=cgroup");

	ktap_ok(ret == (off ? -EOPNOTSUPP : 0) &&
		!cg_write(CG, "memory.ext.reclaim", "cpu=system"),
		"%s: cpu=cgroup %s", what, ret ? "is refused" : "is possible");
}

/* Likewise a thread's class. */
static void check_threads(const char *what, const char *says)
{
	bool off = says && !strncmp(says, "threads off ", 12);
	pid_t pid = fork();
	int status = 0;

	if (!pid) {
		cg_enter(CG);
		_exit(-cg_write(CG, "memory.ext.threads", "0 batch"));
	}
	waitpid(pid, &status, 0);
	ktap_ok(WEXITSTATUS(status) == (off ? EOPNOTSUPP : 0),
		"%s: a thread %s be told to be batch", what,
		off ? "cannot" : "can");
}

/* And overrun=. */
static void check_overrun(const char *what, const struct lost *l)
{
	bool off = l->overrun ||
		   (l->feature && !strncmp(l->feature, "overrun off ", 12));
	int ret = cg_write(CG, "memory.ext.reclaim", "overrun=1M");

	ktap_ok(ret == (off ? -EOPNOTSUPP : 0) &&
		!cg_write(CG, "memory.ext.reclaim", "overrun=0"),
		"%s: overrun= %s", what, ret ? "is refused" : "is possible");
}

/* And a limit for memory and swap, which must not be accepted for nothing. */
static void check_memsw(const char *what, const struct lost *l, const char *says)
{
	bool off = l->memsw || l->outcome == NO_HOOKS ||
		   (says && !strncmp(says, "memsw off ", 10));
	int expected = off ? -EOPNOTSUPP :
		       !strcmp(l->hide, "ipmodify") ? -EBUSY : 0;
	int ret;
	char now[32] = "";

	/* For those that have to do with it: each takes a second to attach and detach. */
	if (!expected && *l->hide)
		return;
	ret = cg_write(CG, "memory.ext.memsw.max", "1G");
	read_file(CGROUP_ROOT "/" CG "/memory.ext.memsw.max", now, sizeof(now));
	ktap_ok(ret == expected && !strcmp(now, ret ? "max\n" : "1073741824\n") &&
		!cg_write(CG, "memory.ext.memsw.max", "max"),
		"%s: memsw.max %s (%d)", what, ret ? "is refused" : "is possible",
		ret);
}

static void test_lost(const struct lost *l)
{
	const char *what = l->name ? l->name : l->hide;
	const char *says = l->feature;
	int ret;

	if (l->unless && kernel_has(l->unless))
		says = NULL;
	hide(l->hide);
	ret = mcx_load();
	if (l->outcome == NO_LOAD) {
		ktap_ok(ret == -ENOENT && !mcx_loaded(),
			"%s: does not load (%d)", what, ret);
		unload(what);
		return;
	}
	if (!ktap_ok(!ret, "%s: loads (%d)", what, ret))
		return;
	check_rest(what);
	check_cpu(what, says);
	check_threads(what, says);
	check_overrun(what, l);
	check_memsw(what, l, says);
	if (l->outcome == MANAGES)
		ktap_ok(!mcx_manage(CG), "%s: can be managed", what);
	else
		check_unmanageable(what);
	ret = try_policy();
	ktap_ok(ret == (l->outcome == NO_HOOKS ? -EOPNOTSUPP : 0),
		"%s: attaching a policy: %s", what, ret ? strerror(-ret) : "ok");
	check_features(what, says, l->overrun + l->memsw);
	check_limits(what);
	unload(what);
}

/* All that can be lost at once, with the files and without. */
static void test_all(void)
{
	struct lost l = { .outcome = NO_LOAD, .name = "all" };
	const char *what = "all but the files' functions";
	char names[4096] = "";
	size_t i;

	for (i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		if (losses[i].outcome == NO_LOAD)
			continue;
		strcat(names, losses[i].hide);
		strcat(names, ",");
	}
	hide(names);
	if (ktap_ok(!mcx_load(), "%s: loads", what)) {
		check_rest(what);
		check_unmanageable(what);
		ktap_ok(try_policy() == -EOPNOTSUPP, "%s: no policy", what);
		check_limits(what);
		unload(what);
	}
	strcat(names, "cgroup_add_dfl_cftypes,cgroup_rm_cftypes");
	l.hide = names;
	test_lost(&l);
}

/* Is @key of stat @value within @ms? */
static bool becomes(const char *key, long long value, int ms)
{
	for (; ms > 0; ms -= 50) {
		if (cg_key(CG, "memory.ext.stat", key) == value)
			return true;
		nap_ms(50);
	}
	return false;
}

static void test_ftrace(void)
{
	bool attached;
	uint64_t from;
	double took;

	/* 7.x does not disable it any more. */
	if (write_file(FTRACE, "0")) {
		ktap_skip("kernel.ftrace_enabled cannot be set to 0 here");
		return;
	}
	atexit(ftrace_on);
	ktap_ok(!mcx_load(), "kernel.ftrace_enabled=0: loads");
	ktap_ok(!cg_write(CG, "memory.ext.enable", "1") &&
		cg_key(CG, "memory.ext.stat", "managed") == 1 &&
		!becomes("attached", 1, 2000),
		"kernel.ftrace_enabled=0: managed, and not attached");
	check_features("kernel.ftrace_enabled=0",
		       "account off cannot hook page_counter_try_charge (-16); is kernel.ftrace_enabled 0?\n",
		       0);
	ktap_ok(!try_policy(), "kernel.ftrace_enabled=0: a policy waits, too");
	check_limits("kernel.ftrace_enabled=0");
	/* It was made anew. Tried at once, in vain; then every 10 s. */
	cg_write(CG, "memory.ext.enable", "1");
	nap_ms(2000);
	ftrace_on();
	from = now_ns();
	attached = becomes("attached", 1, 20000);
	took = (double)(now_ns() - from) / NSEC;
	ktap_ok(attached && took < 12,
		"kernel.ftrace_enabled=1 again: attached by itself in %.1f s",
		took);
	check_features("kernel.ftrace_enabled=1 again", NULL, 0);
	ktap_ok(write_file(FTRACE, "0") == -EBUSY,
		"kernel.ftrace_enabled=0 is refused while attached");
	unload("kernel.ftrace_enabled=1 again");

	write_file(FTRACE, "0");
	mcx_load();
	cg_write(CG, "memory.ext.enable", "1");
	nap_ms(100);
	unload("kernel.ftrace_enabled=0, about to try again");
}

int main(void)
{
	size_t i;

	ktap_start();
	thp_off();
	dirty_limit_far();
	libbpf_set_print(libbpf_quiet);
	atexit(unhide);
	cg_create(CG);
	cg_write(CG, "memory.high", LIMIT);
	for (i = 0; i < sizeof(losses) / sizeof(losses[0]); i++)
		test_lost(&losses[i]);
	test_all();
	unhide();
	test_ftrace();
	cg_remove(CG);
	return ktap_end();
}
