/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_THREADS_POLICY_H
#define MCX_THREADS_POLICY_H

#include <linux/types.h>

struct mcx_word;
struct task_struct;

int mcx_threads_request(struct task_struct *task, const struct mcx_word *word);
void mcx_threads_end_policy(u64 id);

#endif /* MCX_THREADS_POLICY_H */
