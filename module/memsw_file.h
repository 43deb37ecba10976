/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_MEMSW_FILE_H
#define MCX_MEMSW_FILE_H

#include <linux/kernfs.h>
#include <linux/seq_file.h>

int mcx_memsw_max_show(struct seq_file *s, void *v);
ssize_t mcx_memsw_max_write(struct kernfs_open_file *of, char *buf,
			    size_t nbytes, loff_t off);
int mcx_memsw_current_show(struct seq_file *s, void *v);
int mcx_memsw_peak_show(struct seq_file *s, void *v);

int mcx_memsw_file_show_max(struct seq_file *s);
ssize_t mcx_memsw_file_write_max(struct kernfs_open_file *of, char *buf,
				 size_t nbytes);

#endif /* MCX_MEMSW_FILE_H */
