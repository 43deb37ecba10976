/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_SYMBOLS_H
#define MCX_SYMBOLS_H

#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/static_call.h>

unsigned long mcx_symbol_find(const char *name);
int mcx_symbols_init(void);

/*
 * Prototypes of the kernel functions reached by static_call. They are never
 * defined: only their type is used.
 */
int mcx_proto_add_cftypes(struct cgroup_subsys *ss, struct cftype *cfts);
int mcx_proto_rm_cftypes(struct cftype *cfts);
unsigned long mcx_proto_try_to_free(struct mem_cgroup *memcg,
				    unsigned long nr_pages, gfp_t gfp_mask,
				    unsigned int reclaim_options,
				    int *swappiness);
void mcx_proto_file_notify(struct cgroup_file *cfile);

DECLARE_STATIC_CALL(mcx_add_cftypes, mcx_proto_add_cftypes);
DECLARE_STATIC_CALL(mcx_rm_cftypes, mcx_proto_rm_cftypes);
DECLARE_STATIC_CALL(mcx_try_to_free, mcx_proto_try_to_free);
DECLARE_STATIC_CALL(mcx_file_notify, mcx_proto_file_notify);

/* A static call to a NULL target of type void is a nop: safe when missing. */
static inline void mcx_file_notify(struct cgroup_file *cfile)
{
	static_call_cond(mcx_file_notify)(cfile);
}

#endif /* MCX_SYMBOLS_H */
