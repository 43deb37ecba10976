#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests tests/vm/verdict, which everything else relies on: logs are made here,
# and what it makes of them is compared.  Needs nothing but perl.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/mcx-verdict.XXXXXX")
trap 'rm -rf "$dir"' EXIT
nr=0 bad=0

# reset: a run with one test that is good in every way.
reset() {
	echo "t 5 true" > "$dir/run.list"
	cat > "$dir/tap.log" <<- 'END'
		# mcx-begin t
		  TAP version 13
		  1..2
		  ok 1 a
		  ok 2 b
		
		# mcx-exit t rc=0 seconds=0.5 note=
		# mcx-end
	END
	cat > "$dir/console.log" <<- 'CONSOLE'
		[    0.000000] Linux version 6.12
		[    5.000000] mcx: begin t
		[    5.100000] some driver: hello
		[    6.000000] mcx: end t
		[    6.500000] mcx: powering off
		[    7.000000] reboot: Power down
	CONSOLE
}

# expect TOTALS [TEXT] WHAT: totals are "pass fail skip results"; TEXT must be in
# the output.
expect() {
	local totals=$1 text=$2 what=$3 got output status=0

	nr=$((nr + 1))
	output=$("$top/tests/vm/verdict" "${options[@]}" "$dir") || status=$?
	got=$(cat "$dir/totals")
	if [ "$got" = "$totals" ] && [[ $output == *"$text"* ]] &&
		{ [ "$status" = 0 ] || [ "$(cut -d' ' -f2 <<< "$got")" != 0 ]; } &&
		{ [ "$status" != 0 ] || [ "$(cut -d' ' -f2 <<< "$got")" = 0 ]; }; then
		echo "ok $nr $what"
	else
		echo "not ok $nr $what"
		printf '# wanted %s and "%s", got %s, status %s:\n' "$totals" "$text" "$got" "$status"
		echo "#   ${output//$'\n'/$'\n'#   }"
		bad=$((bad + 1))
	fi
	reset
}

# A line of each class that must not go unnoticed.
splats=(
	'BUG: kernel NULL pointer dereference, address: 0000000000000008'
	'kernel BUG at mm/slub.c:546!'
	'WARNING: CPU: 1 PID: 12 at kernel/softirq.c:362 __local_bh_enable_ip+0x62/0x70'
	'Oops: 0000 [#1] PREEMPT SMP NOPTI'
	'Kernel panic - not syncing: Fatal exception'
	'Call Trace:'
	'Oops: general protection fault, probably for non-canonical address 0xdead: 0000'
	'general protection fault: 0000 [#1] SMP'
	'unable to handle page fault for address: ffffc90000000000'
	'divide error: 0000 [#1] PREEMPT SMP'
	'KASAN: slab-use-after-free in mcx_state_put+0x12/0x40'
	'UBSAN: array-index-out-of-bounds in mm/memcontrol.c:12'
	'KFENCE: memory corruption in mcx+0x1'
	'possible circular locking dependency detected'
	'possible recursive locking detected'
	'possible irq lock inversion dependency detected'
	'HARDIRQ-safe -> HARDIRQ-unsafe lock order detected'
	'inconsistent lock state'
	'suspicious RCU usage'
	'[ BUG: Invalid wait context ]'
	'bad unlock balance detected!'
	'held lock freed!'
	'lock held when returning to user space!'
	'INFO: trying to register non-static key.'
	'turning off the locking correctness validator.'
	'ODEBUG: free active (active state 0) object: 00000000 object type: timer_list'
	'ODEBUG: Out of memory. ODEBUG disabled'
	'kmemleak: Kernel memory leak detector disabled'
	'kmemleak: Cannot allocate a kmemleak_object structure'
	'INFO: task kworker/0:1:10 blocked for more than 120 seconds.'
	'rcu: INFO: rcu_preempt self-detected stall on CPU'
	'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:'
	'watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [m1:200]'
	'NMI watchdog: Watchdog detected hard LOCKUP on cpu 0'
	'Missing ENDBR: mcx_high+0x0/0x10 [memcg_ext]'
	'scheduling while atomic: m1/200/0x00000002'
	'sleeping function called from invalid context at mm/vmscan.c:100'
	'refcount_t: underflow; use-after-free.'
	'list_add corruption. prev->next should be next'
	'list_del corruption, ffff888 is LIST_POISON1'
	'Object already free'
	'Bad page state in process m1  pfn:12345'
	'page_counter underflow: -1 nr_pages=1'
	'mcx: stuck in t: showing blocked tasks and powering off'
)

echo "TAP version 13"
echo "1..$((${#splats[@]} + 46))"
options=()
reset

expect "3 0 0 2" "ok 1 t # 0.5 s" "a good run passes"

