# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Functions shared by the static checks.  Each check prints KTAP and runs on the
# host; what it compiles or looks at with a tool of Debian, it does in the
# tests' root (in_root), where this tree is the current folder.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$top" || exit
nr=0 bad=0 skips=0

in_root() {
	"$top/tests/vm/in-root" "$@" < /dev/null
}

plan() {
	echo "TAP version 13"
	echo "1..$1"
}

# check WHAT COMMAND...: a case that passes if COMMAND does; what it says
# becomes comments.
check() {
	local what=$1 output status=0

	shift
	nr=$((nr + 1))
	output=$("$@" 2>&1) || status=$?
	[ -z "$output" ] || echo "# ${output//$'\n'/$'\n'# }"
	if [ "$status" = 0 ]; then
		echo "ok $nr $what"
	else
		echo "not ok $nr $what"
		bad=$((bad + 1))
	fi
}

# quiet COMMAND...: fails if COMMAND fails or says anything at all.
quiet() {
	local output status=0

	output=$("$@" 2>&1) || status=$?
	[ -z "$output" ] || echo "$output"
	[ "$status" = 0 ] && [ -z "$output" ]
}

skip_all() {
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit 4
}

finish() {
	echo "# Totals: pass:$((nr - bad - skips)) fail:$bad skip:$skips"
	[ "$bad" = 0 ]
	exit
}

# files FIND-EXPRESSION...: files of the project, not what was built.  (No git:
# a release tarball is checked as well as a clone.)
files() {
	find . \( -path ./.git -o -path ./build -o -path ./.cache \) -prune -o -type f \
		! -name '*.o' ! -name '*.ko' ! -name '*.mod' ! -name '*.mod.c' \
		! -name '.*.cmd' ! -name '*.skel.h' ! -name Module.symvers \
		! -name modules.order ! -path ./tools/mcxctl \( "$@" \) -print | sed 's|^\./||' | sort
}

# shell_scripts: by suffix or by first line.
shell_scripts() {
	files -name '*' | while read -r f; do
		case $f in
		*.sh) echo "$f" ;;
		*) if head -n 1 "$f" | grep -aqE '^#!.*\b(ba|da)?sh\b'; then echo "$f"; fi ;;
		esac
	done
}
