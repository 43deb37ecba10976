// SPDX-License-Identifier: GPL-2.0-only
/*
 * memsw_random: whatever is done to cgroups with a limit for memory and swap together, what
 * the user wrote reads back, usage does not grow above a limit, and in the end all counters
 * are consistent with the kernel's own, and all that the user wrote is there.
 *
 * Limits of all kinds, loads of all kinds, tasks that are moved and killed, cgroups that go
 * and come back, the controller taken away, management on and off, the module loaded anew:
 * at random, with a seed that is printed.
 *
 * Usage: memsw_random [SECONDS [SEED]]
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "libmemsw.h"

#define TOP	"mcx-test-random"
#define TMPFS	"/run/mcx-random"
#define LOADS	4
#define NO_LIMIT	-1

static uint64_t seed;

static unsigned int below(unsigned int n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 33) % n;
}

/* The second is below the first. */
static const char * const names[] = { TOP "/a", TOP "/a/b", TOP "/c" };

#define GROUPS	((int)(sizeof(names) / sizeof(*names)))

static const char * const files[] = { "memory.max", "memory.high", "memory.swap.max",
				      MEMSW_MAX };
enum { MAX, HIGH, SWAP, MEMSW, FILES };

static struct group {
	long long wrote[FILES];		/* bytes, or NO_LIMIT */
	long long sum;			/* at the last look */
	bool managed;
} groups[GROUPS];

static pid_t loads[LOADS];
static long steps, wrong, above, refused;

static long long value_of(const char *cg, const char *file)
{
	char path[256], text[64];

	cg_path(path, sizeof(path), cg, file);
	if (read_file(path, text, sizeof(text)) <= 0)
		return -2;
	return strncmp(text, "max", 3) ? atoll(text) : NO_LIMIT;
}

static void complain(const char *what, int i, long long is, long long should)
{
	ktap_note("step %ld: %s %s: %lld, should be %lld", steps, names[i], what, is,
		  should);
}

/* What was written reads back. */
static void check_values(void)
{
	long long is;
	int i, j;

	for (i = 0; i < GROUPS; i++) {
		for (j = 0; j < FILES; j++) {
			if (j == MEMSW && !mcx_loaded())
				continue;
			is = value_of(names[i], files[j]);
			if (is == groups[i].wrote[j])
				continue;
			complain(files[j], i, is, groups[i].wrote[j]);
			groups[i].wrote[j] = is;
			wrong++;
		}
	}
}

/* Of this cgroup, and of what is above it: both may have been met first. */
static void check_sum(int i)
{
	struct group *g = &groups[i];
	long long sum = memsw_sum(names[i]);
	long long most = g->wrote[MEMSW] > g->sum ? g->wrote[MEMSW] : g->sum;

	if (g->wrote[MEMSW] != NO_LIMIT && sum > most + memsw_slack()) {
		complain(MEMSW_CURRENT, i, sum, g->wrote[MEMSW]);
		above++;
	}
	g->sum = sum;
}

static void check(void)
{
	int i;

	check_values();
	for (i = 0; i < GROUPS && mcx_loaded(); i++)
		check_sum(i);
}

static void write_limit(int i, int file)
{
	char text[32] = "max";
	long long mib = 8 + below(88);
	int err;

	if (file == MEMSW && !mcx_loaded())
		return;
	if (file == SWAP && !below(3))
		mib = 0;
	if (below(4))
		snprintf(text, sizeof(text), "%lldM", mib);
	err = cg_write(names[i], files[file], text);
	if (err) {
		ktap_note("step %ld: %s %s=%s: %s", steps, names[i], files[file], text,
			  strerror(-err));
		refused++;
		return;
	}
	groups[i].wrote[file] = *text == 'm' ? NO_LIMIT : mib * (long long)MIB;
	/* What it was above before counts no more: it is met, or cannot be. */
	if (file == MEMSW)
		groups[i].sum = cg_number(names[i], MEMSW_CURRENT);
}

