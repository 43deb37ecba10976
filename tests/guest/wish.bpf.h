/* SPDX-License-Identifier: GPL-2.0-only */
/* See wish.h: what a policy does in its tick. */
#ifndef MCX_TEST_WISH_BPF_H
#define MCX_TEST_WISH_BPF_H

#include "mcx.bpf.h"
#include "wish.h"

struct wish_request request;

static int wish_call(struct mem_cgroup *memcg)
{
	switch (request.what) {
	case WISH_HIGH:
		return mcx_bpf_set_high(memcg, request.bytes);
	case WISH_SHED:
		return mcx_bpf_shed(memcg, request.bytes);
	default:
		return mcx_bpf_wake(memcg);
	}
}

/* The result is last: by then the test may make the next request. */
static void wish_act(void)
{
	struct mem_cgroup *memcg;
	int result;

	if (!request.target)
		return;
	memcg = mcx_memcg_from_id(request.target);
	if (!memcg)
		return;
	result = wish_call(memcg);
	bpf_put_mem_cgroup(memcg);
	request.target = 0;
	*(volatile int *)&request.result = result;
}

#endif
