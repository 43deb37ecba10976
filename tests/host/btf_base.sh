#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Headers without a vmlinux, as Ubuntu and Fedora have them: the module gets the
# same BTF from the kernel's image, by dkms, and is not built where there are no
# types of that kernel. In the tests' root, on a layer that is thrown away; the
# modules to compare with are in build/static (tests/static/build -q).
# shellcheck disable=SC2317 # the tests are called by name
set -u

if [ ! -e /usr/src/mcx-kselftest ]; then
	echo "1..0 # SKIP runs in the tests' root: tests/vm/in-root bash tests/host/btf_base.sh"
	exit 4
fi

repo=$(cd "$(dirname "$0")/../.." && pwd)
tree=/tmp/tree		# a tmpfs: nothing else is written but what dkms does
away=/tmp/away
nr=0 failed=0

# t WHAT COMMAND...
t() {
	local what=$1 output status=0

	shift
	output=$("$@" 2>&1) || status=1
	nr=$((nr + 1))
	if [ $status = 0 ]; then
		echo "ok $nr $what"
	else
		failed=$((failed + 1))
		echo "# ${output//$'\n'/$'\n'# }"
		echo "not ok $nr $what"
	fi
}

hide() {
	local f

	for f; do
		[ ! -e "$f" ] || { mkdir -p "$away${f%/*}" && mv "$f" "$away$f"; }
	done
}

unhide() {
	local f

	for f; do
		[ ! -e "$away$f" ] || mv "$away$f" "$f"
	done
}

section() {
	objcopy --dump-section "$2=/tmp/section" "$1" /dev/null &&
		cat /tmp/section
}

same_btf() {
	local s

	for s in .BTF .BTF.base; do
		cmp <(section "$1" "$s") <(section "$2" "$s") || return 1
		[ -n "$(section "$1" "$s" | tr -d '\0')" ] || return 1
	done
}

# Where the script takes them from; make -C of the kernel's tree is left out.
types_from() {
	make -s -C "$tree" modules KVER="$v" KDIR="$headers" MAKE=true 2>&1 |
		grep '^  BTF' | sed 's/.* from //'
}

by_dkms() {
	local at=/var/lib/dkms/memcg_ext/$version/$v/x86_64

	dkms build "memcg_ext/$version" -k "$v" > /tmp/dkms.log 2>&1 || {
		cat /tmp/dkms.log "/var/lib/dkms/memcg_ext/$version/build/make.log"
		return 1
	}
	grep -F "types of $v from /boot/vmlinuz-$v" "$at/log/make.log" &&
		xz -dc "$at"/module/memcg_ext.ko.xz > /tmp/dkms.ko &&
		same_btf /tmp/dkms.ko "$repo/build/static/$k/memcg_ext.ko"
}

from() {
	local got

	got=$(types_from)
	[ "$got" = "$1" ] || { echo "from '$got'"; return 1; }
}

# refused TEXT: no module, one line of error with that in it.
refused() {
	local output

	rm -f "$tree/memcg_ext.ko"
	if output=$(make -s -C "$tree" modules KVER="$v" KDIR="$headers" 2>&1); then
		echo "it was built"
		return 1
	fi
	echo "$output"
	[ ! -e "$tree/memcg_ext.ko" ] && [ ! -e "$tree/build/kdir" ] &&
		[ "$(grep -c '^error:' <<< "$output")" = 1 ] &&
		grep '^error:' <<< "$output" | grep -qF "$1"
}

unpacks() {
	from "/boot/vmlinuz-$v" && cmp <(section "$tree/build/kdir/vmlinux" .BTF) \
		<(section "$away$headers/vmlinux" .BTF)
}

