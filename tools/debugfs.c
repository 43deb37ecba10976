// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's files in debugfs, and why one cannot be read
 */
#include <errno.h>
#include <string.h>

#include "debugfs.h"

static const char no_debugfs[] =
	"debugfs is not mounted; run: mount -t debugfs none /sys/kernel/debug";

/**
 * debugfs_explain - say why a file of the module cannot be read
 * @path: the file
 * @error: errno
 *
 * Return: -1, after err_set().
 */
int debugfs_explain(const char *path, int error)
{
	__autofree char *mount = NULL;

	if (module_explain())
		return -1;
	if (error == EACCES || error == EPERM)
		return err_set("debugfs may be read by root only; run it with sudo");
	mount = mount_of_type("debugfs");
	if (!mount)
		return err_set("%s", no_debugfs);
	return err_set("%s: %s; see: dmesg | grep " MODULE, path,
		       strerror(error));
}
