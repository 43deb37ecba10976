#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# memsw_oci: a container has a limit for memory and swap together by the "unified" key of
# its OCI configuration, with crun as it is in the distribution, which knows nothing of us.
set -u

dir=/run/mcx-oci
nr=0
failed=0

result() {	# result STATUS DESCRIPTION
	nr=$((nr + 1))
	if [[ $1 -eq 0 ]]; then
		echo "ok $nr $2"
	else
		echo "not ok $nr $2"
		failed=1
	fi
}

config() {	# config KEY VALUE COMMAND...
	local key=$1 value=$2

	shift 2
	cat <<- END
	{
	  "ociVersion": "1.0.2",
	  "process": {
	    "user": { "uid": 0, "gid": 0 }, "cwd": "/",
	    "env": [ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" ],
	    "args": [ "/bin/bash", "-c", "$*" ]
	  },
	  "root": { "path": "rootfs", "readonly": true },
	  "mounts": [
	    { "destination": "/proc", "type": "proc", "source": "proc" },
	    { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
	      "options": [ "ro" ] }
	  ],
	  "linux": {
	    "cgroupsPath": "/mcx-oci",
	    "namespaces": [ { "type": "pid" }, { "type": "mount" }, { "type": "cgroup" } ],
	    "resources": { "unified": { "$key": "$value" } }
	  }
	}
	END
}

# run KEY VALUE COMMAND...: prints what the container prints.
run() {
	config "$@" > "$dir/config.json"
	crun --root "$dir/state" --cgroup-manager=cgroupfs run --bundle "$dir" mcx-oci 2>&1
}

echo "KTAP version 1"
command -v crun > /dev/null || { echo "1..0 # SKIP no crun"; exit 4; }
mkdir -p "$dir/rootfs" "$dir/state"
mount --bind / "$dir/rootfs"
modprobe memcg_ext || { echo "1..0 # SKIP the module does not load"; exit 4; }

said=$(run memory.ext.memsw.max 67108864 cat /sys/fs/cgroup/memory.ext.memsw.max)
has_limit() { [[ $said == 67108864 ]]; }
was_killed() { [[ $status -ne 0 && $said == begun* ]]; }
was_refused() { [[ $status -ne 0 && $said != begun* && $said == *memory.ext.memsw.max* ]]; }

has_limit
result $? "the container has the limit: $said"
said=$(run memory.ext.memsw.max 33554432 'echo begun; head -c 67108864 /dev/zero | tail > /dev/null')
status=$?
was_killed
result $? "and what takes more than it is killed (status $status)"
said=$(run memory.ext.memsw.max nonsense 'echo begun')
status=$?
was_refused
result $? "nonsense is refused by name: $said"

umount "$dir/rootfs"
rm -rf "$dir/state" "$dir/config.json"
modprobe -r memcg_ext
result $? "unloads"
echo "1..$nr"
exit $failed
