"""Sockets for the kernel's NBD: past the handshake, and nothing lost on the way."""

import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.sdc.attach import nbd_socket
from tests.fakes import sdc_host

_REQUEST = struct.Struct(">IHHQQI")  # magic, flags, command, handle, offset, length
_REPLY = struct.Struct(">IIQ")  # magic, error, handle


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "nbd.sock"
    process = subprocess.Popen(["nbdkit", "-f", "-U", str(path), "memory", "1M"])
    sdc_host.until(path.exists)
    yield path
    process.kill()
    process.wait()


@pytest.mark.parametrize("read_only", [False, True])
def test_the_kernel_can_talk_on_at_once(server: Path, read_only: bool) -> None:
    assert nbd_socket.size(server) == 1 << 20
    ready = nbd_socket.connect(server, read_only)
    assert ready.flags & 0b1111 == 0b1101 | (2 if read_only else 0)
    with socket.socket(fileno=ready.fd) as sock:
        sock.settimeout(20)
        # A write and a read as the kernel sends them: simple replies (proto.md).
        sock.sendall(_REQUEST.pack(0x25609513, 0, 1, 7, 4096, 4) + b"data")
        assert _REPLY.unpack(_read(sock, _REPLY.size)) == (0x67446698, 0, 7)
        sock.sendall(_REQUEST.pack(0x25609513, 0, 0, 8, 4096, 4))
        assert _REPLY.unpack(_read(sock, _REPLY.size)) == (0x67446698, 0, 8)
        assert _read(sock, 4) == b"data"


def test_no_server_is_said(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (counts only)
    with pytest.raises(errors.Unavailable, match="no NBD connection"):
        nbd_socket.connect(tmp_path / "none", read_only=False)
    with pytest.raises(errors.Unavailable, match="no NBD connection"):
        nbd_socket.size(tmp_path / "none")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def _read(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += sock.recv(length - len(data))
    return data
