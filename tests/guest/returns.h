/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the two halves of the test "returns" share: returns.bpf.c counts,
 * returns.c judges. Fixed-size types come from vmlinux.h or linux/types.h.
 */
#ifndef RETURNS_H
#define RETURNS_H

/* Where a task of the watched process is. */
enum returns_place {
	RETURNS_ELSEWHERE,
	RETURNS_RUN,		/* in ioctl(KVM_RUN), vcpu->mutex held */
	RETURNS_ENTRY,		/* there, in xfer_to_guest_mode_handle_work() */
	RETURNS_AFTER,		/* out of it, on the way back to user mode */
	RETURNS_WORKER,		/* a worker of io_uring, wherever it is */
	RETURNS_PLACES,
};

struct returns_count {
	__u64 calls;		/* of the over-high handler */
	__u64 owing;		/* of these, by a task with debt */
	__u64 left;		/* with debt after the call */
	__u64 reclaims;		/* passes of reclaim within such a call */
	__u64 direct;		/* and outside of one, at memory.max */
	__u64 sleeps;		/* sleeps likewise; in KVM_RUN any sleep */
	__u64 sleep_ns;
};

#endif
