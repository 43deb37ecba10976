/* SPDX-License-Identifier: GPL-2.0-only */
/* How the checks of mcxctl doctor hand in what they found. */
#ifndef MCXCTL_DOCTOR_H
#define MCXCTL_DOCTOR_H

#include "mcxctl.h"

/*
 * FAIL: memcg_ext or the cgroup in question cannot work. WARN: it works, but
 * not all of it, not for everyone, or not after the next kernel update.
 */
enum verdict { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

void doctor_report(enum verdict verdict, const char *what, const char *fix,
		   const char *fmt, ...) __printf(4, 5);

struct json_object *doctor_run(const char *cgroup);

/* doctor_kernel.c, doctor_module.c, doctor_cgroup.c, doctor_build.c */
void doctor_kernel(void);
void doctor_module(void);
void doctor_machine(void);
void doctor_cgroups(const char *cgroup);
void doctor_build(void);

#endif /* MCXCTL_DOCTOR_H */
