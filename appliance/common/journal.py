"""Records straight to systemd's journal, so that what they are about can be searched for:
``journalctl VOLUME=…``, ``GENERATION=…``, ``REQUEST_ID=…``.

Used by ``log.setup`` where a unit's standard error is the journal anyway. The protocol is systemd's
"Native Journal Protocol" (systemd.io/JOURNAL_NATIVE_PROTOCOL).
"""

import logging
import os
import re
import socket
import sys
from pathlib import Path

SOCKET = "/run/systemd/journal/socket"

#: syslog(3) priorities.
_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)

#: Words ``key=value`` of a message that become fields.
_FIELDS = {"volume": "VOLUME", "generation": "GENERATION"}
_WORD = re.compile(r"\b(volume|generation)=(\S+)")


class Handler(logging.Handler):
    """Never raises: what the journal does not take (it is restarting, the line is too long) goes
    to standard error, which is the journal's too."""

    def __init__(self, role: str, path: str = SOCKET) -> None:
        super().__init__()
        self._role = role
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        try:
            self._socket.sendto(self._datagram(record, text), self._path)
        except OSError:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _datagram(self, record: logging.LogRecord, text: str) -> bytes:
        fields = {
            "MESSAGE": text,
            "PRIORITY": str(next(p for level, p in _PRIORITIES if record.levelno >= level)),
            "SYSLOG_IDENTIFIER": f"basalt-{self._role}",
            "LOGGER": record.name,
            "REQUEST_ID": str(getattr(record, "request_id", "-")),
        }
        for word, value in _WORD.findall(record.getMessage()):
            fields.setdefault(_FIELDS[word], value)
        return b"".join(_field(name, value) for name, value in fields.items())


def is_ours() -> bool:
    """Whether standard error of this process is the journal (systemd.exec(5), JOURNAL_STREAM)."""
    told = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return told == f"{found.st_dev}:{found.st_ino}" and Path(SOCKET).exists()


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
