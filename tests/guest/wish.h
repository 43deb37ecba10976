/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a test has a policy call one of the kfuncs that set something for a cgroup: what is
 * in the policy's globals. For both sides; see wish.bpf.h and policy_wish() of libpolicy.h.
 */
#ifndef MCX_TEST_WISH_H
#define MCX_TEST_WISH_H

enum { WISH_HIGH, WISH_SHED, WISH_WAKE };

/* No errno: the policy has not got to it yet. */
#define WISH_NOTHING_YET	(-1000000)

struct wish_request {
	unsigned long long target;	/* cgroup; 0 when it is taken */
	unsigned long long bytes;
	unsigned int what;
	int result;
};

#endif
