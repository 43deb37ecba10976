// SPDX-License-Identifier: GPL-2.0-only
/*
 * M4, the cliff: memory.max 128 MiB, memory.high 0.8 and 0.9 of it, no swap, and
 * one task that touches 10 MiB/s of memory that it never gives back.
 *
 * The stock kernel slows it down more and more, to an end that may be far away,
 * which is what the first cell shows, cut off after a minute. With memcg_ext there is a decision
 * within stuck_ms (5000) of the first pass that frees nothing, and then what is
 * asked for. In the last two the memory is that of a file, which can be
 * reclaimed: without a limit, and with it nothing is decided and it is as fast.
 *
 * The OOM killer ends some cells. Its report, with a call trace, is kept from
 * the console.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"
#include "libhog.h"

#define CG		"mcx-test-m4"
#define MAX		(128 * MIB)
#define STUCK_MS	5000
#define CUT		60.0	/* s */
#define FILE_PATH	"/scratch/m4"

struct cell {
	size_t high;		/* 0: no limit at all */
	const char *stuck;	/* NULL: not managed */
	bool file;
};

struct row {
	double seconds;		/* from passing memory.high to the end */
	double rate;		/* bytes a second, until it got the last */
	struct decision decision;
	long long high_events;
	long long stuck;
	bool killed;		/* by whomever */
	long long stuck_kill;
};

static void set_limit(const char *file, size_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", bytes);
	cg_write(CG, file, text);
}

static void cell_setup(const struct cell *c)
{
	char conf[64];

	cg_remove(CG);
	cg_create(CG);
	if (c->high) {
		set_limit("memory.high", c->high);
		set_limit("memory.max", MAX);
	}
	if (!c->stuck)
		return;
	snprintf(conf, sizeof(conf), "stuck=%s", c->stuck);
	cg_write(CG, "memory.ext.reclaim", conf);
	mcx_manage(CG);
}

/* Until it has all, is dead, or the time is up; from when it is at @from. */
static void measure(struct row *r, struct hog *h, size_t from, size_t len)
{
	uint64_t begin = now_ns(), start = 0;
	size_t at, first = 0, last = 0;

	while (now_ns() - begin < (CUT + 15) * NSEC) {
		at = *h->touched;
		if (!start && at >= from) {
			start = now_ns();
			first = at;
			last = at;
		}
		if (start)
			r->seconds = (double)(now_ns() - start) / NSEC;
		/* The OOM killer takes its time, too. */
		if (at > last && r->seconds > 0)
			r->rate = (at - first) / r->seconds;
		last = at;
		if (at >= len || !hog_lives(h) || r->seconds > CUT)
			return;
		nap_ms(5);
	}
}

static struct row run(const struct cell *c)
{
	size_t len = c->file ? 256 * MIB : 192 * MIB;
	size_t from = (c->high ? c->high : MAX / 10 * 8) - MIB;
	struct row r = { .decision.after = -1 };
	struct hog h;

	cell_setup(c);
	h = c->file ? hog_start_file(CG, FILE_PATH, len) :
		      hog_start(CG, c->high - 16 * MIB, len, 0);
	if (c->stuck && !c->file)
		r.decision = decision_wait(CG, c->high, CUT, &h);
	if (c->stuck && !strcmp(c->stuck, "max"))
		from = *h.touched;
	measure(&r, &h, from, len);
	r.killed = hog_killed(&h, 200);
	r.high_events = cg_key(CG, "memory.events", "high");
	r.stuck = cg_key(CG, "memory.ext.events", "stuck");
	r.stuck_kill = cg_key(CG, "memory.ext.events", "stuck_kill");
	hog_end(&h);
	ktap_note("%-8s %s high=%.1f decided_ms=%.0f seconds=%.1f rate=%.2f MiB/s high_events=%lld stuck=%lld stuck_kill=%lld killed=%d",
		  c->stuck ? c->stuck : "stock", c->file ? "file" : "anon",
		  (double)c->high / MAX, r.decision.after, r.seconds,
		  r.rate / MIB, r.high_events, r.stuck, r.stuck_kill,
		  r.killed);
	return r;
}

static void decided(const struct row *r, const char *what, double high)
{
	ktap_ok(r->decision.after >= 0 && r->decision.after <= STUCK_MS &&
		r->stuck == 1,
		"%s, %.1f: decided once, after %.0f ms", what, high,
		r->decision.after);
}

static void test_high(double part, double unthrottled)
{
	struct cell c = { .high = (size_t)(MAX * part) / PAGE * PAGE };
	struct row r;

	if (mcx_unload())
		exit(1);
	r = run(&c);
	ktap_ok(r.seconds > 2 * STUCK_MS / 1000 && r.rate < unthrottled / 2,
		"stock, %.1f: %.2f MiB/s of %.2f, for %.0f s at least", part,
		r.rate / MIB, unthrottled / MIB, r.seconds);
	mcx_load();
	c.stuck = "notify";
	r = run(&c);
	decided(&r, "notify", part);
	ktap_ok(r.killed && !r.stuck_kill, "notify, %.1f: the OOM killer decides",
		part);
	c.stuck = "max";
	r = run(&c);
	decided(&r, "max", part);
	ktap_ok(r.killed && !r.stuck_kill && r.rate >= 0.9 * unthrottled,
		"max, %.1f: and then %.2f MiB/s of %.2f up to memory.max",
		part, r.rate / MIB, unthrottled / MIB);
	c.stuck = "kill";
	r = run(&c);
	decided(&r, "kill", part);
	ktap_ok(r.killed && r.stuck_kill == 1, "kill, %.1f: killed", part);
}

static void test_reclaimable(double part, double unthrottled)
{
	struct cell c = { .high = (size_t)(MAX * part) / PAGE * PAGE,
			  .stuck = "kill", .file = true };
	struct row r = run(&c);

	ktap_ok(!r.stuck && !r.killed && r.rate >= 0.9 * unthrottled,
		"reclaimable, %.1f: nothing to decide, %.2f MiB/s of %.2f",
		part, r.rate / MIB, unthrottled / MIB);
}

static double unthrottled(void)
{
	struct cell c = { .file = true };

	return run(&c).rate;
}

static int make_file(void)
{
	int fd = open(FILE_PATH, O_RDWR | O_CREAT, 0600);
	int ret = fd < 0 ? -1 : ftruncate(fd, 256 * MIB);

	close(fd);
	return ret;
}

int main(int argc, char **argv)
{
	double rate;

	ktap_start();
	thp_off();
	setting("/proc/sys/kernel/printk", "1");
	if (make_file())
		ktap_skip_all("no room for a file");
	rate = unthrottled();
	test_high(0.8, rate);
	test_high(0.9, rate);
	test_reclaimable(0.8, rate);
	test_reclaimable(0.9, rate);
	unlink(FILE_PATH);
	cg_remove(CG);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
