# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Functions shared by everything in tests/vm: where the cache lies, which
# mirror and which kernels are used, what the host has to have installed.
# Sourced, never run.  All progress goes to stderr; stdout is for results.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Outside of the clone, so that a clean clone finds it and "git clean" does
# not remove it.  Never /tmp: that is a tmpfs on Debian 13.
cache=${MCX_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/memcg_ext}
# shellcheck disable=SC2034 # for those who source this
ksft_in_root=usr/src/mcx-kselftest
# Every kernel series that the project supports.
# shellcheck disable=SC2034
all_kernels="6.12 7.3"
# Its own build of the first of them, with the checks that no stock kernel has
# (tests/vm/debug-kernel).  Not one of all: only what asks for it runs on it.
# shellcheck disable=SC2034
debug_kernel=6.12-debug

say() {
	echo "mcx: $*" >&2
}

die() {
	say "error: $*"
	exit 1
}

# phase TEXT COMMAND...: run COMMAND and tell how long it took.
phase() {
	local text=$1 from=$SECONDS

	shift
	say "$text ..."
	"$@"
	say "$text: done in $((SECONDS - from)) s"
}

need_root() {
	[ "$(id -u)" = 0 ] || die "the test rig makes a Debian root with chroot and mounts: run this as root (sudo make check)"
}

# Fails early instead of leaving a half-written root behind.
need_space() {
	local free

	mkdir -p "$cache"
	free=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge 8192 ] || die "$cache has $free MB free, 8192 MB are needed: free some, or set MCX_CACHE to a folder on another disk"
}

# need_tools: install what the host lacks of what is needed, and of more_tools
# (COMMAND:PACKAGE...); only Debian and its children can do that by themselves.
need_tools() {
	local want="" pair
	local pairs="${more_tools:-} mmdebstrap:mmdebstrap qemu-system-x86_64:qemu-system-x86
		mke2fs:e2fsprogs mkswap:util-linux make:make flock:util-linux
		perl:perl-base ps:procps"

	# mke2fs and mkswap live in sbin, which a plain user's PATH lacks.
	PATH=$PATH:/usr/sbin:/sbin
	for pair in $pairs; do
		command -v "${pair%%:*}" > /dev/null || want+=" ${pair##*:}"
	done
	if command -v apt-get > /dev/null && [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ] && [ -z "${KEYRING:-}" ]; then
		want+=" debian-archive-keyring"
	fi
	[ -n "$want" ] || return 0
	command -v apt-get > /dev/null ||
		die "missing here:$want; install them with this system's package manager"
	need_root
	say "installing on this machine:$want"
	apt-get update -q >&2 || say "apt-get update failed; trying with the lists there are"
	# shellcheck disable=SC2086 # a list of package names
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $want >&2 < /dev/null
}

# What this machine's apt calls Debian: the first of its mirrors.
apt_mirror() {
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2> /dev/null |
		awk '$1 == "Debian" { print $2; exit }'
}

# The mirror is this machine's own: no host name is written in this project.
find_mirror() {
	local found=${MIRROR:-}

	if [ -z "$found" ] && command -v apt-get > /dev/null; then
		found=$(apt_mirror || true)
		if [ -z "$found" ]; then
			# An image that never ran apt-get update has no labels yet.
			apt-get update -q >&2 || true
			found=$(apt_mirror || true)
		fi
	fi
	[ -n "$found" ] || die "no Debian mirror in this machine's apt configuration: set MIRROR= to the address of one (and KEYRING= to the file of Debian's archive keys)"
	echo "$found"
}

find_keyring() {
	local f=${KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

	[ -e "$f" ] || die "no $f: install debian-archive-keyring, or set KEYRING= to the file of Debian's archive keys"
	echo "$f"
}

# sources: the apt sources of the test root.
sources() {
	local mirror keyring suite

	mirror=$(find_mirror)
	keyring=$(find_keyring)
	for suite in trixie trixie-updates trixie-backports; do
		echo "deb [signed-by=$keyring] $mirror $suite main"
	done
}

# papt COMMAND...: apt with a state folder of its own, so that the host's
# sources and lists stay as they are.
papt() {
	local a=$cache/apt tool=$1

	shift
	"$tool" -o Dir::State="$a/state" -o Dir::State::status="$a/status" \
		-o Dir::Cache="$a/cache" -o Dir::Etc::sourcelist="$a/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
		-o Dir::Etc::preferences=/dev/null -o APT::Architecture=amd64 \
		-o APT::Architectures=amd64 \
		-o APT::Update::Post-Invoke-Success::=true "$@"
}

# refresh_lists: at most once a day, so that warm runs need no network.
refresh_lists() {
	local a=$cache/apt stamp=$cache/apt/stamp

	mkdir -p "$a/state/lists/partial" "$a/cache/archives/partial"
	[ -e "$a/status" ] || : > "$a/status"
	if [ -z "${COLD:-}" ] && [ -e "$stamp" ] && [ -n "$(find "$stamp" -mmin -1440)" ]; then
		return
	fi
	sources > "$a/sources.list"
	say "asking the mirror which kernels there are"
	if papt apt-get update -q >&2; then
		touch "$stamp"
	elif [ -e "$stamp" ]; then
		say "apt-get update failed: using the lists of $(date -r "$stamp" +%F)"
	else
		die "apt-get update failed for the sources in $a/sources.list (see above)"
	fi
}

# pick_image K: name of the newest kernel image package of series K, nothing
# when the archive has none.
pick_image() {
	case $1 in
	6.12)
		# What the stable meta package depends on.
		papt apt-cache depends linux-image-amd64/trixie 2> /dev/null |
			sed -n 's/^ *Depends: \(linux-image-6\.12\.[^ ]*\)$/\1/p' | tail -n 1
		;;
	*)
		papt apt-cache pkgnames "linux-image-$1." |
			grep -E "^linux-image-${1//./\\.}\.[0-9]+\+deb13-amd64$" |
			sort -V | tail -n 1
		;;
	esac
}

