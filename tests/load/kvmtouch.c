// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmtouch: a virtual machine whose guest touches its memory, one byte a page.
 *
 * The guest's memory is anonymous memory of this process, so that KVM charges
 * each page to the cgroup from inside ioctl(KVM_RUN). The guest leaves to this
 * program by writing to a port, after as many pages as it is told; between
 * two runs the program touches nothing and makes no other system call.
 *
 * Prints "ready" when the guest has run once, starts on a byte from stdin,
 * prints what was done and ends when stdin is closed. Exit status 4: no KVM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>

#include "load.h"

#define PAGE		4096
#define PORT		0x10
#define NO_KVM		4

/* Touches ecx pages from edi on. 32 bits, flat, no paging. */
static const uint8_t guest_code[] = {
	0xc6, 0x07, 0x01,			/* next: movb $1, (%edi) */
	0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,	/* add $4096, %edi */
	0x49,					/* dec %ecx */
	0x75, 0xf4,				/* jnz next */
	0xe6, PORT,				/* out %al, $PORT */
	0xf4,					/* hlt */
};

static struct vm {
	int vcpu;
	struct kvm_run *run;
	uint8_t *memory;
	unsigned long pages;
	unsigned long runs;
	unsigned long interrupted;
} vm;

static void flat_segments(void)
{
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1,
		.s = 1, .db = 1, .g = 1,
	};
	struct kvm_sregs s;

	if (ioctl(vm.vcpu, KVM_GET_SREGS, &s))
		die("KVM_GET_SREGS");
	s.ds = data;
	s.es = data;
	s.ss = data;
	s.cs = data;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.cr0 |= 1;
	if (ioctl(vm.vcpu, KVM_SET_SREGS, &s))
		die("KVM_SET_SREGS");
}

static void make_vm(size_t size)
{
	struct kvm_userspace_memory_region region = { .memory_size = size };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), fd, len;

	if (kvm < 0 || ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		exit(NO_KVM);
	fd = ioctl(kvm, KVM_CREATE_VM, 0);
	if (fd < 0)
		die("KVM_CREATE_VM");
	vm.memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vm.memory == MAP_FAILED)
		die("mmap");
	memcpy(vm.memory, guest_code, sizeof(guest_code));
	region.userspace_addr = (uintptr_t)vm.memory;
	if (ioctl(fd, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
	vm.vcpu = ioctl(fd, KVM_CREATE_VCPU, 0);
	if (vm.vcpu < 0)
		die("KVM_CREATE_VCPU");
	len = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm.run = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, vm.vcpu,
		      0);
	if (vm.run == MAP_FAILED)
		die("mmap of the vCPU");
	flat_segments();
}

/* Lets the guest touch @pages pages from page number @from on. */
static void touch(unsigned long from, unsigned long pages)
{
	struct kvm_regs regs = {
		.rdi = from * PAGE, .rcx = pages, .rflags = 2,
	};

	if (ioctl(vm.vcpu, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS");
	while (ioctl(vm.vcpu, KVM_RUN, 0)) {
		if (errno != EINTR)
			die("KVM_RUN");
		vm.interrupted++;
	}
	if (vm.run->exit_reason != KVM_EXIT_IO || vm.run->io.port != PORT) {
		fprintf(stderr, "kvmtouch: unexpected exit %u\n",
			vm.run->exit_reason);
		exit(1);
	}
	vm.pages += pages;
	vm.runs++;
}

static unsigned long touched(size_t size)
{
	unsigned long n = 0;
	size_t off;

	for (off = PAGE; off < size; off += PAGE)
		n += vm.memory[off];
	return n;
}

int main(int argc, char **argv)
{
	unsigned long mib = 16, step = 64, page, left;
	const char *cgroup = NULL;
	int o;

	while ((o = getopt(argc, argv, "g:m:r:")) != -1) {
		switch (o) {
		case 'g': cgroup = optarg; break;
		case 'm': mib = strtoul(optarg, NULL, 0); break;
		case 'r': step = strtoul(optarg, NULL, 0); break;
		default:
			fputs("usage: kvmtouch [-g CGROUP] [-m MIB] [-r PAGES]\n"
			      "  -m MIB    memory of the guest (16)\n"
			      "  -r PAGES  touched in one run (64)\n", stderr);
			return 2;
		}
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter_cgroup(cgroup);
	make_vm(mib * MIB);
	/* What is made at the first run is not what is looked at. */
	touch(1, 1);
	wait_for_start();
	for (page = 2; page < mib * MIB / PAGE; page += step) {
		left = mib * MIB / PAGE - page;
		touch(page, left < step ? left : step);
	}
	printf("done pages=%lu touched=%lu runs=%lu interrupted=%lu\n",
	       vm.pages, touched(mib * MIB), vm.runs, vm.interrupted);
	wait_for_end();
	return 0;
}
