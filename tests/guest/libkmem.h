/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's own memory, to compare before and after. Needs root. */
#ifndef MCX_TEST_LIBKMEM_H
#define MCX_TEST_LIBKMEM_H

/* Bytes. */
struct kmem {
	double slab;		/* objects in use, of all caches together */
	double percpu;		/* in whole pages, of all CPUs together */
};

/*
 * Takes a moment: what is freed after a grace period shall be freed, and free
 * objects that a CPU keeps for itself, which count as used, are given back.
 */
struct kmem kmem_now(void);
/* Of each of @n, from @before to @after. */
struct kmem kmem_each(struct kmem before, struct kmem after, int n);

/* Size of a struct of the loaded module, from its BTF; 0: not known. */
unsigned int module_struct_size(const char *name);

#endif
