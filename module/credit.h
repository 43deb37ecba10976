/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_CREDIT_H
#define MCX_CREDIT_H

#include <linux/time64.h>
#include <linux/types.h>

/* In how long who takes at a constant rate takes what mcx_credit_taken() says, 1 s / ln 2. */
#define MCX_CREDIT_NS	(1443ULL * NSEC_PER_MSEC)

struct page_counter;

unsigned long mcx_credit_give(struct page_counter *counter,
			      unsigned long nr_pages);
unsigned long mcx_credit_see(struct page_counter *counter,
			     unsigned long nr_pages);
unsigned long mcx_credit_taken(struct page_counter *counter);
void mcx_credit_book(struct page_counter *counter, unsigned long nr_pages,
		     unsigned long waited);

#endif /* MCX_CREDIT_H */
