// SPDX-License-Identifier: GPL-2.0-only
/*
 * memtrace: the independent witness of M1 and M2 (user side).
 *
 * Loads ../guest/memtrace.bpf.c and reports, for one or more cgroups, usage at
 * every charge batch, refused charges, and who reclaimed and slept. Either once,
 * for a given time, or as a co-process that is told on stdin what to trace:
 *
 *   start SAMPLE LIMIT CGROUP...   -> ok | error: TEXT
 *   stop                           -> lines of key=value, then end
 *
 * SAMPLE is the cgroup whose usage is sampled (the one with the limit), LIMIT
 * its limit in bytes or 0; the CGROUPs are those whose charges make samples.
 * All are directories. Loading takes a second or two under emulation, hence one
 * long-lived process for many cells.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/types.h>
#include "../guest/memtrace.h"
#include "memtrace.skel.h"

#define MAX_CGROUPS	16
#define PAGE		4096

static struct memtrace_bpf *skel;
static struct timespec started;
static bool attempts;		/* option -r */

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	if (level != LIBBPF_WARN)
		return 0;
	return vfprintf(stderr, fmt, args);
}

/* Start and end of a function of the kernel proper; the end is a guess: the
 * next symbol, of whatever kind, above it.
 */
static void symbol_range(const char *name, __u64 *start, __u64 *end)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	unsigned long long addr;
	char line[512], sym[256];

	*start = 0;
	*end = ~0ULL;
	if (!f)
		return;
	while (!*start && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %*c %255s", &addr, sym) == 2 &&
		    !strcmp(sym, name))
			*start = addr;
	rewind(f);
	while (*start && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx", &addr) == 1 && addr > *start &&
		    addr < *end)
			*end = addr;
	fclose(f);
}

static bool kernel_has(const char *func)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has;

	if (!btf)
		return false;
	has = btf__find_by_name_kind(btf, func, BTF_KIND_FUNC) > 0;
	btf__free(btf);
	return has;
}

/* An enumerator of the running kernel, whatever its enum is called; or -1. */
static long long kernel_enum(const struct btf *btf, const char *name)
{
	const struct btf_type *t;
	const struct btf_enum *e;
	__u32 i, k;

	for (i = 1; i < btf__type_cnt(btf); i++) {
		t = btf__type_by_id(btf, i);
		if (!btf_is_enum(t))
			continue;
		e = btf_enum(t);
		for (k = 0; k < btf_vlen(t); k++, e++)
			if (!strcmp(btf__name_by_offset(btf, e->name_off),
				    name))
				return e->val;
	}
	return -1;
}

static int choose_attempts(void)
{
	bool renamed = kernel_has("__memcg_memory_event");
	struct btf *btf = btf__load_vmlinux_btf();
	long long reclaim, noretry;

	if (!btf)
		return -1;
	reclaim = kernel_enum(btf, "___GFP_DIRECT_RECLAIM_BIT");
	noretry = kernel_enum(btf, "___GFP_NORETRY_BIT");
	btf__free(btf);
	if (reclaim < 0 || noretry < 0) {
		fprintf(stderr, "memtrace: this kernel does not tell its gfp bits\n");
		return -1;
	}
	skel->rodata->gfp_direct_reclaim = 1ULL << reclaim;
	skel->rodata->gfp_noretry = 1ULL << noretry;
	bpf_program__set_autoload(skel->progs.memtrace_attempt, true);
	bpf_program__set_autoload(skel->progs.memtrace_attempt_end, true);
	bpf_program__set_autoload(renamed ? skel->progs.memtrace_event2 :
					    skel->progs.memtrace_event, true);
	return 0;
}

static int choose_handler(void)
{
	if (kernel_has("__mem_cgroup_handle_over_high")) {
		bpf_program__set_autoload(skel->progs.memtrace_high2_enter,
					  true);
		bpf_program__set_autoload(skel->progs.memtrace_high2_exit,
					  true);
		return 0;
	}
	if (kernel_has("mem_cgroup_handle_over_high")) {
		bpf_program__set_autoload(skel->progs.memtrace_high_enter,
					  true);
		bpf_program__set_autoload(skel->progs.memtrace_high_exit, true);
		return 0;
	}
	fprintf(stderr, "memtrace: this kernel has no over-high handler\n");
	return -1;
}

