#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests what tests/bench/run does to RESULTS.md: a section that is written anew
# leaves every other one as it is, to the byte. Reports are made up here.
set -euo pipefail

dir=$(mktemp -d "${TMPDIR:-/var/tmp}/mcx-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
export BENCH_RESULTS=$dir/RESULTS.md
# shellcheck source=tests/bench/run
. "$(dirname "$0")/../bench/run"

# What the functions take from their surroundings.
# shellcheck disable=SC2034
top=$dir work=$dir/work dry=""
kver() { echo "$1.1-test"; }
mkdir -p "$work" "$dir/out" "$dir/sections"
echo "QEMU 1.2.3 -accel made,up -m 1" > "$dir/out/machine"
nr=0 bad=0

# made MEASURE KERNEL COMMIT: writes the section of such a run to
# sections/MEASURE-KERNEL.
made() {
	{
		echo "# mcx-begin $1"
		echo "  # mcx-n 3 runs of $1"
		echo "  # mcx-md | cell | of $1 on $2, $3 |"
		echo "  # mcx-md | --- | --: |"
		echo "  # mcx-md | one \\ *two* & \$three | 4 |"
		echo "  # mcx-md "
		echo "  # mcx-md Measured on 6.12: M1 on 7.3, ## M2 on 6.12: and so on."
		echo "  # mcx-data dots 1 2"
		echo "  ok 1 done"
	} > "$dir/out/tap.log"
	mkdir -p "$work/$1-$2"
	[ "$1" = M2 ] || : > "$work/$1-$2/$1-$2.svg"
	report "$1" "$2" "$work/$1-$2" "$dir/out/tap.log" "$3" 9 > "$dir/sections/$1-$2"
}

write() {
	made "$@"
	replace "$1" "$2" "$dir/sections/$1-$2"
}

# expect WHAT SECTION...: RESULTS.md is its head and just these.
expect() {
	local what=$1 name

	shift
	nr=$((nr + 1))
	sed '/^## /,$d' "$BENCH_RESULTS" > "$dir/want"
	for name; do
		[ "$name" = "$1" ] || echo
		cat "$dir/sections/$name"
	done >> "$dir/want"
	if cmp -s "$dir/want" "$BENCH_RESULTS"; then
		echo "ok $nr $what"
	else
		echo "not ok $nr $what"
		diff -u "$dir/want" "$BENCH_RESULTS" | sed 's/^/# /'
		bad=$((bad + 1))
	fi
}

# same WHAT GOT WANTED
same() {
	nr=$((nr + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $nr $1"
	else
		echo "not ok $nr $1"
		echo "# got $2, wanted $3"
		bad=$((bad + 1))
	fi
}

echo "TAP version 13"
write M1-anon 6.12 c1
expect "the first section" M1-anon-6.12
# shellcheck disable=SC2016 # Markdown's quotes
sed -i 's/^Last `make check-debug`: .*/Last `make check-debug`: some day/' "$BENCH_RESULTS"
write M6 7.3 c2
write M1 7.3 c3
write M10 6.12 c4
write M2 6.12 c5
write M1 6.12 c6
expect "others are put in their places, in any order" \
	M1-6.12 M1-7.3 M1-anon-6.12 M2-6.12 M6-7.3 M10-6.12
write M1 6.12 d1
expect "the first anew" M1-6.12 M1-7.3 M1-anon-6.12 M2-6.12 M6-7.3 M10-6.12
write M1-anon 6.12 d2
expect "the other form of a measure anew" \
	M1-6.12 M1-7.3 M1-anon-6.12 M2-6.12 M6-7.3 M10-6.12
write M10 6.12 d3
expect "the last anew" M1-6.12 M1-7.3 M1-anon-6.12 M2-6.12 M6-7.3 M10-6.12
write M1-anon 7.3 d4
write M4 6.12 d5
expect "new ones between others" \
	M1-6.12 M1-7.3 M1-anon-6.12 M1-anon-7.3 M2-6.12 M4-6.12 M6-7.3 M10-6.12
# shellcheck disable=SC2016 # Markdown's quotes
same "what make check-debug said stays" \
	"$(grep -c '^Last `make check-debug`: some day$' "$BENCH_RESULTS")" 1
same "the commit of M1 on 6.12" "$(row_commit M1 6.12)" d1
same "the commit of M1-anon on 6.12" "$(row_commit M1-anon 6.12)" d2
same "the commit of M1 on 7.3" "$(row_commit M1 7.3)" c3
same "none of M2 on 7.3" "$(row_commit M2 7.3)" ""
# The real ones, unless there are none.
cp "$here/RESULTS.md" "$BENCH_RESULTS"
grep '^## ' "$here/RESULTS.md" > "$dir/heads" || true
while read -r _ m _ k _; do
	k=${k%:}
	awk -v head="## $m on $k:" '/^## / { on = index($0, head) == 1 } on' "$here/RESULTS.md" > "$dir/one"
	replace "$m" "$k" "$dir/one"
done < "$dir/heads"
same "each of the real ones for itself changes nothing" \
	"$(diff "$here/RESULTS.md" "$BENCH_RESULTS")" ""
echo "1..$nr"
echo "# Totals: pass:$((nr - bad)) fail:$bad skip:0"
[ "$bad" = 0 ]