# pkg_version PACKAGE: the candidate's version.
pkg_version() {
	papt apt-cache show --no-all-versions "$1" 2> /dev/null |
		sed -n 's/^Version: //p' | head -n 1
}

# kernels: one line a series, "K KVER PACKAGE_VERSION", KVER "-" for one that
# has left the archive.  Kept for a day with the lists.
kernels() {
	local f=$cache/kernels k img

	if [ ! -s "$f" ] || [ "$cache/apt/stamp" -nt "$f" ] || [ "$top/tests/vm/lib.sh" -nt "$f" ]; then
		for k in $all_kernels; do
			img=$(pick_image "$k" || true)
			if [ -n "$img" ]; then
				echo "$k ${img#linux-image-} $(pkg_version "$img")"
			else
				echo "$k - -"
			fi
		done > "$f.$$"
		mv "$f.$$" "$f"
	fi
	cat "$f"
}

# kver K: full version of series K as uname -r says it, "-" when it is not in
# the archive.  Builds the debug kernel if that is asked for and not there.
kver() {
	if [ "$1" = "$debug_kernel" ]; then
		if [ "$(kver "${1%-debug}")" = - ]; then
			echo -
		else
			cat "$("$top/tests/vm/debug-kernel")/release"
		fi
		return
	fi
	kernels | awk -v k="$1" '$1 == k { print $2; found = 1 }
		END { if (!found) print "-" }'
}

# root_key: changes when the root's content would.  Comments do not count: one
# should not cost two minutes.
root_key() {
	{
		kernels
		sed 's/#.*//; /^[[:space:]]*$/d' "$top/tests/vm/root" "$top/tests/vm/packages"
	} | sha256sum | cut -c1-16
}

# locked NAME COMMAND...: one at a time for the whole machine's cache.
locked() {
	local name=$1

	shift
	mkdir -p "$cache"
	(
		flock -n 9 || { say "waiting for another run ($name)"; flock 9; }
		# Children must not keep the lock when they outlive this shell.
		"$@" 9>&-
	) 9> "$cache/$name.lock"
}

# keep_newest N PATTERN FOLDER: of the folders in the cache that match, FOLDER is
# used now; those that were not for longest, but for N, are removed.  Not all but
# this one: another clone, with other scripts, may be using its own.
keep_newest() {
	touch "$3"
	find "$cache" -maxdepth 1 -type d -name "$2" -printf '%T@ %p\n' | sort -rn |
		tail -n "+$(($1 + 1))" | cut -d' ' -f2- | xargs -r rm -rf --one-file-system
}

# fresh_tmp VAR: folder in the cache, removed when this script ends.
fresh_tmp() {
	mkdir -p "$cache/tmp"
	printf -v "$1" %s "$(mktemp -d "$cache/tmp/XXXXXX")"
	# A mount of with_mounts() may have reached this namespace, too.
	# shellcheck disable=SC2064 # the folder of now
	trap "umount -l '${!1}' 2> /dev/null || true; rm -rf --one-file-system '${!1}'" EXIT
}

# with_mounts FOLDER COMMAND...: what COMMAND mounts below FOLDER is gone with it,
# whatever happens.  Where / is no mount point, as in a plain chroot, not all
# mounts can be made private: FOLDER becomes one that is.
with_mounts() {
	local folder=$1 how=private

	shift
	unshare --mount --propagation private true 2> /dev/null || how=unchanged
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare --mount --propagation "$how" bash -euo pipefail -c '
		if [ "$1" = unchanged ]; then
			mount --bind "$2" "$2"
			mount --make-private "$2"
		fi
		shift 2
		exec "$@"
	' bash "$how" "$folder" "$@"
}
