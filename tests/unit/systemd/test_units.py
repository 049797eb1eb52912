"""The units as systemd itself reads them, in a root folder as a deployed host has it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "systemd"

#: Highest exposure (systemd-analyze security) each may have. The attach part, which makes block
#: devices and FUSE mounts that the host sees, may have more; its units say why.
EXPOSURE = {
    "basalt-mdm.service": 2.0,
    "basalt-mgmt.service": 2.0,
    "basalt-backup.service": 2.0,
    "basalt-sds.service": 2.1,
    "basalt-volume@.service": 2.4,
    "basalt-fuse@.service": 3.9,
    "basalt-sdc.service": 4.5,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root folder with systemd's own units, ours, and a program wherever one is named."""
    made = tmp_path_factory.mktemp("root")
    folder = made / "etc/systemd/system"
    folder.mkdir(parents=True)
    shutil.copytree("/usr/lib/systemd/system", made / "usr/lib/systemd/system", symlinks=True)
    for unit in UNITS.glob("basalt*.*"):
        if unit.suffix in (".service", ".target", ".timer"):
            shutil.copy(unit, folder)
            for program in re.findall(r"^Exec\w+=[-+!@:]*(/\S+)", unit.read_text(), re.MULTILINE):
                path = made / program.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy("/bin/true", path)
    return made


def _analyze(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_systemd_has_nothing_to_say_against_them(root: Path) -> None:
    units = [str(path) for path in sorted((root / "etc/systemd/system").iterdir())]
    assert _analyze("verify", f"--root={root}", "--recursive-errors=no", *units) == (0, "")


def test_a_word_systemd_does_not_know_would_be_seen(root: Path) -> None:
    bad = root / "etc/systemd/system/bad.service"
    bad.write_text("[Service]\nExecStart=/usr/bin/nbdkit\nHardning=yes\n")
    try:
        _status, said = _analyze("verify", f"--root={root}", "--recursive-errors=no", str(bad))
    finally:
        bad.unlink()
    assert "Hardning" in said


@pytest.mark.parametrize("unit", sorted(EXPOSURE))
def test_its_exposure_stays_within_the_limit(root: Path, unit: str) -> None:
    threshold = round(EXPOSURE[unit] * 10)
    status, said = _analyze(
        "security", "--offline=true", f"--root={root}", f"--threshold={threshold}", unit
    )
    level = re.search(r"exposure level for .*: ([0-9.]+)", said)
    assert level is not None, said
    print(f"{unit} {level[1]}")
    assert status == 0, f"{unit}: {level[1]} is above {EXPOSURE[unit]}"


def test_every_service_has_a_limit() -> None:
    assert sorted(path.name for path in UNITS.glob("*.service")) == sorted(EXPOSURE)


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_long_running_ones_notify_and_feed_a_watchdog(unit: Path) -> None:
    text = unit.read_text()
    kind = re.search(r"^Type=(\w+)", text, re.MULTILINE)
    assert kind is not None
    if kind[1] == "notify":
        assert re.search(r"^WatchdogSec=\d+$", text, re.MULTILINE)
        assert re.search(r"^Restart=always$", text, re.MULTILINE)
    else:  # one process that is not ours, or one that ends
        assert kind[1] in ("exec", "oneshot")


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_none_runs_as_root(unit: Path) -> None:
    users = re.findall(r"^User=(.*)$", unit.read_text(), re.MULTILINE)
    declared = re.findall(r"^u (\S+)", (UNITS / "basalt.sysusers.conf").read_text(), re.MULTILINE)
    assert len(users) == 1
    assert users[0] in declared


def test_sysusers_and_tmpfiles_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for program, file in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        words = [program, f"--root={tmp_path}", *(["--create"] if file == "tmpfiles" else [])]
        done = subprocess.run(
            [*words, str(UNITS / f"basalt.{file}.conf")],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    users = (tmp_path / "etc/passwd").read_text()
    group = re.search(r"^basalt:\w*:(\d+):", (tmp_path / "etc/group").read_text(), re.MULTILINE)
    assert group is not None
    for role in ("mdm", "sds", "sdc", "mgmt"):
        assert re.search(rf"^basalt-{role}:[^:]*:\d+:{group[1]}:", users, re.MULTILINE)
    assert (tmp_path / "run/basalt").is_dir()
