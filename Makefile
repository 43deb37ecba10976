# SPDX-License-Identifier: GPL-2.0-only
#
# What people call.  The kernel's build system reads Kbuild, dkms calls
# "modules" and "clean-modules" here, tests/ has the rest of the test rig.

VERSION := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build
PREFIX ?= /usr/local
DESTDIR ?=
# All that dkms needs of the tree.
DKMS_FILES := dkms.conf Kbuild Makefile LICENSE module
DKMS_SRC := /usr/src/memcg_ext-$(VERSION)
# The headers with the kernel's types added, where they come without.
KDIR_BTF := $(CURDIR)/build/kdir

.PHONY: help all modules clean-modules tools policies install install-module \
	install-tools install-policies uninstall check check-full check-debug \
	check-mutants static vm-test vm-shell bench demo clean

help:
	@echo 'make modules        build memcg_ext.ko for the running kernel (KVER=, KDIR=)'
	@echo 'make tools          build mcxctl'
	@echo 'make policies       build the BPF policies of bpf/'
	@echo 'make install        install the module by DKMS, and the tools (PREFIX=$(PREFIX), DESTDIR=)'
	@echo 'make install-policies   install the policies; needs clang, so it is not part of install'
	@echo 'make uninstall      remove both'
	@echo 'make check          the tests on stock Debian kernels in QEMU; installs what it needs (COLD=1: nothing from the cache)'
	@echo 'make check-full     the same with the long tests'
	@echo 'make check-debug    the tests on a kernel with KASAN, lockdep, kmemleak (builds it once: half an hour)'
	@echo 'make check-mutants  breaks one feature at a time and checks that its test fails'
	@echo 'make static         static checks only'
	@echo 'make vm-test T=NAME K=6.12   one test on one kernel'
	@echo 'make vm-shell K=6.12         a shell in the test VM, with module and tests in /mcx'
	@echo 'make bench          measures anew what is older than module/, into tests/bench/RESULTS.md (M=M1, KVER=6.12, QUICK=1)'
	@echo 'make demo           what memcg_ext does, live in a VM (K=6.12)'
	@echo 'make clean          remove what was built'

all: modules tools

# The checks that save the reader kbuild's own, longer, message, or none at all.
modules:
	@test -e '$(KDIR)/Makefile' || { \
		echo 'error: no kernel headers in $(KDIR); run: apt-get install linux-headers-$(KVER)' >&2; exit 1; }
ifeq ($(wildcard $(KDIR)/vmlinux),)
	sh module/btf-base.sh '$(KVER)' '$(KDIR)' '$(KDIR_BTF)'
	$(MAKE) -C $(KDIR_BTF) KBUILD_OUTPUT=$(KDIR_BTF) M=$(CURDIR) modules
else
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
endif
	@objdump -h memcg_ext.ko | grep -q ' \.BTF ' || { rm -f memcg_ext.ko; \
		echo 'error: the kernel build made no BTF for memcg_ext.ko, without which it is of no use; is pahole installed, and CONFIG_DEBUG_INFO_BTF_MODULES set?' >&2; exit 1; }

clean-modules:
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean
	rm -rf build/kdir

tools:
	@printf '#include <json-c/json.h>\n#include <bpf/libbpf.h>\n' | $(CC) -E -o /dev/null - 2> /dev/null || { \
		echo 'error: a compiler, json-c and libbpf are needed; run: apt-get install gcc libc6-dev pkgconf libjson-c-dev libbpf-dev' >&2; exit 1; }
	$(MAKE) -C tools

policies:
	$(MAKE) -C bpf

install: install-module install-tools

# With DESTDIR (packaging) the sources are copied and dkms is left alone.
install-module:
ifeq ($(DESTDIR),)
	@command -v dkms > /dev/null || { \
		echo 'error: dkms is missing; run: apt-get install dkms' >&2; exit 1; }
	@test -e '$(KDIR)/Makefile' || { \
		echo 'error: no kernel headers in $(KDIR); run: apt-get install linux-headers-$(KVER)' >&2; exit 1; }
	@if dkms status memcg_ext/$(VERSION) | grep -q memcg_ext; then \
		dkms remove memcg_ext/$(VERSION) --all; fi
endif
	rm -rf '$(DESTDIR)$(DKMS_SRC)'
	mkdir -p '$(DESTDIR)$(DKMS_SRC)'
	cp -r $(DKMS_FILES) '$(DESTDIR)$(DKMS_SRC)/'
	@find '$(DESTDIR)$(DKMS_SRC)' -name '*.o' -o -name '.*.cmd' -o -name '*.ko' | xargs -r rm -f
ifeq ($(DESTDIR),)
	dkms add memcg_ext/$(VERSION)
	dkms install memcg_ext/$(VERSION) -k $(KVER) --force
endif

install-tools: tools
	$(MAKE) -C tools install PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)'

install-policies:
	$(MAKE) -C bpf install PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)'

uninstall:
	@if test -z '$(DESTDIR)' && command -v dkms > /dev/null && dkms status memcg_ext/$(VERSION) | grep -q memcg_ext; then \
		dkms remove memcg_ext/$(VERSION) --all; fi
	rm -rf '$(DESTDIR)$(DKMS_SRC)'
	$(MAKE) -C tools uninstall PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)'
	$(MAKE) -C bpf uninstall PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)'

check:
	tests/run --tier quick

check-full:
	tests/run --tier full

check-debug:
	tests/run --tier debug

check-mutants:
	tests/mutants/run

static:
	tests/run --only 'static-*'

vm-test:
	@test -n '$(T)' || { echo 'usage: make vm-test T=NAME [K=6.12|7.3|6.12-debug]; names are in tests/tests.list' >&2; exit 2; }
	tests/run --only '$(T)' $(if $(K),--kernel $(K))

vm-shell:
	tests/vm/shell $(or $(K),6.12)

# KVER= is for the measured kernel here, if it was given.
bench:
	tests/bench/run $(if $(M),-m '$(M)') $(if $(filter-out file,$(origin KVER)),-k '$(KVER)')

demo:
	tests/vm/demo $(or $(K),6.12)

# Not the cache, which other clones use too: rm -r ~/.cache/memcg_ext.
clean:
	rm -rf build
	find . -path ./.git -prune -o \( -name '*.o' -o -name '*.ko' -o -name '*.mod' \
		-o -name '*.mod.c' -o -name '.*.cmd' -o -name 'Module.symvers' \
		-o -name 'modules.order' -o -name '.module-common.o' \) -type f -print | xargs -r rm -f
	@test ! -e tools/Makefile || $(MAKE) -s -C tools clean
	@$(MAKE) -s -C bpf clean
