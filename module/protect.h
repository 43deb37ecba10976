/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_PROTECT_H
#define MCX_PROTECT_H

#include "state.h"

void mcx_protect_init(void);
void mcx_protect_want(bool want);
void mcx_protect_drop(struct mcx_memcg *m);
int mcx_protect_attach(void);
void mcx_protect_detach(void);

#endif /* MCX_PROTECT_H */
