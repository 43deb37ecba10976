#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# "make install", "make install-policies" and "make uninstall" in a Debian 13
# system that has what the README says and nothing else of ours: what is there
# afterwards, and that nothing is left in the end. Called with the kernel's
# version, in the tests' root (tests/vm/in-root), where nothing is kept.
set -uo pipefail

kver=$1
src=/tmp/memcg_ext
nr=0 failed=0

result() {	# result STATUS WHAT
	nr=$((nr + 1))
	if [ "$1" = 0 ]; then
		echo "ok $nr $2"
	else
		echo "not ok $nr $2"
		failed=$((failed + 1))
	fi
}

# run WHAT COMMAND...: the last lines of what it says, if it fails.
run() {
	local what=$1 status=0

	shift
	"$@" > /tmp/log 2>&1 || status=$?
	[ "$status" = 0 ] || tail -n 15 /tmp/log | sed 's/^/# /'
	result "$status" "$what"
}

# Files of the system that are ours, or may be; dkms keeps its settings.
snapshot() {
	find /usr/local /usr/src /lib/modules /var/lib/dkms -not -path '*/dkms/mok.*' \
		-not -name 'modules.*' -newer /tmp/start \( -type f -o -type l \) | sort
}

installed() {
	local ko

	ko=$(find "/lib/modules/$kver/updates" -name 'memcg_ext.ko*')
	result "$([ -n "$ko" ] && dkms status memcg_ext | grep -q "$kver.*installed"; echo $?)" \
		"the module is where modprobe finds it (${ko#/lib/modules/})"
	result "$(modinfo -k "$kver" memcg_ext > /tmp/log 2>&1; echo $?)" "modinfo knows it"
	for f in sbin/mcxctl share/man/man8/mcxctl.8 share/bash-completion/completions/mcxctl; do
		run "/usr/local/$f" test -s "/usr/local/$f"
	done
	result "$(mcxctl version | grep -q "^mcxctl "; echo $?)" "mcxctl runs"
}

# The two things of "make tools" and "make install-policies" that can be missing.
messages() {
	local out

	out=$(make -C "$src" tools CC=no-such-compiler 2>&1)
	result "$(grep -q 'apt-get install\|apt install' <<< "$out"; echo $?)" "without a compiler: the error says what to install"
	out=$(make -C "$src" policies CLANG=no-such-clang O=/tmp/none 2>&1)
	result "$(grep -q 'apt-get install clang' <<< "$out"; echo $?)" "without clang: likewise"
	out=$(make -C "$src" modules KVER=1.2.3 2>&1)
	result "$(grep -q 'apt-get install linux-headers-1.2.3' <<< "$out"; echo $?)" "without headers: likewise"
}

echo "TAP version 13"
mkdir -p "$src"
cp -r Makefile Kbuild dkms.conf LICENSE module tools bpf "$src/"
make -s -C "$src" clean > /dev/null 2>&1
touch /tmp/start
sleep 1
messages
run "make install" make -C "$src" install KVER="$kver"
installed
run "make install-policies" make -C "$src" install-policies
result "$(mcxctl show mcx_simple.bpf.o | grep -q max_delay; echo $?)" "mcxctl finds an installed policy by its name"
run "make install again, over it" make -C "$src" install KVER="$kver"
run "make uninstall" make -C "$src" uninstall
left=$(snapshot)
[ -z "$left" ] || echo "${left//$'\n'/$'\n'# }" | sed '1s/^/# /'
run "nothing is left" test -z "$left"
run "make uninstall again" make -C "$src" uninstall
echo "1..$nr"
echo "# Totals: pass:$((nr - failed)) fail:$failed"
[ "$failed" = 0 ]
