// SPDX-License-Identifier: GPL-2.0-only
/*
 * filewriter: N writers inside one cgroup, each rewriting its own file, or its
 * own anonymous memory.
 *
 * The load of the measurements M1 and M2. The parent stays outside
 * the cgroup and owns the write buffer, so that nothing but page cache (and the
 * few pages of a forked task) is charged to the cgroup under test. Writers move
 * themselves, wait until all are there, and start together.
 *
 * Files are rewritten in place: without a limit every pass after the first
 * finds its pages cached and charges nothing, at a limit every pass charges all
 * of them again. That is what makes the same program the reference. Memory is
 * rewritten in place, too, and goes to swap and back at a limit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WRITERS	64
#define PAGE		4096

struct options {
	const char *cgroup;
	const char *dir;
	int writers;
	size_t size;		/* of one writer's file */
	size_t block;		/* of one write */
	double seconds;		/* 0: no time limit */
	unsigned long passes;	/* 0: until the time is up */
	bool threads;
	bool map;
	bool truncate;
	bool keep;
	bool anon;
	bool wait;
	bool phases;
	bool ticks;
};

/* What a writer has done so far; its own, read by the parent. */
struct writer {
	uint64_t bytes;
	uint64_t read_bytes;
	uint64_t write_ns;
	uint64_t read_ns;
	uint64_t passes;
	int error;
};

/* The parent's view of a child: not shared, a child must not write it. */
struct child {
	pid_t pid;
	int status;
	bool running;
};

struct shared {
	int owner;		/* pid of the parent, part of file names */
	int arrived;		/* atomic */
	int go;			/* atomic */
	int finished;		/* atomic; writers done with the phase */
	int phase;		/* atomic; the parent has opened this one */
	uint64_t paused;	/* ns between phases; the parent's own */
	uint64_t deadline;	/* ns, 0: none; written before go */
	struct writer writer[MAX_WRITERS];
};

static struct options opt = {
	.dir = "/scratch",
	.writers = 1,
	.size = 64UL << 20,
	.block = PAGE,
};

static struct shared *shared;
static struct child child[MAX_WRITERS];
static char *buffer;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void nap_ms(unsigned int ms)
{
	struct timespec ts = { .tv_nsec = ms * 1000000L };

	nanosleep(&ts, NULL);
}

static bool time_is_up(void)
{
	return shared->deadline && now_ns() >= shared->deadline;
}

static int enter_cgroup(void)
{
	char path[512];
	int fd, err = 0;

	if (!opt.cgroup)
		return 0;
	snprintf(path, sizeof(path), "%s/cgroup.procs", opt.cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "0", 1) != 1)
		err = -errno;
	close(fd);
	return err;
}

static void file_name(char *path, size_t size, int i)
{
	snprintf(path, size, "%s/filewriter.%d.%d", opt.dir, shared->owner, i);
}

/* What a writer writes to: the file, or @memory if it is not NULL. */
struct target {
	int fd;
	char *memory;
};

static ssize_t write_block(const struct target *t, size_t len, size_t at)
{
	if (!t->memory)
		return pwrite(t->fd, buffer, len, at);
	memcpy(t->memory + at, buffer, len);
	return len;
}

static int write_pass(struct writer *me, const struct target *t)
{
	uint64_t start = now_ns();
	size_t done, chunk;
	ssize_t ret;

	if (opt.truncate && ftruncate(t->fd, 0))
		return -errno;
	for (done = 0; done < opt.size && !time_is_up(); done += ret) {
		chunk = opt.block;
		if (chunk > opt.size - done)
			chunk = opt.size - done;
		ret = write_block(t, chunk, done);
		if (ret < 0)
			return -errno;
		me->bytes += ret;
	}
	me->write_ns += now_ns() - start;
	return 0;
}

/* Maps the whole file and reads one byte of every page through the mapping. */
static int map_pass(struct writer *me, int fd)
{
	uint64_t start = now_ns();
	volatile char *map;
	size_t off;

	map = mmap(NULL, opt.size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	for (off = 0; off < opt.size && !time_is_up(); off += PAGE) {
		(void)map[off];
		me->read_bytes += PAGE;
	}
	munmap((void *)map, opt.size);
	me->read_ns += now_ns() - start;
	return 0;
}

/* Nobody goes on before all are here and the parent says so. */
static void end_phase(int *phase)
{
	if (!opt.phases)
		return;
	__atomic_fetch_add(&shared->finished, 1, __ATOMIC_SEQ_CST);
	++*phase;
	while (__atomic_load_n(&shared->phase, __ATOMIC_ACQUIRE) < *phase)
		nap_ms(1);
}

static int writer_passes(struct writer *me, const struct target *t)
{
	int err, phase = 0;

	while (!time_is_up() && (!opt.passes || me->passes < opt.passes)) {
		err = write_pass(me, t);
		end_phase(&phase);
		/* A pass cut short by the clock leaves holes: not to be read. */
		if (!err && opt.map && !time_is_up())
			err = map_pass(me, t->fd);
		end_phase(&phase);
		if (err)
			return err;
		me->passes++;
	}
	return 0;
}

static void wait_for_go(void)
{
	__atomic_fetch_add(&shared->arrived, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&shared->go, __ATOMIC_ACQUIRE))
		nap_ms(2);
}

