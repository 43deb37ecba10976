/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_POLICY_LIFE_H
#define MCX_POLICY_LIFE_H

#include "state.h"

struct mcx_policy *mcx_policy_alloc(const struct memcg_ext_ops *ops,
				    const struct bpf_link *link,
				    struct mem_cgroup *memcg);
void mcx_policy_put(struct mcx_policy *p);
void mcx_policy_part(struct mcx_policy *p);
void mcx_policy_exit(struct mcx_policy *p);
bool mcx_policy_is_listed(const struct memcg_ext_ops *ops);
void mcx_policy_list(struct mcx_policy *p);
struct mcx_policy *mcx_policy_find(const struct bpf_link *link);
void mcx_policy_retire(struct mcx_policy *p, const char *msg);
void mcx_policies_end(u64 id, enum mcx_exit_kind kind, s64 code, const char *msg);
void mcx_policies_for_each(void (*fn)(struct mcx_policy *p, void *arg), void *arg);
void mcx_policy_note_exit(struct mcx_policy *p);

#endif /* MCX_POLICY_LIFE_H */
