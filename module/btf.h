/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_BTF_H
#define MCX_BTF_H

int mcx_btf_check(void);

#endif /* MCX_BTF_H */
