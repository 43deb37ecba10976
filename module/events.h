/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_EVENTS_H
#define MCX_EVENTS_H

#include "state.h"

void mcx_events_notify(struct mcx_memcg *m);
void mcx_events_exit(void);

#endif /* MCX_EVENTS_H */
