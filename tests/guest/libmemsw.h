/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tests of memory.ext.memsw.* share: tasks that use memory, and looking at what it
 * comes to.
 */
#ifndef MCX_TEST_LIBMEMSW_H
#define MCX_TEST_LIBMEMSW_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define MEMSW_MAX	"memory.ext.memsw.max"
#define MEMSW_CURRENT	"memory.ext.memsw.current"
#define MEMSW_PEAK	"memory.ext.memsw.peak"
#define MEMSW_FILE	"/scratch/memsw"

/* What its tasks tell; of the one that was started last. */
struct memsw_task {
	volatile long rounds;
	volatile size_t touched;	/* bytes, in the first round */
};

extern struct memsw_task *memsw_task;

/* Memory and swap of a cgroup, swap cache counted once, by the kernel's own files. */
long long memsw_sum(const char *cg);
/* Before all others. */
void memsw_init(void);
/* Is that what the file says. */
bool memsw_reads(const char *cg, const char *file, const char *text);
/* What may be there beside a limit, in bytes; see README.md. */
long long memsw_slack(void);
/* Forks a task that touches @len bytes in @cg, @rounds times, and stays. */
pid_t memsw_toucher(const char *cg, size_t len, long rounds);
/* Forks a task that reads MEMSW_FILE in @cg, @rounds times, and ends. */
pid_t memsw_reader(const char *cg, long rounds);
/* Makes that file, of which nothing is cached. */
bool memsw_file(size_t mib);

/* What was seen while somebody ran. */
struct memsw_seen {
	long long most;		/* bytes of memory and swap */
	int status;		/* as waitpid(); -1: it lives */
	double seconds;
};

/*
 * Looks at @cg until @pid ends, or has touched @len bytes and made @rounds, or for @limit
 * seconds.
 */
struct memsw_seen memsw_look(const char *cg, pid_t pid, size_t len, long rounds,
			     double limit);
bool memsw_killed(const struct memsw_seen *seen);
/* Ends a task that may have ended; as memsw_look() saw it. */
void memsw_end(pid_t pid, const struct memsw_seen *seen);

#endif
