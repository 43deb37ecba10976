/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a member of a policy takes long, for tests. It cannot loop for long; but it can copy
 * much, and that as often as the verifier follows it, which takes its own time.
 */
#ifndef MCX_TEST_SPIN_BPF_H
#define MCX_TEST_SPIN_BPF_H

#define SPIN_SIZE	(4 << 20)

char spin_from[SPIN_SIZE];
char spin_to[SPIN_SIZE];

static inline void spin_copy(void)
{
	bpf_probe_read_kernel(spin_to, SPIN_SIZE, spin_from);
}

/* To the point, some ms at most. */
static inline void spin_brief(__u64 ms)
{
	__u64 until = bpf_ktime_get_ns() + ms * 1000000;
	int i;

	for (i = 0; i < 1000 && bpf_ktime_get_ns() < until; i++)
		bpf_probe_read_kernel(spin_to, 64 << 10, spin_from);
}

/* Until then, or @end is set; a few seconds at most. */
static inline void spin_ms(__u64 ms, volatile __u32 *end)
{
	__u64 until = bpf_ktime_get_ns() + ms * 1000000;
	int i;

	for (i = 0; i < 1000; i++) {
		if (*end || bpf_ktime_get_ns() > until)
			break;
		spin_copy();
	}
}

#endif
