/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the measurements in C share: cgroups, the module, child processes with
 * pipes, key=value lines, statistics and KTAP. A cgroup is named by its path
 * below /sys/fs/cgroup. Functions return 0 or -errno unless they say otherwise.
 */
#ifndef MCX_TEST_LIB_H
#define MCX_TEST_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define CGROUP_ROOT	"/sys/fs/cgroup"
#define PAGE		4096
#define MIB		(1UL << 20)
#define NSEC		1000000000ULL
#define KSFT_SKIP	4

uint64_t now_ns(void);
void nap_ms(unsigned int ms);

/* Files. read_file() ends the text with NUL and returns its length. */
ssize_t read_file(const char *path, char *buf, size_t size);
bool file_has(const char *path, const char *text);
int write_file(const char *path, const char *text);
/* The number after @key in a flat keyed file; -1: no such key or file. */
long long read_key(const char *path, const char *key);

/* cgroups */
void cg_path(char *buf, size_t size, const char *cg, const char *file);
int cg_create(const char *cg);
int cg_remove(const char *cg);	/* kills what is in it, waits up to 10 s */
bool cg_has(const char *cg, const char *file);
int cg_write(const char *cg, const char *file, const char *text);
/* Gives the file to nobody, and writes it as nobody, in a child. 0 or errno. */
int write_as_nobody(const char *cg, const char *file, const char *text);
long long cg_key(const char *cg, const char *file, const char *key);
long long cg_number(const char *cg, const char *file);
int cg_enter(const char *cg);	/* "" is the root */
/* Forks a task in @cg, which ends with the caller. Returns as fork() does. */
pid_t cg_fork(const char *cg);
/* Forks a task in @cg that keeps so much memory, all of it touched. */
pid_t cg_keeper(const char *cg, size_t mib);
void end_task(pid_t pid);	/* kills and reaps; nothing if there is none */
/* Waits until it has so many bytes, and a moment longer; half a minute at most. */
bool cg_fills(const char *cg, long long bytes);
/* Waits until it has no more than that; ten seconds at most. */
bool cg_falls(const char *cg, long long bytes);
/*
 * Forks a task that enters @cg and populates @mib of new memory there, in system
 * calls of @chunk pages each, @times over, each time anew. It ends with 0; with
 * 1 if it cannot begin, with 2 if it gets no memory. The caller waits for it.
 */
pid_t charger(const char *cg, size_t mib, size_t chunk, int times);

/* The module, with the parameters in /mcx/modparams if there are any. */
bool mcx_loaded(void);
int mcx_load(void);
int mcx_unload(void);		/* waits up to 5 s; 0 if it was not loaded */
/* A number in debugfs' file about workers, the one behind @text; or -1. */
long long worker_number(const char *text);
/* Does the running kernel have this function. */
bool kernel_has(const char *name);
/* The handler that a task runs on its way to user mode when it has exceeded memory.high. */
const char *over_high_name(void);
/*
 * A module of tests/kmod, with func= that function, or several with commas; NULL: none.
 * Going, it may be in use for a while.
 */
int kmod_load(const char *name, const char *func);
int kmod_unload(const char *name);
/* Writes memory.ext.enable, and waits until the hooks are attached. */
int mcx_manage(const char *cg);
int mcx_unmanage(const char *cg);

/* A child process with pipes at stdin and stdout. */
struct proc {
	pid_t pid;
	FILE *in;		/* its stdin */
	FILE *out;		/* its stdout */
};

/* argv[0] is looked for beside this program, in ../load, then in PATH. */
int proc_start(struct proc *p, const char *const argv[]);
bool proc_line(struct proc *p, char *line, size_t size);
/* Exit status, or 128 + signal. Closes the pipes first. */
int proc_wait(struct proc *p);
/* The value of @key in a line of key=value words; @fallback if not there. */
double kv(const char *line, const char *key, double fallback);

/* The tracer, load/memtrace, as a co-process. */
struct trace_who {
	double reclaim_calls;
	double reclaim_pages;
	double reclaim_ns;
	double reclaim_cpu_ns;	/* of it, on a CPU */
	double high_calls;
	double high_sync;
	double high_ns;
	double sleeps;
	double sleep_ns;
	double sync_sleeps;
	double sync_sleep_ns;
};

struct trace {
	double batches;
	double pages;
	double steady;		/* batches since usage came near the limit */
	double average;		/* bytes, over these */
	double peak;		/* bytes */
	double over;
	double refused;		/* the exact charge did not fit */
	double forced;
	/* Only with trace_open_attempts(): see struct memtrace_charges. */
	double rejected;
	double rejected_max;
	double forced_max;
	double plain_max;
	double plain_refused;
	double misses;
	struct trace_who members;
	struct trace_who kthreads;
	struct trace_who others;
};

int trace_open(struct proc *p);
int trace_open_attempts(struct proc *p);	/* memtrace -r; slower */
/* @cg: whose tasks are members; several with a blank between them. */
int trace_start(struct proc *p, const char *sample, unsigned long limit,
		const char *cg);
int trace_stop(struct proc *p, struct trace *t);
void trace_add(struct trace *sum, const struct trace *t);
/* Part of the pages reclaimed that the cgroup's own tasks reclaimed; 0..1. */
double trace_member_share(const struct trace *t);

/* Statistics. quantile() reorders @v. */
double quantile(uint64_t *v, size_t n, double q);
uint64_t random64(void);	/* fixed seed: the same run, the same figures */

/* On the kernel that checks itself times mean little. */
bool debug_kernel(void);

/* Sets a file under /proc/sys or /sys for the life of the program. */
void setting(const char *path, const char *value);
void thp_off(void);		/* no transparent huge pages, likewise */
int swap_on(void);		/* the guest's swap disk, likewise */
void swap_off(void);		/* or earlier */
/*
 * Writeback starts early, and writers are slowed down late. With the defaults a
 * new cgroup's writers may sleep in balance_dirty_pages() for 2 s, or not: that
 * is not what is measured, and a faster writer is the harder test.
 */
void dirty_limit_far(void);

/* KTAP. ktap_end() prints the plan and returns main()'s exit status. */
void ktap_start(void);
bool ktap_ok(bool ok, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void ktap_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void ktap_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int ktap_end(void);
/* The whole test cannot run here: prints why, does not return. */
void ktap_skip_all(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), noreturn));

#endif