static int attach(void)
{
	__u64 start, end;

	skel = memtrace_bpf__open();
	if (!skel || choose_handler() || (attempts && choose_attempts()))
		return -1;
	symbol_range("try_charge_memcg", &start, &end);
	skel->rodata->charge_start = start;
	skel->rodata->charge_end = end;
	if (memtrace_bpf__load(skel))
		return -1;
	/* The iterator is attached once per cgroup, see find(). */
	bpf_program__set_autoattach(skel->progs.memtrace_find, false);
	return memtrace_bpf__attach(skel);
}

/* Asks the kernel for the address of a cgroup's memory counter. */
static int find(const char *dir, struct memtrace_found *found)
{
	DECLARE_LIBBPF_OPTS(bpf_iter_attach_opts, opts);
	union bpf_iter_link_info info = { 0 };
	struct bpf_link *link;
	int cgroup, iter, ret = -1;

	cgroup = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup < 0)
		return -1;
	info.cgroup.cgroup_fd = cgroup;
	info.cgroup.order = BPF_CGROUP_ITER_SELF_ONLY;
	opts.link_info = &info;
	opts.link_info_len = sizeof(info);
	link = bpf_program__attach_iter(skel->progs.memtrace_find, &opts);
	if (!link)
		goto out_cgroup;
	iter = bpf_iter_create(bpf_link__fd(link));
	if (iter < 0)
		goto out_link;
	if (read(iter, found, sizeof(*found)) == sizeof(*found))
		ret = 0;
	close(iter);
out_link:
	bpf_link__destroy(link);
out_cgroup:
	close(cgroup);
	return ret;
}

static void empty(struct bpf_map *map)
{
	__u64 key;	/* room for any of our keys */

	while (!bpf_map__get_next_key(map, NULL, &key, bpf_map__key_size(map)))
		bpf_map__delete_elem(map, &key, bpf_map__key_size(map), 0);
}

static void add(struct bpf_map *map, __u64 key)
{
	__u32 one = 1;

	bpf_map__update_elem(map, &key, sizeof(key), &one, sizeof(one),
			     BPF_ANY);
}

static void zero_charges(void)
{
	int cpus = libbpf_num_possible_cpus();
	struct memtrace_charges *zero = calloc(cpus, sizeof(*zero));
	__u32 key = 0;

	if (!zero)
		return;
	bpf_map__update_elem(skel->maps.charges, &key, sizeof(key), zero,
			     cpus * sizeof(*zero), BPF_ANY);
	free(zero);
}

static const char *start(const char *sample, unsigned long long limit,
			 char **dirs, int n)
{
	struct memtrace_found found;
	int i;

	skel->bss->on = false;
	empty(skel->maps.charged);
	empty(skel->maps.reclaimed);
	empty(skel->maps.members);
	empty(skel->maps.tasks);
	empty(skel->maps.busy);
	empty(skel->maps.attempts);
	zero_charges();
	if (find(sample, &found))
		return "no memory cgroup to sample there";
	skel->bss->sample = found.counter;
	skel->bss->limit = limit ? limit / PAGE : ~0ULL;
	skel->bss->near = limit / PAGE / 8 * 7;
	skel->bss->reached = false;
	add(skel->maps.reclaimed, found.counter);
	add(skel->maps.members, found.id);
	for (i = 0; i < n; i++) {
		if (find(dirs[i], &found))
			return "no memory cgroup to trace there";
		add(skel->maps.charged, found.counter);
		add(skel->maps.reclaimed, found.counter);
		add(skel->maps.members, found.id);
	}
	clock_gettime(CLOCK_MONOTONIC, &started);
	skel->bss->on = true;
	return NULL;
}

