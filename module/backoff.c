// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy that is ejected again and again, and loaded again each time by somebody who
 * does not look (a unit that restarts it), has to wait before it is attached: not after
 * the first time, then for one second, two, four, up to a minute. Every minute without
 * an error takes one back.
 *
 * A policy is known by its name and its cgroup. The last MCX_BACKOFF_ENTRIES that were
 * ejected are kept.
 *
 * Locking: backoff_mutex.
 */
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/string.h>

#include "backoff.h"
#include "ops.h"

#define MCX_BACKOFF_ENTRIES	32
/* The longest wait, and how soon one ejection is forgotten. */
#define MCX_BACKOFF_MOST	(60 * HZ)
#define MCX_BACKOFF_SHIFT_MAX	6U

static unsigned int backoff_ms = 1000;
module_param(backoff_ms, uint, 0644);
MODULE_PARM_DESC(backoff_ms, "milliseconds before a policy that was ejected twice can be attached again; twice as many each time after that, up to a minute; 0: none (1000)");

struct mcx_backoff {
	char name[MCX_OPS_NAME_LEN];
	u64 cgroup_id;
	unsigned int strikes;
	unsigned long at;	/* jiffies of the last one */
};

static DEFINE_MUTEX(backoff_mutex);
static struct mcx_backoff table[MCX_BACKOFF_ENTRIES];

/* Takes back what time has. Caller holds the mutex. */
static void mcx_backoff_forgive(struct mcx_backoff *b)
{
	unsigned long minutes = (jiffies - b->at) / MCX_BACKOFF_MOST;

	b->strikes -= min_t(unsigned long, b->strikes, minutes);
	b->at += minutes * MCX_BACKOFF_MOST;
}

static struct mcx_backoff *mcx_backoff_find(const char *name, u64 cgroup_id)
{
	int i;

	for (i = 0; i < MCX_BACKOFF_ENTRIES; i++) {
		struct mcx_backoff *b = &table[i];

		if (b->strikes && b->cgroup_id == cgroup_id &&
		    !strcmp(b->name, name))
			return b;
	}
	return NULL;
}

/* In the place of none, or of the one that was quiet for longest. */
static struct mcx_backoff *mcx_backoff_add(const char *name, u64 cgroup_id)
{
	struct mcx_backoff *b = &table[0];
	int i;

	for (i = 1; i < MCX_BACKOFF_ENTRIES && b->strikes; i++)
		if (!table[i].strikes || time_before(table[i].at, b->at))
			b = &table[i];
	*b = (struct mcx_backoff) { .cgroup_id = cgroup_id, .at = jiffies };
	strscpy(b->name, name, sizeof(b->name));
	return b;
}

/**
 * mcx_backoff_strike() - a policy was ejected for an error
 * @name: its name
 * @cgroup_id: its cgroup
 *
 * Context: Process. Takes the mutex.
 */
void mcx_backoff_strike(const char *name, u64 cgroup_id)
{
	struct mcx_backoff *b;

	mutex_lock(&backoff_mutex);
	b = mcx_backoff_find(name, cgroup_id) ?:
	    mcx_backoff_add(name, cgroup_id);
	mcx_backoff_forgive(b);
	b->strikes = min(b->strikes + 1, MCX_BACKOFF_SHIFT_MAX + 2);
	b->at = jiffies;
	mutex_unlock(&backoff_mutex);
}

/* From the last time on, in jiffies. */
static unsigned long mcx_backoff_wait(const struct mcx_backoff *b)
{
	u64 ms = READ_ONCE(backoff_ms);

	if (b->strikes < 2)
		return 0;
	ms <<= min(b->strikes - 2, MCX_BACKOFF_SHIFT_MAX);
	return min_t(u64, msecs_to_jiffies(min_t(u64, ms, INT_MAX)),
		     MCX_BACKOFF_MOST);
}

/**
 * mcx_backoff_left() - how long may a policy not be attached again
 * @name: its name
 * @cgroup_id: its cgroup
 *
 * Context: Process. Takes the mutex.
 * Return: jiffies; 0: it may.
 */
unsigned long mcx_backoff_left(const char *name, u64 cgroup_id)
{
	unsigned long left = 0;
	struct mcx_backoff *b;

	mutex_lock(&backoff_mutex);
	b = mcx_backoff_find(name, cgroup_id);
	if (b) {
		unsigned long wait = mcx_backoff_wait(b);

		/* Nothing is forgiven here: who may try once may go on to. */
		left = wait - min(wait, jiffies - b->at);
	}
	mutex_unlock(&backoff_mutex);
	return left;
}
