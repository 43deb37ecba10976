#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# mcxctl on a made-up machine: a folder of regular files that MCXCTL_ROOT puts
# in front of /sys, /proc, /lib and /usr. Prints KTAP. Needs no root, no
# module and no cgroup2, but what tools/ needs to be built.
#
# MCXCTL=PATH tests a binary that is there already.
# shellcheck disable=SC2317 # the tests are called by name

set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
cc=${CC:-cc}
rel=6.12.0-test-amd64
cg=/sys/fs/cgroup
R=$T/root
export MCXCTL_ROOT="$R"
unset PRELOAD

# ---- the rig ----

skip_all() {
	echo "1..0 # SKIP $1"
	exit 4
}

bad() {
	echo "# $*"
	failed=1
}

# run STATUS ARG...: run mcxctl, expect this exit status.
run() {
	want=$1
	shift
	LD_PRELOAD=${PRELOAD-} timeout 30 "$mcxctl" "$@" >"$T/out" 2>"$T/err"
	got=$?
	[ "$got" = "$want" ] && return
	bad "mcxctl $*: exit status $got, not $want"
	sed 's/^/#   /' "$T/out" "$T/err"
}

# out TEXT, err TEXT: the last run said so.
out() {
	grep -qF -- "$1" "$T/out" && return
	bad "not on standard output: $1"
	sed 's/^/#   /' "$T/out"
}

err() {
	grep -qF -- "$1" "$T/err" && return
	bad "not on standard error: $1"
	sed 's/^/#   /' "$T/err"
}

out_not() {
	grep -qF -- "$1" "$T/out" && bad "on standard output: $1"
}

silent() {
	[ -s "$T/$1" ] && bad "not empty, std$1: $(cat "$T/$1")"
}

# json VALUE KEY...: the last output is one JSON document with this value.
json() {
	value=$1
	shift
	found=$("$T/jget" "$@" <"$T/out") || bad "bad JSON or no '$*'"
	[ "$found" = "$value" ] || bad "JSON $*: '$found', not '$value'"
}

equal() {
	[ "$1" = "$2" ] || bad "$3: '$1', not '$2'"
}

put() {
	mkdir -p "$R${1%/*}"
	printf '%s\n' "$2" >"$R$1"
}

# cgroup PATH: a domain cgroup with the controller and the module's files.
cgroup() {
	put "$1/cgroup.type" domain
	put "$1/cgroup.procs" ''
	put "$1/cgroup.controllers" 'cpu memory pids'
	put "$1/cgroup.subtree_control" 'memory pids'
	put "$1/memory.ext.enable" 0
	state "$1" 0 0
	put "$1/memory.ext.events" 'stuck 3'
}

# state PATH MANAGED ATTACHED: rename, so that no reader sees half a file.
state() {
	cat >"$T/new" <<-END
		managed $2
		attached $3
		usage 104857600
		limit max
		level low
		charged_pages ${4-1000}
		reclaimed_pages 12
		reclaim_usec 99
		paced 7
		stuck 0
		some_new_key 5
	END
	mv "$T/new" "$R$1/memory.ext.stat"
}

mounts() {
	put /proc/self/mounts "proc /proc proc rw 0 0
none /sys/kernel/debug debugfs rw 0 0
bpf /sys/fs/bpf bpf rw 0 0
cgroup2 $cg cgroup2 rw 0 0"
}

# A machine on which all is well.
machine() {
	rm -rf "$R"
	mounts
	put /proc/sys/kernel/osrelease "$rel"
	put /proc/sys/kernel/ftrace_enabled 1
	put /proc/pressure/memory 'some avg10=0.00'
	put /proc/swaps 'Filename Type Size Used Priority
/dev/vda2 partition 1000 0 -2'
	put /proc/self/status 'CapEff:	000001ffffffffff'
	put /proc/self/uid_map '0 0 4294967295'
	put /sys/kernel/btf/vmlinux x
	put /sys/kernel/btf/memcg_ext x
	put /sys/kernel/security/lockdown '[none] integrity confidentiality'
	put /sys/module/module/parameters/sig_enforce N
	put /sys/module/memcg_ext/version "$version"
	put /sys/kernel/debug/memcg_ext/features 'reclaim on
throttle degraded no lock tracepoint
share off needs kernel 7.2'
	put "/lib/modules/$rel/updates/dkms/memcg_ext.ko.xz" x
	put "/lib/modules/$rel/modules.dep" 'updates/dkms/memcg_ext.ko.xz:'
	mkdir -p "$R/lib/modules/$rel/build"
	put /usr/sbin/dkms x
	put /usr/bin/pahole x
	put "$cg/cgroup.procs" ''
	put "$cg/cgroup.controllers" 'cpu memory pids'
	put "$cg/cgroup.subtree_control" 'memory pids'
	cgroup "$cg/a"
	cgroup "$cg/a/b"
}

# The module is gone, and its files with it.
unload() {
	rm -rf "$R/sys/module/memcg_ext" "$R/sys/kernel/debug/memcg_ext" \
		"$R/sys/kernel/btf/memcg_ext"
	find "$R$cg" -name 'memory.ext.*' -delete
}

# ---- helpers in C: a JSON reader, and errors that a plain file has not ----

build_helpers() {
	cat >"$T/jget.c" <<-'END'
	#include <json-c/json.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>

	/* jget KEY...: exactly one document on stdin; prints what is there. */
	int main(int argc, char **argv)
	{
		static char text[1 << 20];
		size_t n = fread(text, 1, sizeof(text) - 1, stdin);
		struct json_tokener *tok = json_tokener_new();
		struct json_object *o;
		int i;

		json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
		if (n && text[n - 1] == '\n')
			n--;
		o = json_tokener_parse_ex(tok, text, n);
		if (json_tokener_get_error(tok) != json_tokener_success ||
		    json_tokener_get_parse_end(tok) != n)
			return 1;
		for (i = 1; i < argc; i++) {
			if (!strcmp(argv[i], "length")) {
				printf("%zu\n", json_object_array_length(o));
				return 0;
			}
			if (json_object_is_type(o, json_type_array))
				o = json_object_array_get_idx(o,
							      atoi(argv[i]));
			else if (!json_object_object_get_ex(o, argv[i], &o))
				return 1;
		}
		puts(json_object_get_string(o) ?: "null");
		return 0;
	}
	END
	cat >"$T/fault.c" <<-'END'
	#define _GNU_SOURCE
	#include <errno.h>
	#include <dlfcn.h>
	#include <fcntl.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	#include <sys/stat.h>
	#include <unistd.h>

	static int wanted(int fd)
	{
		const char *part = getenv("FAULT_FILE");
		char link[64], path[4096] = "";

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		return !part || (readlink(link, path, sizeof(path) - 1) > 0 &&
				 strstr(path, part));
	}

	/*
	 * Writes fail with errno FAULT, except those to stdout and stderr; if
	 * FAULT_FILE is there, only those to files with that in the name.
	 */
	ssize_t write(int fd, const void *buf, size_t n)
	{
		ssize_t (*real)(int, const void *, size_t) =
			(ssize_t (*)(int, const void *, size_t))
			dlsym(RTLD_NEXT, "write");

		if (fd < 3 || !getenv("FAULT") || !wanted(fd))
			return real(fd, buf, n);
		errno = atoi(getenv("FAULT"));
		return -1;
	}

	/* The FAULT_STAT_AT-th stat() of FAULT_STAT fails. */
	int stat(const char *path, struct stat *st)
	{
		static int count;
		const char *gone = getenv("FAULT_STAT");

		if (!gone || strcmp(path, gone) ||
		    ++count != atoi(getenv("FAULT_STAT_AT")))
			return fstatat(AT_FDCWD, path, st, 0);
		errno = ENOENT;
		return -1;
	}
	END
	# shellcheck disable=SC2046 # flags are words
	"$cc" -o "$T/jget" "$T/jget.c" $(pkg-config --cflags --libs json-c) &&
		"$cc" -shared -fPIC -o "$T/fault.so" "$T/fault.c" -ldl
}

# ---- enable, disable ----

test_enable_waits_until_attached() {
	(sleep 0.3; state "$cg/a" 1 0; sleep 0.3; state "$cg/a" 1 1) &
	run 0 enable a
	wait
	out "$cg/a: managed"
	silent err
	equal "$(cat "$R$cg/a/memory.ext.enable")" 1 memory.ext.enable
}

test_enable_subtree() {
	state "$cg/a" 1 1
	run 0 enable --subtree a
	out "$cg/a: managed, with all below"
	equal "$(cat "$R$cg/a/memory.ext.enable")" subtree memory.ext.enable
}