static int open_target(struct target *t, int i)
{
	char path[512];

	*t = (struct target) { .fd = -1 };
	if (opt.anon) {
		t->memory = mmap(NULL, opt.size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		return t->memory == MAP_FAILED ? -errno : 0;
	}
	file_name(path, sizeof(path), i);
	t->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return t->fd < 0 ? -errno : 0;
}

static void close_target(const struct target *t)
{
	if (t->memory)
		munmap(t->memory, opt.size);
	else
		close(t->fd);
}

static void *writer_run(void *arg)
{
	struct writer *me = arg;
	struct target t;

	me->error = -open_target(&t, me - shared->writer);
	wait_for_go();
	if (!me->error) {
		me->error = -writer_passes(me, &t);
		close_target(&t);
	}
	return NULL;
}

static int run_threads(void)
{
	pthread_t thread[MAX_WRITERS];
	int i, started, err = 0;

	for (started = 0; started < opt.writers; started++) {
		if (pthread_create(&thread[started], NULL, writer_run,
				   &shared->writer[started])) {
			err = 1;
			break;
		}
	}
	for (i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	return err;
}

/* Child number @i: one writer, or all of them as threads. */
static void child_run(int i)
{
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	err = enter_cgroup();
	if (err) {
		fprintf(stderr, "filewriter: cannot enter %s: %s\n",
			opt.cgroup, strerror(-err));
		_exit(1);
	}
	if (opt.threads)
		_exit(run_threads());
	writer_run(&shared->writer[i]);
	_exit(shared->writer[i].error ? 1 : 0);
}

/* Collects children that ended; returns how many still run. */
static int reap(int children)
{
	int i, running = 0;

	for (i = 0; i < children; i++) {
		struct child *c = &child[i];

		if (!c->running)
			continue;
		if (waitpid(c->pid, &c->status, WNOHANG) == c->pid)
			c->running = false;
		else
			running++;
	}
	return running;
}

/* Tells who reads our stdout that a phase is over, and waits for a byte. */
static void next_phase(void)
{
	uint64_t start = now_ns();
	char c;

	if (__atomic_load_n(&shared->finished, __ATOMIC_SEQ_CST) < opt.writers)
		return;
	printf("phase=%s\n", shared->phase % 2 ? "read" : "write");
	fflush(stdout);
	if (read(STDIN_FILENO, &c, 1) < 0)
		return;
	__atomic_store_n(&shared->finished, 0, __ATOMIC_SEQ_CST);
	shared->paused += now_ns() - start;
	__atomic_store_n(&shared->phase, shared->phase + 1, __ATOMIC_RELEASE);
}

static uint64_t total_bytes(void)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < opt.writers; i++)
		sum += __atomic_load_n(&shared->writer[i].bytes,
				       __ATOMIC_RELAXED);
	return sum;
}

static void tick(uint64_t start)
{
	static uint64_t last_bytes, last_ns;
	uint64_t ns = now_ns(), bytes = total_bytes();

	if (!last_ns)
		last_ns = start;
	if (ns - last_ns < 1000000000ULL)
		return;
	printf("tick seconds=%.1f bytes=%llu bytes_per_s=%.0f\n",
	       (ns - start) / 1e9, (unsigned long long)bytes,
	       (bytes - last_bytes) * 1e9 / (ns - last_ns));
	fflush(stdout);
	last_ns = ns;
	last_bytes = bytes;
}

static void report(uint64_t ns, int children)
{
	uint64_t read_bytes = 0, write_ns = 0, read_ns = 0;
	int i;

	for (i = 0; i < opt.writers; i++) {
		struct writer *w = &shared->writer[i];

		printf("writer=%d bytes=%llu read_bytes=%llu passes=%llu write_s=%.4f read_s=%.4f error=%d signal=%d\n",
		       i, (unsigned long long)w->bytes,
		       (unsigned long long)w->read_bytes,
		       (unsigned long long)w->passes, w->write_ns / 1e9,
		       w->read_ns / 1e9, w->error,
		       i < children && WIFSIGNALED(child[i].status) ?
		       WTERMSIG(child[i].status) : 0);
		read_bytes += w->read_bytes;
		write_ns += w->write_ns;
		read_ns += w->read_ns;
	}
	/*
	 * write_s and read_s are means over the writers, so that dividing the
	 * bytes by them gives the rate of all writers together.
	 */
	printf("total writers=%d bytes=%llu read_bytes=%llu seconds=%.4f write_s=%.4f read_s=%.4f bytes_per_s=%.0f\n",
	       opt.writers, (unsigned long long)total_bytes(),
	       (unsigned long long)read_bytes, ns / 1e9,
	       write_ns / 1e9 / opt.writers, read_ns / 1e9 / opt.writers,
	       ns ? total_bytes() * 1e9 / ns : 0);
}

static bool all_well(int children)
{
	int i;

	for (i = 0; i < opt.writers; i++)
		if (shared->writer[i].error)
			return false;
	for (i = 0; i < children; i++)
		if (child[i].status)
			return false;
	return true;
}

