// SPDX-License-Identifier: GPL-2.0-only
/* The kernel's own memory; see libkmem.h. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <bpf/btf.h>

#include "lib.h"
#include "libkmem.h"

#define SLAB_DIR	"/sys/kernel/slab"
#define SETTLE_MS	500

/* Links are other names of caches that have a folder of their own. */
static void shrink_caches(void)
{
	DIR *dir = opendir(SLAB_DIR);
	char path[PATH_MAX];
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.' || e->d_type != DT_DIR)
			continue;
		snprintf(path, sizeof(path), SLAB_DIR "/%s/shrink", e->d_name);
		write_file(path, "1");
	}
	if (dir)
		closedir(dir);
}

static double slab_bytes(void)
{
	FILE *f = fopen("/proc/slabinfo", "re");
	unsigned long active, size;
	char line[512];
	double sum = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %lu %*u %lu", &active, &size) == 2)
			sum += (double)active * size;
	if (f)
		fclose(f);
	return sum;
}

static double percpu_bytes(void)
{
	char buf[4096], *at = NULL;
	double kib = 0;

	if (read_file("/proc/meminfo", buf, sizeof(buf)) > 0)
		at = strstr(buf, "\nPercpu:");
	if (at)
		sscanf(at, "\nPercpu: %lf", &kib);
	return kib * 1024;
}

struct kmem kmem_now(void)
{
	struct kmem k;

	nap_ms(SETTLE_MS);
	shrink_caches();
	k.slab = slab_bytes();
	k.percpu = percpu_bytes();
	return k;
}

struct kmem kmem_each(struct kmem before, struct kmem after, int n)
{
	return (struct kmem) {
		.slab = (after.slab - before.slab) / n,
		.percpu = (after.percpu - before.percpu) / n,
	};
}

unsigned int module_struct_size(const char *name)
{
	struct btf *base = btf__load_vmlinux_btf(), *btf = NULL;
	unsigned int size = 0;
	int id;

	if (base)
		btf = btf__load_module_btf("memcg_ext", base);
	id = btf ? btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT) : -1;
	if (id > 0)
		size = btf__type_by_id(btf, id)->size;
	btf__free(btf);
	btf__free(base);
	return size;
}
