#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# policy_tool: mcxctl load, run, unload, list, show and events, set, dump on a
# real kernel, with real policies. What needs neither is tested by
# tests/host/mcxctl.sh.
# shellcheck disable=SC2317,SC2086 # tests are called by name; no blanks in names

set -u
cg=/sys/fs/cgroup
top=mcx-test-tool
keep=mcx-test-tool-keep
debugfs=/sys/kernel/debug/memcg_ext
T=$(mktemp -d) || exit 1
cd /mcx/bpf || exit 1

bad() {
	echo "# $*"
	failed=1
}

# run STATUS ARG...: run mcxctl, expect this exit status.
run() {
	local want=$1 got

	shift
	timeout 20 mcxctl "$@" > "$T/out" 2> "$T/err"
	got=$?
	[ "$got" = "$want" ] && return
	bad "mcxctl $*: exit status $got, not $want"
	sed 's/^/#   /' "$T/out" "$T/err"
}

# says out|err TEXT: the last run did.
says() {
	grep -qF -- "$2" "$T/$1" && return
	bad "not on std$1: $2"
	sed 's/^/#   /' "$T/$1"
}

equal() {
	[ "$1" = "$2" ] || bad "$3: '$1', not '$2'"
}

# Nothing is left of any policy, neither attached nor pinned.
none_left() {
	equal "$(cat $debugfs/policies)" '' policies
	equal "$(ls /sys/fs/bpf/mcx 2> /dev/null)" '' pins
}

# attached TEXT: the module's list has it.
attached() {
	grep -qF -- "$1" $debugfs/policies && return
	bad "not in policies: $1"
	sed 's/^/#   /' $debugfs/policies
}

# charge SECONDS CGROUP: pages come and go there.
charge() {
	(echo 0 > "$cg/$2/cgroup.procs" && exec timeout "$1" \
		sh -c 'while :; do head -c 4m /dev/zero | tail > /dev/null; done')
}

# wait_for TEXT FILE: up to 5 s.
wait_for() {
	local i

	for ((i = 0; i < 50; i++)); do
		grep -qF -- "$1" "$2" && return
		sleep 0.1
	done
	bad "$2 never said: $1"
	sed 's/^/#   /' "$2"
}

# ends PID STATUS: within 10 s, with this exit status.
ends() {
	local i

	for ((i = 0; i < 100; i++)); do
		kill -0 "$1" 2> /dev/null || break
		sleep 0.1
	done
	kill -KILL "$1" 2> /dev/null && bad 'it does not end'
	wait "$1"
	equal $? "$2" 'exit status'
}

test_load_list_show_unload() {
	run 0 load -c $top --set error_code=7 tool.bpf.o
	equal "$(cat "$T/out")" "tool: attached to $cg/$top, pinned at /sys/fs/bpf/mcx/tool" output
	says err "warning: no cgroup in $cg/$top is managed: level is not called before: mcxctl enable $cg/$top"
	run 0 list
	equal "$(tail -n 1 "$T/out" | tr -s ' ')" "tool active /sys/fs/bpf/mcx/tool /$top" list
	run 0 show -j tool
	says out '"pin": "/sys/fs/bpf/mcx/tool"'
	says out '"timeout_ms": 5000'
	run 1 load -c $top tool.bpf.o
	says err "a policy 'tool' is loaded; run: mcxctl unload tool"
	run 1 load -c $top -n second tool.bpf.o
	says err "$cg/$top has a policy already; run: mcxctl unload tool"
	run 1 load -c $top/a -n below tool.bpf.o
	says err "the policy of a cgroup above $cg/$top/a allows none below; unload that one, or load it with --override"
	rmmod memcg_ext 2> /dev/null && bad 'unloaded with a policy attached'
	run 0 unload tool
	says out 'tool: unloaded'
	none_left
}

test_override_and_unload_all() {
	run 0 load -c $top -n above --override mcx_simple.bpf.o
	attached 'flags=1'
	run 0 load -c $top/a -n below tool.bpf.o
	run 0 unload --all
	equal "$(sort "$T/out" | tr '\n' ';')" 'above: unloaded;below: unloaded;' output
	none_left
}

# The kernel answers for a map as if it were a link, and of the same type.
test_pin_of_a_map() {
	mkdir -p /sys/fs/bpf/mcx
	bpftool map create /sys/fs/bpf/mcx/lru type lru_hash key 4 value 4 \
		entries 8 name lru || bad 'bpftool'
	run 0 list
	equal "$(grep -c lru "$T/out")" 0 'maps listed'
	run 0 unload --all
	rm /sys/fs/bpf/mcx/lru || bad 'unloaded a map'
	none_left
}

test_root_and_pin() {
	run 0 load --pin /sys/fs/bpf/elsewhere tool.bpf.o
	says out "tool: attached to $cg, pinned at /sys/fs/bpf/elsewhere"
	attached 'path=/ '
	run 0 unload tool
	[ -e /sys/fs/bpf/elsewhere ] && bad 'still pinned'
	none_left
}

# Whatever fails, fails as a whole.
test_refused() {
	run 1 load -c $top tool_refused.bpf.o
	says err "the verifier refuses program 'refused_memcg_charged'"
	says err 'processed '
	run 1 load -c $top tool_kfunc.bpf.o
	says err 'calls mcx_bpf_of_tomorrow(), which neither this kernel nor the loaded module has'
	run 1 load -j -c $top --set init_error=-7 tool.bpf.o
	says out "not attached to $cg/$top: Argument list too long; see: dmesg | grep memcg_ext; or its own init refused (Argument list too long)"
	run 1 load -c $top --set init_error=-16 tool.bpf.o
	says err '; or its own init refused (Device or resource busy)'
	none_left
}

