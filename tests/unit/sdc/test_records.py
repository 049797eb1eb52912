import dataclasses
from pathlib import Path

import pytest

from appliance.sdc import processes, records
from appliance.sdc.attach import interface

RECORD = records.Record(
    mapping_id="m1",
    volume_id="v1",
    volume_name="vol",
    read_only=True,
    boot_id="boot-1",
    incarnation="i1",
    plugin=processes.Ident(12, 34),
    device=interface.Attached("i1", "/dev/loop1", "/run/vol", processes.Ident(56, 78)),
)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    records.Folder(tmp_path, "m1").save(RECORD)
    assert list(records.load_all(tmp_path, "boot-1")) == [RECORD]


def test_records_of_another_boot_and_unreadable_ones_are_passed_over(tmp_path: Path) -> None:
    records.Folder(tmp_path, "m1").save(RECORD)
    records.Folder(tmp_path, "m2").save(RECORD)  # another mapping's folder
    for name, text in (("m3", "{"), ("m4", "[]"), ("m5", '{"mapping_id": 1}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text(text)
    assert list(records.load_all(tmp_path, "boot-1")) == [RECORD]
    assert list(records.load_all(tmp_path, "boot-2")) == []
    assert list(records.load_all(tmp_path / "missing", "boot-1")) == []


def test_a_change_is_on_disk_before_it_counts(tmp_path: Path) -> None:
    book = records.Book(tmp_path, RECORD)
    book.write(detached=True)
    changed = dataclasses.replace(RECORD, detached=True)
    assert book.record == changed
    assert list(records.load_all(tmp_path, "boot-1")) == [changed]
    book.folder.remove()
    (tmp_path / "m1").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="exists"):
        book.write(detached=False)
    assert book.record == changed