static void touch(size_t len, bool keep)
{
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	for (i = 0; p != MAP_FAILED && i < len; i += PAGE)
		p[i]++;
	if (!keep)
		munmap(p, len);
}

static void fork_and_touch(void)
{
	pid_t pid = fork();

	/* It may wait for a long time while its parent is ended. */
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	touch(4 * MIB, false);
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}

static void load(int kind, int nr)
{
	static char buf[MIB];
	char file[64];
	int fd;

	snprintf(file, sizeof(file), TMPFS "/%d", nr);
	if (kind == 0)
		touch((16 + 16 * nr) * MIB, true);
	for (;;) {
		switch (kind) {
		case 1:
			touch(24 * MIB, false);
			break;
		case 2:
			memsw_write(file, 24);
			break;
		case 3:
			fd = open(MEMSW_FILE, O_RDONLY);
			while (read(fd, buf, sizeof(buf)) > 0)
				;
			close(fd);
			break;
		case 4:
			fork_and_touch();
			break;
		default:
			nap_ms(20);
		}
	}
}

static void end_load(int nr)
{
	if (loads[nr])
		end_task(loads[nr]);
	loads[nr] = 0;
}

static void start_load(int nr)
{
	const char *cg = names[below(GROUPS)];
	int kind = below(5);

	end_load(nr);
	/* Tasks are where there are no cgroups below. */
	if (cg == names[0])
		cg = names[1];
	loads[nr] = fork();
	if (loads[nr])
		return;
	if (cg_enter(cg))
		_exit(1);
	load(kind, nr);
}

static void move_load(int nr)
{
	char pid[32];

	if (!loads[nr])
		return;
	snprintf(pid, sizeof(pid), "%d", loads[nr]);
	cg_write(names[1 + below(2)], "cgroup.procs", pid);
}

static void forget(int i)
{
	int j;

	for (j = 0; j < FILES; j++)
		groups[i].wrote[j] = NO_LIMIT;
	groups[i].sum = 0;
	groups[i].managed = false;
}

/* The kernel charges a new one to that above, and does not make it where that is full. */
static void make_room(void)
{
	int i;

	for (i = 0; i < FILES; i++) {
		if (i == MEMSW && !mcx_loaded())
			continue;
		cg_write(names[0], files[i], "max");
		groups[0].wrote[i] = NO_LIMIT;
	}
}

static void make(int i)
{
	if (cg_create(names[i])) {
		make_room();
		cg_create(names[i]);
	}
	if (i == 0)
		cg_write(names[0], "cgroup.subtree_control", "+memory");
	forget(i);
}

/* With all that is in it; what it has in swap and tmpfs stays. */
static void anew(int i)
{
	if (i == 0)
		cg_remove(names[1]);
	cg_remove(names[i]);
	make(i);
	if (i == 0)
		make(1);
}

/* The controller goes and comes back: no limits. */
static void without_memory(void)
{
	if (cg_write(names[0], "cgroup.subtree_control", "-memory"))
		return;
	if (cg_write(names[0], "cgroup.subtree_control", "+memory")) {
		make_room();
		cg_write(names[0], "cgroup.subtree_control", "+memory");
	}
	forget(1);
}

static void manage(int i)
{
	groups[i].managed = !groups[i].managed;
	cg_write(names[i], "memory.ext.enable", groups[i].managed ? "1" : "0");
}

static void reload(void)
{
	int i;

	if (mcx_unload()) {
		ktap_note("step %ld: does not unload", steps);
		wrong++;
		return;
	}
	check_values();
	nap_ms(below(100));
	if (mcx_load())
		wrong++;
	for (i = 0; i < GROUPS; i++) {
		groups[i].wrote[MEMSW] = NO_LIMIT;
		groups[i].managed = false;
	}
}

