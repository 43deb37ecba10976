/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_EVENTS_H
#define MCX_EVENTS_H

#include "state.h"

void mcx_events_notify(struct mcx_memcg *m);

#endif /* MCX_EVENTS_H */
