/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_EJECT_H
#define MCX_EJECT_H

void mcx_eject_init(void);
void mcx_eject_exit(void);

#endif /* MCX_EJECT_H */
