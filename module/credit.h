/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_CREDIT_H
#define MCX_CREDIT_H

#include <linux/types.h>

struct page_counter;

unsigned long mcx_credit_give(struct page_counter *counter,
			      unsigned long nr_pages);
unsigned long mcx_credit_see(struct page_counter *counter,
			     unsigned long nr_pages);
u64 mcx_credit_since(struct page_counter *counter);
void mcx_credit_due(void);
void mcx_credit_book(struct page_counter *counter, unsigned long nr_pages,
		     unsigned long waited);

#endif /* MCX_CREDIT_H */
