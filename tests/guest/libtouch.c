// SPDX-License-Identifier: GPL-2.0-only
/* See libtouch.h. */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib.h"
#include "libtouch.h"

/* Between two looks at what it shall do. */
#define CHUNK	256
/* TOUCH_SLOW: a round of all of it. */
#define ROUND_MS	10000
/* In which a rate is taken to see whether it is reached. */
#define STEP_MS		500

/* Each line of the cache, or an emulated CPU would do little but look for pages. */
static void touch(char *p, size_t from, size_t to)
{
	volatile char *at;

	for (at = p + from * PAGE; at < p + to * PAGE; at += 64)
		++*at;
}

/* Without a page fault. */
static void spin(void)
{
	uint64_t until = now_ns() + 1000000;

	while (now_ns() < until)
		;
}

/* Of all the pages, from @at on. Returns where it is then. */
static size_t step(struct touch_state *s, char *p, size_t nr, size_t at)
{
	size_t end = at + CHUNK < nr ? at + CHUNK : nr;

	if (s->mode == TOUCH_IDLE) {
		nap_ms(500);
		return at;
	}
	if (s->mode == TOUCH_SPIN) {
		spin();
		return at;
	}
	touch(p, at, end);
	s->pages += end - at;
	if (s->mode == TOUCH_SLOW)
		nap_ms(ROUND_MS * CHUNK / nr);
	return end < nr ? end : 0;
}

static void run(struct touch_state *s, int cpu, size_t mib)
{
	size_t nr = mib * MIB / PAGE, at = 0;
	cpu_set_t cpus;
	char *p;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	p = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		 -1, 0);
	if (p == MAP_FAILED)
		_exit(1);
	touch(p, 0, nr);
	s->ready = 1;
	for (;;)
		at = step(s, p, nr, at);
}

struct touch touch_start(const char *cg, int cpu, size_t mib, enum touch_mode mode)
{
	struct touch t;

	t.state = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	t.state->mode = mode;
	t.pid = cg_fork(cg);
	if (!t.pid)
		run(t.state, cpu, mib);
	return t;
}

void touch_end(struct touch *t)
{
	end_task(t->pid);
	munmap(t->state, PAGE);
}

void touch_ready(struct touch *t)
{
	int i;

	for (i = 0; i < 3000 && !t->state->ready; i++)
		nap_ms(10);
}

double touch_rate(struct touch *t, unsigned int ms)
{
	uint64_t pages = t->state->pages, from = now_ns();

	nap_ms(ms);
	return (t->state->pages - pages) * 1e9 / (now_ns() - from);
}

double touch_reaches(struct touch *t, double rate, unsigned int seconds)
{
	uint64_t from = now_ns();

	while (touch_rate(t, STEP_MS) < rate && now_ns() - from < seconds * NSEC)
		;
	return (now_ns() - from) / 1e9;
}