test_enable_names_of_a_cgroup() {
	state "$cg/a/b" 1 1
	for name in a/b a/b/ a/b// ./a//b /a/b "$cg/a/b" "$cg/a/b/"; do
		run 0 enable "$name"
		out "$cg/a/b: managed"
	done
	run 1 enable a/../a
	err "'..' in the name of a cgroup; name it by its path below $cg"
	run 1 enable ''
	err "empty name of a cgroup; name one below $cg"
}

test_enable_several_go_on_after_an_error() {
	state "$cg/a" 1 1
	run 1 enable nope a
	err "mcxctl: enable: $cg/nope: no such cgroup; run: mkdir $cg/nope"
	out "$cg/a: managed"
	run 1 enable -j nope a
	silent err
	json 2 length
	json "$cg/nope" 0 cgroup
	json "no such cgroup; run: mkdir $cg/nope" 0 error
	json "$cg/a" 1 cgroup
	json 1 1 attached
}

test_enable_quiet_and_verbose() {
	state "$cg/a" 1 1
	run 0 enable -q a
	silent out
	silent err
	run 0 -v enable a
	err "wrote 1 to $cg/a/memory.ext.enable"
}

test_enable_timeout() {
	run 1 enable -t 0.1 a
	err 'still not managed after 0.1 s; see: dmesg | grep memcg_ext'
	state "$cg/a" 1 0
	run 1 enable --timeout=0.1 a
	err 'the hooks are not attached after 0.1 s; see: mcxctl features'
	state "$cg/a" 0 0
	run 0 enable -t 0 a
	out "$cg/a: enabled"
}

test_enable_without_attached_key() {
	put "$cg/a/memory.ext.stat" 'managed 1'
	run 0 enable a
	out "$cg/a: managed"
}

test_disable() {
	state "$cg/a" 1 1
	put "$cg/a/memory.ext.enable" 1
	(sleep 0.3; state "$cg/a" 0 0) &
	run 0 disable a
	wait
	out "$cg/a: not managed"
	equal "$(cat "$R$cg/a/memory.ext.enable")" 0 memory.ext.enable
	state "$cg/a" 1 1
	run 1 disable -t 0.1 a
	err 'still managed after 0.1 s; see: dmesg | grep memcg_ext'
}

test_disable_below_subtree() {
	cgroup "$cg/a/b/c"
	state "$cg/a/b/c" 1 1
	put "$cg/a/memory.ext.enable" subtree
	run 0 disable a/b/c
	err "$cg/a/b/c: still managed, by 'subtree' of $cg/a"
	err "run: mcxctl disable $cg/a"
	run 0 disable -j a/b/c
	json "$cg/a" 0 managed_by
}

# ---- every error that names a fix ----

test_error_module_not_loaded() {
	unload
	run 1 enable a
	err "mcxctl: enable: $cg/a: module memcg_ext is not loaded; run: modprobe memcg_ext"
	run 1 stat
	err 'mcxctl: stat: module memcg_ext is not loaded; run: modprobe memcg_ext'
	run 1 features
	err 'mcxctl: features: module memcg_ext is not loaded; run: modprobe memcg_ext'
	run 1 -j stat a
	silent err
	json "$cg/a: module memcg_ext is not loaded; run: modprobe memcg_ext" error
}

test_error_module_not_installed() {
	unload
	rm -r "$R/lib/modules/$rel/updates"
	run 1 enable a
	err "is not installed for kernel $rel; run: dkms add . && dkms install memcg_ext/$version -k $rel"
	mkdir -p "$R/usr/src/memcg_ext-$version"
	run 1 enable a
	err "run: dkms install memcg_ext/$version -k $rel"
}

test_error_kernel_too_old() {
	unload
	for r in 6.11.9 5.15.0-1; do
		put /proc/sys/kernel/osrelease "$r"
		run 1 enable a
		err "kernel $r is too old; boot kernel 6.12 or later"
	done
}

test_error_no_cgroup2() {
	put /proc/self/mounts 'proc /proc proc rw 0 0'
	for c in 'enable a' 'stat a' stat 'disable a'; do
		# shellcheck disable=SC2086 # a command and its operand
		run 1 $c
		err 'cgroup2 is not mounted; run: mount -t cgroup2 none /sys/fs/cgroup'
	done
}

test_error_cgroup_missing() {
	run 1 enable a/x
	err "no such cgroup; run: mkdir $cg/a/x"
	run 1 enable x/y
	err 'no such cgroup, nor its parent; see: systemd-cgls'
	mkdir -p "$R$cg/plain"
	run 1 enable plain
	err "not a cgroup; name a directory below $cg"
	run 1 stat a/x
	err "mcxctl: stat: $cg/a/x: no such cgroup"
}

test_error_no_memory_controller() {
	cgroup "$cg/a/b/c"
	find "$R$cg/a" -name 'memory.ext.*' -delete
	put "$cg/a/cgroup.subtree_control" pids
	put "$cg/a/b/cgroup.subtree_control" ''
	run 1 enable a/b/c
	err "no memory controller in this cgroup; run: echo +memory > $cg/a/cgroup.subtree_control && echo +memory > $cg/a/b/cgroup.subtree_control"
	put "$cg/cgroup.controllers" 'cpu pids'
	run 1 enable a
	err 'cgroup2 lacks the memory controller; boot with cgroup_no_v1=memory, no cgroup_disable'
}

test_error_threaded() {
	rm "$R$cg/a/b/memory.ext."*
	put "$cg/a/b/cgroup.type" threaded
	run 1 enable a/b
	err 'a threaded cgroup has no memory controller; name its domain'
	put "$cg/a/b/cgroup.type" 'domain invalid'
	run 1 enable a/b
	err 'below a threaded cgroup, no memory controller; name its domain'
}

test_error_root_cgroup() {
	for name in / "$cg" "$cg/" .; do
		run 1 enable "$name"
		err "mcxctl: enable: $cg: the root cgroup has no limits; name a cgroup below it"
	done
}

test_error_files_missing() {
	rm "$R$cg/a/memory.ext."*
	run 1 enable a
	err 'module memcg_ext made no files here; see: mcxctl features'
}

# fault ERRNO TEXT: a write that fails so is explained so.
fault() {
	FAULT=$1 PRELOAD=$T/fault.so
	export FAULT
	run 1 enable a
	err "$2"
	unset FAULT PRELOAD
}

test_error_of_the_write() {
	fault 1 'permission denied; run as root (CAP_SYS_RESOURCE), or name a cgroup below a managed one'
	fault 13 'permission denied; run as root (CAP_SYS_RESOURCE)'
	fault 16 'busy, another change is under way; wait and run it again, or see: dmesg | grep memcg_ext'
	fault 19 "the cgroup or module memcg_ext went away; run: mcxctl doctor $cg/a"
	fault 30 "cgroup2 is mounted read-only; run: mount -o remount,rw $cg"
	fault 95 'not supported on this kernel; see: mcxctl features'
	fault 5 'Input/output error; see: dmesg | grep memcg_ext'
}

# ---- stat, features ----

test_stat_list() {
	state "$cg/a/b" 1 1
	run 0 stat
	out ' 100M     max    low        12         7      0 a/b'
	equal "$(wc -l <"$T/out")" 2 lines
	[ "$(wc -L <"$T/out")" -lt 80 ] || bad '80 columns or more'
	run 0 stat --json
	json 1 length
	json "$cg/a/b" 0 cgroup
	json 104857600 0 stat usage
	json max 0 stat limit
	json 5 0 stat some_new_key
	json 3 0 events stuck
}

test_stat_list_of_none() {
	run 0 stat
	out 'no cgroup is managed; run: mcxctl enable CGROUP'
	run 0 stat -q
	silent out
	run 0 stat -j
	json 0 length
}

test_stat_one() {
	run 0 stat a
	grep -qE '^some_new_key +5$' "$T/out" || bad 'no some_new_key'
	grep -qE '^events\.stuck +3$' "$T/out" || bad 'no events.stuck'
	run 0 stat a -j
	json "$cg/a" cgroup
	json 0 stat managed
}

test_stat_interval() {
	(sleep 0.5; state "$cg/a" 1 1 4000) &
	run 0 stat a 1 1
	wait
	grep -qE '^ *100M +max +low +3000 +0 ' "$T/out" || {
		bad 'no delta of 3000'
		sed 's/^/#   /' "$T/out"
	}
	out_not passes
	run 0 stat a 0.1 3
	equal "$(wc -l <"$T/out")" 4 lines
	run 0 stat -q a 0.1 3
	equal "$(wc -l <"$T/out")" 3 lines
}

