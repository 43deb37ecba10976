// SPDX-License-Identifier: GPL-2.0-only
/*
 * prio: of two workloads that do not fit into memory together mcx_prio lets the one that
 * goes first have what it needs while it works, and the other one all there is when it
 * does not.
 *
 * Each has a CPU of its own, so that it is about memory. M5 (m5.c) measures the same.
 *
 * Usage: prio [SIGNAL]
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"
#include "libpolicy.h"
#include "libtouch.h"

#define TOP	"mcx-test-prio"
#define HIGH	TOP "/high"
#define LOW	TOP "/low"
/* Its task is in there: what is below is meant as well. */
#define BELOW	LOW "/task"
#define POLICY	"/mcx/lib/memcg_ext/mcx_prio.bpf.o"
#define SIZE	550		/* MiB, of 1 GB */
#define SETTLE	7000		/* ms */
#define LOOK	4000
/* Of what it does alone, which one short window to the next shows 20 % apart; M5 has the bar. */
#define BAR	0.7
#define PATIENCE	60		/* s, to have it all in memory */
/* Pages a second that TOUCH_SLOW comes to. */
#define SLOW	(SIZE * MIB / PAGE / 10.0)

static const char *by_what = "0";

static int load(const char *cg, const char *high, const char *low)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd),
		 "mcxctl load -c %s --set high=%llu --set low=%llu --set signal=%s %s > /dev/null 2>&1",
		 cg, (unsigned long long)cg_id(high), (unsigned long long)cg_id(low), by_what,
		 POLICY);
	return system(cmd);
}

static int unload(void)
{
	return system("mcxctl unload --all > /dev/null 2>&1");
}

static void test_refused(void)
{
	ktap_ok(load(TOP, LOW, BELOW) && load(TOP, BELOW, LOW) && load(TOP, LOW, LOW),
		"neither may be above the other");
	ktap_ok(load(HIGH, HIGH, LOW), "the policy has to be above both");
	ktap_ok(load(TOP, HIGH, "mcx-test-none"), "both have to be there");
	if (!ktap_ok(!load(TOP, HIGH, LOW), "it loads"))
		return;
	nap_ms(500);
	ktap_ok(!system("mcxctl list | grep -q 'prio.*ejected'") &&
		!system("dmesg | grep -q 'policy prio ejected.*mcxctl enable'"),
		"it gives up, and says why, if the low one is not managed");
	unload();
}

/* What was done to the low one. */
static long long delays(void)
{
	return cg_key(BELOW, "memory.ext.stat", "policy_delays");
}

static long long taken(void)
{
	return cg_key(LOW, "memory.ext.stat", "reclaimed_pages") +
	       cg_key(BELOW, "memory.ext.stat", "reclaimed_pages");
}

/*
 * Both, with nobody who looks after them: low has what it needs when high begins. Which of
 * them wins is not foreseeable, but as a rule who has it keeps it.
 */
static double test_together(struct touch *high, struct touch *low)
{
	double rate;

	touch_ready(low);
	nap_ms(SETTLE);
	high->state->mode = TOUCH_BUSY;
	nap_ms(SETTLE);
	rate = touch_rate(high, LOOK);
	ktap_note("together: high %.0f pages/s", rate);
	return rate;
}

/* Beside a task that keeps the other CPU busy, and no memory. */
static double test_solo(struct touch *high)
{
	struct touch spinner = touch_start(BELOW, 1, 1, TOUCH_SPIN);
	double rate;

	touch_ready(high);
	nap_ms(SETTLE);
	rate = touch_rate(high, LOOK);
	touch_end(&spinner);
	ktap_note("solo: high %.0f pages/s", rate);
	return rate;
}

