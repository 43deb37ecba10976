// SPDX-License-Identifier: GPL-2.0-only
/*
 * The running kernel and the module in it
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mcxctl.h"

/**
 * kernel_release - what `uname -r` says
 *
 * Read from /proc and not by uname(2), so that MCXCTL_ROOT covers it.
 *
 * Return: the release; free() it.
 */
char *kernel_release(void)
{
	char *text = root_read("/proc/sys/kernel/osrelease");

	if (!text)
		return fmt_string("unknown");
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/**
 * kernel_supported - is the kernel new enough for the module
 * @release: kernel_release()
 *
 * Return: true if it is, or if the release says nothing about it.
 */
bool kernel_supported(const char *release)
{
	int major, minor;

	if (sscanf(release, "%d.%d", &major, &minor) != 2)
		return true;
	return major > MIN_MAJOR ||
	       (major == MIN_MAJOR && minor >= MIN_MINOR);
}

/**
 * module_loaded - is the module in the kernel
 *
 * Return: true if it is.
 */
bool module_loaded(void)
{
	return root_is_dir("/sys/module/" MODULE);
}

/* The four names a module file can have: plain or compressed. */
static char *module_file_in(const char *dir)
{
	static const char * const suffixes[] = { "", ".xz", ".zst", ".gz" };
	char *path;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(suffixes); i++) {
		path = fmt_string("%s/" MODULE ".ko%s", dir, suffixes[i]);
		if (root_exists(path))
			return path;
		free(path);
	}
	return NULL;
}

static char *module_file_below(const char *dir)
{
	char *found = module_file_in(dir);
	char **names;
	int i, n;

	if (found)
		return found;
	n = root_subdirs(dir, &names);
	for (i = 0; i < n && !found; i++) {
		__autofree char *sub = fmt_string("%s/%s", dir, names[i]);

		found = module_file_below(sub);
	}
	root_names_free(names, n);
	return found;
}

/**
 * module_file - where the module is installed
 * @release: for this kernel
 *
 * Return: its path (free() it), or NULL if it is not installed.
 */
char *module_file(const char *release)
{
	__autofree char *dir = fmt_string("/lib/modules/%s", release);

	return module_file_below(dir);
}

/**
 * module_install_command - how to install the module
 * @release: for this kernel
 *
 * Return: a command; free() it.
 */
char *module_install_command(const char *release)
{
	if (root_is_dir("/usr/src/" MODULE "-" MCXCTL_VERSION))
		return fmt_string("dkms install " MODULE "/" MCXCTL_VERSION
				  " -k %s", release);
	return fmt_string("dkms add . && dkms install " MODULE "/" MCXCTL_VERSION
			  " -k %s (in the source of " MODULE ")", release);
}

/**
 * module_explain - say why the module is not at work
 *
 * Return: 0 if it is loaded, else -1 after err_set().
 */
int module_explain(void)
{
	__autofree char *release = kernel_release();
	__autofree char *install = NULL;
	__autofree char *file = NULL;

	if (module_loaded())
		return 0;
	if (!kernel_supported(release))
		return err_set("kernel %s is too old; boot kernel %d.%d or later",
			       release, MIN_MAJOR, MIN_MINOR);
	file = module_file(release);
	if (file)
		return err_set("module " MODULE " is not loaded; run: modprobe "
			       MODULE);
	install = module_install_command(release);
	return err_set("module " MODULE " is not installed for kernel %s; run: %s",
		       release, install);
}

/**
 * has_capability - is a capability in effect
 * @bit: its number
 *
 * Return: true if it is.
 */
bool has_capability(unsigned int bit)
{
	__autofree char *status = root_read("/proc/self/status");
	const char *line = status ? strstr(status, "CapEff:") : NULL;

	if (!line)
		return false;
	return strtoull(line + strlen("CapEff:"), NULL, 16) >> bit & 1;
}

/**
 * in_first_userns - do our capabilities count for the whole machine
 *
 * Return: false inside a user namespace other than the first.
 */
bool in_first_userns(void)
{
	__autofree char *map = root_read("/proc/self/uid_map");
	unsigned int inside, outside, count;

	if (!map || sscanf(map, "%u %u %u", &inside, &outside, &count) != 3)
		return true;
	return !inside && !outside && count == UINT32_MAX;
}
