/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_WATCH_H
#define MCX_WATCH_H

#include "state.h"

void mcx_watch_init(void);
void mcx_watch_begin(struct mcx_policy *p);
void mcx_watch_end(struct mcx_policy *p);

#endif /* MCX_WATCH_H */
