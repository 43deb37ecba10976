// SPDX-License-Identifier: GPL-2.0-only
/*
 * No policies: members of another struct_ops, without and with a kfunc that is
 * for policies only. Nothing of this is ever attached.
 */
#include "mcx.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("struct_ops/foreign_cong_avoid")
void BPF_PROG(foreign_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
}

SEC("struct_ops/foreign_undo_cwnd")
__u32 BPF_PROG(foreign_undo_cwnd, struct sock *sk)
{
	return 2;
}

SEC("struct_ops/calm_ssthresh")
__u32 BPF_PROG(calm_ssthresh, struct sock *sk)
{
	return 2;
}

SEC("struct_ops/calls_ssthresh")
__u32 BPF_PROG(calls_ssthresh, struct sock *sk)
{
	mcx_bpf_error(45, "somebody else's fault");
	return 2;
}

SEC(".struct_ops") struct tcp_congestion_ops calm = {
	.ssthresh	= (void *)calm_ssthresh,
	.undo_cwnd	= (void *)foreign_undo_cwnd,
	.cong_avoid	= (void *)foreign_cong_avoid,
	.name		= "mcx_test_calm",
};

SEC(".struct_ops") struct tcp_congestion_ops calls = {
	.ssthresh	= (void *)calls_ssthresh,
	.undo_cwnd	= (void *)foreign_undo_cwnd,
	.cong_avoid	= (void *)foreign_cong_avoid,
	.name		= "mcx_test_calls",
};