static void test_busy(struct touch *high, struct touch *low, double solo,
		      double together)
{
	double after = touch_reaches(high, solo * 0.75, PATIENCE);
	double rate = touch_rate(high, LOOK);

	ktap_ok(rate > solo * BAR,
		"while both work high does, after %.1f s, %.1f %% of what it does alone, without a policy %.1f",
		after, rate / solo * 100, together / solo * 100);
	ktap_ok(delays() > 0 && taken() > 0,
		"low waits %lld times, and %lld pages are taken from it", delays(), taken());
	ktap_note("low has %.0f MiB and does %.0f pages/s",
		  cg_number(LOW, "memory.current") / (double)MIB, touch_rate(low, 1000));
}

/* It touches all of its memory, but slowly. */
static void test_content(struct touch *high)
{
	long long before;
	double rate;

	high->state->mode = TOUCH_SLOW;
	nap_ms(SETTLE);
	before = delays();
	rate = touch_rate(high, LOOK);
	ktap_ok(rate > SLOW * BAR,
		"while high is content it does %.1f %% of what it wants to (low waits %lld times)",
		rate / SLOW * 100, delays() - before);
}

/* From two seconds on nothing is done to low any more, and it has all it needs. */
static void test_idle(struct touch *high, struct touch *low, double solo)
{
	long long delayed, pages;
	double after;

	high->state->mode = TOUCH_IDLE;
	nap_ms(2000);
	delayed = delays();
	pages = taken();
	after = 2 + touch_reaches(low, solo * BAR, PATIENCE);
	ktap_ok(delays() == delayed && taken() == pages,
		"two seconds after high became idle low is left alone (%lld delays, %lld pages)",
		delays() - delayed, taken() - pages);
	ktap_ok(after < PATIENCE + 2, "and after %.1f s it does %.1f %% of what high does alone",
		after, touch_rate(low, 1000) / solo * 100);
}

/* High goes on, and gets it back. */
static void test_wakes(struct touch *high, double solo)
{
	double after, rate;

	high->state->mode = TOUCH_BUSY;
	after = touch_reaches(high, solo * 0.75, PATIENCE);
	rate = touch_rate(high, LOOK);
	ktap_ok(rate > solo * BAR, "when it works again it does, after %.1f s, %.1f %%",
		after, rate / solo * 100);
}

static void test_policy(struct touch *high, struct touch *low, double solo,
			double together)
{
	if (!ktap_ok(!load(TOP, HIGH, LOW), "mcx_prio is loaded"))
		return;
	test_busy(high, low, solo, together);
	test_content(high);
	test_idle(high, low, solo);
	test_wakes(high, solo);
	ktap_ok(!system("mcxctl list | grep -q 'prio.*active'"), "it has not been ejected");
}

static void make_cgroups(void)
{
	cg_create(TOP);
	cg_write(TOP, "cgroup.subtree_control", "+memory +cpu");
	cg_create(HIGH);
	cg_create(LOW);
	cg_write(LOW, "cgroup.subtree_control", "+memory +cpu");
	cg_create(BELOW);
}

static void remove_cgroups(void)
{
	cg_remove(BELOW);
	cg_remove(LOW);
	cg_remove(HIGH);
	cg_remove(TOP);
}

int main(int argc, char **argv)
{
	struct touch high, low;
	double solo, together;

	if (argc > 1)
		by_what = argv[1];
	ktap_start();
	thp_off();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	swap_on();
	/* Swapping allocates, too, and 7.x complains where it cannot. */
	setting("/proc/sys/vm/min_free_kbytes", "16384");
	make_cgroups();
	test_refused();
	mcx_manage(LOW);
	high = touch_start(HIGH, 0, SIZE, TOUCH_BUSY);
	solo = test_solo(&high);
	high.state->mode = TOUCH_IDLE;
	low = touch_start(BELOW, 1, SIZE, TOUCH_BUSY);
	together = test_together(&high, &low);
	test_policy(&high, &low, solo, together);
	touch_end(&high);
	touch_end(&low);
	ktap_ok(!unload(), "and unloaded");
	remove_cgroups();
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
