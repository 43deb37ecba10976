/* SPDX-License-Identifier: GPL-2.0-only */
/* What the module tells in debugfs, where only root can read. */
#ifndef MCXCTL_DEBUGFS_H
#define MCXCTL_DEBUGFS_H

#include "mcxctl.h"

#define DEBUGFS		"/sys/kernel/debug/" MODULE

int debugfs_explain(const char *path, int error);

#endif /* MCXCTL_DEBUGFS_H */
