#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# policy_tool: mcxctl load, run, unload, list, show and events, set, dump on a
# real kernel, with real policies. What needs neither is tested by
# tests/host/mcxctl.sh.
#
# A process costs 50 to 100 ms in an emulated guest: but for what is tested, files
# are read, texts compared and time passed by the shell itself.
# shellcheck disable=SC2317,SC2086 # tests are called by name; no blanks in names

set -u
shopt -s nullglob
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

# watchdog: reads "PID SECONDS", and a line when that process has ended; one that
# has not by then is killed. Never says anything, which is what nap needs.
watchdog() {
	local pid seconds

	while read -r pid seconds; do
		read -rt "$seconds" && continue
		kill -KILL "$pid"
		read -r
	done
}

nap() {
	read -rt "$1" -u "${WATCHDOG[0]}"
}

# await PID SECONDS: sets $got to its exit status; 137, if it had to be killed.
await() {
	echo "$1 $2" >&"${WATCHDOG[1]}"
	wait "$1"
	got=$?
	echo >&"${WATCHDOG[1]}"
}

# run STATUS ARG...: run mcxctl, expect this exit status.
run() {
	local want=$1

	shift
	mcxctl "$@" > "$T/out" 2> "$T/err" &
	await $! 20
	[ "$got" = "$want" ] && return
	bad "mcxctl $*: exit status $got, not $want"
	sed 's/^/#   /' "$T/out" "$T/err"
}

# start COMMAND...: in the background, as $pid; it writes to run and run.err.
start() {
	# What an earlier one wrote is not to be taken for its words.
	: > "$T/run"
	"$@" > "$T/run" 2> "$T/run.err" &
	pid=$!
}

# ends PID STATUS: within 10 s, with this exit status.
ends() {
	await "$1" 10
	[ "$got" = 137 ] && bad 'it does not end'
	equal "$got" "$2" 'exit status'
}

# slurp FILE: sets $lines and $text.
slurp() {
	lines=()
	mapfile lines < "$1"
	printf -v text %s "${lines[@]}"
}

equal() {
	[ "$1" = "$2" ] || bad "$3: '$1', not '$2'"
}

# has FILE TEXT
has() {
	slurp "$1"
	[[ $text == *"$2"* ]] && return
	bad "not in $1: $2"
	sed 's/^/#   /' "$1"
}

# says out|err TEXT: the last run did.
says() {
	has "$T/$1" "$2"
}

# last_line TEXT: of the output of the last run, but for the blanks.
last_line() {
	local words

	slurp "$T/out"
	read -ra words <<< "${lines[*]: -1}"
	equal "${words[*]}" "$1" 'last line'
}

# attached TEXT: the module's list has it.
attached() {
	has $debugfs/policies "$1"
}

