/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_THREADS_FILE_H
#define MCX_THREADS_FILE_H

#include <linux/kernfs.h>
#include <linux/seq_file.h>

int mcx_threads_open(struct kernfs_open_file *of);
void mcx_threads_release(struct kernfs_open_file *of);
int mcx_threads_show(struct seq_file *s, void *v);
ssize_t mcx_threads_write(struct kernfs_open_file *of, char *buf,
			  size_t nbytes, loff_t off);
int mcx_threads_file_init(void);
void mcx_threads_file_exit(void);

#endif /* MCX_THREADS_FILE_H */