static void print_charges(void)
{
	int i, cpus = libbpf_num_possible_cpus();
	struct memtrace_charges *c = calloc(cpus, sizeof(*c));
	struct memtrace_charges sum = { 0 };
	__u32 key = 0;

	if (!c)
		return;
	bpf_map__lookup_elem(skel->maps.charges, &key, sizeof(key), c,
			     cpus * sizeof(*c), 0);
	for (i = 0; i < cpus; i++) {
		sum.batches += c[i].batches;
		sum.pages += c[i].pages;
		sum.usage_sum += c[i].usage_sum;
		sum.steady += c[i].steady;
		sum.steady_sum += c[i].steady_sum;
		sum.over += c[i].over;
		sum.failed += c[i].failed;
		sum.refused += c[i].refused;
		sum.forced += c[i].forced;
		sum.rejected += c[i].rejected;
		sum.rejected_max += c[i].rejected_max;
		sum.forced_max += c[i].forced_max;
		sum.plain_max += c[i].plain_max;
		sum.plain_refused += c[i].plain_refused;
		if (c[i].usage_peak > sum.usage_peak)
			sum.usage_peak = c[i].usage_peak;
	}
	free(c);
	/* Of those that never came near the limit, all batches count. */
	if (!sum.steady) {
		sum.steady = sum.batches;
		sum.steady_sum = sum.usage_sum;
	}
	printf("charges batches=%llu pages=%llu steady=%llu average=%llu peak=%llu over=%llu failed=%llu refused=%llu forced=%llu\n",
	       sum.batches, sum.pages, sum.steady,
	       sum.steady ? sum.steady_sum * PAGE / sum.steady : 0,
	       sum.usage_peak * PAGE, sum.over, sum.failed,
	       sum.refused, sum.forced);
	if (attempts)
		printf("attempts rejected=%llu rejected_max=%llu forced_max=%llu plain_max=%llu plain_refused=%llu\n",
		       sum.rejected, sum.rejected_max, sum.forced_max,
		       sum.plain_max, sum.plain_refused);
}

static void print_task(__u32 tid, const struct memtrace_task *t)
{
	/* comm may hold anything but NUL: last on its line. */
	printf("task tid=%u kthread=%u member=%u reclaim_calls=%llu reclaim_pages=%llu reclaim_ns=%llu reclaim_cpu_ns=%llu high_calls=%llu high_sync=%llu high_ns=%llu sleeps=%llu sleep_ns=%llu sync_sleeps=%llu sync_sleep_ns=%llu comm=%.16s\n",
	       tid, t->kthread, t->member, t->reclaim_calls, t->reclaim_pages,
	       t->reclaim_ns, t->reclaim_cpu_ns, t->high_calls, t->high_sync,
	       t->high_ns, t->sleeps, t->sleep_ns, t->sync_sleeps,
	       t->sync_sleep_ns,
	       t->comm);
}

static void add_task(struct memtrace_task *sum, const struct memtrace_task *t)
{
	sum->reclaim_calls += t->reclaim_calls;
	sum->reclaim_pages += t->reclaim_pages;
	sum->reclaim_ns += t->reclaim_ns;
	sum->reclaim_cpu_ns += t->reclaim_cpu_ns;
	sum->high_calls += t->high_calls;
	sum->high_sync += t->high_sync;
	sum->high_ns += t->high_ns;
	sum->sleeps += t->sleeps;
	sum->sleep_ns += t->sleep_ns;
	sum->sync_sleeps += t->sync_sleeps;
	sum->sync_sleep_ns += t->sync_sleep_ns;
}

static void print_sum(const char *who, const struct memtrace_task *t)
{
	printf("%s reclaim_calls=%llu reclaim_pages=%llu reclaim_ns=%llu reclaim_cpu_ns=%llu high_calls=%llu high_sync=%llu high_ns=%llu sleeps=%llu sleep_ns=%llu sync_sleeps=%llu sync_sleep_ns=%llu\n",
	       who, t->reclaim_calls, t->reclaim_pages, t->reclaim_ns,
	       t->reclaim_cpu_ns, t->high_calls, t->high_sync, t->high_ns,
	       t->sleeps, t->sleep_ns, t->sync_sleeps, t->sync_sleep_ns);
}