test_stat_interval_width() {
	cat >"$R$cg/a/memory.ext.stat" <<-'END'
		managed 1
		attached 1
		usage 18446744073709551615
		limit 1073741823
		level stuck
		admit_mark 77
		charged_pages 99999999
		reclaimed_pages 18446744073709551615
		reclaim_passes 999949999
		reclaim_usec 99949
		paced 1
		paced_usec 100000
		over_high 999949
		deferred 99999
		stuck 18446744073709551615
	END
	run 0 stat a 0.1 1
	[ "$(wc -L <"$T/out")" -lt 80 ] || bad '80 columns or more'
	equal "$(awk '{print NF}' "$T/out" | tr '\n' ' ')" '12 12 ' columns
	run 0 stat -j a 0.1 1
	json 18446744073709551615 stat stuck
	json 0 delta stuck
	out_not '"usage":0'
	out_not '"admit_mark":0'
}

test_stat_interval_json_lines() {
	run 0 stat -j a 0.1 2
	equal "$(wc -l <"$T/out")" 2 lines
	while read -r line; do
		printf '%s\n' "$line" | "$T/jget" delta charged_pages \
			>/dev/null || bad "bad JSON: $line"
	done <"$T/out"
}

test_stat_interval_management_begins() {
	put "$cg/a/memory.ext.stat" 'managed 0'
	(sleep 0.7; state "$cg/a" 1 1) &
	run 0 stat a 0.5 3
	wait
	equal "$(grep -c "usage" "$T/out")" 1 'lines of headings'
}

test_stat_cgroup_goes_away() {
	(sleep 0.3; rm -r "$R$cg/a/b") &
	run 1 stat a/b 0.1
	wait
	err "mcxctl: stat: $cg/a/b: no such cgroup"
}

test_features() {
	run 0 features
	grep -qE '^throttle +degraded +no lock tracepoint$' "$T/out" ||
		bad 'no line for throttle'
	run 0 features -j
	json 3 length
	json off 2 state
	json 'needs kernel 7.2' 2 reason
}

test_features_debugfs() {
	rm -r "$R/sys/kernel/debug"
	put /proc/self/mounts "cgroup2 $cg cgroup2 rw 0 0"
	run 1 features
	err 'debugfs is not mounted; run: mount -t debugfs none /sys/kernel/debug'
	mounts
	run 1 -j features
	json '/sys/kernel/debug/memcg_ext/features: No such file or directory; see: dmesg | grep memcg_ext' error
}

# ---- events, set, dump ----

test_events() {
	run 0 events a
	equal "$(cat "$T/out")" 'a stuck=3' events
	run 0 events
	out 'no cgroup is managed; run: mcxctl enable CGROUP'
	run 0 events -j
	json 0 length
	state "$cg/a/b" 1 1
	put "$cg/a/b/memory.ext.events" 'stuck 4
over_high 9'
	run 0 events
	equal "$(cat "$T/out")" 'a/b stuck=4 over_high=9' events
	run 0 events -j
	json 1 length
	json "$cg/a/b" 0 cgroup
	json 9 0 events over_high
	run 1 events nope
	err "mcxctl: events: $cg/nope: no such cgroup; run: mkdir $cg/nope"
	unload
	run 1 events
	err 'module memcg_ext is not loaded; run: modprobe memcg_ext'
}

# stop_after SECONDS SIGNAL ARG...: what mcxctl says until it is told to stop.
stop_after() {
	seconds=$1 signal=$2
	shift 2
	timeout -s "$signal" --preserve-status "$seconds" "$mcxctl" "$@" \
		>"$T/out" 2>"$T/err"
	equal $? 0 "exit status after SIG$signal"
}

