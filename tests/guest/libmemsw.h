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
/*
 * What a test needs: no huge pages, swap, MEMSW_FILE with so many MiB, and the module. Ends
 * the program if something is missing.
 */
void memsw_begin(size_t mib);
/* A new cgroup, with these limits; NULL: none. */
void memsw_fresh(const char *cg, const char *limit, const char *max);
/* Is that what the file says. */
bool memsw_reads(const char *cg, const char *file, const char *text);
/* What may be there beside a limit, in bytes; see README.md. */
long long memsw_slack(void);
/* Forks a task that touches @len bytes in @cg, @rounds times, and stays. */
pid_t memsw_toucher(const char *cg, size_t len, long rounds);
/* Forks a task that reads MEMSW_FILE in @cg, @rounds times, and ends. */
pid_t memsw_reader(const char *cg, long rounds);
/* Makes a file with so many MiB, none of them zeros. */
bool memsw_write(const char *file, size_t mib);

/* What was seen while somebody ran. */
struct memsw_seen {
	long long most;		/* bytes of memory and swap */
	int status;		/* as waitpid(); -1: it lives */
	double seconds;
};

/*
 * Looks at @cg until @pid ends, or has touched @len bytes and made @rounds, or for @limit
 * seconds; on a kernel that checks itself for three times as long.
 */
struct memsw_seen memsw_look(const char *cg, pid_t pid, size_t len, long rounds,
			     double limit);
/* Has a task touch so many MiB of new memory there, and looks at @look until it has. */
struct memsw_seen memsw_overfill(const char *look, const char *cg, size_t mib);
bool memsw_killed(const struct memsw_seen *seen);
/* Killed when it had touched more than @from MiB and less than @to. */
bool memsw_killed_at(const struct memsw_seen *seen, size_t from, size_t to);
/* Never more than @mib and the slack. */
bool memsw_within(const struct memsw_seen *seen, size_t mib);
/* Ends a task that may have ended; as memsw_look() saw it. */
void memsw_end(pid_t pid, const struct memsw_seen *seen);

#endif
