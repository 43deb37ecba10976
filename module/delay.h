/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_DELAY_H
#define MCX_DELAY_H

bool mcx_delay_add(unsigned int ms);
bool mcx_delay_owed(void);
unsigned int mcx_delay_take(void);

#endif /* MCX_DELAY_H */
