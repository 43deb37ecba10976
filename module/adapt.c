// SPDX-License-Identifier: GPL-2.0-only
/*
 * Learns, from what happens, how far below its limit a cgroup has to be kept;
 * mark.h says where the marks are for it.
 *
 * Two distances, for two reasons.
 *
 * headroom, below memory.max: what tasks charge within one entry into the
 * kernel cannot be stopped. It is the largest that usage was seen to pass the
 * pacing mark by (mcx_memcg.burst), in this window or the one before, and
 * mcx_memcg.doubt quarters of that. A window ends when it is old enough and enough
 * samples were taken in it: time in which nothing comes near the limit teaches
 * nothing. The first counts as if MCX_INITIAL_BURST had been seen before, so the
 * headroom starts wide and shrinks to what is needed. It takes MCX_WINDOW_FIRST,
 * the second twice and all others four times as long, and as many samples; the
 * quarters are 8, then 4, then 2: the largest of few says little about the
 * largest that will be.
 *
 * gap, from the admission mark down to where the workers wake:
 *
 *	arrival * latency * 5/4 + boost
 *
 * arrival is the rate of charges in pages a second, the highest of late;
 * latency the time from waking the workers to their first pages, the longest
 * of late. Their product is what is charged until reclaim begins, and a quarter
 * more for what a sample averages away. That covers what is regular. boost is for
 * the rest, and for workers that are slower than the allocators: it grows by
 * half the distance when tasks had to be held at the admission mark all the same,
 * and otherwise shrinks. It starts as 1/16 of the limit, 8 MiB at most, and never
 * exceeds that: where workers cannot keep up no distance helps, and pacing
 * (throttle.c) has to.
 *
 * Samples are taken by whoever ends a pass, every MCX_SAMPLE_NS at most: nothing
 * is measured, and nothing wakes, while nothing is charged. In between boost and
 * maxima decay by 1/64 for every MCX_SAMPLE_NS, to half in half a second; but a
 * pause counts as MCX_DECAY_MAX of them at most, so that a load that strikes every
 * now and then is not forgotten.
 *
 * Locking: none. One worker at a time takes the sample (sampled_at); the values
 * are single words, read anywhere.
 */
#include <linux/bits.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/time64.h>

#include "adapt.h"
#include "mark.h"
#include "state.h"

#define MCX_SAMPLE_NS	(10ULL * NSEC_PER_MSEC)
#define MCX_DECAY_MAX	25
#define MCX_WINDOW_FIRST	(HZ * 3 / 2)
#define MCX_WINDOW_SAMPLES	16

/* Pages a second, until measured: low enough to hold nobody for long. */
#define MCX_INITIAL_RATE	50000
/* 8 MiB, and with MCX_DOUBT_FIRST three times that: a dozen writers of 1 MiB each. */
#define MCX_INITIAL_BURST	((8UL << 20) >> PAGE_SHIFT)
#define MCX_DOUBT_FIRST	8U
#define MCX_DOUBT_LAST	2U
/* 16 TiB a second; times the latency it fits in 64 bits. */
#define MCX_ARRIVAL_MAX	BIT_ULL(32)
/* A worker that was not scheduled for that long is no fault of the distance. */
#define MCX_LATENCY_MAX	(100ULL * NSEC_PER_MSEC)

/**
 * mcx_adapt_init_memcg() - make what a new object knows
 * @m: the object
 *
 * Context: Any.
 */
void mcx_adapt_init_memcg(struct mcx_memcg *m)
{
	m->rate = MCX_INITIAL_RATE;
	m->burst = MCX_INITIAL_BURST;
	m->burst_old = MCX_INITIAL_BURST;
	m->burst_at = jiffies;
	m->doubt = MCX_DOUBT_FIRST;
	m->boost = MCX_GAP_MAX;
}

/**
 * mcx_adapt_kicked() - the workers were just asked to reclaim
 * @m: the cgroup
 *
 * Context: Any but NMI.
 */
void mcx_adapt_kicked(struct mcx_memcg *m)
{
	WRITE_ONCE(m->kicked_at, ktime_get_ns());
}

static void mcx_learn_rate(struct mcx_memcg *m, unsigned long freed, u64 nsec)
{
	unsigned long rate = READ_ONCE(m->rate);
	unsigned long now;

	now = div64_u64((u64)freed * NSEC_PER_SEC, max(nsec, 1ULL));
	WRITE_ONCE(m->rate, max(rate - rate / 8 + now / 8, MCX_BATCH));
}

/* From the kick to the first pages. */
static void mcx_learn_latency(struct mcx_memcg *m, u64 now)
{
	u64 kicked = xchg(&m->kicked_at, 0), seen;

	if (!kicked)
		return;
	seen = min(now - min(now, kicked), MCX_LATENCY_MAX);
	if (seen > READ_ONCE(m->latency))
		WRITE_ONCE(m->latency, seen);
}

