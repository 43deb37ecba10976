/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_THROTTLE_H
#define MCX_THROTTLE_H

struct page_counter;

void mcx_throttle_charge(struct page_counter *counter, unsigned long nr_pages,
			 unsigned int delay);
void mcx_throttle_drain(void);

#endif /* MCX_THROTTLE_H */
