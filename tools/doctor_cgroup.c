// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl doctor: cgroup2, the memory controller, and one cgroup if asked
 */
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

static void check_controller(const char *mount)
{
	__autofree char *command =
		fmt_string("echo +memory > %s/cgroup.subtree_control", mount);

	if (!cgroup_has_word(mount, "cgroup.controllers", "memory"))
		doctor_report(DOCTOR_FAIL, "memory controller", NULL,
			      "not in cgroup2; boot with cgroup_no_v1=memory, no cgroup_disable");
	else if (!cgroup_has_word(mount, "cgroup.subtree_control", "memory"))
		doctor_report(DOCTOR_FAIL, "memory controller", command,
			      "not handed to the cgroups below %s", mount);
	else
		doctor_report(DOCTOR_OK, "memory controller", NULL,
			      "available and handed down");
}

static void report_state(const char *cgroup)
{
	__autofree char *command = fmt_string("mcxctl enable %s", cgroup);
	__autofree char *what = fmt_string("cgroup %s", cgroup);
	struct keyed k;

	if (cgroup_stat(cgroup, &k))
		doctor_report(DOCTOR_FAIL, what, NULL, "%s", err_text());
	else if (!keyed_is(&k, "managed", 1))
		doctor_report(DOCTOR_WARN, what, command, "not managed");
	else if (keyed_is(&k, "attached", 0))
		doctor_report(DOCTOR_FAIL, what, "mcxctl features",
			      "managed, but the hooks are not attached");
	else
		doctor_report(DOCTOR_OK, what, NULL, "managed");
	keyed_free(&k);
}

static void check_cgroup(const char *arg)
{
	__autofree char *cgroup = cgroup_resolve(arg);
	__autofree char *what = fmt_string("cgroup %s", cgroup ?: arg);

	if (!cgroup || cgroup_explain(cgroup))
		doctor_report(DOCTOR_FAIL, what, NULL, "%s", err_text());
	else
		report_state(cgroup);
}

/**
 * doctor_cgroups - check cgroup2
 * @cgroup: operand of the command; may be NULL
 */
void doctor_cgroups(const char *cgroup)
{
	const char *mount = cgroup_mount();

	if (!mount) {
		doctor_report(DOCTOR_FAIL, "cgroup2", NULL, "%s", err_text());
		return;
	}
	doctor_report(DOCTOR_OK, "cgroup2", NULL, "mounted at %s", mount);
	check_controller(mount);
	if (cgroup)
		check_cgroup(cgroup);
}
