/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_OWNER_H
#define MCX_OWNER_H

#include <linux/ftrace.h>
#include <linux/types.h>

bool mcx_owner_begin(void);
void mcx_owner_end(void);
bool mcx_owner_of_futex(void);
void mcx_owner_boosted(struct ftrace_regs *fregs);
bool mcx_owner_wanted(void);
void mcx_owner_unwanted(void);
bool mcx_owner_watched(void);
void mcx_owner_watch(bool on);
void mcx_owner_exit(void);

#endif /* MCX_OWNER_H */
