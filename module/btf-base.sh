#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# module/btf-base.sh KVER KDIR DIR: makes DIR what KDIR would be if it had a
# vmlinux: links to all that is there, and the types of kernel KVER beside them.
#
# The headers of Ubuntu and Fedora lack that file. kbuild then leaves out the
# module's BTF with one line in the log, and nothing that has to do with BPF
# works. The types must be those of KVER: dkms builds for a kernel that is not
# running yet. Where there are none this fails, so that no such module is made.
set -u

kver=$1 kdir=$2 dir=$3
missing=""

fail() {
	echo "error: $*" >&2
	rm -rf "$dir"
	exit 1
}

# has_types FILE: an ELF file with BTF, or BTF alone.
has_types() {
	[ -s "$1" ] && [ -r "$1" ] || return 1
	case $(od -A n -t x1 -N 4 "$1" | tr -d ' ') in
	7f454c46) readelf -SW "$1" 2> /dev/null | grep -q ' \.BTF ' ;;
	9feb*) true ;;
	*) false ;;
	esac
}

took() {
	echo "  BTF     types of $kver from $1"
	exit 0
}

# Linked: with all its debug information it may have a gigabyte.
take_file() {
	has_types "$1" || return 0
	ln -s "$1" "$dir/vmlinux" && took "$1"
}

# Copied: what comes from sysfs is nothing to map or to compare times with.
take_running() {
	[ "$kver" = "$(uname -r)" ] || return 0
	has_types "$1" || return 0
	cat "$1" > "$dir/vmlinux" && took "$1"
}

# take_unpacked IMAGE COMMAND...: what COMMAND makes of it, whatever it says of
# what comes behind the kernel.
take_unpacked() {
	from=$1
	shift
	"$@" > "$dir/vmlinux" 2> /dev/null
	! has_types "$dir/vmlinux" || took "$from"
	rm -f "$dir/vmlinux"
}

# tail_through OFFSET IMAGE COMMAND...
tail_through() {
	at=$1 image=$2
	shift 2
	tail -c +$((at + 1)) "$image" | "$@"
}

# take_packed IMAGE MAGIC TOOL OPTIONS: a kernel image is a small program with
# the packed kernel in it. It begins where the packer's magic is, if that is not
# by chance, or in the unpacking program itself: so each one is tried.
take_packed() {
	image=$1 magic=$2 tool=$3
	shift 3
	# shellcheck disable=SC2013 # numbers
	for at in $(grep -abo -F "$(printf %b "$magic")" "$image" | cut -d : -f 1); do
		if ! command -v "$tool" > /dev/null; then
			missing="${missing:+$missing or }$tool"
			return
		fi
		take_unpacked "$image" tail_through "$at" "$image" "$tool" "$@"
	done
}

take_image() {
	[ -e "$1" ] || return 0
	[ -r "$1" ] || fail "$1 has the kernel's types and cannot be read: run this as root"
	take_file "$1"
	if [ -x "$dir/scripts/extract-vmlinux" ]; then
		take_unpacked "$1" "$dir/scripts/extract-vmlinux" "$1"
	fi
	take_packed "$1" '\0050\0265\0057\0375' zstd -dc
	take_packed "$1" '\03757zXZ' xz -dc --single-stream
	take_packed "$1" '\0037\0213\0010' gzip -dc
	take_packed "$1" '\0002\0041\0114\0030' lz4 -dc
}

LC_ALL=C
export LC_ALL

kdir=$(cd "$kdir" && pwd -P) || exit 1
release=$(cat "$kdir/include/config/kernel.release" 2> /dev/null)
[ "${release:-$kver}" = "$kver" ] ||
	fail "$kdir has the headers of $release, not of $kver: say KVER=$release"

rm -rf "$dir"
mkdir -p "$dir" || exit 1
dir=$(cd "$dir" && pwd -P)
for f in "$kdir"/* "$kdir"/.[!.]*; do
	[ ! -e "$f" ] || ln -s "$f" "$dir/" || exit 1
done
# A dangling link, or whatever is not the kernel.
rm -f "$dir/vmlinux"

take_file "/usr/lib/debug/boot/vmlinux-$kver"
take_file "/usr/lib/debug/lib/modules/$kver/vmlinux"
take_file "/boot/vmlinux-$kver"
take_file "/lib/modules/$kver/vmlinux"
take_running /sys/kernel/btf/vmlinux
take_image "/boot/vmlinuz-$kver"
take_image "/lib/modules/$kver/vmlinuz"

[ -z "$missing" ] ||
	fail "the image of kernel $kver is packed and cannot be unpacked: install $missing"
fail "no BTF types of kernel $kver found, and its headers have none: install its image (Debian, Ubuntu: linux-image-$kver; Fedora: kernel-core-$kver) or its debug symbols"
