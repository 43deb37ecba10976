// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl doctor: can dkms build the module again, for the next kernel
 */
#include <stdlib.h>

#include "doctor.h"

/* Not by PATH: dkms is started by the package manager, not by our user. */
static bool program_exists(const char *name)
{
	static const char * const folders[] = {
		"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin",
		"/sbin", "/bin",
	};
	bool found = false;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(folders) && !found; i++) {
		__autofree char *path = fmt_string("%s/%s", folders[i], name);

		found = root_exists(path);
	}
	return found;
}

static void check_program(const char *name)
{
	__autofree char *command = fmt_string("apt install %s", name);

	if (program_exists(name))
		doctor_report(DOCTOR_OK, name, NULL, "present");
	else
		doctor_report(DOCTOR_WARN, name, command,
			      "missing, the module cannot be rebuilt");
}

static void check_headers(void)
{
	__autofree char *release = kernel_release();
	__autofree char *build = fmt_string("/lib/modules/%s/build", release);
	__autofree char *command = fmt_string("apt install linux-headers-%s",
					      release);

	if (root_is_dir(build))
		doctor_report(DOCTOR_OK, "kernel headers", NULL, "%s", build);
	else
		doctor_report(DOCTOR_WARN, "kernel headers", command,
			      "missing, the module cannot be rebuilt");
}

/**
 * doctor_build - check what a rebuild needs
 */
void doctor_build(void)
{
	check_headers();
	check_program("dkms");
	check_program("pahole");
}
