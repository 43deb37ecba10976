// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes sure that the kernel took our BTF.
 *
 * A module without BTF, or with BTF that does not fit the kernel, loads all the
 * same on many configurations, and whatever it registers with BPF afterwards
 * "succeeds" and is silently not there. Whether the BTF was taken shows in
 * sysfs, before module init runs.
 *
 * Locking: none.
 */
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/module.h>

#include "btf.h"

/**
 * mcx_btf_check() - is there /sys/kernel/btf/memcg_ext
 *
 * Looks into kernfs, so that sysfs need not be mounted yet.
 *
 * Context: Process, from module init only.
 * Return: 0, or -ENOENT with a message that says how to mend it.
 */
int mcx_btf_check(void)
{
	struct kernfs_node *dir, *file = NULL;

	dir = kernfs_find_and_get(kernel_kobj->sd, "btf");
	if (dir)
		file = kernfs_find_and_get(dir, KBUILD_MODNAME);
	kernfs_put(file);
	kernfs_put(dir);
	if (file)
		return 0;

	pr_err("built without BTF that fits this kernel: install pahole and the headers of exactly this kernel, then run: dkms build --force memcg_ext/%s && dkms install --force memcg_ext/%s\n",
	       THIS_MODULE->version, THIS_MODULE->version);
	return -ENOENT;
}
