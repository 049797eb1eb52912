"""Whether this machine can run a lab; if not, a sentence says what it lacks. Never a skip."""

import subprocess

#: What is needed, and a shell command that fails where it is not to be had. Each cleans up.
_PROBES = {
    "root": 'test "$(id -u)" = 0',
    "the programs that `make setup` installs": "for program in systemd-nspawn mmdebstrap ip nsenter"
    " ssh ssh-keygen losetup mkfs.ext4; do command -v $program >/dev/null || "
    "{ echo $program is not there >&2; exit 1; }; done",
    "mount namespaces with overlay file systems in them": "at=$(mktemp -d /var/tmp/lab-XXXX); "
    "trap 'rm -rf $at' EXIT; mkdir $at/l $at/m; unshare --mount sh -ec "
    '"mount -t tmpfs lab $at/m; mkdir $at/m/u $at/m/w $at/m/r; '
    'mount -t overlay -o lowerdir=$at/l,upperdir=$at/m/u,workdir=$at/m/w overlay $at/m/r"',
    "a cgroup2 hierarchy that may be written to": "unshare --mount --propagation private sh -ec "
    "'mount -t cgroup2 none /sys/fs/cgroup; mkdir /sys/fs/cgroup/basalt-probe-$$; "
    "rmdir /sys/fs/cgroup/basalt-probe-$$'",
    "network namespaces with bridges and veth pairs": "name=basalt-probe-$$; ip netns add $name; "
    'trap "ip netns delete $name" EXIT; ip -n $name link add br0 type bridge; '
    "ip -n $name link add v0 type veth peer name v1",
    "loop devices": "losetup --find >/dev/null",
    "/dev/fuse": "test -c /dev/fuse",
}

_MACHINE_PROBES = {
    "QEMU (Debian's qemu-system-x86)": "qemu-system-x86_64 --version >/dev/null",
    "tap devices": "name=basalt-probe-$$; ip netns add $name; "
    'trap "ip netns delete $name" EXIT; ip -n $name tuntap add t0 mode tap',
}


def check(machine: bool = False) -> None:
    """``machine``: also for a virtual machine. Raises AssertionError, saying what is missing."""
    for need, command in (_PROBES | (_MACHINE_PROBES if machine else {})).items():
        done = subprocess.run(
            ["sh", "-ec", command], capture_output=True, text=True, timeout=30, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, (
            f"this machine cannot run the lab: it needs {need}: {done.stderr.strip()}. Run it as "
            "root on Debian, on a machine or in a container that may make namespaces and devices"
        )