test_events_follow() {
	put "$cg/a/memory.ext.events" 'stuck 3
over_high 9'
	(sleep 0.4; put "$cg/a/memory.ext.events" 'stuck 4
over_high 9') &
	stop_after 2.5 INT events --follow a
	wait
	equal "$(tr '\n' ';' <"$T/out")" 'a stuck=3 over_high=9;a stuck=4;' \
		'lines of --follow'
	silent err
	(sleep 0.4; put "$cg/a/memory.ext.events" 'stuck 5') &
	stop_after 2.5 TERM events -j -f a
	wait
	equal "$(wc -l <"$T/out")" 2 'lines of JSON'
	equal "$(tail -n 1 "$T/out" | "$T/jget" events stuck)" 5 stuck
}

# settings: files that a later module may have.
settings() {
	put "$cg/a/memory.ext.reclaim" 'headroom=auto swappiness=60 stuck=notify'
	put "$cg/a/memory.ext.memsw.max" max
	chmod a-w "$R$cg/a/memory.ext.stat" "$R$cg/a/memory.ext.events"
}

test_set() {
	settings
	run 0 set a enable=subtree reclaim.swappiness=10 memsw.max=1G
	equal "$(cat "$R$cg/a/memory.ext.enable")" subtree enable
	equal "$(cat "$R$cg/a/memory.ext.reclaim")" swappiness=10 reclaim
	equal "$(cat "$R$cg/a/memory.ext.memsw.max")" 1G memsw.max
	out "$cg/a: reclaim.swappiness=10"
	settings
	run 0 set -j a 'reclaim=stuck=max headroom=5%'
	equal "$(cat "$R$cg/a/memory.ext.reclaim")" 'stuck=max headroom=5%' \
		'a whole file'
	json "$cg/a" cgroup
	json 'reclaim=stuck=max headroom=5%' written 0
	json 0 not_written length
}

# refused TEXT ARG...: nothing is written.
refused() {
	text=$1
	shift
	put "$cg/a/memory.ext.enable" 0
	run 1 set a enable=1 "$@"
	err "$text"
	equal "$(cat "$R$cg/a/memory.ext.enable")" 0 'written in spite of it'
}

test_set_checks_before_it_writes() {
	settings
	keys='enable memsw.max reclaim reclaim.headroom reclaim.swappiness reclaim.stuck'
	refused "mcxctl: set: $cg/a: unknown key 'nope'; one of: $keys" nope=1
	refused "unknown key 'reclaim.nope'; one of: $keys" reclaim.nope=1
	refused "unknown key 'reclaim.stuc'; one of: $keys" reclaim.stuc=1
	refused "unknown key 'reclaim.'; one of: $keys" reclaim.=1
	refused "'stat' is read-only; one of: $keys" stat=1
	run 2 set a enable=1 x
	err "mcxctl: set: 'x' is no KEY=VALUE; see: mcxctl help set"
	run 2 set a enable=
	err "'enable=' has no value"
	run 2 set a
	equal "$(cat "$R$cg/a/memory.ext.enable")" 0 enable
	run 1 set nope enable=1
	err "$cg/nope: no such cgroup; run: mkdir $cg/nope"
	unload
	run 1 -j set a enable=1
	json "$cg/a: module memcg_ext is not loaded; run: modprobe memcg_ext" error
}

# A write that fails is told, and what was and was not written.
test_set_that_fails() {
	settings
	FAULT=22 FAULT_FILE=memory.ext.reclaim PRELOAD=$T/fault.so
	export FAULT FAULT_FILE
	run 1 set a enable=1 reclaim.stuck=nope memsw.max=5
	out "$cg/a: enable=1"
	err "$cg/a: reclaim.stuck=nope: the module refuses this value; now it is: "
	err '; so not written either: memsw.max=5'
	equal "$(cat "$R$cg/a/memory.ext.memsw.max")" max memsw.max
	settings
	run 1 set -j a enable=1 reclaim.stuck=nope memsw.max=5
	json enable=1 written 0
	json reclaim.stuck=nope not_written 0
	json memsw.max=5 not_written 1
	unset FAULT FAULT_FILE PRELOAD
}

test_dump() {
	d=/sys/kernel/debug/memcg_ext
	put /sys/module/memcg_ext/parameters/hide ipmodify
	put "$d/hooks" 'page_counter_try_charge found=1 attached=0 redirect=0'
	put "$d/workers" '0 pid=77 idle=1 passes=5'
	put "$d/policies" '3 name=simple cgroup=42 path=/a state=active'
	put "$d/last_exit" 'name simple
kind 64
reason unreg
code 0
msg Its link was closed'
	put "$d/events" 'stuck 5'
	put "$d/cgroups" '42 path=/a usage=4096'
	run 0 dump
	for line in "mcxctl $version" "module memcg_ext $version" \
		'== parameters ==' 'hide ipmodify' 'throttle degraded no lock' \
		'0 pid=77' '3 name=simple' 'msg Its link was closed' 'stuck 5' \
		'42 path=/a usage=4096' '== doctor ==' "kernel: $rel"; do
		out "$line"
	done
	run 0 dump -j
	json "$version" mcxctl
	json "$rel" kernel
	json ipmodify parameters hide
	json degraded features 1 state
	json page_counter_try_charge hooks 0 name
	json 1 hooks 0 found
	json 77 workers 0 pid
	json simple policies 0 name
	json 42 policies 0 cgroup
	json 'Its link was closed' last_exit msg
	json 5 events stuck
	json /a cgroups 0 path
	json kernel doctor 0 what
}

test_dump_of_nothing() {
	unload
	run 0 dump
	out 'module memcg_ext not loaded'
	out '(No such file or directory)'
	out 'FAIL  module loaded: no'
	run 0 dump -j
	json null module
	json null hooks
	json null features
}

# ---- policies ----

# Object files (tests/host/fixtures), and BTF as of a kernel with the module.
build_policies() {
	src=$here/tests/host/fixtures/policy.bpf.c
	for variant in '' NEW_MEMBER OTHER_TYPE NO_OPS NO_LINK NO_NAME TWO_OPS \
		HAS_INIT; do
		clang -O2 -g -Wall -target bpf -I"$here/module" \
			${variant:+-D$variant} -c "$src" \
			-o "$T/${variant:-sample}.bpf.o" || return
	done
	llvm-objcopy --remove-section .BTF --remove-section .BTF.ext \
		"$T/sample.bpf.o" "$T/NO_BTF.bpf.o" || return
	echo 'struct mem_cgroup { int id; } root;' >"$T/vmlinux.c"
	printf '%s\n' '#include <stdbool.h>' '#include <linux/types.h>' '#include "ops.h"' \
		'struct memcg_ext_ops ops;' 'struct bpf_struct_ops_memcg_ext_ops {' \
		'long common[8]; struct memcg_ext_ops data; } value;' \
		>"$T/module.c"
	echo 'struct mcx_other { int id; } other;' >"$T/old.c"
	for o in vmlinux module old; do
		"$cc" -g -c -I"$here/module" "$T/$o.c" -o "$T/$o.o" || return
	done
	pahole -J --btf_encode_detached="$T/vmlinux.btf" "$T/vmlinux.o" &&
		pahole -J --btf_base "$T/vmlinux.btf" \
			--btf_encode_detached="$T/module.btf" "$T/module.o" &&
		pahole -J --btf_base "$T/vmlinux.btf" \
			--btf_encode_detached="$T/old.btf" "$T/old.o"
}

# policies: a machine on which one can be loaded; two are.
policies() {
	[ -n "$have_policies" ] || return
	cp "$T/vmlinux.btf" "$R/sys/kernel/btf/vmlinux"
	cp "$T/module.btf" "$R/sys/kernel/btf/memcg_ext"
	put /sys/fs/bpf/mcx/simple ''
	put /sys/kernel/debug/memcg_ext/policies \
		'1 name=simple cgroup=42 path=/a state=active flags=0 timeout_ms=5000 high_policy=1 memcg_charged=20 level=3 skipped=0
2 name=foreground cgroup=43 path=/a\040b state=ejected flags=1 timeout_ms=5000 high_policy=0 memcg_charged=0 level=0 skipped=0'
	cd "$T" || exit
}

# not_loaded TEXT ARG...: load and run refuse, and say so.
not_loaded() {
	text=$1
	shift
	for c in load run; do
		run 1 "$c" "$@"
		err "mcxctl: $c: $text"
		silent out
	done
}

# As far as a made-up machine lets us: it would be loaded now.
would_load() {
	run 1 -v load "$@"
	err 'MCXCTL_ROOT is set: nothing goes to the real kernel'
}

test_policies_are_built() {
	[ -n "$have_policies" ] && return
	bad 'no clang, llvm-objcopy or pahole, or they fail'
	sed 's/^/#   /' "$T/policies.log"
}

test_show_file() {
	policies || return
	run 0 show sample.bpf.o
	for line in 'name         sample' 'members      memcg_charged level' \
		'timeout_ms   1000' \
		'  budget_ms=100                u32        How long a task may wait in all' \
		'  offset=-3                    s8         A signed byte' \
		'  eager=true                   bool       Be eager' \
		'  group=batch                  char[8]' '  ratio=-  '; do
		out "$line"
	done
	for name in fixed hidden changing; do
		out_not "$name"
	done
	run 0 show -j ./sample.bpf.o
	json sample name
	json level members 1
	json 2 members length
	json 100 options 0 default
	json budget_ms options 0 name
	json u32 options 0 type
	json 'How long a task may wait in all' options 0 help
	unload
	run 0 show sample.bpf.o
	run 1 show nope.bpf.o
	err 'mcxctl: show: nope.bpf.o: no such file, here or among the installed policies'
}

test_load_object_file() {
	policies || return
	compile='compile it with: clang -O2 -g -target bpf -c'
	not_loaded 'nope.bpf.o: no such file, here or among the installed policies' nope.bpf.o
	not_loaded './nope.bpf.o: no such file' ./nope.bpf.o
	not_loaded '.: is a directory; name a file .bpf.o' .
	not_loaded "vmlinux.c: not a BPF object; $compile" vmlinux.c
	not_loaded "vmlinux.o: not a BPF object; $compile" vmlinux.o
	not_loaded 'NO_BTF.bpf.o: has no BTF; compile it with -g' NO_BTF.bpf.o
	not_loaded 'NO_OPS.bpf.o: no policy in it: no struct_ops map; define one with MCX_OPS(name)' NO_OPS.bpf.o
	not_loaded "TWO_OPS.bpf.o: two policies in it, 'sample' and 'second'" TWO_OPS.bpf.o
	not_loaded "OTHER_TYPE.bpf.o: 'sample' in it is no struct memcg_ext_ops" OTHER_TYPE.bpf.o
	not_loaded "NO_LINK.bpf.o: 'sample' must be in section .struct_ops.link" NO_LINK.bpf.o
	not_loaded 'NO_NAME.bpf.o: the policy has no name; give it one: -n NAME' NO_NAME.bpf.o
	would_load -n other NO_NAME.bpf.o
	run 1 -j load nope.bpf.o
	silent err
	json 'nope.bpf.o: no such file, here or among the installed policies' error
}

# In the order in which a user mends them.
test_load_checks_the_machine() {
	policies || return
	would_load sample.bpf.o
	put /proc/self/status 'CapEff:	000000ffffffffff'
	put /proc/self/uid_map '0 100000 65536'
	not_loaded 'sample.bpf.o: capabilities of a user namespace do not count' sample.bpf.o
	for cap in 000000ffffdfffff=SYS_ADMIN 000000bfffffffff=PERFMON \
		0000007fffffffff=BPF 0000000000000000=BPF; do
		put /proc/self/status "CapEff:	${cap%=*}"
		not_loaded "sample.bpf.o: no CAP_${cap#*=}; run as root" sample.bpf.o
	done
	rm "$R/sys/kernel/btf/memcg_ext"
	not_loaded 'sample.bpf.o: the module was built without BTF, so it takes no policy; see: mcxctl doctor' sample.bpf.o
	unload
	not_loaded 'sample.bpf.o: module memcg_ext is not loaded; run: modprobe memcg_ext' sample.bpf.o
	machine
	policies
	cp old.btf "$R/sys/kernel/btf/memcg_ext"
	not_loaded 'sample.bpf.o: the loaded module takes no policies; load a newer one' sample.bpf.o
}

test_load_pin() {
	policies || return
	put /proc/self/mounts "cgroup2 $cg cgroup2 rw 0 0"
	run 1 load sample.bpf.o
	err 'mcxctl: load: sample.bpf.o: bpffs is not mounted at /sys/fs/bpf; run: mount -t bpf bpf /sys/fs/bpf'
	run 1 run sample.bpf.o
	err 'MCXCTL_ROOT is set'
	mounts
	run 1 load -n simple sample.bpf.o
	err "mcxctl: load: sample.bpf.o: a policy 'simple' is loaded; run: mcxctl unload simple"
	run 1 load --pin x sample.bpf.o
	err '--pin x: name an absolute path'
	run 1 load --pin /sys/fs/bpf/no/x sample.bpf.o
	err '--pin /sys/fs/bpf/no/x: no such folder; run: mkdir -p /sys/fs/bpf/no'
	run 1 load -n my.policy sample.bpf.o
	err "mcxctl: load: sample.bpf.o: bpffs takes no name with a '.', such as 'my.policy'; give it another, -n NAME, or another path, --pin PATH"
	run 1 load -n my.policy --pin /sys/fs/bpf/x.y sample.bpf.o
	err "--pin /sys/fs/bpf/x.y: bpffs takes no name with a '.'; name another path"
	run 1 load -n my.policy --pin /sys/fs/bpf/x sample.bpf.o
	err '--pin /sys/fs/bpf/x: not on bpffs'
	run 1 load --pin /sys/fs/bpf/x sample.bpf.o
	err '--pin /sys/fs/bpf/x: not on bpffs; name a path below /sys/fs/bpf'
}

test_load_cgroup_and_name() {
	policies || return
	for c in a / a/b "$cg/a"; do
		would_load -c "$c" sample.bpf.o
	done
	not_loaded "sample.bpf.o: $cg/nope: no such cgroup; run: mkdir $cg/nope" -c nope sample.bpf.o
	put "$cg/a/cgroup.subtree_control" pids
	not_loaded "sample.bpf.o: $cg/a/b: no memory controller in this cgroup; run: echo +memory > $cg/a/cgroup.subtree_control" -c a/b sample.bpf.o
	put "$cg/a/b/cgroup.type" threaded
	not_loaded "sample.bpf.o: $cg/a/b: a threaded cgroup has no memory controller" -c a/b sample.bpf.o
	would_load -n my_policy_2 --override sample.bpf.o
	run 1 run -n my_policy.2 sample.bpf.o
	err 'MCXCTL_ROOT is set'
	not_loaded "sample.bpf.o: bad name 'a/b': letters, digits, '_' and '.' only" -n a/b sample.bpf.o
	not_loaded "sample.bpf.o: bad name '..'" -n .. sample.bpf.o
	would_load -n fifteen_letters sample.bpf.o
	not_loaded "sample.bpf.o: name 'sixteen__letters' is too long: 15 characters at most" -n sixteen__letters sample.bpf.o
}

# A cgroup that is removed in between has no id, and 0 is that of the root.
test_load_cgroup_goes_away() {
	policies || return
	FAULT_STAT=$R$cg/a PRELOAD=$T/fault.so
	for FAULT_STAT_AT in 1 2; do
		export FAULT_STAT FAULT_STAT_AT
		not_loaded "sample.bpf.o: $cg/a: no such cgroup; run: mkdir $cg/a" -c a sample.bpf.o
	done
	unset FAULT_STAT FAULT_STAT_AT PRELOAD
}

# option SETTING SHOWN: this is what the policy gets.
option() {
	would_load --set "$1" sample.bpf.o
	grep -qxF "mcxctl: load: option $2" "$T/err" || {
		bad "--set $1: not $2"
		grep option "$T/err"
	}
}

test_load_options() {
	policies || return
	option budget_ms=250 budget_ms=250
	option budget_ms=0x10 budget_ms=16
	option budget_ms=4294967295 budget_ms=4294967295
	option budget_ms=2K budget_ms=2048
	option bytes=3M bytes=3145728
	option bytes=15G bytes=16106127360
	option bytes=18446744073709551615 bytes=18446744073709551615
	option offset=-128 offset=-128
	option offset=127 offset=127
	option balance=-9223372036854775808 balance=-9223372036854775808
	option balance=-2K balance=-2048
	option eager=no eager=false
	option eager=1 eager=true
	option group=interac group=interac
	option group= group=
	run 1 -v load --set small=1 --set small=2 --set eager=0 sample.bpf.o
	err 'option small=2'
	err 'option eager=false'
}

test_load_options_refused() {
	policies || return
	has='the policy has: budget_ms small offset bytes balance eager group ratio'
	for o in nope=1 hidden=1 fixed=1 changing=1 budget=1 budget_ms2=1; do
		not_loaded "sample.bpf.o: unknown option '${o%=*}'; $has" \
			--set "$o" sample.bpf.o
	done
	for o in small=256='0 to 255' small=-1='0 to 255' \
		offset=128='-128 to 127' offset=-129='-128 to 127' \
		budget_ms=4G='0 to 4294967295' \
		bytes=18446744073709551616='0 to 18446744073709551615' \
		bytes=99999999999G='0 to 18446744073709551615' \
		balance=9223372036854775808='-9223372036854775808 to 9223372036854775807'; do
		set_to=${o%=*}
		not_loaded "sample.bpf.o: option '${set_to%=*}': ${set_to#*=} is out of range: ${o##*=}" \
			--set "$set_to" sample.bpf.o
	done
	for o in small= small=x small=1x small=1KK small=-x bytes=1T; do
		not_loaded "sample.bpf.o: option '${o%=*}': '${o#*=}' is no number; K, M and G may follow one" \
			--set "$o" sample.bpf.o
	done
	not_loaded "sample.bpf.o: option 'eager': 'maybe' is neither true nor false" --set eager=maybe sample.bpf.o
	not_loaded "sample.bpf.o: option 'group': 'interact' is too long: 7 characters at most" --set group=interact sample.bpf.o
	not_loaded "sample.bpf.o: option 'ratio' has a type that cannot be set" --set ratio=1 sample.bpf.o
	for c in load run; do
		run 2 "$c" --set small sample.bpf.o
		run 2 "$c" --set =1 sample.bpf.o
		run 2 "$c"
		run 2 "$c" sample.bpf.o sample.bpf.o
	done
	run 2 run -i 0 sample.bpf.o
	run 2 run --pin /sys/fs/bpf/x sample.bpf.o
	run 2 load -i 1 sample.bpf.o
}

# A policy for a newer module: what this one does not know is left out.
test_load_new_members() {
	policies || return
	would_load -c a NEW_MEMBER.bpf.o
	err 'warning: NEW_MEMBER.bpf.o: the loaded module does not know memcg_ext_ops.memcg_painted; the policy goes without'
	err 'does not know memcg_ext_ops.color;'
	grep -E 'know memcg_ext_ops.(level|name|flags|cgroup_id)' "$T/err" &&
		bad 'warned of a member that is known'
	would_load sample.bpf.o
	grep warning "$T/err" && bad 'warned of nothing'
}

test_list() {
	policies || return
	run 0 list
	equal "$(tr -s ' ' <"$T/out")" "NAME STATE HELD BY CGROUP
simple active /sys/fs/bpf/mcx/simple /a
foreground ejected - /a b" list
	run 0 list -q
	equal "$(tr '\n' ' ' <"$T/out")" 'simple foreground ' names
	run 0 list -j
	json 2 length
	json simple 0 name
	json 20 0 memcg_charged
	json /sys/fs/bpf/mcx/simple 0 pin
	json '/a b' 1 path
	put /sys/kernel/debug/memcg_ext/policies ''
	run 0 list
	out 'no policy is attached; run: mcxctl load FILE.bpf.o'
	run 0 list -j
	json 0 length
	rm "$R/sys/kernel/debug/memcg_ext/policies"
	run 1 list
	err 'mcxctl: list: /sys/kernel/debug/memcg_ext/policies: No such file'
	unload
	run 1 list
	err 'module memcg_ext is not loaded'
}

# raw FILE: bytes that are orders to a terminal, or no UTF-8.
raw() {
	LC_ALL=C grep -q "$(printf '[\033\377]')" "$T/$1"
}

# Whoever may make a cgroup picks its name: ESC is an order to the terminal, a
# newline makes another line, byte 377 is no UTF-8.
test_names_that_are_orders() {
	name=$(printf 'x\033[2J\377\302\233\342\200\256\303\244')
	clean='x\033[2J\377\302\233\342\200\256ä'
	json=$(printf 'x\\u001b[2J\357\277\275\\u009b\\u202e\303\244')
	cgroup "$cg/$name"
	state "$cg/$name" 1 1
	for c in stat events doctor dump "enable $name" "doctor $name" \
		"enable $name/no" "-v disable -t 0 $name"; do
		# shellcheck disable=SC2086 # a command and its operand
		"$mcxctl" $c >"$T/both" 2>&1
		grep -qF "$clean" "$T/both" || [ "$c" = doctor ] ||
			[ "$c" = dump ] || bad "$c: not named"
		raw both && bad "$c: raw, on the terminal"
	done
	run 0 stat
	out "$clean"
	run 0 stat -j
	out "\"$cg/$json\""
	put /sys/kernel/debug/memcg_ext/policies \
		"1 name=simple cgroup=42 path=/$name\\012y state=active"
	put /sys/kernel/debug/memcg_ext/last_exit "msg $name"
	run 0 list
	out "/$clean\\012y"
	run 0 show simple
	out "/$clean\\012y"
	run 0 dump
	out "msg $clean"
	raw out && bad 'dump: raw'
	for c in list 'show simple' dump; do
		# shellcheck disable=SC2086 # a command and its operand
		run 0 -j $c
		out "$json"
		raw out && bad "$c: JSON that is no UTF-8"
	done
}

test_show_policy() {
	policies || return
	run 0 show simple
	equal "$(tr -s ' ' <"$T/out" | grep -E '^(name|level|pin) ')" 'name simple
level 3
pin /sys/fs/bpf/mcx/simple' show
	run 0 show -j foreground
	json 1 length
	json '/a b' 0 path
	json ejected 0 state
	run 1 show nope
	err 'mcxctl: show: nope: neither a file nor an attached policy; there are: simple foreground'
}

test_unload() {
	policies || return
	put /sys/fs/bpf/mcx/other ''
	run 1 unload nope
	err 'mcxctl: unload: nope: no policy of that name; there are: other simple'
	run 0 unload other
	out 'other: unloaded'
	[ -e "$R/sys/fs/bpf/mcx/other" ] && bad 'other is still pinned'
	[ -e "$R/sys/fs/bpf/mcx/simple" ] || bad 'simple is not pinned'
	put /sys/fs/bpf/mcx/other ''
	run 1 unload -j nope other
	json nope 0 name
	json other 1 name
	json /sys/fs/bpf/mcx/other 1 pin
	"$T/jget" 0 error <"$T/out" >/dev/null || bad 'no error for nope'
	put /sys/fs/bpf/mcx/other ''
	run 0 unload --all
	equal "$(find "$R/sys/fs/bpf" -type f)" '' 'pins left'
	run 0 unload --all
	out 'no policy is loaded'
	run 1 unload simple
	err 'no policy of that name, nor any other'
	run 2 unload
	err 'missing operand: NAME..., or --all'
	run 2 unload --all simple
}

# ---- doctor ----

# finding LINE: breaks nothing, prints this line.
finding() {
	run "$1" doctor -q ${3+"$3"}
	grep -qxF -- "$2" "$T/out" && return
	bad "no line: $2"
	sed 's/^/#   /' "$T/out"
}

test_doctor_all_well() {
	printf 'reclaim on\n' >"$R/sys/kernel/debug/memcg_ext/features"
	state "$cg/a" 1 1
	run 0 doctor a
	grep -v '^ok    ' "$T/out" && bad 'not all ok'
	out "ok    cgroup $cg/a: managed"
	out 'ok    feature reclaim: on'
	run 0 doctor -q a
	silent out
	run 0 doctor -j
	json ok 0 status
	json kernel 0 what
	json "$rel" 0 detail
}

test_doctor_kernel() {
	put /proc/sys/kernel/osrelease 6.1.0
	finding 1 'FAIL  kernel: 6.1.0 is too old; boot kernel 6.12 or later'
	machine
	rm "$R/sys/kernel/btf/vmlinux"
	finding 1 'FAIL  kernel BTF: missing; boot a kernel with CONFIG_DEBUG_INFO_BTF=y'
	machine
	put /proc/sys/kernel/ftrace_enabled 0
	finding 1 'FAIL  ftrace: disabled, no hook can be attached; run: sysctl -w kernel.ftrace_enabled=1'
	rm "$R/proc/sys/kernel/ftrace_enabled"
	finding 1 'FAIL  ftrace: missing; boot a kernel with CONFIG_FUNCTION_TRACER=y'
}

test_doctor_lockdown_and_signing() {
	efi=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c

	put /sys/kernel/security/lockdown 'none integrity [confidentiality]'
	finding 1 'FAIL  lockdown: confidentiality forbids kprobes; boot with lockdown=integrity'
	machine
	put /sys/kernel/security/lockdown 'none [integrity] confidentiality'
	mkdir -p "$R${efi%/*}"
	printf '\006\000\000\000\001' >"$R$efi"
	run 0 doctor
	out 'module signing: enforced, the key was accepted, Secure Boot is on'
	unload
	finding 1 'warn  module signing: enforced, the key of dkms must be enrolled, Secure Boot is on; run: mokutil --import /var/lib/dkms/mok.pub (then reboot and confirm)'
	machine
	put /sys/module/module/parameters/sig_enforce Y
	run 0 doctor
	out 'module signing: enforced, the key was accepted, Secure Boot is off'
}

test_doctor_module() {
	unload
	finding 1 'FAIL  module loaded: no; run: modprobe memcg_ext'
	machine
	rm -r "$R/lib/modules/$rel/updates"
	mkdir -p "$R/usr/src/memcg_ext-$version"
	finding 0 "warn  module installed: not for kernel $rel; run: dkms install memcg_ext/$version -k $rel"
	unload
	finding 1 "FAIL  module installed: not for kernel $rel; run: dkms install memcg_ext/$version -k $rel"
	machine
	put "/lib/modules/$rel/modules.dep" ''
	finding 0 "warn  module installed: /lib/modules/$rel/updates/dkms/memcg_ext.ko.xz, but modprobe does not know it; run: depmod -a"
	machine
	put /sys/module/memcg_ext/version 0.0.1
	finding 0 "warn  module loaded: version 0.0.1, but mcxctl is $version; run: modprobe -r memcg_ext && modprobe memcg_ext"
	machine
	rm "$R/sys/kernel/btf/memcg_ext"
	run 1 doctor
	out 'FAIL  module BTF: missing, no policy can be loaded; run: apt install pahole && dkms build --force'
}

test_doctor_features() {
	finding 0 'warn  feature throttle: degraded: no lock tracepoint'
	finding 0 'warn  feature share: off: needs kernel 7.2'
	rm -r "$R/sys/kernel/debug"
	run 0 doctor
	out 'warn  features: /sys/kernel/debug/memcg_ext/features: No such file'
}

test_doctor_machine() {
	put /proc/self/status 'CapEff:	0000000000000000'
	finding 0 'warn  privilege: no CAP_SYS_RESOURCE, enable works only below a managed cgroup; run: sudo mcxctl doctor'
	machine
	put /proc/self/uid_map '0 100000 65536'
	run 0 doctor
	out 'warn  privilege: no CAP_SYS_RESOURCE'
	rm "$R/proc/pressure/memory"
	finding 0 'warn  PSI: off, pressure is not seen; boot with psi=1'
	put /proc/swaps 'Filename Type Size Used Priority'
	finding 0 'warn  swap: none, only file pages can be reclaimed; run: swapon DEVICE'
	put /proc/self/mounts "cgroup2 $cg cgroup2 rw 0 0"
	finding 0 'warn  debugfs: not mounted, features cannot be read; run: mount -t debugfs none /sys/kernel/debug'
	finding 0 'warn  bpffs: not mounted, policies cannot be pinned; run: mount -t bpf none /sys/fs/bpf'
}

test_doctor_cgroup2() {
	put "$cg/cgroup.subtree_control" pids
	finding 1 "FAIL  memory controller: not handed to the cgroups below $cg; run: echo +memory > $cg/cgroup.subtree_control"
	put "$cg/cgroup.controllers" pids
	finding 1 'FAIL  memory controller: not in cgroup2; boot with cgroup_no_v1=memory, no cgroup_disable'
	put /proc/self/mounts ''
	finding 1 'FAIL  cgroup2: cgroup2 is not mounted; run: mount -t cgroup2 none /sys/fs/cgroup'
}

test_doctor_cgroup() {
	finding 0 "warn  cgroup $cg/a: not managed; run: mcxctl enable $cg/a" a
	state "$cg/a" 1 0
	finding 1 "FAIL  cgroup $cg/a: managed, but the hooks are not attached; run: mcxctl features" a
	put "$cg/a/cgroup.subtree_control" ''
	rm "$R$cg/a/b/memory.ext."*
	finding 1 "FAIL  cgroup $cg/a/b: no memory controller in this cgroup; run: echo +memory > $cg/a/cgroup.subtree_control" a/b
	finding 1 "FAIL  cgroup $cg/x: no such cgroup; run: mkdir $cg/x" x
	run 1 doctor -j x
	"$T/jget" 0 what <"$T/out" >/dev/null || bad 'bad JSON'
	out_not "\"fix\": \"sudo"
}

test_doctor_build() {
	rm "$R/usr/sbin/dkms" "$R/usr/bin/pahole"
	rmdir "$R/lib/modules/$rel/build"
	finding 0 "warn  kernel headers: missing, the module cannot be rebuilt; run: apt install linux-headers-$rel"
	finding 0 'warn  dkms: missing, the module cannot be rebuilt; run: apt install dkms'
	finding 0 'warn  pahole: missing, the module cannot be rebuilt; run: apt install pahole'
}

# ---- the tool about itself ----

test_usage() {
	run 2
	err 'mcxctl: missing command; see: mcxctl help'
	run 2 nonsense
	err "mcxctl: unknown command 'nonsense'; see: mcxctl help"
	run 2 enab a
	run 2 enable
	err 'mcxctl: enable: missing operand: CGROUP...; see: mcxctl help enable'
	run 2 features x
	err "mcxctl: features: unexpected operand 'x'; see: mcxctl help features"
	run 2 --nonsense
	run 2 stat --subtree
	run 2 enable -t x a
	err "bad timeout 'x'"
	run 2 enable -t -1 a
	for i in 0 -- -1 x 1x nan inf 86401; do
		run 2 stat -- a "$i"
	done
	for i in 0 x 1x -5 99999999999999999999; do
		run 2 stat -- a 1 "$i"
		err "bad count '$i': a number of 1 or more; see: mcxctl help stat"
	done
	run 2 stat a 1 1 1
	run 2 -j stat a x
	silent err
	json "bad interval 'x': seconds, above 0 and up to 86400; see: mcxctl help stat" error
}

test_help_and_version() {
	run 0 version
	out "mcxctl $version"
	out "module memcg_ext $version"
	run 0 version -j
	json "$version" mcxctl
	unload
	run 0 version
	out 'module memcg_ext not loaded'
	run 0 version -j
	json null module
	for o in -V --version; do
		run 0 "$o"
		equal "$(cat "$T/out")" "mcxctl $version" "$o"
	done
	for c in help -h --help 'help enable' 'enable -h' 'enable --usage'; do
		# shellcheck disable=SC2086 # a command and its option
		run 0 $c
		out Usage:
		silent err
	done
	run 2 help nonsense
	run 0 help -j
	json enable 0 command
	json subtree 0 options 0
	run 0 help stat -j
	json stat command
}

test_full_disk() {
	[ -c /dev/full ] || return
	"$mcxctl" help >/dev/full 2>"$T/err" && bad 'exit status 0'
	err 'cannot write the output'
}

# complete_words WORD...: what bash offers for the last word.
complete_words() {
	bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
		_mcxctl; echo "${COMPREPLY[*]}"' "$T/completion" "$@"
}

# Table, manual and completion have the same commands and options.
test_table_manual_completion() {
	man=$here/tools/mcxctl.8
	"$mcxctl" completion >"$T/completion"

	"$mcxctl" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' |
		sort >"$T/table"
	sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$man" | sort >"$T/in-man"
	sed -n 's/^\tlocal commands="\(.*\)"/\1/p' "$T/completion" |
		tr ' ' '\n' | sort >"$T/in-completion"
	diff "$T/table" "$T/in-man" || bad 'commands: table and manual'
	diff "$T/table" "$T/in-completion" ||
		bad 'commands: table and completion'
	[ -s "$T/table" ] || bad 'no commands'

	while read -r c; do
		"$mcxctl" help "$c" |
			sed -n 's/^ .*--\([a-z]*\).*/\1/p'
	done <"$T/table" | sort -u >"$T/table"2
	sed -n 's/^\.It.*Fl Fl \([a-z]*\).*/\1/p' "$man" | sort -u >"$T/in-man"
	grep -oE -- ' --[a-z]+' "$T/completion" | sed 's/ --//' |
		sort -u >"$T/in-completion"
	diff "$T/table2" "$T/in-man" || bad 'options: table and manual'
	diff "$T/table2" "$T/in-completion" ||
		bad 'options: table and completion'
	[ -s "$T/table2" ] || bad 'no options'

	while read -r c; do
		"$mcxctl" help "$c" |
			sed -n 's/^ .*--\([a-z]*\).*/--\1/p' | sort >"$T/of-help"
		complete_words mcxctl "$c" -- | tr ' ' '\n' | sort >"$T/offered"
		diff "$T/of-help" "$T/offered" || bad "options of $c"
	done <"$T/table"
}

test_manual_lint() {
	command -v mandoc >/dev/null || return
	mandoc -Tlint -W warning "$here/tools/mcxctl.8" || bad 'mandoc -Tlint'
}

test_completion() {
	command -v bash >/dev/null || return
	"$mcxctl" completion >"$T/completion"
	equal "$(complete_words mcxctl en)" enable commands
	equal "$(complete_words mcxctl enable --s)" --subtree options
	equal "$(complete_words mcxctl -j help di)" disable 'help COMMAND'
	equal "$(complete_words mcxctl stat --sub)" '' 'options of another'
	equal "$(complete_words mcxctl load --over)" --override 'of load'
	policies || return
	mkdir -p "$T/folder" "$T/bin" "$T/lib/memcg_ext"
	cp "$mcxctl" "$T/bin/mcxctl"
	cp NO_NAME.bpf.o "$T/lib/memcg_ext/installed.bpf.o"
	equal "$(complete_words mcxctl load "$T/sam")" "$T/sample.bpf.o" files
	equal "$(complete_words mcxctl run "$T/fol")" "$T/folder/" folders
	equal "$(complete_words mcxctl load "$T/vml")" '' 'other files'
	saved=$PATH
	PATH=$T/bin:$PATH
	equal "$(complete_words mcxctl load inst)" installed.bpf.o installed
	mcxctl show installed.bpf.o >"$T/out" 2>"$T/err" ||
		bad 'an installed policy is not found'
	out 'members      memcg_charged level'
	equal "$(complete_words mcxctl unload fore)" foreground policies
	equal "$(complete_words mcxctl show simp)" simple policies
	PATH=$saved
}

test_install() {
	[ -n "${built-}" ] || return
	D=$T/dest
	make -s -C "$here/tools" O="$T/build" DESTDIR="$D" PREFIX=/usr \
		install >"$T/out" 2>&1 || bad "install: $(cat "$T/out")"
	[ -x "$D/usr/sbin/mcxctl" ] || bad 'no mcxctl'
	[ -s "$D/usr/share/man/man8/mcxctl.8" ] || bad 'no manual'
	[ -s "$D/usr/share/bash-completion/completions/mcxctl" ] ||
		bad 'no completion'
	make -s -C "$here/tools" O="$T/build" DESTDIR="$D" PREFIX=/usr \
		uninstall >"$T/out" 2>&1 || bad "uninstall: $(cat "$T/out")"
	equal "$(find "$D" -type f)" '' 'left after uninstall'
}

# A policy that the user put there is not ours to remove.
test_uninstall_policies() {
	lib=$T/dest/usr/lib/memcg_ext
	mkdir -p "$lib"
	touch "$lib/mcx_simple.bpf.o" "$lib/mine.bpf.o"
	for left in mine.bpf.o ''; do
		make -s -C "$here/bpf" O="$T/none" DESTDIR="$T/dest" PREFIX=/usr \
			uninstall >"$T/out" 2>&1 ||
			bad "uninstall: $(cat "$T/out")"
		equal "$(ls "$lib" 2>/dev/null)" "$left" 'left after uninstall'
		rm -f "$lib/mine.bpf.o"
	done
	[ -e "$lib" ] && bad 'the folder is left'
	make -s -C "$here/bpf" O="$T/none" DESTDIR="$T/dest" PREFIX=/usr \
		uninstall >"$T/out" 2>&1 || bad 'uninstall again'
}

test_make_names_what_is_missing() {
	make -s -C "$here/tools" O="$T/none" PKG_CONFIG=false \
		>"$T/out" 2>"$T/err" && bad 'built without json-c'
	err 'apt install libjson-c-dev libbpf-dev pkgconf gcc'
}

# ---- bpf(2), made up ----

# A kernel with one attached policy, its link 7 and the map 9, and three more
# pins: of an LRU hash map, of a link that was detached, and of a policy that
# was loaded after the ids were read. MCXCTL_ROOT keeps the tool from the
# kernel, so it is not set: the made-up machine is mounted instead.
build_fake_bpf() {
	cat >"$T/bpf.c" <<-'END'
	#define _GNU_SOURCE
	#include <bpf/bpf.h>
	#include <bpf/libbpf.h>
	#include <bpf/btf.h>
	#include <errno.h>
	#include <fcntl.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	#include <sys/syscall.h>
	#include <unistd.h>
	#include "ops.h"

	#define BTF "/sys/kernel/btf/"
	#define POLICIES "/sys/kernel/debug/memcg_ext/policies"

	static const struct object {
		const char *pin, *file;
		unsigned int type, id, map;
	} objects[] = {
		{ "simple", "anon_inode:bpf_link", 9, 7, 9 },
		{ "lru", "anon_inode:bpf-map", BPF_MAP_TYPE_LRU_HASH, 6, 0 },
		{ "stale", "anon_inode:bpf_link", 9, 6, 0 },
		{ "late", "anon_inode:bpf_link", 9, 8, 10 },
		{ "", "anon_inode:bpf-link", 9, 7, 9 },
	};
	static const struct object *open_as[64];

	static int fake_open(const struct object *o)
	{
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		open_as[fd] = o;
		return fd;
	}

	/* What TEXT_ERRNO says, or that all is well. */
	static int result(const char *text)
	{
		errno = atoi(getenv(text) ?: "0");
		if (!errno)
			close(open(POLICIES, O_WRONLY | O_TRUNC));
		return errno ? -1 : 0;
	}

	ssize_t readlink(const char *path, char *to, size_t size)
	{
		int fd = -1;

		if (sscanf(path, "/proc/self/fd/%d", &fd) != 1 || !open_as[fd])
			return syscall(SYS_readlink, path, to, size);
		return snprintf(to, size, "%s", open_as[fd]->file);
	}

	int bpf_obj_get(const char *path)
	{
		unsigned int i;

		for (i = 0; i < 4; i++)
			if (!strcmp(strrchr(path, '/') + 1, objects[i].pin))
				return fake_open(&objects[i]);
		errno = EPERM;
		return -1;
	}

	int bpf_link_get_next_id(unsigned int id, unsigned int *next)
	{
		*next = 7;
		return id < 7 && !getenv("NO_LINKS") ? 0 : -1;
	}

	int bpf_link_get_fd_by_id(unsigned int id)
	{
		return fake_open(&objects[4]);
	}

	int bpf_link_get_info_by_fd(int fd, struct bpf_link_info *info,
				    unsigned int *len)
	{
		info->type = open_as[fd]->type;
		info->id = open_as[fd]->id;
		info->struct_ops.map_id = open_as[fd]->map;
		return 0;
	}

	int bpf_link_detach(int fd)
	{
		return result("DETACH_ERRNO");
	}

	struct value {
		long common[8];
		struct memcg_ext_ops data;
	};

	int bpf_map_get_fd_by_id(unsigned int id)
	{
		return fake_open(&objects[1]);
	}

	int bpf_map_get_info_by_fd(int fd, struct bpf_map_info *info,
				   unsigned int *len)
	{
		info->btf_vmlinux_id = 5;
		info->value_size = sizeof(struct value);
		return 0;
	}

	int bpf_map_lookup_elem(int fd, const void *key, void *to)
	{
		struct value *v = to;

		strcpy(v->data.name, "simple");
		v->data.cgroup_id = 42;
		return 0;
	}

	int bpf_btf_get_fd_by_id(unsigned int id)
	{
		return fake_open(&objects[1]);
	}

	int bpf_btf_get_info_by_fd(int fd, struct bpf_btf_info *info,
				   unsigned int *len)
	{
		strcpy((char *)info->name, "memcg_ext");
		return 0;
	}

	struct btf *btf__load_vmlinux_btf(void)
	{
		return btf__parse(BTF "vmlinux", NULL);
	}

	struct btf *btf__load_from_kernel_by_id_split(unsigned int id,
						      struct btf *base)
	{
		return btf__parse_split(BTF "memcg_ext", base);
	}

	int bpf_object__load(struct bpf_object *obj)
	{
		return 0;
	}

	struct bpf_link *bpf_map__attach_struct_ops(const struct bpf_map *map)
	{
		errno = atoi(getenv("ATTACH_ERRNO") ?: "0");
		return errno ? NULL : (struct bpf_link *)objects;
	}

	int bpf_link__detach(struct bpf_link *link)
	{
		return result("DETACH_ERRNO");
	}

	int bpf_link__destroy(struct bpf_link *link)
	{
		return 0;
	}

	int bpf_map__lookup_elem(const struct bpf_map *map, const void *key,
				 size_t key_size, void *value,
				 size_t value_size, unsigned long long flags)
	{
		return -ENOENT;
	}
	END
	# shellcheck disable=SC2046 # flags are words
	"$cc" -shared -fPIC -o "$T/bpf.so" "$T/bpf.c" -include linux/types.h \
		-I"$here/module" $(pkg-config --cflags libbpf)
}

# on_kernel STATUS ARG...: as run, with the made-up bpf(2).
on_kernel() {
	want=$1
	shift
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount sh -c 'mount --bind "$0/sys" /sys &&
		mount --bind "$0/proc" /proc && exec "$@"' "$R" \
		env -u MCXCTL_ROOT LD_PRELOAD="$T/bpf.so" timeout 30 \
		"$mcxctl" "$@" >"$T/out" 2>"$T/err"
	got=$?
	[ "$got" = "$want" ] && return
	bad "mcxctl $*: exit status $got, not $want"
	sed 's/^/#   /' "$T/out" "$T/err"
}

# kernel: the same as policies, with the pins; not without root.
kernel() {
	[ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null && policies ||
		return
	put /sys/fs/bpf/mcx/lru ''
	put /sys/fs/bpf/mcx/stale ''
	put /sys/fs/bpf/mcx/late ''
}

# Only links are links, and only one that is detached is called so.
test_pins_of_others() {
	kernel || return
	on_kernel 0 list
	equal "$(tr -s ' ' <"$T/out")" "NAME STATE HELD BY CGROUP
simple active /sys/fs/bpf/mcx/simple /a
foreground ejected - /a b
stale detached /sys/fs/bpf/mcx/stale -" list
	on_kernel 0 unload --all
	equal "$(sort "$T/out" | tr '\n' ';')" \
		'simple: unloaded;stale: unloaded;' output
	equal "$(cd "$R/sys/fs/bpf/mcx" && echo ./*)" './late ./lru' 'pins left'
}

test_unload_that_fails() {
	kernel || return
	DETACH_ERRNO=1
	export DETACH_ERRNO
	on_kernel 1 unload simple
	unset DETACH_ERRNO
	err 'mcxctl: unload: simple: cannot be detached: Operation not permitted; see: dmesg | grep memcg_ext'
	silent out
	[ -e "$R/sys/fs/bpf/mcx/simple" ] || bad 'the pin is gone'
}

# The module is let go of later than the policy is gone.
test_unload_all_waits_for_the_module() {
	policies || return
	put /sys/module/memcg_ext/refcnt 2
	(sleep 0.7; put /sys/module/memcg_ext/refcnt 0) &
	run 0 unload --all
	equal "$(cat "$R/sys/module/memcg_ext/refcnt")" 0 refcnt
	silent err
	wait
	put /sys/module/memcg_ext/refcnt 1
	run 0 unload --all
	err 'warning: module memcg_ext is still in use'
	put /sys/fs/bpf/mcx/simple ''
	run 0 unload simple
	silent err
}

# What a policy's own init returns is an errno like the module's.
test_attach_that_init_may_have_refused() {
	kernel || return
	for e in 1 2 7 16 19 22 95; do
		ATTACH_ERRNO=$e
		export ATTACH_ERRNO
		on_kernel 1 run -c a sample.bpf.o
		grep -q init "$T/err" && bad "errno $e: it has no init"
		on_kernel 1 run -c a HAS_INIT.bpf.o
		err '; or its own init refused ('
	done
	unset ATTACH_ERRNO
	err '; or its own init refused (Operation not supported)'
}

# ends_as TEXT LINE...: what run says, with this in the module's last_exit.
ends_as() {
	text=$1
	shift
	id=$(stat -c %i "$R$cg/a")
	put /sys/kernel/debug/memcg_ext/policies \
		"5 name=sample cgroup=$id path=/a state=active level=3"
	put /sys/kernel/debug/memcg_ext/last_exit "name sample
kind 1025
code 9
msg by error
$(printf '%s\n' "$@")"
	(sleep 0.5; put /sys/kernel/debug/memcg_ext/policies '') &
	on_kernel "${text%% *}" run -i 0.2 -c a sample.bpf.o
	wait
	out "${text#* }"
}

# Several policies can have one name.
test_run_tells_its_own_exit() {
	kernel || return
	id=$(stat -c %i "$R$cg/a")
	ends_as '1 EXIT: error-bpf code=9 by error' 'id 5' "cgroup $id"
	ends_as '1 EXIT: error-bpf code=9 by error'
	ends_as '0 EXIT: unreg code=0' 'id 6' "cgroup $id"
	ends_as '0 EXIT: unreg code=0' 'cgroup 1'
}

# The policy of the same name on the root is another.
test_run_whose_cgroup_goes_away() {
	kernel || return
	id=$(stat -c %i "$R$cg/a")
	put /sys/kernel/debug/memcg_ext/policies \
		"5 name=sample cgroup=$id path=/a state=active level=3"
	(sleep 0.5; rm -r "$R$cg/a"
		put /sys/kernel/debug/memcg_ext/policies \
			'6 name=sample cgroup=1 path=/ state=active level=9') &
	on_kernel 0 run -i 0.2 -c a sample.bpf.o
	wait
	out 'EXIT: unreg'
}

# ---- go ----

echo 'KTAP version 1'
mcxctl=${MCXCTL-}
if [ -z "$mcxctl" ]; then
	mkdir "$T/build"
	make -s -C "$here/tools" O="$T/build" >"$T/log" 2>&1 || {
		sed 's/^/# /' "$T/log"
		grep -q 'apt install' "$T/log" &&
			skip_all 'no compiler, json-c or libbpf'
		echo 'Bail out! tools/ does not build'
		exit 1
	}
	mcxctl=$T/build/mcxctl
	built=1
fi
have_policies=
build_policies >"$T/policies.log" 2>&1 && have_policies=1
build_helpers || skip_all 'no compiler or json-c'
if [ -n "$have_policies" ]; then
	build_fake_bpf || exit 1
fi
version=$("$mcxctl" --version) || exit 1
version=${version#mcxctl }

tests=$(sed -n 's/^test_\([a-z0-9_]*\)() {$/\1/p' "$0")
# shellcheck disable=SC2086 # names are words
set -- $tests
echo "1..$#"
n=0 status=0
for t; do
	n=$((n + 1)) failed=0
	machine
	"test_$t"
	if [ $failed = 0 ]; then
		echo "ok $n $t"
	else
		echo "not ok $n $t"
		status=1
	fi
done
exit $status
