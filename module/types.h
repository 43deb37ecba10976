/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included in front of every file, by Kbuild: so that each of them has seen the
 * same of the kernel's types.
 *
 * Else the same struct is complete in one file and only declared in another, and
 * pahole 1.30 makes a copy of half of the kernel's types from each (7.x: 105 KB
 * of BTF instead of 7). A member of memcg_ext_ops then takes another struct
 * mem_cgroup than a kfunc does, the kernel finds two types memcg_ext_ops, and
 * registering fails.
 */
#ifndef MCX_TYPES_H
#define MCX_TYPES_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bpf.h>
#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/module.h>
/* What <trace/define_trace.h> includes. */
#include <linux/perf_event.h>
#include <linux/trace_events.h>

#endif /* MCX_TYPES_H */
