/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: /sys/kernel/tracing/events/memcg_ext. Not an ABI.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM memcg_ext

#if !defined(MCX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define MCX_TRACE_H

#include <linux/tracepoint.h>

#include "ops.h"

/* A policy ended, for whatever reason. */
TRACE_EVENT(memcg_ext_policy_exit,
	TP_PROTO(const char *name, u64 id, u64 cgroup_id,
		 const struct mcx_exit_info *exit),
	TP_ARGS(name, id, cgroup_id, exit),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u64, id)
		__field(u64, cgroup_id)
		__field(u32, kind)
		__field(s64, code)
		__string(msg, exit->msg)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->id = id;
		__entry->cgroup_id = cgroup_id;
		__entry->kind = exit->kind;
		__entry->code = exit->code;
		__assign_str(msg);
	),
	TP_printk("name=%s id=%llu cgroup=%llu kind=%u code=%lld msg=%s",
		  __get_str(name), __entry->id, __entry->cgroup_id, __entry->kind,
		  __entry->code, __get_str(msg))
);

#endif /* MCX_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
