#!/bin/sh
# Makes this machine ready to build, test and run Basalt from the tree: Debian packages and .venv.
# Called by `make setup`. Changes nothing, quickly, when everything is there.
set -eu
cd "$(dirname "$0")/.."

# nbdkit, libnbd and python3-libnbd: the data path. fuse3, util-linux, e2fsprogs, xfsprogs: block
# devices and file systems. fio, qemu-utils: tests and the bench. nftables: faults of networks.
# prometheus: promtool, which checks the rules in monitoring/. chromium: the tests of MGMT's pages.
# openssl: certificates. The last lines: hosts to deploy to (containers, a virtual machine), and the
# check of the Vagrantfile.
packages="nbdkit nbdkit-plugin-python libnbd-bin python3-libnbd python3-venv
    fuse3 util-linux e2fsprogs xfsprogs kmod fio qemu-utils nftables
    prometheus chromium chromium-driver fonts-dejavu-core
    openssl openssh-client iproute2 mmdebstrap systemd systemd-container qemu-system-x86
    vagrant vagrant-libvirt"

missing=""
for package in $packages; do
    case "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" in
        installed) ;;
        *) missing="$missing $package" ;;
    esac
done
if [ -n "$missing" ]; then
    echo "setup: installing Debian packages:$missing"
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: installing packages needs root, and there is no sudo:" \
                "run 'make setup' as root first" >&2
            exit 1
        fi
        as_root="sudo"
    fi
    # A machine that has just started may be installing updates: wait for it.
    $as_root apt-get -o DPkg::Lock::Timeout=300 update -q
    # shellcheck disable=SC2086  # one word for each package
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends $missing
fi

# nbdkit loads Debian's own libpython, so everything else runs on that Python too.
stamp=.venv/.ready
inputs="$(cat pyproject.toml tests/setup.sh | sha256sum) $PWD"
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$inputs" ]; then
    exit 0
fi
echo "setup: making .venv on $(/usr/bin/python3 --version)"
rm -f "$stamp"
/usr/bin/python3 -m venv .venv
site="$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
for file in /usr/lib/python3/dist-packages/nbd.py /usr/lib/python3/dist-packages/libnbdmod*.so; do
    ln -sf "$file" "$site/"
done
PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/pip install -q -e '.[dev]'
.venv/bin/python -c 'import nbd, appliance'
echo "$inputs" > "$stamp"
echo "setup: ready"
