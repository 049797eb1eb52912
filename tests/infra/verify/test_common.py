"""What holds on every host: the release, users, no secret that others can read, the clock."""

import re
import time

#: Files that hold keys or tokens.
_SECRETS = (
    "find /etc/basalt /var/lib/basalt -type f "
    "\\( -name '*.token' -o -name '*-key.pem' -o -name 'identity.json' -o -name '*.db' \\)"
)


def test_a_release_is_active_and_whole(host) -> None:
    assert host.file("/opt/basalt/current").is_symlink
    assert host.file("/opt/basalt/current/.complete").exists
    assert host.run("basalt --version").rc == 0


def test_each_role_has_a_user_without_a_shell_in_group_basalt(host) -> None:
    for role in ("mdm", "sds", "sdc", "mgmt"):
        user = host.user(f"basalt-{role}")
        assert user.group == "basalt"
        assert user.shell == "/usr/sbin/nologin"


def test_no_secret_is_readable_for_others(host) -> None:
    found = host.run(_SECRETS).stdout.split()
    assert found
    open_ones = host.run(f"{_SECRETS} -perm /o=rwx").stdout.split()
    assert open_ones == []


def test_folders_of_roles_are_their_own(host) -> None:
    folders = host.run("find /var/lib/basalt -mindepth 1 -maxdepth 1 -printf '%f %u %m\\n'").stdout
    for line in folders.splitlines():
        name, owner, mode = line.split()
        assert (owner, mode) == (f"basalt-{name}", "700")


def test_nothing_failed_and_the_target_is_enabled(host) -> None:
    failed = host.run("systemctl --failed --plain --no-legend").stdout
    assert "basalt" not in failed
    assert host.service("basalt.target").is_enabled


def test_nothing_waits_to_be_restarted(host) -> None:
    assert host.run("ls /etc/basalt/restart").stdout.split() == []


def test_the_clock_is_right(host) -> None:
    assert abs(int(host.check_output("date +%s")) - time.time()) < 5


def test_exposure_of_each_running_unit(host) -> None:
    units = host.run("systemctl list-units --plain --no-legend 'basalt*.service'").stdout
    for line in units.splitlines():
        unit = line.split()[0]
        said = host.run(f"systemd-analyze security --no-pager {unit} | tail -1").stdout
        level = re.search(r"exposure level for .*: ([0-9.]+)", said)
        assert level is not None, said
        print(f"{host.name} {unit} {level[1]}")
        assert float(level[1]) <= (4.5 if "sdc" in unit or "fuse" in unit else 3.0)