# Nothing is left of any policy, neither attached nor pinned.
none_left() {
	local pins=(/sys/fs/bpf/mcx/*)

	slurp $debugfs/policies
	equal "$text" '' policies
	equal "${pins[*]}" '' pins
}

# charge CGROUP: pages come and go there, until charge_end.
charge() {
	paced -P 0 -I 20000 -t 60 -g "$cg/$1" > /dev/null &
	load=$!
}

charge_end() {
	kill $load
	wait $load 2> /dev/null
}

# wait_for REGEX FILE: up to 5 s.
wait_for() {
	local i

	for ((i = 0; i < 100; i++)); do
		slurp "$2"
		[[ $text =~ $1 ]] && return
		nap 0.05
	done
	bad "$2 never said: $1"
	# With run comes run.err.
	sed 's/^/#   /' "$2"*
}

test_load_list_show_unload() {
	run 0 load -c $top --set error_code=7 tool.bpf.o
	last_line "tool: attached to $cg/$top, pinned at /sys/fs/bpf/mcx/tool"
	equal ${#lines[@]} 1 'lines of output'
	says err "warning: no cgroup in $cg/$top is managed: level and reclaim are not called before: mcxctl enable $cg/$top"
	run 0 list
	last_line "tool active /sys/fs/bpf/mcx/tool /$top"
	run 0 show -j tool
	says out '"pin": "/sys/fs/bpf/mcx/tool"'
	says out '"timeout_ms": 5000'
	run 1 load -c $top tool.bpf.o
	says err "a policy 'tool' is loaded; run: mcxctl unload tool"
	run 1 load -c $top -n second tool.bpf.o
	says err "$cg/$top has a policy already; run: mcxctl unload tool"
	run 1 load -c $top/a -n below tool.bpf.o
	says err "the policy of a cgroup above $cg/$top/a allows none below; unload that one, or load it with --override or --multi"
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
	slurp "$T/out"
	case $text in
	$'above: unloaded\nbelow: unloaded\n' | $'below: unloaded\nabove: unloaded\n') ;;
	*) bad "unload --all says: $text" ;;
	esac
	none_left
}

test_multi() {
	run 2 load -c $top -n above --multi --override mcx_simple.bpf.o
	says err '--override and --multi exclude each other'
	run 0 load -c $top -n above --multi mcx_simple.bpf.o
	attached 'flags=2'
	run 0 load -c $top/a -n below tool.bpf.o
	slurp $cg/$top/a/memory.ext.policy
	equal "$text" $'below /'$top$'/a\nabove /'$top$'\n' 'in effect'
	run 0 unload --all
	none_left
}

test_replace() {
	run 0 load -c $top --replace tool.bpf.o
	last_line "tool: attached to $cg/$top, pinned at /sys/fs/bpf/mcx/tool"
	# The same name, by another of that file.
	run 0 load -c $top --replace --set error_code=7 tool.bpf.o
	last_line "tool: attached to $cg/$top in place of tool, pinned at /sys/fs/bpf/mcx/tool"
	has $debugfs/last_exit 'msg replaced by another'
	run 0 load -c $top --replace -n other mcx_simple.bpf.o
	last_line "other: attached to $cg/$top in place of tool, pinned at /sys/fs/bpf/mcx/other"
	run 0 list
	last_line "other active /sys/fs/bpf/mcx/other /$top"
	equal "$(wc -l < $debugfs/policies)" 1 policies
	equal "$(echo /sys/fs/bpf/mcx/*)" /sys/fs/bpf/mcx/other pins
	# Whatever is refused leaves the one that is there.
	run 1 load -c $top --replace tool_refused.bpf.o
	run 1 load -c $top --replace --set init_error=-7 tool.bpf.o
	says err 'or its own init refused'
	attached 'name=other '
	run 0 unload other
	# One that nobody pinned is its process's.
	start mcxctl run -c $top tool.bpf.o
	wait_for 'tool: attached to' "$T/run"
	run 1 load -c $top --replace -n other mcx_simple.bpf.o
	says err "'tool' of $cg/$top is not pinned, but attached by process $pid (mcxctl); end that first"
	kill -INT $pid
	ends $pid 0
	none_left
}

# The policy in bpf/README.md does what is said of it there.
test_polite_of_the_readme() {
	local free reserve limit

	free=$(awk '/^MemAvailable/ { print $2 * 1024 }' /proc/meminfo)
	reserve=$((free / 2))
	mcxctl enable -q $top
	run 0 load -c $top --set reserve=$reserve mcx_polite.bpf.o
	wait_for $'\npolicy_limit [0-9]' $cg/$top/memory.ext.stat
	limit=${text##*policy_limit }
	limit=${limit%%$'\n'*}
	# Watermarks are off, and the tool itself has ended.
	((limit > free / 4 && limit < free * 3 / 4)) ||
		bad "a limit of $limit, with $free free"
	run 0 unload polite
	wait_for $'\npolicy_limit max' $cg/$top/memory.ext.stat
	mcxctl disable -q $top
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
	says out "too many policies would be asked about one cgroup, above or below $cg/$top; load one of them with --override instead of --multi; see: mcxctl list; or its own init refused (Argument list too long)"
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
	start mcxctl run -c $top -i 0.3 tool.bpf.o
	wait_for 'tool: attached to' "$T/run"
	run 0 list
	says out "pid $pid (mcxctl)"
	charge $top/a
	wait_for 'memcg_charged=[1-9]' "$T/run"
	charge_end
	kill -INT $pid
	ends $pid 0
	wait_for 'EXIT: unreg code=0' "$T/run"
	none_left
}

test_run_that_gives_up() {
	start mcxctl run -j -c $top -i 60 --set give_up=true tool.bpf.o
	# What attaching itself needs is charged there, too: it may end at once.
	charge $top/a
	ends $pid 1
	charge_end
	wait_for '"exit":"error-bpf","kind":1025,"code":42,"msg":"had enough"' "$T/run"
	none_left
}

test_run_that_is_unloaded() {
	start mcxctl run -c $top tool.bpf.o
	wait_for active $debugfs/policies
	run 0 unload tool
	ends $pid 0
	wait_for 'EXIT: unreg' "$T/run"
	none_left
}

test_run_whose_cgroup_goes_away() {
	mkdir $cg/$top/gone
	start mcxctl run -c $top/gone tool.bpf.o
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
	slurp "$T/err"
	[[ $text == *warning* ]] && bad "a warning for nothing: $text"
	charge $top/a
	wait_for state=ejected $debugfs/policies
	charge_end
	run 0 list
	last_line "tool ejected /sys/fs/bpf/mcx/tool /$top"
	run 0 show tool
	says out 'error-bpf'
	says out 'had enough'
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
	last_line 'tool detached /sys/fs/bpf/mcx/tool -'
	run 0 unload tool
	none_left
}

# The kernel wakes it: that it looks once a second as well does not count.
test_events_follow() {
	run 0 enable $top/a
	start strace -e trace=poll -o "$T/strace" mcxctl events -f $top/a
	wait_for "$top/a " "$T/run"
	echo 4M > $cg/$top/a/memory.high
	(echo 0 > $cg/$top/a/cgroup.procs &&
		head -c 12m /dev/zero > /scratch/policy_tool)
	wait_for $'\n'"$top/a( [a-z_]+=[1-9][0-9]*)+"$'\n' "$T/run"
	wait_for 'revents=POLLPRI' "$T/strace"
	read -r child < /proc/$pid/task/$pid/children
	kill -INT $child
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

coproc WATCHDOG { watchdog; }

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
