// SPDX-License-Identifier: GPL-2.0-only
/*
 * paced: a thread that needs a little new memory at a fixed pace.
 *
 * Every interval it touches as many new anonymous pages as one charge batch has
 * (64) and times the touching. The pages are given back outside of the timed
 * part. SCHED_FIFO, so that waiting for a CPU is not what is measured; memcg_ext,
 * for which such a thread is critical, is told that it is not. No huge pages, so that
 * each round is the same number of faults.
 *
 * With -w there are writers beside it, threads of the same process which memcg_ext is told
 * are batch, each of which rewrites a file of its own.
 *
 * The schedule is absolute: a late round does not shift the later ones. Rounds
 * whose start passed while an earlier one stalled are not made up for but
 * counted as missed. So a long stall is one sample only (coordinated omission);
 * the co_* figures add, for each stall, the samples that the missed rounds
 * would have seen, as HdrHistogram does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096
#define NSEC		1000000000ULL
#define MAX_WRITERS	16

struct options {
	const char *cgroup;
	const char *class;
	const char *out;
	double seconds;
	unsigned int interval_us;
	unsigned int pages;
	unsigned int edge_ms;
	int cpu;
	int prio;
	int writers;
	size_t size;		/* of one writer's file */
	bool ticks;
	bool wait;
};

static struct options opt = {
	.class = "normal",
	.seconds = 8,
	.interval_us = 5000,
	.pages = 64,
	.edge_ms = 20,
	.cpu = -1,
	.prio = 50,
	.size = 64UL << 20,
};

struct samples {
	uint64_t *ns;
	size_t n;
	size_t room;
	uint64_t missed;	/* rounds whose start had passed */
	uint64_t slept;		/* rounds in which the thread gave up its CPU */
};

/* A thread beside the paced one. */
static struct writer {
	pthread_t thread;
	uint64_t bytes;
	int error;
} writer[MAX_WRITERS];

/* Pages that are written, charged before the process moves. */
static char block[PAGE];
static bool over;	/* atomic: the writers are to end */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
	struct timespec ts = { .tv_sec = ns / NSEC, .tv_nsec = ns % NSEC };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) ==
	       EINTR)
		;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Nearest rank: the smallest sample that @q of all do not exceed. */
static double quantile_ms(const uint64_t *sorted, size_t n, double q)
{
	size_t rank;

	if (!n)
		return 0;
	rank = q * n;
	if (rank < q * n)
		rank++;
	if (rank < 1)
		rank = 1;
	return sorted[rank - 1] / 1e6;
}

static unsigned long above(const uint64_t *sorted, size_t n, uint64_t edge)
{
	size_t i = n;

	while (i && sorted[i - 1] > edge)
		i--;
	return n - i;
}

static void print_summary(const char *prefix, uint64_t *ns, size_t n)
{
	unsigned long over;

	qsort(ns, n, sizeof(*ns), by_value);
	over = above(ns, n, opt.edge_ms * 1000000ULL);
	printf("%sn=%zu %sp50_ms=%.3f %sp99_ms=%.3f %sp999_ms=%.3f %smax_ms=%.3f %sabove%ums_per_10000=%.2f",
	       prefix, n, prefix, quantile_ms(ns, n, .5), prefix,
	       quantile_ms(ns, n, .99), prefix, quantile_ms(ns, n, .999),
	       prefix, quantile_ms(ns, n, 1), prefix, opt.edge_ms,
	       n ? over * 10000.0 / n : 0);
}

/* Appends to each stall the samples of the rounds it kept from starting. */
static uint64_t *corrected(const struct samples *s, size_t *n)
{
	uint64_t step = opt.interval_us * 1000ULL, v, *out;
	size_t i, k = 0;

	*n = s->n;
	for (i = 0; i < s->n; i++)
		*n += s->ns[i] / step;
	out = malloc(*n * sizeof(*out));
	if (!out)
		return NULL;
	for (i = 0; i < s->n; i++) {
		out[k++] = s->ns[i];
		for (v = s->ns[i]; v >= step; v -= step)
			out[k++] = v - step;
	}
	*n = k;
	return out;
}

static long voluntary_switches(void)
{
	struct rusage ru;

	getrusage(RUSAGE_THREAD, &ru);
	return ru.ru_nvcsw;
}

static uint64_t touch(volatile char *region)
{
	uint64_t start = now_ns();
	unsigned int i;

	for (i = 0; i < opt.pages; i++)
		region[(size_t)i * PAGE] = 1;
	return now_ns() - start;
}

