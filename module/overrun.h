/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_OVERRUN_H
#define MCX_OVERRUN_H

#include <linux/ftrace.h>

#include "state.h"

extern int mcx_overrun_users;

bool mcx_overrun_possible(void);
void mcx_overrun_init_memcg(struct mcx_memcg *m);
void mcx_overrun_configure(struct mcx_memcg *m, unsigned long nr_pages);
void mcx_overrun_seen(struct mcx_memcg *m);
void mcx_overrun_written(struct ftrace_regs *fregs);
void mcx_overrun_settle(struct mcx_memcg *m, unsigned long nr_pages);
void mcx_overrun_attached(void);

#endif /* MCX_OVERRUN_H */