for splat in "${splats[@]}"; do
	sed -i "s|.*some driver.*|[    5.100000] $splat|" "$dir/console.log"
	expect "3 1 0 2" "not ok 1 t # 0.5 s, the kernel complained" "seen: ${splat//#/}"
done

sed -i 's/.*Linux version.*/[    1.0] WARNING: CPU: 0 at boot/' "$dir/console.log"
expect "2 1 0 2" "outside of tests" "a message before the first test is the machine's"
sed -i 's/.*powering off/&\n[    6.8] BUG: at the end/' "$dir/console.log"
expect "2 1 0 2" "outside of tests" "a message after the last test is the machine's"

oom='[    5.1] t invoked oom-killer: order=0\n[    5.1] Call Trace:'
sed -i "s/.*some driver.*/$oom/" "$dir/console.log"
expect "3 0 0 2" "ok 1 t # 0.5 s" "the OOM killer's trace is no complaint"
sed -i "s/.*some driver.*/$oom\n[    5.1] Call Trace:/" "$dir/console.log"
expect "3 1 0 2" "the kernel complained" "but the next one is"

sed -i '/mcx-end/d' "$dir/tap.log"
expect "2 1 0 2" "no end marker" "a missing end marker is the machine's failure"
sed -i '/Power down/d' "$dir/console.log"
expect "2 1 0 2" "no clean power-off" "a missing power-off is the machine's failure"
echo "mcx: no end after 60 s, killed" >> "$dir/console.log"
expect "2 1 0 2" "time limit" "a killed VM is the machine's failure"
: > "$dir/console.log"
expect "2 1 0 2" "no clean power-off" "an empty console is the machine's failure"
: > "$dir/tap.log"
expect "0 2 0 2" "the machine never got there" "no results at all: test and machine fail"

sed -i '/mcx-exit/d; /mcx-end/d; /ok 2/d' "$dir/tap.log"
expect "1 2 0 2" "the machine died during it" "a test without its end failed"
sed -i '/mcx-exit/d; /mcx-end/d' "$dir/tap.log"
echo "later 5 true" >> "$dir/run.list"
expect "2 3 0 3" "not ok 2 later # did not run, the machine died in t" "tests after a dead machine failed"
echo "later 5 true" >> "$dir/run.list"
expect "3 1 0 3" "not ok 2 later # did not run" "a test that is missing from the log failed"

sed -i '/1\.\.2/d' "$dir/tap.log"
expect "3 1 0 2" "no plan" "a missing plan fails"
sed -i 's/1\.\.2/1..3/' "$dir/tap.log"
expect "3 1 0 2" "planned 3 results, gave 2" "fewer results than planned fail"
sed -i 's/1\.\.2/1..1/' "$dir/tap.log"
expect "3 1 0 2" "planned 1 results, gave 2" "more results than planned fail"
sed -i 's/  1\.\.2/&\n&/' "$dir/tap.log"
expect "3 1 0 2" "more than one plan" "two plans fail"
sed -i 's/ok 2 b/not ok 2 b/' "$dir/tap.log"
expect "2 1 0 2" "not ok 1 t" "not ok fails, even with exit status 0"
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=1/' "$dir/tap.log"
expect "2 1 0 2" "not ok 1 t" "one failed case is one failure"
sed -i 's/rc=0/rc=139/' "$dir/tap.log"
expect "3 1 0 2" "exit status 139" "a bad exit status fails"
sed -i 's/note=.*/note=left the module loaded/' "$dir/tap.log"
expect "3 1 0 2" "left the module loaded" "a test that leaves the module loaded fails"
sed -i 's/rc=0/rc=124/; s/note=.*/note=killed after 5 s/' "$dir/tap.log"
expect "3 1 0 2" "killed after 5 s" "a killed test fails"
sed -i 's/  ok 2 b/  Bail out! no cgroup2/' "$dir/tap.log"
expect "2 1 0 2" "bailed out: no cgroup2" "Bail out fails"

sed -i 's/ok 2 b/ok 2 b # SKIP no swap here/' "$dir/tap.log"
expect "2 0 1 2" "ok 2 b # SKIP no swap here" "a skipped case counts as skipped"
sed -i 's/1\.\.2/1..0 # SKIP no swap here/; /ok [12]/d; s/rc=0/rc=4/' "$dir/tap.log"
expect "1 0 1 2" "ok 1 t # SKIP no swap here" "a skipped test counts as skipped, with its reason"

# debug LINE...: the machine was the debug kernel, which said so in the end.
debug() {
	local line

	sed -i 's/Linux version.*/Linux version 6.12.1-debug (mcx@mcx)/' "$dir/console.log"
	for line in "$@"; do
		sed -i "s/^# mcx-end/# $line\n&/" "$dir/tap.log"
	done
}

