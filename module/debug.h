/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_DEBUG_H
#define MCX_DEBUG_H

void mcx_debug_init(void);
void mcx_debug_exit(void);

#endif /* MCX_DEBUG_H */
