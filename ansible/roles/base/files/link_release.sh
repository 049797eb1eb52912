#!/bin/sh
# link_release.sh PREFIX: lets systemd, udev and polkit find what belongs to the active release; a
# rollback so brings back the units it came with. Makes users and folders. Says what it changed.
# Units of roles this host has not are harmless: nothing enables them.
set -eu
from="$1/current/share/basalt/systemd"
changed=""
link() {
    [ "$(readlink "$2" || true)" = "$from/$1" ] && return
    mkdir -p "${2%/*}"
    ln -sfn "$from/$1" "$2"
    changed="yes"
    echo "changed $2"
}
for unit in basalt.target basalt-mdm.service basalt-mgmt.service basalt-sds.service \
    basalt-sdc.service basalt-volume@.service basalt-fuse@.service basalt-backup.service \
    basalt-backup.timer; do
    link "$unit" "/etc/systemd/system/$unit"
done
link basalt.sysusers.conf /etc/sysusers.d/basalt.conf
link basalt.tmpfiles.conf /etc/tmpfiles.d/basalt.conf
link basalt.modprobe.conf /etc/modprobe.d/basalt.conf
link 60-basalt.rules /etc/udev/rules.d/60-basalt.rules
link 50-basalt.polkit.rules /etc/polkit-1/rules.d/50-basalt.rules
[ -n "$changed" ] || exit 0
systemd-sysusers /etc/sysusers.d/basalt.conf
systemd-tmpfiles --create /etc/tmpfiles.d/basalt.conf
systemctl daemon-reload
udevadm control --reload 2>/dev/null || true # a container has no udev
