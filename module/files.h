/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_FILES_H
#define MCX_FILES_H

#include "stat.h"

int mcx_files_init(void);
void mcx_files_exit(void);
const char *mcx_stat_name(enum mcx_stat i);

#endif /* MCX_FILES_H */