# The kernel's own unpacker, as the headers of Ubuntu and Fedora have it. Here
# it says that it was called.
own_unpacker() {
	local scripts=$headers/scripts to

	to=$(readlink -f "$scripts")
	printf '#!/bin/sh\ntouch /tmp/called\nexec sh /usr/src/mcx-kselftest/%s/scripts/extract-vmlinux "$@"\n' \
		"$k" > "$to/extract-vmlinux"
	chmod +x "$to/extract-vmlinux"
	unpacks && [ -e /tmp/called ]
}

# A file that has the name but no types in it is passed over.
empty_names() {
	: > "/boot/vmlinux-$v"
	cp /bin/true "/lib/modules/$v/vmlinux"
	from "/boot/vmlinuz-$v"
}

# What is nearer is taken first: filled in from the last to the first.
in_order() {
	local f

	for f in "/lib/modules/$v/vmlinux" "/boot/vmlinux-$v" \
		"/usr/lib/debug/lib/modules/$v/vmlinux" \
		"/usr/lib/debug/boot/vmlinux-$v"; do
		mkdir -p "${f%/*}"
		cp "$away$headers/vmlinux" "$f"
		from "$f" || return 1
	done
}

no_files() {
	rm -rf "/boot/vmlinux-$v" "/lib/modules/$v/vmlinux" /usr/lib/debug/boot \
		/usr/lib/debug/lib
}

# The types of the kernel that runs, raw. What runs here is another one.
running() {
	mkdir -p /sys/kernel/btf /tmp/bin
	section "$away$headers/vmlinux" .BTF > /sys/kernel/btf/vmlinux
	printf '#!/bin/sh\necho %s\n' "$v" > /tmp/bin/uname
	chmod +x /tmp/bin/uname
	(PATH=/tmp/bin:$PATH; from /sys/kernel/btf/vmlinux)
}

nothing_written() {
	local found

	found=$(find / -xdev -newer /tmp/start -type f ! -path '/var/lib/dkms/*' \
		! -path '/var/log/*' ! -path "/usr/src/memcg_ext-$version/*")
	[ -z "$found" ] || { echo "$found"; return 1; }
}

one_kernel() {
	t "$v: dkms builds it with the types in vmlinuz: the same BTF" by_dkms
	t "$v: and nothing is written outside of its build folder" nothing_written
	t "$v: without scripts/extract-vmlinux: the same types" unpacks
	t "$v: with it, it is used" own_unpacker
	t "$v: files without types are passed over" empty_names
	t "$v: a vmlinux comes before the packed image, debug symbols first" in_order
	no_files
	hide /usr/bin/zstd
	t "$v: packed with what is not installed: the error says what to install" \
		refused "install zstd"
	unhide /usr/bin/zstd
	hide "/boot/vmlinuz-$v" "/lib/modules/$v/vmlinuz"
	t "$v: no types at all: no module, and an error" \
		refused "install its image (Debian, Ubuntu: linux-image-$v;"
	t "$v: the running kernel's types are used for that kernel" running
	t "$v: and for no other" refused "no BTF types of kernel $v found"
	rm -rf /sys/kernel
	unhide "/boot/vmlinuz-$v"
}

wrong_kver() {
	local is=$v v=$v-not

	refused "has the headers of $is, not of $v"
}

kernels=(/usr/src/linux-headers-*-amd64)
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$repo/dkms.conf")
echo "TAP version 13"
echo "1..$((10 * ${#kernels[@]} + 1))"
make -s -C "$repo" install-module DESTDIR=/. > /dev/null
cp -r "/usr/src/memcg_ext-$version" "$tree"
dkms add "memcg_ext/$version" > /dev/null 2>&1
for headers in "${kernels[@]}"; do
	v=${headers#/usr/src/linux-headers-}
	k=$(cut -d . -f 1,2 <<< "$v")
	hide "$headers/vmlinux"
	sleep 0.01
	touch /tmp/start
	one_kernel
done
t "headers of another kernel than said: an error" wrong_kver
echo "# Totals: pass:$((nr - failed)) fail:$failed"
[ $failed = 0 ]