static void print_tasks(void)
{
	struct memtrace_task t, tasks = { 0 }, kthreads = { 0 }, others = { 0 };
	__u32 tid, next, *prev = NULL;

	while (!bpf_map__get_next_key(skel->maps.tasks, prev, &next,
				      sizeof(next))) {
		tid = next;
		prev = &tid;
		if (bpf_map__lookup_elem(skel->maps.tasks, &tid, sizeof(tid),
					 &t, sizeof(t), 0))
			continue;
		print_task(tid, &t);
		if (t.kthread)
			add_task(&kthreads, &t);
		else if (t.member)
			add_task(&tasks, &t);
		else
			add_task(&others, &t);
	}
	print_sum("members", &tasks);
	print_sum("kthreads", &kthreads);
	print_sum("others", &others);
}

/* A miss is a program the kernel skipped because it interrupted itself. */
static void print_misses(void)
{
	struct bpf_program *prog;
	struct bpf_prog_info info;
	unsigned long long misses = 0;
	__u32 len;

	bpf_object__for_each_program(prog, skel->obj) {
		if (bpf_program__fd(prog) < 0)
			continue;
		memset(&info, 0, sizeof(info));
		len = sizeof(info);
		if (!bpf_prog_get_info_by_fd(bpf_program__fd(prog), &info,
					     &len))
			misses += info.recursion_misses;
	}
	printf("tracer misses=%llu\n", misses);
}

static void stop(void)
{
	struct timespec now;

	skel->bss->on = false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("time seconds=%.3f\n", now.tv_sec - started.tv_sec +
	       (now.tv_nsec - started.tv_nsec) / 1e9);
	print_charges();
	print_tasks();
	print_misses();
}

static void command(char *line)
{
	char *words[MAX_CGROUPS + 3], *save = NULL, *w;
	const char *err;
	int n = 0;

	for (w = strtok_r(line, " \n", &save); w && n < MAX_CGROUPS + 3;
	     w = strtok_r(NULL, " \n", &save))
		words[n++] = w;
	if (n >= 4 && !strcmp(words[0], "start")) {
		err = start(words[1], strtoull(words[2], NULL, 0), words + 3,
			    n - 3);
		printf(err ? "error: %s\n" : "ok\n", err);
	} else if (n == 1 && !strcmp(words[0], "stop")) {
		stop();
		puts("end");
	} else {
		puts("error: unknown command");
	}
	fflush(stdout);
}

static void serve(void)
{
	char line[4096];

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		command(line);
}

static void usage(FILE *out)
{
	fputs("usage: memtrace [-r] -t SECONDS [-l LIMIT] [-s SAMPLE] CGROUP...\n"
	      "       memtrace [-r] -i\n"
	      "  -t SECONDS  trace for this long, then print\n"
	      "  -l LIMIT    bytes; batches that end above are counted\n"
	      "  -s SAMPLE   cgroup whose usage is sampled (the first CGROUP)\n"
	      "  -r          tell rejected probes and forced charges apart (slower)\n"
	      "  -i          take commands from stdin\n", out);
}

static int once(double seconds, const char *sample, unsigned long long limit,
		char **dirs, int n)
{
	struct timespec ts = { .tv_sec = seconds };
	const char *err = start(sample ? sample : dirs[0], limit, dirs, n);

	if (err) {
		fprintf(stderr, "memtrace: %s\n", err);
		return 1;
	}
	ts.tv_nsec = (seconds - ts.tv_sec) * 1e9;
	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
	stop();
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long long limit = 0;
	const char *sample = NULL;
	bool interactive = false;
	double seconds = 0;
	int c, ret = 0;

	while ((c = getopt(argc, argv, "t:l:s:irh")) != -1) {
		switch (c) {
		case 't': seconds = atof(optarg); break;
		case 'l': limit = strtoull(optarg, NULL, 0); break;
		case 's': sample = optarg; break;
		case 'i': interactive = true; break;
		case 'r': attempts = true; break;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	}
	if (!interactive && (seconds <= 0 || optind >= argc ||
			     argc - optind > MAX_CGROUPS)) {
		usage(stderr);
		return 2;
	}
	libbpf_set_print(quiet);
	if (attach()) {
		fprintf(stderr, "memtrace: cannot attach: %s\n",
			strerror(errno));
		return 1;
	}
	if (interactive)
		serve();
	else
		ret = once(seconds, sample, limit, argv + optind,
			   argc - optind);
	memtrace_bpf__destroy(skel);
	return ret;
}