debug 'mcx-debug lockdep=1 leaks=0 others=0'
expect "3 0 0 2" "ok 2 machine" "a debug kernel that found nothing passes"
debug
expect "2 1 0 2" "nobody looked for leaks" "one that was not asked fails"
debug 'mcx-debug lockdep=0 leaks=0 others=0'
expect "2 1 0 2" "lockdep was off in the end" "one without lockdep in the end fails"
debug 'mcx-leak unreferenced object 0xffff888 (size 64):' 'mcx-debug lockdep=1 leaks=1 others=0'
expect "2 1 0 2" "1 leaks with code of the module" "a leak of the module fails"
debug 'mcx-leak unreferenced object 0xffff888 (size 64):' 'mcx-debug lockdep=1 leaks=0 others=1'
expect "3 0 0 2" "# leak: unreferenced object 0xffff888" "one of others is shown"
sed -i 's/.*some driver.*/[    5.1] kmemleak: 12 new suspected memory leaks (see debugfs)/' "$dir/console.log"
expect "3 0 0 2" "ok 1 t" "that there are leaks is not judged by the console"
sed -i 's/Linux version.*/&\n[    0.1] kmemleak: Kernel memory leak detector initialized (mem pool available: 1)/' "$dir/console.log"
expect "3 0 0 2" "ok 2 machine" "kmemleak may say that it works"

printf 'deny bug BUG:\nallow "made here" BUG: harmless\n' > "$dir/splats"
options=(--splats "$dir/splats")
sed -i 's/.*some driver.*/[    5.1] BUG: harmless/' "$dir/console.log"
expect "3 0 0 2" "ok 1 t" "a line of the allow list is let through"
sed -i 's/.*some driver.*/[    5.1] BUG: harmful/' "$dir/console.log"
expect "3 1 0 2" "the kernel complained" "one that is not in it is not"

# second [SED...]: the test has run once more, as the logs are now but for that.
options=()
again=$(mktemp -d "$dir/again.XXXXXX")
second() {
	local edit

	cp "$dir/tap.log" "$dir/console.log" "$again/"
	for edit in "$@"; do
		sed -i "$edit" "$again/tap.log" "$again/console.log"
	done
	options=(--second "$again")
}

second
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=1/' "$dir/tap.log"
expect "3 0 0 2" "ok 1 t # 0.5 s, in the second run" "what failed in a case and passes the second time passes"
nr=$((nr + 1))
if [ "$(cat "$again/unsteady")" = "t: not ok 2 b" ]; then
	echo "ok $nr and is remembered"
else
	echo "not ok $nr and is remembered"
	bad=$((bad + 1))
fi
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=1/' "$dir/tap.log"
second
expect "2 1 0 2" "not ok 1 t # 0.5 s" "what fails twice fails"
second 's/.*some driver.*/[    5.1] BUG: bad/'
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=1/' "$dir/tap.log"
expect "2 1 0 2" "not ok 1 t # 0.5 s" "a second run that upset the kernel is none"
second '/mcx-end/d'
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=1/' "$dir/tap.log"
expect "2 1 0 2" "not ok 1 t # 0.5 s" "nor is one that did not end"
second
sed -i 's/.*some driver.*/[    5.1] BUG: bad/' "$dir/console.log"
expect "3 1 0 2" "the kernel complained" "what upset the kernel has no second run"
second
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=124/; s/note=.*/note=killed after 5 s/' "$dir/tap.log"
expect "2 2 0 2" "killed after 5 s" "nor what hung"

second 's/ok 2 b/ok 2 b # SKIP no swap/'
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=1/' "$dir/tap.log"
expect "2 1 0 2" "not ok 1 t # 0.5 s" "a case that is skipped the second time has not passed"
second 's/1\.\.2/1..1/' '/ok 2 b/d'
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=1/' "$dir/tap.log"
expect "2 1 0 2" "not ok 1 t # 0.5 s" "nor has one that is not planned there"
second
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=139/' "$dir/tap.log"
expect "2 1 0 2" "not ok 1 t # 0.5 s" "a test that crashed has no second run"

# named NAME WHAT: that is what --again says.
named() {
	nr=$((nr + 1))
	if [ "$("$top/tests/vm/verdict" --again "$dir")" = "$1" ]; then
		echo "ok $nr $2"
	else
		echo "not ok $nr $2"
		bad=$((bad + 1))
	fi
	reset
}
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=1/' "$dir/tap.log"
named t "a case that failed is worth a second run"
sed -i 's/ok 2 b/not ok 2 b/; s/rc=0/rc=1/' "$dir/tap.log"
sed -i 's/.*some driver.*/[    5.1] BUG: bad/' "$dir/console.log"
named "" "but not beside a complaint of the kernel"

echo "# Totals: pass:$((nr - bad)) fail:$bad"
[ "$bad" = 0 ]