test_newer_policy() {
	run 0 load -c $top tool_newer.bpf.o
	says err 'the loaded module does not know memcg_ext_ops.tomorrow; the policy goes without'
	says err 'does not know memcg_ext_ops.color;'
	run 0 unload newer
	none_left
}

test_run_until_told_to_stop() {
	mcxctl run -c $top -i 0.3 tool.bpf.o > "$T/run" 2> "$T/run.err" &
	pid=$!
	wait_for 'tool: attached to' "$T/run"
	run 0 list
	says out "pid $pid (mcxctl)"
	charge 1 $top/a
	wait_for memcg_charged= "$T/run"
	grep -qE 'memcg_charged=[1-9]' "$T/run" || bad 'counted no charges'
	kill -INT $pid
	ends $pid 0
	wait_for 'EXIT: unreg code=0' "$T/run"
	none_left
}

test_run_that_gives_up() {
	mcxctl run -j -c $top -i 60 --set give_up=true tool.bpf.o > "$T/run" 2>&1 &
	pid=$!
	# What attaching itself needs is charged there, too: it may end at once.
	charge 5 $top/a &
	ends $pid 1
	wait $!
	wait_for '"exit":"error-bpf","kind":1025,"code":42,"msg":"had enough"' "$T/run"
	none_left
}

test_run_that_is_unloaded() {
	mcxctl run -c $top tool.bpf.o > "$T/run" 2>&1 &
	pid=$!
	wait_for active $debugfs/policies
	run 0 unload tool
	ends $pid 0
	wait_for 'EXIT: unreg' "$T/run"
	none_left
}

test_run_whose_cgroup_goes_away() {
	mkdir $cg/$top/gone
	mcxctl run -c $top/gone tool.bpf.o > "$T/run" 2>&1 &
	pid=$!
	wait_for active $debugfs/policies
	rmdir $cg/$top/gone
	ends $pid 0
	wait_for 'EXIT: cgroup' "$T/run"
	none_left
}

# What gave up is listed until it is unloaded. In a managed cgroup, so that
# there is nothing to warn of.
test_ejected_while_managed() {
	run 0 set $top enable=subtree
	run 0 load -c $top --set give_up=1 tool.bpf.o
	grep warning "$T/err" && bad 'a warning for nothing'
	charge 0.3 $top/a
	wait_for state=ejected $debugfs/policies
	run 0 list
	equal "$(tail -n 1 "$T/out" | tr -s ' ')" "tool ejected /sys/fs/bpf/mcx/tool /$top" list
	run 0 dump -j
	says out '"state": "ejected"'
	says out '"msg": "had enough"'
	run 0 unload tool
	run 0 disable $top
	none_left
}

# A pin whose link somebody else detached.
test_stale_pin() {
	run 0 load -c $top tool.bpf.o
	bpftool link detach pinned /sys/fs/bpf/mcx/tool || bad 'bpftool'
	run 0 list
	equal "$(tail -n 1 "$T/out" | tr -s ' ')" 'tool detached /sys/fs/bpf/mcx/tool -' list
	run 0 unload tool
	none_left
}

# The kernel wakes it: that it looks once a second as well does not count.
test_events_follow() {
	run 0 enable $top/a
	strace -e trace=poll -o "$T/strace" mcxctl events -f $top/a > "$T/run" 2> "$T/run.err" &
	pid=$!
	wait_for "$top/a " "$T/run"
	echo 8M > $cg/$top/a/memory.high
	(echo 0 > $cg/$top/a/cgroup.procs &&
		head -c 24m /dev/zero > /scratch/policy_tool)
	for ((i = 0; i < 30; i++)); do
		[ "$(wc -l < "$T/run")" -gt 1 ] && break
		sleep 0.1
	done
	tail -n +2 "$T/run" | grep -qE "^$top/a( [a-z_]+=[1-9][0-9]*)+$" || {
		bad 'no event was seen'
		sed 's/^/#   /' "$T/run" "$T/run.err"
	}
	grep -q 'revents=POLLPRI' "$T/strace" || {
		bad 'the kernel did not wake it'
		tail -n 5 "$T/strace" | sed 's/^/#   /'
	}
	pkill -INT -P $pid
	ends $pid 0
	run 0 disable $top/a
	echo max > $cg/$top/a/memory.high
	rm /scratch/policy_tool
}

# Last: it ends what all the others need.
test_module_can_be_unloaded() {
	run 0 load -c $top tool.bpf.o
	run 0 unload --all
	equal "$(cat "$T/err")" '' warnings
	rmmod memcg_ext || bad 'the module cannot be unloaded'
}

if ! modprobe memcg_ext; then
	echo '1..0 # SKIP the module cannot be loaded'
	exit 4
fi
mkdir -p $cg/$top/a $cg/$keep
echo +memory > $cg/$top/cgroup.subtree_control
# So that hooks stay: attaching them takes longer than all the rest.
mcxctl enable -q $keep

tests=$(sed -n 's/^test_\([a-z0-9_]*\)() {$/\1/p' "$0")
set -- $tests
echo 'KTAP version 1'
echo "1..$#"
n=0 status=0
for t; do
	n=$((n + 1)) failed=0
	"test_$t"
	if [ $failed = 0 ]; then
		echo "ok $n $t"
	else
		echo "not ok $n $t"
		status=1
		mcxctl unload --all > /dev/null 2>&1
	fi
done
rm -rf "$T"
rmdir $cg/$top/a $cg/$top $cg/$keep
exit $status
