/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_POLICY_H
#define MCX_POLICY_H

#include <linux/seq_file.h>

#include "state.h"

struct bpf_prog;

int mcx_policy_init(void);
int mcx_kfuncs_init(void);
void mcx_policies_eject(const char *msg);
bool mcx_policy_has(const struct bpf_prog *prog);
void mcx_policies_show(struct seq_file *s);
void mcx_last_exit_show(struct seq_file *s);
void mcx_policy_show_memcg(struct seq_file *s, struct mem_cgroup *memcg);

#endif /* MCX_POLICY_H */
