/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Attaching the policies of bpf/ as they are installed, for tests that are not
 * about mcxctl.
 */
#ifndef MCX_TEST_LIBPOLICY_H
#define MCX_TEST_LIBPOLICY_H

#include <stdbool.h>
#include <stdint.h>

struct bpf_link;
struct wish_request;
struct bpf_map;
struct bpf_object;

/* The id of a cgroup; 0 if there is none. */
uint64_t cg_id(const char *cg);

/* Is that what memory.ext.policy says? */
bool policy_in_effect(const char *cg, const char *line);
/* Waits until it does; three seconds at most. */
bool policy_becomes(const char *cg, const char *line);

/* NULL on failure, with errno; the object is left in @obj, to be closed. */
struct bpf_link *policy_attach(const char *file, const char *cg,
			       struct bpf_object **obj);

/* Has a policy call a kfunc, see wish.h. What that returned, or WISH_NOTHING_YET. */
int policy_wish(struct wish_request *r, int what, const char *cg,
		unsigned long long bytes);

/* One that is loaded; a case fails if it does not attach. */
struct bpf_link *policy_link(struct bpf_map *map);

#endif
