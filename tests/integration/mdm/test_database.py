"""A damaged, a locked and a full database of the MDM, and yesterday's backup: what one is told,
and what goes on."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.mdm.services import backup
from tests.fakes import running_mdm

MIB = running_mdm.MIB
V1 = "/api/v1"


def basalt_mdm(*words: str) -> subprocess.CompletedProcess[str]:
    """``basalt-mdm`` as a process of its own, to its end."""
    command = [sys.executable, "-m", "appliance.mdm", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    """Start it on ``folder``, where it is expected not to get far."""
    settings = [f"data_dir={folder}", "host=127.0.0.1", "port=0"]
    options = [word for setting in settings for word in ("--set", setting)]
    return basalt_mdm("--config-dir", str(folder), *options)


def names(mdm: running_mdm.RunningMdm) -> list[str]:
    return [item["name"] for item in mdm.api.get(f"{V1}/volumes")["items"]]


def test_a_damaged_database_stops_the_start_and_says_how_to_restore(mdm):
    mdm.volume("v")
    kept = mdm.api.post(f"{V1}/backups", {})
    mdm.stop()
    database = mdm.folder / "mdm.db"
    content = bytearray(database.read_bytes())
    content[4096 * 3 : 4096 * 6] = os.urandom(4096 * 3)
    database.write_bytes(content)

    ended = start(mdm.folder)
    assert ended.returncode == 7
    assert f"{database} is damaged" in ended.stderr
    assert f"basalt mdm restore --data-dir {mdm.folder} --from FILE" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert database.read_bytes() == content

    done = basalt_mdm("restore", "--data-dir", str(mdm.folder), "--from", kept["path"])
    assert done.returncode == 0, done.stderr
    (aside,) = mdm.folder.glob("mdm.db.replaced-*Z")
    assert f"the one before is kept as {aside}" in done.stdout
    assert aside.read_bytes() == content
    mdm.start()
    assert names(mdm) == ["v"]


def test_yesterdays_backup_is_put_back_and_agents_go_on(mdm):
    mdm.volume("old")
    mdm.beat(3)
    kept = mdm.api.post(f"{V1}/backups", {})
    assert [item["path"] for item in mdm.api.get(f"{V1}/backups")["items"]] == [kept["path"]]
    mdm.volume("new")
    mdm.beat(3)
    term = mdm.api.get(f"{V1}/cluster")["term"]
    with pytest.raises(errors.Conflict, match=r"an MDM is running .*; stop it first"):
        backup.restore(mdm.folder, Path(kept["path"]))
    mdm.stop()

    aside = backup.restore(mdm.folder, Path(kept["path"]))
    assert aside is not None
    mdm.start()
    assert names(mdm) == ["old"]
    assert mdm.api.get(f"{V1}/cluster")["term"] > term
    with contextlib.closing(sqlite3.connect(aside)) as before:
        assert {row[0] for row in before.execute("SELECT name FROM volumes")} == {"old", "new"}


def test_a_damaged_backup_is_refused_and_changes_nothing(mdm):
    kept = Path(mdm.api.post(f"{V1}/backups", {})["path"])
    mdm.stop()
    before = (mdm.folder / "mdm.db").read_bytes()
    kept.write_bytes(kept.read_bytes()[:8192])
    with pytest.raises(errors.Damaged):
        backup.restore(mdm.folder, kept)
    assert basalt_mdm("restore", "--data-dir", str(mdm.folder), "--from", "/absent").returncode == 3
    assert (mdm.folder / "mdm.db").read_bytes() == before
    assert not list(mdm.folder.glob("*.restoring*"))
    mdm.start()


def test_what_was_set_aside_after_a_crash_can_be_put_back_with_its_journal(mdm, tmp_path):
    kept = Path(mdm.api.post(f"{V1}/backups", {})["path"])
    mdm.volume("last-words")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("mdm.db", "mdm.db-wal"):  # as a machine that loses power leaves them
        shutil.copy(mdm.folder / name, crashed / name)
    assert backup.restore(crashed, kept) is not None
    (aside,) = crashed.glob("mdm.db.replaced-*Z")
    backup.restore(crashed, aside)
    with contextlib.closing(sqlite3.connect(crashed / "mdm.db")) as back:
        assert back.execute("SELECT name FROM volumes").fetchall() == [("last-words",)]


def test_a_second_mdm_on_the_same_folder_is_refused(mdm):
    ended = start(mdm.folder)
    assert ended.returncode == 4
    assert "an MDM is running" in ended.stderr


def test_a_locked_database_refuses_changes_while_the_rest_goes_on(mdm):
    mdm.volume("v")
    mdm.beat(3)
    other = sqlite3.connect(mdm.folder / "mdm.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(errors.Unavailable, match="locked by another program"):
        mdm.volume("w")
    assert names(mdm) == ["v"]
    mdm.beat()
    health = mdm.raw("GET", "/health", token="").json()
    assert (health["ready"], health["status"]) == (True, "degraded")
    assert "database is locked" in health["reasons"][0]
    other.execute("ROLLBACK")
    other.close()
    mdm.volume("w")
    assert names(mdm) == ["v", "w"]
    assert mdm.raw("GET", "/health", token="").json()["status"] == "healthy"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount") or "mount"
    subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run([shutil.which("umount") or "umount", folder], check=True)


@pytest.mark.root
def test_a_full_disk_refuses_changes_while_the_rest_goes_on(small_disk):
    mdm = running_mdm.RunningMdm(small_disk / "mdm")
    try:
        mdm.build()
        mdm.volume("v")
        mdm.beat(3)
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        refused = [_refusal(mdm, number) for number in range(200)]
        assert "disk is full" in refused[-1]
        assert str(mdm.folder) in refused[-1]
        made = refused.count("")
        assert len(names(mdm)) == 1 + made
        mdm.beat(2)
        with pytest.raises(errors.Unavailable, match="no backup could be written"):
            mdm.api.post(f"{V1}/backups", {})
        assert mdm.raw("GET", "/health", token="").json()["status"] == "degraded"
        ballast.unlink()
        mdm.volume("after")
        assert "after" in names(mdm)
    finally:
        mdm.close()


def _refusal(mdm: running_mdm.RunningMdm, number: int) -> str:
    """What is said when one more volume is asked for; empty if it was made."""
    try:
        mdm.volume(f"v{number}", size_bytes=MIB)
    except errors.Unavailable as exc:
        return str(exc)
    return ""
