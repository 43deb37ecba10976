// SPDX-License-Identifier: GPL-2.0-only
/*
 * verifier: how many instructions of each member of each policy in bpf/ the kernel's
 * verifier had to look at. It gives up at a million; what comes near that on one kernel
 * may not load on the next.
 */
#define _GNU_SOURCE
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include <linux/types.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "lib.h"
#include "libbench.h"

#define POLICIES	"/mcx/lib/memcg_ext/mcx_*.bpf.o"
/* A tenth of that: a policy is simple, or wrong. */
#define MOST		100000

/* Of one program; 0 if the kernel does not say. */
static unsigned int verified(const struct bpf_program *prog, unsigned int *size)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len))
		return 0;
	*size = info.xlated_prog_len / sizeof(struct bpf_insn);
	return info.verified_insns;
}

static void report(const char *name, struct bpf_object *obj)
{
	unsigned int most = 0, n = 0, insns, size = 0;
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj) {
		insns = verified(prog, &size);
		bench_md("| %s | %s | %u | %u |", name, bpf_program__name(prog), size, insns);
		most = insns > most ? insns : most;
		n++;
	}
	ktap_ok(n && most && most < MOST, "%s: %u programs, %u instructions at most", name, n,
		most);
}

static void look_at(const char *path)
{
	struct bpf_object *obj = bpf_object__open_file(path, NULL);
	char name[64];

	snprintf(name, sizeof(name), "%s", strrchr(path, '/') + 1);
	name[strcspn(name, ".")] = '\0';
	if (!obj || bpf_object__load(obj))
		ktap_ok(false, "%s loads", name);
	else
		report(name, obj);
	bpf_object__close(obj);
}

int main(void)
{
	glob_t found;
	size_t i;

	ktap_start();
	if (mcx_load())
		ktap_skip_all("the module does not load");
	bench_n("1, it is the same each time");
	bench_md("| policy | member | instructions | verified |");
	bench_md("| --- | --- | --: | --: |");
	if (glob(POLICIES, 0, NULL, &found))
		ktap_skip_all("no policies in %s", POLICIES);
	for (i = 0; i < found.gl_pathc; i++)
		look_at(found.gl_pathv[i]);
	globfree(&found);
	ktap_ok(!mcx_unload(), "unloads");
	return ktap_end();
}