static void remove_files(void)
{
	char path[512];
	int i;

	for (i = 0; i < opt.writers; i++) {
		file_name(path, sizeof(path), i);
		unlink(path);
	}
}

static int start_children(int children)
{
	int i;

	for (i = 0; i < children; i++) {
		pid_t pid = fork();

		if (!pid)
			child_run(i);
		if (pid < 0)
			return -1;
		child[i].pid = pid;
		child[i].running = true;
	}
	return 0;
}

static void stop_children(int children)
{
	int i;

	for (i = 0; i < children; i++)
		if (child[i].running)
			kill(child[i].pid, SIGKILL);
	while (reap(children))
		nap_ms(2);
}

static int run(void)
{
	int children = opt.threads ? 1 : opt.writers;
	uint64_t start;
	char c;

	if (start_children(children)) {
		perror("filewriter: fork");
		stop_children(children);
		return 1;
	}
	while (__atomic_load_n(&shared->arrived, __ATOMIC_SEQ_CST) <
	       opt.writers) {
		if (reap(children) < children) {
			fprintf(stderr, "filewriter: a writer did not start\n");
			stop_children(children);
			return 1;
		}
		nap_ms(2);
	}
	if (opt.wait) {
		puts("ready");
		fflush(stdout);
		if (read(STDIN_FILENO, &c, 1) < 0)
			return 1;
	}
	start = now_ns();
	if (opt.seconds > 0)
		shared->deadline = start + opt.seconds * 1e9;
	__atomic_store_n(&shared->go, 1, __ATOMIC_RELEASE);
	while (reap(children)) {
		if (opt.ticks)
			tick(start);
		if (opt.phases)
			next_phase();
		nap_ms(2);
	}
	report(now_ns() - start - shared->paused, children);
	return all_well(children) ? 0 : 1;
}

static void usage(FILE *out)
{
	fputs("usage: filewriter [-g CGROUP] [-d DIR] [-w WRITERS] [-s SIZE] [-b SIZE] [-t SECONDS] [-p PASSES] [-aTmukWPi]\n"
	      "  -g CGROUP   directory of the cgroup the writers move into\n"
	      "  -d DIR      where the files are made (/scratch)\n"
	      "  -w WRITERS  number of writers (1)\n"
	      "  -s SIZE     size of each writer's file or memory, with K, M or G (64M)\n"
	      "  -b SIZE     size of one write (4K)\n"
	      "  -t SECONDS  stop after this time\n"
	      "  -p PASSES   stop after this many passes (1 if there is no -t)\n"
	      "  -a          anonymous memory instead of files; not with -m, -u\n"
	      "  -T          writers are threads of one process\n"
	      "  -m          after each pass map the file and read every page\n"
	      "  -u          truncate the file before each pass\n"
	      "  -k          keep the files\n"
	      "  -W          print \"ready\" and start on a byte from stdin\n"
	      "  -P          all writers write, then all read: prints \"phase=write\" or\n"
	      "              \"phase=read\" after each and goes on with a byte from stdin\n"
	      "  -i          print a line each second\n", out);
}

static size_t parse_size(const char *s)
{
	char *end;
	double v = strtod(s, &end);

	switch (*end) {
	case 'G': case 'g':
		v *= 1024;
		/* fallthrough */
	case 'M': case 'm':
		v *= 1024;
		/* fallthrough */
	case 'K': case 'k':
		v *= 1024;
	}
	return v;
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "g:d:w:s:b:t:p:aTmukWPih")) != -1) {
		switch (c) {
		case 'g': opt.cgroup = optarg; break;
		case 'd': opt.dir = optarg; break;
		case 'w': opt.writers = atoi(optarg); break;
		case 's': opt.size = parse_size(optarg); break;
		case 'b': opt.block = parse_size(optarg); break;
		case 't': opt.seconds = atof(optarg); break;
		case 'p': opt.passes = strtoul(optarg, NULL, 0); break;
		case 'a': opt.anon = true; break;
		case 'T': opt.threads = true; break;
		case 'm': opt.map = true; break;
		case 'u': opt.truncate = true; break;
		case 'k': opt.keep = true; break;
		case 'W': opt.wait = true; break;
		case 'P': opt.phases = true; break;
		case 'i': opt.ticks = true; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (opt.writers < 1 || opt.writers > MAX_WRITERS || !opt.size ||
	    !opt.block || (opt.anon && (opt.map || opt.truncate)) ||
	    optind < argc) {
		usage(stderr);
		exit(2);
	}
	if (!opt.passes && opt.seconds <= 0)
		opt.passes = 1;
}

int main(int argc, char **argv)
{
	int ret;

	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	buffer = mmap(NULL, opt.block, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || buffer == MAP_FAILED) {
		perror("filewriter: mmap");
		return 1;
	}
	/* Touched here, so that they are charged here. */
	memset(shared, 0, sizeof(*shared));
	shared->owner = getpid();
	memset(buffer, 'x', opt.block);
	ret = run();
	if (!opt.keep)
		remove_files();
	return ret;
}