/* Usage passed the pacing mark by so much before its tasks were held. */
static void mcx_learn_burst(struct mcx_memcg *m, unsigned long seen)
{
	unsigned int longer = MCX_DOUBT_FIRST / m->doubt;
	unsigned long least;

	if (seen > READ_ONCE(m->burst_new))
		WRITE_ONCE(m->burst_new, seen);
	if (++m->samples >= longer * MCX_WINDOW_SAMPLES &&
	    time_after(jiffies, m->burst_at + longer * MCX_WINDOW_FIRST)) {
		WRITE_ONCE(m->doubt, max(m->doubt / 2, MCX_DOUBT_LAST));
		m->burst_old = m->burst_new;
		m->burst_new = 0;
		m->burst_at = jiffies;
		m->samples = 0;
	}
	/* Where no larger one was seen yet, none may have had the time. */
	least = MCX_INITIAL_BURST / MCX_DOUBT_FIRST *
		(m->doubt - MCX_DOUBT_LAST);
	WRITE_ONCE(m->burst, max3(m->burst_old, m->burst_new, least));
}

/*
 * @crossed stays until usage is below the pacing mark: as burst grows that mark
 * falls, and usage is above it through nobody's doing. It may be from before the
 * limit was raised: what is below the mark of now is no burst.
 */
static void mcx_learn_crossing(struct mcx_memcg *m, unsigned int steps)
{
	unsigned long admit = mcx_mark_admit(m);
	unsigned long gap = mcx_gap(m, admit);
	unsigned long boost = READ_ONCE(m->boost);
	unsigned long from = READ_ONCE(m->crossed);
	unsigned long peak = xchg(&m->peak, 0);

	if (from)
		from = max(from, admit - gap / 2);
	mcx_learn_burst(m, from && peak > from ? peak - from : 0);
	if (page_counter_read(m->counter) <= admit - gap / 2)
		WRITE_ONCE(m->crossed, 0);

	if (peak > admit)
		boost += gap / 2;
	else
		boost -= DIV_ROUND_UP(boost * steps, 64);
	WRITE_ONCE(m->boost, min(boost, MCX_GAP_MAX));
}

/* Nothing can be freed: no burst, and no distance would help. */
static void mcx_forget_crossing(struct mcx_memcg *m)
{
	WRITE_ONCE(m->peak, 0);
	if (READ_ONCE(m->crossed))
		WRITE_ONCE(m->crossed, page_counter_read(m->counter));
}

static void mcx_learn_arrival(struct mcx_memcg *m, u64 nsec,
			      unsigned int steps)
{
	u64 charged = mcx_memcg_stat(m, MCX_STAT_charged_pages);
	u64 arrival = READ_ONCE(m->arrival), latency = READ_ONCE(m->latency);
	u64 then = m->charged_then, seen;

	/* Who sampled before may have been held up, and has written less. */
	if (charged < then)
		return;
	seen = min(charged - then, U64_MAX / NSEC_PER_SEC) * NSEC_PER_SEC;
	seen = min(div64_u64(seen, nsec), MCX_ARRIVAL_MAX);
	m->charged_then = charged;
	WRITE_ONCE(m->arrival, max(arrival - arrival * steps / 64, seen));
	WRITE_ONCE(m->latency, latency - latency * steps / 64);
}

static void mcx_learn_gap(struct mcx_memcg *m)
{
	u64 gap = div_u64(READ_ONCE(m->arrival) * READ_ONCE(m->latency),
			  NSEC_PER_SEC);

	gap += gap / 4;
	WRITE_ONCE(m->gap, min_t(u64, gap, ULONG_MAX >> PAGE_SHIFT));
}

/**
 * mcx_adapt_pass() - learn from a pass
 * @m: the cgroup
 * @freed: pages it freed
 * @nsec: how long it took
 *
 * Context: a worker, at the end of the pass, no lock held.
 */
void mcx_adapt_pass(struct mcx_memcg *m, unsigned long freed, u64 nsec)
{
	u64 now = ktime_get_ns(), then = READ_ONCE(m->sampled_at);
	unsigned int steps;

	if (!freed) {
		mcx_forget_crossing(m);
		return;
	}
	mcx_learn_rate(m, freed, nsec);
	if (now - then >= MCX_SAMPLE_NS &&
	    cmpxchg(&m->sampled_at, then, now) == then) {
		steps = min_t(u64, div64_u64(now - then, MCX_SAMPLE_NS),
			      MCX_DECAY_MAX);
		mcx_learn_crossing(m, steps);
		mcx_learn_arrival(m, now - then, steps);
	}
	mcx_learn_latency(m, now);
	mcx_learn_gap(m);
}