static void reclaim(int i)
{
	char text[32];

	snprintf(text, sizeof(text), "%uM", 1 + below(16));
	cg_write(names[i], "memory.reclaim", text);
}

static void step(void)
{
	unsigned int what = below(100);

	if (what < 25)
		write_limit(below(GROUPS), MEMSW);
	else if (what < 45)
		write_limit(below(GROUPS), MAX);
	else if (what < 55)
		write_limit(below(GROUPS), HIGH);
	else if (what < 60)
		write_limit(below(GROUPS), SWAP);
	else if (what < 75)
		start_load(below(LOADS));
	else if (what < 80)
		end_load(below(LOADS));
	else if (what < 85)
		move_load(below(LOADS));
	else if (what < 90)
		manage(below(GROUPS));
	else if (what < 93)
		reclaim(below(GROUPS));
	else if (what < 96)
		anew(below(GROUPS));
	else if (what < 98)
		without_memory();
	else
		reload();
	steps++;
}

/* Those that were killed. */
static void reap(void)
{
	int i;

	for (i = 0; i < LOADS; i++)
		if (loads[i] && waitpid(loads[i], NULL, WNOHANG) == loads[i])
			loads[i] = 0;
}

static void check_end(void)
{
	long long ours, theirs;
	bool same = true;
	int i;

	for (i = 0; i < LOADS; i++)
		end_load(i);
	check_values();
	for (i = 0; i < GROUPS; i++) {
		theirs = memsw_sum(names[i]);
		ours = cg_number(names[i], MEMSW_CURRENT);
		if (ours > theirs + memsw_slack() || ours < theirs - memsw_slack()) {
			complain("memory and swap", i, ours, theirs);
			same = false;
		}
	}
	ktap_ok(same, "counters are consistent with the kernel's own");
	if (umount(TMPFS))
		ktap_note("umount: %s", strerror(errno));
	write_file("/proc/sys/vm/drop_caches", "1");
	for (i = 0; i < GROUPS; i++)
		cg_falls(names[i], 4 * (long long)MIB);
	for (i = 0; i < GROUPS; i++) {
		ours = cg_number(names[i], MEMSW_CURRENT);
		if (ours > 4 * (long long)MIB) {
			complain("what is left", i, ours, 0);
			ktap_note("anon %lld file %lld shmem %lld dirty %lld slab %lld swap %lld",
				  cg_key(names[i], "memory.stat", "anon"),
				  cg_key(names[i], "memory.stat", "file"),
				  cg_key(names[i], "memory.stat", "shmem"),
				  cg_key(names[i], "memory.stat", "file_dirty"),
				  cg_key(names[i], "memory.stat", "slab"),
				  cg_number(names[i], "memory.swap.current"));
			same = false;
		}
	}
	ktap_ok(same, "and next to nothing is left when all is given back");
	ktap_ok(!mcx_unload(), "unloads");
	check_values();
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 20;
	uint64_t start = now_ns();
	int i;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 20261127;
	ktap_start();
	memsw_begin(48);
	mkdir(TMPFS, 0700);
	mount("none", TMPFS, "tmpfs", 0, "size=128M");
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory");
	for (i = 0; i < GROUPS; i++)
		make(i);
	ktap_note("seed %llu", (unsigned long long)seed);
	while (now_ns() - start < seconds * NSEC) {
		step();
		reap();
		nap_ms(10 + below(60));
		check();
	}
	check_end();
	ktap_ok(steps > seconds, "%ld steps", steps);
	ktap_ok(!wrong, "what was written reads back (%ld times not)", wrong);
	ktap_ok(!above, "no sum grows above its limit (%ld times)", above);
	ktap_ok(!refused, "and no limit is refused (%ld)", refused);
	for (i = GROUPS - 1; i >= 0; i--)
		cg_remove(names[i]);
	cg_remove(TOP);
	rmdir(TMPFS);
	unlink(MEMSW_FILE);
	return ktap_end();
}