static void tick(const struct samples *s, uint64_t start)
{
	static size_t from;
	static uint64_t last;
	static uint64_t copy[65536];
	size_t n = s->n - from;
	uint64_t ns = now_ns();

	if (!last)
		last = start;
	if (ns - last < NSEC)
		return;
	if (n > sizeof(copy) / sizeof(*copy))
		n = sizeof(copy) / sizeof(*copy);
	memcpy(copy, s->ns + from, n * sizeof(*copy));
	printf("tick seconds=%.1f ", (ns - start) / 1e9);
	print_summary("", copy, n);
	putchar('\n');
	fflush(stdout);
	last = ns;
	from = s->n;
}

static void run(struct samples *s, char *region)
{
	uint64_t step = opt.interval_us * 1000ULL;
	uint64_t start = now_ns() + step, next = start;
	uint64_t end = start + opt.seconds * NSEC, ns;
	long before;

	while (next < end && s->n < s->room) {
		sleep_until(next);
		before = voluntary_switches();
		s->ns[s->n++] = touch(region);
		if (voluntary_switches() != before)
			s->slept++;
		madvise(region, (size_t)opt.pages * PAGE, MADV_DONTNEED);
		if (opt.ticks)
			tick(s, start);
		ns = now_ns();
		for (next += step; next < ns; next += step)
			s->missed++;
	}
}

static int save(const struct samples *s)
{
	FILE *f = fopen(opt.out, "w");
	size_t done;

	if (!f) {
		fprintf(stderr, "paced: %s: %s\n", opt.out, strerror(errno));
		return 1;
	}
	done = fwrite(s->ns, sizeof(*s->ns), s->n, f);
	if (fclose(f) || done != s->n) {
		fprintf(stderr, "paced: %s: write failed\n", opt.out);
		return 1;
	}
	return 0;
}

static int enter_cgroup(void)
{
	char path[512];
	int fd;

	if (!opt.cgroup)
		return 0;
	snprintf(path, sizeof(path), "%s/cgroup.procs", opt.cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1) {
		fprintf(stderr, "paced: cannot enter %s: %s\n", opt.cgroup,
			strerror(errno));
		return 1;
	}
	close(fd);
	return 0;
}

/* Where memcg_ext has no such file nobody asks for the class. */
static int take_class(const char *class)
{
	char path[512];
	int fd;

	if (!opt.cgroup || !strcmp(class, "default"))
		return 0;
	snprintf(path, sizeof(path), "%s/memory.ext.threads", opt.cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || dprintf(fd, "0 %s", class) < 0) {
		fprintf(stderr, "paced: cannot be %s: %s\n", class,
			strerror(errno));
		return 1;
	}
	close(fd);
	return 0;
}

static int become_realtime(void)
{
	struct sched_param param = { .sched_priority = opt.prio };
	cpu_set_t set;

	if (opt.cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(opt.cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set)) {
			perror("paced: sched_setaffinity");
			return 1;
		}
	}
	if (opt.prio && sched_setscheduler(0, SCHED_FIFO, &param)) {
		perror("paced: sched_setscheduler");
		return 1;
	}
	return 0;
}

static int open_file(int i)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/scratch/paced.%d.%d", getpid(), i);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	unlink(path);
	return fd;
}

static void *write_round(void *arg)
{
	struct writer *me = arg;
	int fd = open_file(me - writer);
	size_t at = 0;

	if (fd < 0 || take_class("batch"))
		me->error = fd < 0 ? errno : EINVAL;
	while (!me->error && !__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		if (pwrite(fd, block, PAGE, at) != PAGE)
			me->error = errno;
		me->bytes += PAGE;
		at = (at + PAGE) % opt.size;
	}
	close(fd);
	return NULL;
}

/* Before the thread is of the real-time kind, which they would be, too. */
static int start_writers(void)
{
	int i, err;

	for (i = 0; i < opt.writers; i++) {
		err = pthread_create(&writer[i].thread, NULL, write_round,
				     &writer[i]);
		if (!err)
			continue;
		fprintf(stderr, "paced: no thread: %s\n", strerror(err));
		return 1;
	}
	return 0;
}

