"""Records as the journal gets them."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.common import journal


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "journal"))
        sock.settimeout(10)
        yield sock


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[journal.Handler]:
    made = journal.Handler("sds", str(tmp_path / "journal"))
    yield made
    made.close()


def _record(level: int, text: str, *words: object) -> logging.LogRecord:
    record = logging.LogRecord("a.b", level, __file__, 1, text, words, None)
    record.request_id = "r1"
    return record


def _fields(data: bytes) -> dict[bytes, bytes]:
    """Read as sd-journal does."""
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + length], data[9 + length :]
        found[name] = value
    return found


def test_what_a_line_is_about_becomes_fields(
    listener: socket.socket, handler: journal.Handler
) -> None:
    handler.emit(_record(logging.INFO, "sealed volume=%s device=%s generation=%d", "v1", "d", 7))
    assert _fields(listener.recv(65536)) == {
        b"MESSAGE": b"sealed volume=v1 device=d generation=7",
        b"PRIORITY": b"6",
        b"SYSLOG_IDENTIFIER": b"basalt-sds",
        b"LOGGER": b"a.b",
        b"REQUEST_ID": b"r1",
        b"VOLUME": b"v1",
        b"GENERATION": b"7",
    }


def test_a_message_of_several_lines_stays_one_and_cannot_make_fields(
    listener: socket.socket, handler: journal.Handler
) -> None:
    handler.emit(_record(logging.ERROR, "failed\nPRIORITY=0\nVOLUME=forged"))
    found = _fields(listener.recv(65536))
    assert found[b"MESSAGE"] == b"failed\nPRIORITY=0\nVOLUME=forged"
    assert found[b"PRIORITY"] == b"3"
    assert b"VOLUME" not in found


def test_without_a_journal_it_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = journal.Handler("sds", str(tmp_path / "none"))
    made.emit(_record(logging.INFO, "hello"))
    made.close()
    assert capsys.readouterr().err == "hello\n"


def test_standard_error_is_the_journals_only_if_it_is_the_very_stream(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(journal, "SOCKET", str(tmp_path))
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    assert journal.is_ours()
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
    assert not journal.is_ours()
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not journal.is_ours()
