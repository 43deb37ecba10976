/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_FILES_H
#define MCX_FILES_H

#include <linux/kernfs.h>

#include "stat.h"

int mcx_files_init(void);
void mcx_files_exit(void);
bool mcx_privileged(struct kernfs_open_file *of);
const char *mcx_stat_name(enum mcx_stat i);

#endif /* MCX_FILES_H */
