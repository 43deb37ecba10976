// SPDX-License-Identifier: GPL-2.0-only
/*
 * What policy_tool.sh loads: by its options it does well, fails in init, or
 * gives up when it is first asked.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

MCX_OPTION(__s32, init_error, 0, "what init returns");
MCX_OPTION(bool, give_up, false, "report an error when asked");
MCX_OPTION(__s64, error_code, 42, "code of that error");

MCX_EXIT_DEFINE();

unsigned int MCX_MEMBER(tool_memcg_charged, struct mem_cgroup *memcg,
			unsigned int nr_pages)
{
	if (give_up)
		mcx_bpf_error(error_code, "had enough");
	return 0;
}

void MCX_MEMBER(tool_level, struct mem_cgroup *memcg, __u32 level, __u32 old)
{
}

__s32 MCX_MEMBER(tool_init, struct mem_cgroup *memcg)
{
	return init_error;
}

void MCX_MEMBER(tool_exit, const struct mcx_exit_info *info)
{
	MCX_EXIT_RECORD(info);
}

MCX_OPS(tool) = {
	.memcg_charged	= (void *)tool_memcg_charged,
	.level		= (void *)tool_level,
	.init		= (void *)tool_init,
	.exit		= (void *)tool_exit,
	.name		= "tool",
};
