// SPDX-License-Identifier: GPL-2.0-only
/*
 * prio: of two workloads that do not fit into memory together mcx_prio lets the one that
 * goes first have what it needs while it works, and the other one all there is when it
 * does not.
 *
 * Each has a CPU of its own, so that it is about memory. M5 (m5.c) measures the same.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "lib.h"
#include "libpolicy.h"
#include "libtouch.h"

#define HIGH	"mcx-test-high"
#define LOW	"mcx-test-low"
#define POLICY	"/mcx/lib/memcg_ext/mcx_prio.bpf.o"
#define SIZE	550		/* MiB, of 1 GB */
#define SETTLE	7000		/* ms */
#define LOOK	4000
/* Of what it does alone, which one short window to the next shows 20 % apart; M5 has the bar. */
#define BAR	0.5
#define PATIENCE	60		/* s, to have it all in memory */

static int load(void)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "mcxctl load -c %s --set high=%llu %s > /dev/null", LOW,
		 (unsigned long long)cg_id(HIGH), POLICY);
	return system(cmd);
}

/* What was done to the low one. */
static long long done(const char *key)
{
	return cg_key(LOW, "memory.ext.stat", key);
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
	struct touch spinner = touch_start(LOW, 1, 1, TOUCH_SPIN);
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
	ktap_ok(together > solo * 0.75 ||
		(done("policy_delays") > 0 && done("reclaimed_pages") > 0),
		"low waits %lld times, and %lld pages are taken from it",
		done("policy_delays"), done("reclaimed_pages"));
	ktap_note("low has %.0f MiB and does %.0f pages/s",
		  cg_number(LOW, "memory.current") / (double)MIB, touch_rate(low, 1000));
}

/* From two seconds on nothing is done to it any more. */
static void test_idle(struct touch *high)
{
	long long delays, reclaimed, had, has;

	high->state->mode = TOUCH_IDLE;
	nap_ms(2000);
	delays = done("policy_delays");
	reclaimed = done("reclaimed_pages");
	had = cg_number(LOW, "memory.current");
	nap_ms(SETTLE);
	ktap_ok(done("policy_delays") == delays && done("reclaimed_pages") == reclaimed,
		"two seconds after high became idle low is left alone (%lld delays, %lld pages)",
		done("policy_delays") - delays, done("reclaimed_pages") - reclaimed);
	/* What high has and does not use the kernel takes from it as it sees fit. */
	has = cg_number(LOW, "memory.current");
	ktap_note("low has %.0f MiB, %.0f some seconds before", has / (double)MIB,
		  had / (double)MIB);
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

int main(void)
{
	struct touch high, low;
	double solo, together;

	ktap_start();
	thp_off();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	swap_on();
	/* Swapping allocates, too, and 7.x complains where it cannot. */
	setting("/proc/sys/vm/min_free_kbytes", "16384");
	cg_create(HIGH);
	cg_create(LOW);
	high = touch_start(HIGH, 0, SIZE, TOUCH_BUSY);
	solo = test_solo(&high);
	high.state->mode = TOUCH_IDLE;
	low = touch_start(LOW, 1, SIZE, TOUCH_BUSY);
	together = test_together(&high, &low);
	if (ktap_ok(!load(), "mcx_prio is loaded")) {
		test_busy(&high, &low, solo, together);
		test_idle(&high);
		test_wakes(&high, solo);
	}
	touch_end(&high);
	touch_end(&low);
	ktap_ok(!system("mcxctl unload --all > /dev/null"), "and unloaded");
	cg_remove(HIGH);
	cg_remove(LOW);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
