"""Dataclasses in files: back as they were, or named as damaged and left alone."""

from pathlib import Path

import pytest

from appliance.common import errors
from appliance.protocol import messages, record_file

RECORD = messages.Registered("a", "b", "c")


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"id": 1, "secret": "s"}', "{}"])
def test_damaged_record_is_named_and_left(tmp_path: Path, text: str) -> None:
    file = tmp_path / "f"
    file.write_text(text)
    with pytest.raises(errors.Damaged, match="left as it is"):
        record_file.read(file, messages.Registered)
    assert file.read_text() == text


def test_record_comes_back(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(record_file.to_bytes(RECORD))
    assert record_file.read(tmp_path / "f", messages.Registered) == RECORD
    with pytest.raises(FileNotFoundError):
        record_file.read(tmp_path / "none", messages.Registered)
