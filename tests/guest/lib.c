// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shared helpers of the measurements; see lib.h for what each is for.
 * Single-threaded, like the programs that use it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

#define MODULE_FILE	"/mcx/memcg_ext.ko"
#define MODULE_PARAMS	"/mcx/modparams"
#define SWAP_DISK	"/dev/vdd"
#define NOBODY		65534

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

void nap_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

ssize_t read_file(const char *path, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t ret;
	int fd;

	buf[0] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (len < size - 1) {
		ret = read(fd, buf + len, size - 1 - len);
		if (ret <= 0)
			break;
		len += ret;
	}
	close(fd);
	buf[len] = '\0';
	return len;
}

bool file_has(const char *path, const char *text)
{
	static char buf[1 << 20];	/* ftrace's files are long */

	return read_file(path, buf, sizeof(buf)) >= 0 && strstr(buf, text);
}

int write_file(const char *path, const char *text)
{
	int fd, err = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

long long read_key(const char *path, const char *key)
{
	size_t len = strlen(key);
	char buf[16384], *line;

	if (read_file(path, buf, sizeof(buf)) < 0)
		return -1;
	for (line = buf; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, len) && line[len] == ' ')
			return strtoll(line + len, NULL, 10);
	}
	return -1;
}

void cg_path(char *buf, size_t size, const char *cg, const char *file)
{
	snprintf(buf, size, "%s/%s%s%s", CGROUP_ROOT, cg, file ? "/" : "",
		 file ? file : "");
}

int cg_create(const char *cg)
{
	char path[PATH_MAX];

	cg_path(path, sizeof(path), cg, NULL);
	return mkdir(path, 0755) ? -errno : 0;
}

int cg_remove(const char *cg)
{
	char path[PATH_MAX];
	int i;

	cg_path(path, sizeof(path), cg, NULL);
	if (!rmdir(path) || errno == ENOENT)
		return 0;
	cg_write(cg, "cgroup.kill", "1");
	for (i = 0; i < 1000; i++) {
		if (!rmdir(path))
			return 0;
		nap_ms(10);
	}
	return -errno;
}

bool cg_has(const char *cg, const char *file)
{
	char path[PATH_MAX];

	cg_path(path, sizeof(path), cg, file);
	return !access(path, F_OK);
}

int cg_write(const char *cg, const char *file, const char *text)
{
	char path[PATH_MAX];

	cg_path(path, sizeof(path), cg, file);
	return write_file(path, text);
}

long long cg_key(const char *cg, const char *file, const char *key)
{
	char path[PATH_MAX];

	cg_path(path, sizeof(path), cg, file);
	return read_key(path, key);
}

long long cg_number(const char *cg, const char *file)
{
	char path[PATH_MAX], buf[64];

	cg_path(path, sizeof(path), cg, file);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return -1;
	return strncmp(buf, "max", 3) ? strtoll(buf, NULL, 10) : LLONG_MAX;
}

bool cg_fills(const char *cg, long long bytes)
{
	int i;

	for (i = 0; i < 600 && cg_number(cg, "memory.current") < bytes; i++)
		nap_ms(50);
	nap_ms(2000);
	return i < 600;
}

bool cg_falls(const char *cg, long long bytes)
{
	int i;

	for (i = 0; i < 1000 && cg_number(cg, "memory.current") > bytes; i++)
		nap_ms(10);
	return i < 1000;
}

int cg_enter(const char *cg)
{
	return cg_write(cg, "cgroup.procs", "0");
}

/* Runs in the child. Mapped outside of the cgroup, populated inside. */
static int populate(const char *cg, size_t size, size_t len, int times)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t done;

	if (p == MAP_FAILED || cg_enter(cg))
		return 1;
	while (times--) {
		for (done = 0; done < size; done += len)
			if (madvise(p + done, size - done < len ? size - done :
				    len, MADV_POPULATE_WRITE))
				return 2;
		madvise(p, size, MADV_DONTNEED);
	}
	return 0;
}

pid_t cg_fork(const char *cg)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (cg_enter(cg))
		_exit(1);
	return 0;
}

pid_t cg_keeper(const char *cg, size_t mib)
{
	pid_t pid = cg_fork(cg);

	if (pid)
		return pid;
	mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	for (;;)
		pause();
}

