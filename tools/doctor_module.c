// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl doctor: the module: installed, loaded, complete
 */
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "features.h"

/* modprobe looks the module up there, not in the folders. */
static bool known_to_modprobe(const char *release)
{
	__autofree char *path = fmt_string("/lib/modules/%s/modules.dep",
					   release);
	__autofree char *text = root_read(path);

	return text && strstr(text, "/" MODULE ".ko");
}

static void check_installed(const char *release)
{
	__autofree char *command = module_install_command(release);
	__autofree char *file = module_file(release);

	if (!file)
		doctor_report(module_loaded() ? DOCTOR_WARN : DOCTOR_FAIL,
			      "module installed", command,
			      "not for kernel %s", release);
	else if (!known_to_modprobe(release))
		doctor_report(DOCTOR_WARN, "module installed", "depmod -a",
			      "%s, but modprobe does not know it", file);
	else
		doctor_report(DOCTOR_OK, "module installed", NULL, "%s", file);
}

static bool check_loaded(void)
{
	__autofree char *version =
		root_read("/sys/module/" MODULE "/version");

	if (!module_loaded()) {
		doctor_report(DOCTOR_FAIL, "module loaded", "modprobe " MODULE,
			      "no");
		return false;
	}
	if (version)
		version[strcspn(version, "\n")] = '\0';
	if (version && strcmp(version, MCXCTL_VERSION))
		doctor_report(DOCTOR_WARN, "module loaded",
			      "modprobe -r " MODULE " && modprobe " MODULE,
			      "version %s, but mcxctl is %s", version,
			      MCXCTL_VERSION);
	else
		doctor_report(DOCTOR_OK, "module loaded", NULL, "version %s",
			      version ?: "unknown");
	return true;
}

static void check_module_btf(const char *release)
{
	__autofree char *command =
		fmt_string("apt install pahole && dkms build --force "
			   MODULE "/" MCXCTL_VERSION
			   " -k %s && dkms install --force "
			   MODULE "/" MCXCTL_VERSION " -k %s",
			   release, release);

	if (root_exists("/sys/kernel/btf/" MODULE))
		doctor_report(DOCTOR_OK, "module BTF", NULL, "present");
	else
		doctor_report(DOCTOR_FAIL, "module BTF", command,
			      "missing, no policy can be loaded");
}

static void check_feature(const struct feature *f, void *arg __unused)
{
	__autofree char *what = fmt_string("feature %s", f->name);
	bool on = !strcmp(f->state, "on");

	doctor_report(on ? DOCTOR_OK : DOCTOR_WARN, what, NULL, "%s%s%s",
		      f->state, *f->reason ? ": " : "", f->reason);
}

static void check_features(void)
{
	/* The sentence names the fix by itself. */
	if (features_each(check_feature, NULL))
		doctor_report(DOCTOR_WARN, "features", NULL, "%s", err_text());
}

/**
 * doctor_module - check the module
 */
void doctor_module(void)
{
	__autofree char *release = kernel_release();

	check_installed(release);
	if (!check_loaded())
		return;
	check_module_btf(release);
	check_features();
}
