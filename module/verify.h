/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_VERIFY_H
#define MCX_VERIFY_H

#include <linux/bpf.h>
#include <linux/bpf_verifier.h>

extern const struct bpf_verifier_ops mcx_verifier_ops;

int mcx_verify_member(const struct btf_type *t, const struct btf_member *member,
		      const struct bpf_prog *prog);

#endif /* MCX_VERIFY_H */
