/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_OWED_H
#define MCX_OWED_H

#include <linux/types.h>

struct page_counter;

/**
 * struct mcx_owed - what a task owes beside the pages of its own cgroup
 * @ms: milliseconds that a policy wants it to wait
 * @by: id of that policy
 * @counter: memory counter of another cgroup that it charged to, or NULL; may be
 *	gone: to be looked up, never dereferenced
 * @pages: that it charged there
 * @held: nothing of all its debt is to be paid before it charges again
 */
struct mcx_owed {
	unsigned int ms;
	u64 by;
	struct page_counter *counter;
	unsigned long pages;
	bool held;
};

bool mcx_owed_add_delay(unsigned int ms, u64 by);
void mcx_owed_add_pages(struct page_counter *counter, unsigned long nr_pages);
void mcx_owed_hold(void);
bool mcx_owed_held(void);
void mcx_owed_release(void);
struct mcx_owed mcx_owed_see(void);
struct mcx_owed mcx_owed_take(void);

#endif /* MCX_OWED_H */