void end_task(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int write_as_nobody(const char *cg, const char *file, const char *text)
{
	char path[256];
	int status;
	pid_t pid;

	cg_path(path, sizeof(path), cg, file);
	if (chown(path, NOBODY, NOBODY))
		return errno;
	pid = fork();
	if (!pid) {
		if (setresgid(NOBODY, NOBODY, NOBODY) ||
		    setresuid(NOBODY, NOBODY, NOBODY))
			_exit(255);
		_exit(-write_file(path, text));
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return ECHILD;
	return WEXITSTATUS(status);
}

pid_t charger(const char *cg, size_t mib, size_t chunk, int times)
{
	pid_t pid = fork();

	if (!pid)
		_exit(populate(cg, mib * MIB, chunk * PAGE, times));
	return pid;
}

bool mcx_loaded(void)
{
	return !access("/sys/module/memcg_ext/refcnt", F_OK);
}

static int run_modprobe(char *params)
{
	char *argv[32] = { "modprobe", "memcg_ext" }, *word, *save = NULL;
	int n = 2, status;
	pid_t pid;

	for (word = strtok_r(params, " \t\n", &save); word && n < 31;
	     word = strtok_r(NULL, " \t\n", &save))
		argv[n++] = word;
	pid = fork();
	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return status ? -ENOEXEC : 0;
}

int mcx_load(void)
{
	char params[4096];
	int fd, err = 0;

	if (mcx_loaded())
		return 0;
	if (read_file(MODULE_PARAMS, params, sizeof(params)) > 0)
		params[strcspn(params, "\n")] = '\0';
	fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return run_modprobe(params);
	if (syscall(SYS_finit_module, fd, params, 0))
		err = -errno;
	close(fd);
	return err;
}

int mcx_unload(void)
{
	int i;

	for (i = 0; i < 500; i++) {
		if (!syscall(SYS_delete_module, "memcg_ext", O_NONBLOCK) ||
		    errno == ENOENT)
			return 0;
		if (errno != EAGAIN && errno != EBUSY)
			break;
		nap_ms(10);
	}
	return -errno;
}

long long worker_number(const char *text)
{
	char buf[4096];
	const char *at;

	if (read_file("/sys/kernel/debug/memcg_ext/workers", buf, sizeof(buf)) < 0)
		return -1;
	at = strstr(buf, text);
	return at ? atoll(at + strlen(text)) : -1;
}

bool kernel_has(const char *name)
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

const char *over_high_name(void)
{
	return kernel_has("__mem_cgroup_handle_over_high") ?
	       "__mem_cgroup_handle_over_high" : "mem_cgroup_handle_over_high";
}

int kmod_load(const char *name, const char *func)
{
	char path[64], params[96];
	int fd, ret;

	snprintf(path, sizeof(path), "/mcx/kmod/%s.ko", name);
	snprintf(params, sizeof(params), func ? "func=%s" : "", func);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return ret;
}

int kmod_unload(const char *name)
{
	int i;

	for (i = 0; i < 200; i++) {
		if (!syscall(SYS_delete_module, name, O_NONBLOCK))
			return 0;
		nap_ms(50);
	}
	return -errno;
}

int mcx_manage(const char *cg)
{
	int i, err = cg_write(cg, "memory.ext.enable", "1");

	if (err)
		return err;
	for (i = 0; i < 500; i++) {
		if (cg_key(cg, "memory.ext.stat", "managed") == 1 &&
		    cg_key(cg, "memory.ext.stat", "attached") == 1)
			return 0;
		nap_ms(10);
	}
	return -ETIMEDOUT;
}

int mcx_unmanage(const char *cg)
{
	return cg_write(cg, "memory.ext.enable", "0");
}

/* Runs in the child; returns only if nothing could be executed. */
static void exec_tool(const char *const argv[])
{
	char self[PATH_MAX], path[PATH_MAX + 256], *slash;
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[len > 0 ? len : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		snprintf(path, sizeof(path), "%s/%s", self, argv[0]);
		execv(path, (char *const *)argv);
		snprintf(path, sizeof(path), "%s/../load/%s", self, argv[0]);
		execv(path, (char *const *)argv);
	}
	execvp(argv[0], (char *const *)argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
}

int proc_start(struct proc *p, const char *const argv[])
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC))
		return -errno;
	if (pipe2(out, O_CLOEXEC)) {
		close(in[0]);
		close(in[1]);
		return -errno;
	}
	fflush(stdout);
	p->pid = fork();
	if (!p->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		exec_tool(argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	p->in = fdopen(in[1], "w");
	p->out = fdopen(out[0], "r");
	return p->pid < 0 ? -EAGAIN : 0;
}

bool proc_line(struct proc *p, char *line, size_t size)
{
	return fgets(line, size, p->out);
}

int proc_wait(struct proc *p)
{
	int status;

	fclose(p->in);
	fclose(p->out);
	if (waitpid(p->pid, &status, 0) != p->pid)
		return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   128 + WTERMSIG(status);
}

double kv(const char *line, const char *key, double fallback)
{
	size_t len = strlen(key);
	const char *at = line;

	while ((at = strstr(at, key))) {
		if ((at == line || at[-1] == ' ') && at[len] == '=')
			return atof(at + len + 1);
		at += len;
	}
	return fallback;
}

static int open_tracer(struct proc *p, const char *options)
{
	const char *const argv[] = { "memtrace", options, NULL };
	char line[256];
	int err = proc_start(p, argv);

	if (err)
		return err;
	/* It dies with a message of its own if it cannot attach. */
	if (!proc_line(p, line, sizeof(line)) || strncmp(line, "ready", 5)) {
		proc_wait(p);
		return -ENOTSUP;
	}
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int trace_open(struct proc *p)
{
	return open_tracer(p, "-i");
}

int trace_open_attempts(struct proc *p)
{
	return open_tracer(p, "-ri");
}

int trace_start(struct proc *p, const char *sample, unsigned long limit,
		const char *cg)
{
	char line[256], list[256], *one, *rest = list;

	snprintf(list, sizeof(list), "%s", cg);
	fprintf(p->in, "start %s/%s %lu", CGROUP_ROOT, sample, limit);
	while ((one = strsep(&rest, " ")))
		fprintf(p->in, " %s/%s", CGROUP_ROOT, one);
	fputc('\n', p->in);
	fflush(p->in);
	if (!proc_line(p, line, sizeof(line)) || strncmp(line, "ok", 2))
		return -EINVAL;
	return 0;
}

static void parse_who(struct trace_who *w, const char *line)
{
	w->reclaim_calls = kv(line, "reclaim_calls", 0);
	w->reclaim_pages = kv(line, "reclaim_pages", 0);
	w->reclaim_ns = kv(line, "reclaim_ns", 0);
	w->reclaim_cpu_ns = kv(line, "reclaim_cpu_ns", 0);
	w->high_calls = kv(line, "high_calls", 0);
	w->high_sync = kv(line, "high_sync", 0);
	w->high_ns = kv(line, "high_ns", 0);
	w->sleeps = kv(line, "sleeps", 0);
	w->sleep_ns = kv(line, "sleep_ns", 0);
	w->sync_sleeps = kv(line, "sync_sleeps", 0);
	w->sync_sleep_ns = kv(line, "sync_sleep_ns", 0);
}

static void parse_trace(struct trace *t, const char *line)
{
	if (!strncmp(line, "charges ", 8)) {
		t->batches = kv(line, "batches", 0);
		t->pages = kv(line, "pages", 0);
		t->steady = kv(line, "steady", 0);
		t->average = kv(line, "average", 0);
		t->peak = kv(line, "peak", 0);
		t->over = kv(line, "over", 0);
		t->refused = kv(line, "refused", 0);
		t->forced = kv(line, "forced", 0);
	} else if (!strncmp(line, "attempts ", 9)) {
		t->rejected = kv(line, "rejected", 0);
		t->rejected_max = kv(line, "rejected_max", 0);
		t->forced_max = kv(line, "forced_max", 0);
		t->plain_max = kv(line, "plain_max", 0);
		t->plain_refused = kv(line, "plain_refused", 0);
	} else if (!strncmp(line, "tracer ", 7)) {
		t->misses = kv(line, "misses", 0);
	} else if (!strncmp(line, "members ", 8)) {
		parse_who(&t->members, line);
	} else if (!strncmp(line, "kthreads ", 9)) {
		parse_who(&t->kthreads, line);
	} else if (!strncmp(line, "others ", 7)) {
		parse_who(&t->others, line);
	}
}

int trace_stop(struct proc *p, struct trace *t)
{
	char line[1024];

	memset(t, 0, sizeof(*t));
	fputs("stop\n", p->in);
	fflush(p->in);
	while (proc_line(p, line, sizeof(line))) {
		if (!strcmp(line, "end\n"))
			return 0;
		parse_trace(t, line);
	}
	return -EIO;
}

static void add_who(struct trace_who *sum, const struct trace_who *w)
{
	sum->reclaim_calls += w->reclaim_calls;
	sum->reclaim_pages += w->reclaim_pages;
	sum->reclaim_ns += w->reclaim_ns;
	sum->reclaim_cpu_ns += w->reclaim_cpu_ns;
	sum->high_calls += w->high_calls;
	sum->high_sync += w->high_sync;
	sum->high_ns += w->high_ns;
	sum->sleeps += w->sleeps;
	sum->sleep_ns += w->sleep_ns;
	sum->sync_sleeps += w->sync_sleeps;
	sum->sync_sleep_ns += w->sync_sleep_ns;
}

void trace_add(struct trace *sum, const struct trace *t)
{
	double steady = sum->steady + t->steady;

	if (steady > 0)
		sum->average = (sum->average * sum->steady +
				t->average * t->steady) / steady;
	sum->steady = steady;
	sum->batches += t->batches;
	sum->pages += t->pages;
	if (t->peak > sum->peak)
		sum->peak = t->peak;
	sum->over += t->over;
	sum->refused += t->refused;
	sum->forced += t->forced;
	sum->rejected += t->rejected;
	sum->rejected_max += t->rejected_max;
	sum->forced_max += t->forced_max;
	sum->plain_max += t->plain_max;
	sum->plain_refused += t->plain_refused;
	sum->misses += t->misses;
	add_who(&sum->members, &t->members);
	add_who(&sum->kthreads, &t->kthreads);
	add_who(&sum->others, &t->others);
}

double trace_member_share(const struct trace *t)
{
	double all = t->members.reclaim_pages + t->kthreads.reclaim_pages +
		     t->others.reclaim_pages;

	return all > 0 ? t->members.reclaim_pages / all : 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Nearest rank: the smallest value that @q of all do not exceed. */
double quantile(uint64_t *v, size_t n, double q)
{
	size_t rank;

	if (!n)
		return 0;
	qsort(v, n, sizeof(*v), by_value);
	rank = q * n;
	if (rank < q * n)
		rank++;
	return v[rank ? rank - 1 : 0];
}

/* xorshift: any full-period generator does for resampling. */
uint64_t random64(void)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static struct setting {
	const char *path;
	char before[64];
} settings[8];
static int nr_settings;

bool debug_kernel(void)
{
	return !access("/sys/kernel/debug/kmemleak", F_OK);
}

static void restore_settings(void)
{
	while (nr_settings) {
		nr_settings--;
		write_file(settings[nr_settings].path,
			   settings[nr_settings].before);
	}
}

/* The choice files of sysfs list all values, with brackets around the one. */
static void strip_choice(char *text)
{
	char *from = strchr(text, '['), *to = strchr(text, ']');

	if (from && to > from) {
		*to = '\0';
		memmove(text, from + 1, to - from);
	}
}

void setting(const char *path, const char *value)
{
	struct setting *s = &settings[nr_settings];

	if (nr_settings == sizeof(settings) / sizeof(*settings) ||
	    read_file(path, s->before, sizeof(s->before)) <= 0)
		return;
	strip_choice(s->before);
	s->path = path;
	if (write_file(path, value))
		return;
	if (!nr_settings++)
		atexit(restore_settings);
}

void thp_off(void)
{
	setting("/sys/kernel/mm/transparent_hugepage/enabled", "never");
}

void swap_off(void)
{
	swapoff(SWAP_DISK);
}

int swap_on(void)
{
	if (swapon(SWAP_DISK, 0))
		return -errno;
	atexit(swap_off);
	return 0;
}

void dirty_limit_far(void)
{
	setting("/proc/sys/vm/dirty_ratio", "90");
	setting("/proc/sys/vm/dirty_background_ratio", "1");
}

static unsigned int ktap_done, ktap_failed, ktap_skipped;

void ktap_start(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("KTAP version 1");
}

bool ktap_ok(bool ok, const char *fmt, ...)
{
	va_list args;

	printf("%s %u ", ok ? "ok" : "not ok", ++ktap_done);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	ktap_failed += !ok;
	return ok;
}

void ktap_skip(const char *fmt, ...)
{
	va_list args;

	printf("ok %u # SKIP ", ++ktap_done);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	ktap_skipped++;
}

void ktap_note(const char *fmt, ...)
{
	va_list args;

	fputs("# ", stdout);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

int ktap_end(void)
{
	printf("1..%u\n", ktap_done);
	printf("# Totals: pass:%u fail:%u xfail:0 xpass:0 skip:%u error:0\n",
	       ktap_done - ktap_failed - ktap_skipped, ktap_failed,
	       ktap_skipped);
	if (ktap_failed || !ktap_done)
		return 1;
	return ktap_skipped == ktap_done ? KSFT_SKIP : 0;
}

void ktap_skip_all(const char *fmt, ...)
{
	va_list args;

	/* Whoever finds out late has loaded it. */
	if (mcx_loaded())
		mcx_unload();
	fputs("1..0 # SKIP ", stdout);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	exit(KSFT_SKIP);
}
