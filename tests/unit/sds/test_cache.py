"""The cache id names a mounted superblock: the same from every mount namespace, another one as
soon as the file system was mounted anew or the host booted."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.sds import cache
from tests.fakes import small_disk

_SHOW = """
import os, sys
from appliance.sds import cache
print(cache.ident(os.open(sys.argv[1], os.O_RDONLY), "boot"))
"""


def _ident(folder: Path, boot_id: str = "boot") -> str:
    fd = os.open(folder, os.O_RDONLY)
    try:
        return cache.ident(fd, boot_id)
    finally:
        os.close(fd)


def _in_another_namespace(folder: Path) -> str:
    """As systemd's sandbox does it: a new mount namespace, and the device bound over itself."""
    bind = 'mount --bind "$1" "$1" && exec "$2" -c "$3" "$1"'
    words = ["unshare", "--mount", "sh", "-c", bind, "sh", str(folder), sys.executable, _SHOW]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    with small_disk.ext4(tmp_path, 8 << 20) as mounted:
        yield mounted


@pytest.mark.root
def test_a_mount_namespace_of_its_own_changes_nothing(ext4: Path) -> None:
    before = _ident(ext4)
    assert _in_another_namespace(ext4) == before
    assert _ident(ext4) == before


@pytest.mark.root
def test_another_mount_of_the_same_superblock_is_the_same_cache(ext4: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["mount", "--bind", ext4, other], check=True)
    try:
        assert _ident(other) == _ident(ext4)
    finally:
        subprocess.run(["umount", other], check=True)


@pytest.mark.root
def test_mounting_anew_changes_it(ext4: Path) -> None:
    before = _ident(ext4)
    source = subprocess.run(
        ["findmnt", "-n", "-o", "SOURCE", ext4], check=True, capture_output=True, text=True
    ).stdout.strip()
    device_before = ext4.stat().st_dev
    # The loop device must outlive its mount, or it would be another device number.
    with Path(source).open("rb"):
        subprocess.run(["umount", ext4], check=True)
        subprocess.run(["mount", source, ext4], check=True)
    assert ext4.stat().st_dev == device_before
    assert _ident(ext4) != before


def test_a_boot_changes_it(tmp_path: Path) -> None:
    assert _ident(tmp_path, "one") != _ident(tmp_path, "two")


@pytest.mark.root
def test_a_file_system_without_a_folder_in_sysfs_has_the_id_of_its_mount(tmp_path: Path) -> None:
    with small_disk.tmpfs(tmp_path / "ram", 1 << 20) as folder:
        before = _ident(folder)
        assert before.startswith("boot:m")
        assert _ident(folder) == before
