// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl doctor: the kernel, and what of it must be switched on
 */
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

#define SECURE_BOOT \
	"/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define CAP_SYS_RESOURCE	24

static void check_release(void)
{
	__autofree char *release = kernel_release();

	if (kernel_supported(release))
		doctor_report(DOCTOR_OK, "kernel", NULL, "%s", release);
	else
		doctor_report(DOCTOR_FAIL, "kernel", NULL,
			      "%s is too old; boot kernel %d.%d or later",
			      release, MIN_MAJOR, MIN_MINOR);
}

static void check_btf(void)
{
	if (root_exists("/sys/kernel/btf/vmlinux"))
		doctor_report(DOCTOR_OK, "kernel BTF", NULL, "present");
	else
		doctor_report(DOCTOR_FAIL, "kernel BTF", NULL,
			      "missing; boot a kernel with CONFIG_DEBUG_INFO_BTF=y");
}

static void check_ftrace(void)
{
	__autofree char *text = root_read("/proc/sys/kernel/ftrace_enabled");

	if (!text)
		doctor_report(DOCTOR_FAIL, "ftrace", NULL,
			      "missing; boot a kernel with CONFIG_FUNCTION_TRACER=y");
	else if (atoi(text))
		doctor_report(DOCTOR_OK, "ftrace", NULL, "enabled");
	else
		doctor_report(DOCTOR_FAIL, "ftrace",
			      "sysctl -w kernel.ftrace_enabled=1",
			      "disabled, no hook can be attached");
}

/* With psi=0 the file is there, but cannot be opened. */
static void check_psi(void)
{
	__autofree char *text = root_read("/proc/pressure/memory");

	if (text)
		doctor_report(DOCTOR_OK, "PSI", NULL, "on");
	else
		doctor_report(DOCTOR_WARN, "PSI", NULL,
			      "off, pressure is not seen; boot with psi=1");
}

/* The file reads "none [integrity] confidentiality". */
static char *lockdown_level(void)
{
	char *text = root_read("/sys/kernel/security/lockdown");
	char *open = text ? strchr(text, '[') : NULL;
	char *level;

	level = fmt_string("%.*s", open ? (int)strcspn(open + 1, "]") : 4,
			   open ? open + 1 : "none");
	free(text);
	return level;
}

/*
 * Lockdown "confidentiality" forbids kprobes, without which nothing can be
 * resolved; "integrity" only asks for a signed module.
 */
static void check_lockdown(void)
{
	__autofree char *level = lockdown_level();

	if (!strcmp(level, "confidentiality"))
		doctor_report(DOCTOR_FAIL, "lockdown", NULL,
			      "confidentiality forbids kprobes; boot with lockdown=integrity");
	else
		doctor_report(DOCTOR_OK, "lockdown", NULL, "%s", level);
}

/* An EFI variable is four bytes of attributes, then here one of value. */
static bool secure_boot(void)
{
	__autofree char *real = root_path(SECURE_BOOT);
	unsigned char var[5] = {};
	FILE *f = fopen(real, "re");
	size_t n;

	if (!f)
		return false;
	n = fread(var, 1, sizeof(var), f);
	fclose(f);
	return n == sizeof(var) && var[4] == 1;
}

static bool signatures_enforced(void)
{
	__autofree char *text =
		root_read("/sys/module/module/parameters/sig_enforce");
	__autofree char *level = lockdown_level();

	return (text && *text == 'Y') || strcmp(level, "none");
}

static void check_signing(void)
{
	const char *boot = secure_boot() ? "Secure Boot is on" :
					   "Secure Boot is off";

	if (!signatures_enforced())
		doctor_report(DOCTOR_OK, "module signing", NULL,
			      "not enforced, %s", boot);
	else if (module_loaded())
		doctor_report(DOCTOR_OK, "module signing", NULL,
			      "enforced, the key was accepted, %s", boot);
	else
		doctor_report(DOCTOR_WARN, "module signing",
			      "mokutil --import /var/lib/dkms/mok.pub (then reboot and confirm)",
			      "enforced, the key of dkms must be enrolled, %s",
			      boot);
}

static void check_privilege(void)
{
	if (has_capability(CAP_SYS_RESOURCE) && in_first_userns())
		doctor_report(DOCTOR_OK, "privilege", NULL,
			      "CAP_SYS_RESOURCE");
	else
		doctor_report(DOCTOR_WARN, "privilege", "sudo mcxctl doctor",
			      "no CAP_SYS_RESOURCE, enable works only below a managed cgroup");
}

/* The first line of the file is a heading. */
static void check_swap(void)
{
	__autofree char *text = root_read("/proc/swaps");
	const char *second = text ? strchr(text, '\n') : NULL;

	if (second && second[1])
		doctor_report(DOCTOR_OK, "swap", NULL, "on");
	else
		doctor_report(DOCTOR_WARN, "swap", "swapon DEVICE",
			      "none, only file pages can be reclaimed");
}

static void check_mount(const char *what, const char *fstype,
			const char *command, const char *loss)
{
	__autofree char *where = mount_of_type(fstype);

	if (where)
		doctor_report(DOCTOR_OK, what, NULL, "mounted at %s", where);
	else
		doctor_report(DOCTOR_WARN, what, command, "not mounted, %s",
			      loss);
}

/**
 * doctor_kernel - check what the module needs of the kernel
 */
void doctor_kernel(void)
{
	check_release();
	check_btf();
	check_ftrace();
	check_lockdown();
	check_signing();
}

/**
 * doctor_machine - check what makes it work well
 */
void doctor_machine(void)
{
	check_privilege();
	check_psi();
	check_swap();
	check_mount("debugfs", "debugfs",
		    "mount -t debugfs none /sys/kernel/debug",
		    "features cannot be read");
	check_mount("bpffs", "bpf", "mount -t bpf none /sys/fs/bpf",
		    "policies cannot be pinned");
}
