/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_SHOW_H
#define MCX_SHOW_H

#include <linux/cgroup.h>
#include <linux/seq_file.h>

void mcx_show_bytes(struct seq_file *s, unsigned long pages);
void mcx_show_path(struct seq_file *s, struct cgroup *cgrp);

#endif /* MCX_SHOW_H */