/* What they wrote since @start, and the least of one, which shows that none starved. */
static int end_writers(uint64_t start)
{
	uint64_t ns, bytes = 0, least = UINT64_MAX;
	int i, error = 0;

	if (!opt.writers)
		return 0;
	ns = now_ns() - start;
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	for (i = 0; i < opt.writers; i++) {
		pthread_join(writer[i].thread, NULL);
		bytes += writer[i].bytes;
		least = writer[i].bytes < least ? writer[i].bytes : least;
		error = error ?: writer[i].error;
	}
	printf("total writers=%d bytes=%llu least=%llu seconds=%.4f bytes_per_s=%.0f\n",
	       opt.writers, (unsigned long long)bytes,
	       (unsigned long long)least, ns / 1e9, bytes * 1e9 / ns);
	if (error)
		fprintf(stderr, "paced: a writer failed: %s\n",
			strerror(error));
	return !!error;
}

/* Says that all is there, and waits for a byte. */
static void wait_for_go(void)
{
	char c;

	if (!opt.wait)
		return;
	puts("ready");
	fflush(stdout);
	if (read(STDIN_FILENO, &c, 1) < 0)
		exit(1);
}

static char *new_region(void)
{
	size_t size = (size_t)opt.pages * PAGE;
	char *region;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	region = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (region == MAP_FAILED)
		return NULL;
	/* Fails where the kernel has no huge pages at all: as good. */
	madvise(region, size, MADV_NOHUGEPAGE);
	return region;
}

static void usage(FILE *out)
{
	fputs("usage: paced [-g CGROUP] [-t SECONDS] [-I USEC] [-n PAGES] [-c CPU] [-P PRIO] [-T CLASS] [-w WRITERS] [-s MB] [-e MS] [-o FILE] [-iW]\n"
	      "  -g CGROUP   directory of the cgroup to move into\n"
	      "  -t SECONDS  how long (8)\n"
	      "  -I USEC     interval between rounds (5000)\n"
	      "  -n PAGES    new pages per round (64, one charge batch)\n"
	      "  -c CPU      run on this CPU only\n"
	      "  -P PRIO     SCHED_FIFO priority, 0: normal scheduling (50)\n"
	      "  -T CLASS    what memcg_ext is told of it; default: nothing (normal)\n"
	      "  -w WRITERS  threads beside it, of class batch, that rewrite files (0)\n"
	      "  -s MB       size of a writer's file in /scratch (64)\n"
	      "  -e MS       count the samples above this (20)\n"
	      "  -o FILE     write all samples, ns as native 64-bit words\n"
	      "  -W          print \"ready\" when the writers write, start on a byte from stdin\n"
	      "  -i          print a line each second\n", out);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "g:t:I:n:c:P:T:w:s:e:o:iWh")) != -1) {
		switch (c) {
		case 'g': opt.cgroup = optarg; break;
		case 't': opt.seconds = atof(optarg); break;
		case 'I': opt.interval_us = atoi(optarg); break;
		case 'n': opt.pages = atoi(optarg); break;
		case 'c': opt.cpu = atoi(optarg); break;
		case 'P': opt.prio = atoi(optarg); break;
		case 'T': opt.class = optarg; break;
		case 'w': opt.writers = atoi(optarg); break;
		case 's': opt.size = strtoul(optarg, NULL, 0) << 20; break;
		case 'W': opt.wait = true; break;
		case 'e': opt.edge_ms = atoi(optarg); break;
		case 'o': opt.out = optarg; break;
		case 'i': opt.ticks = true; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (!opt.interval_us || !opt.pages || opt.seconds <= 0 ||
	    opt.writers < 0 || opt.writers > MAX_WRITERS || !opt.size ||
	    optind < argc) {
		usage(stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct samples s = { 0 };
	uint64_t *co, start;
	size_t co_n;
	char *region;

	parse(argc, argv);
	s.room = opt.seconds * 1000000 / opt.interval_us + 1;
	s.ns = malloc(s.room * sizeof(*s.ns));
	region = new_region();
	if (!s.ns || !region) {
		fprintf(stderr, "paced: no memory\n");
		return 1;
	}
	/* Touched before the move: charged outside, and never faulted inside */
	memset(s.ns, 0xff, s.room * sizeof(*s.ns));
	memset(block, 'x', sizeof(block));
	if (enter_cgroup())
		return 1;
	start = now_ns();
	if (start_writers() || take_class(opt.class) || become_realtime())
		return 1;
	wait_for_go();
	run(&s, region);
	if (end_writers(start))
		return 1;
	if (opt.out && save(&s))
		return 1;
	co = corrected(&s, &co_n);
	print_summary("", s.ns, s.n);
	printf(" missed=%llu slept=%llu", (unsigned long long)s.missed,
	       (unsigned long long)s.slept);
	if (co) {
		putchar(' ');
		print_summary("co_", co, co_n);
	}
	putchar('\n');
	return 0;
}
