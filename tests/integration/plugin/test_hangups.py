"""The kernel gives a connection up and sends its requests again on another one: what it writes
there later is not overtaken by first copies that are still on their way (R5)."""

import os
import socket
import struct
from pathlib import Path

from tests.fakes import legs
from tests.integration.plugin.cases import MIB, ONES, THREES, TWOS, K

_REQUEST = struct.Struct(">IHHQQI")  # magic, flags, command, handle, offset, length


_READ = _REQUEST.pack(0x25609513, 0, 0, 8, 0, K)
_FLUSH = _REQUEST.pack(0x25609513, 0, 3, 9, 0, 0)


def _write(offset: int, data: bytes) -> bytes:
    """As the kernel sends it."""
    return _REQUEST.pack(0x25609513, 0, 1, 7, offset, len(data)) + data


def _open(volume, *requests: bytes) -> socket.socket:
    """A connection on which ``requests`` were sent, and no answer is looked at."""
    handle = volume.connect()
    sock = socket.socket(fileno=os.dup(handle.aio_get_fd()))
    sock.sendall(b"".join(requests))
    return sock


def _given_up(volume, *requests: bytes) -> None:
    with _open(volume, *requests) as sock:
        sock.shutdown(socket.SHUT_RDWR)


def test_a_write_waits_for_those_of_a_connection_that_was_given_up(make_rig):
    volume = make_rig(columns=(("x", "z"), ("y",)))
    handle, other, reader = (volume.connect() for _ in range(3))
    handle.pwrite(ONES, MIB)  # its region is marked
    volume["x"].stop()
    gone = _open(volume, _write(0, ONES))
    legs.until(lambda: volume["z"].read(0, K) == ONES)  # it was begun
    gone.shutdown(socket.SHUT_RDWR)
    late = legs.Doing(handle.pwrite, TWOS, MIB)  # the other column, which could take it at once
    zeroed = legs.Doing(other.zero, K, MIB + K)
    for _ in range(200):
        assert reader.pread(K, MIB) == ONES  # reads go on
    assert not late.done
    assert not zeroed.done
    volume["x"].go_on()
    late.result()
    zeroed.result()
    assert handle.pread(2 * K, MIB) == TWOS + bytes(K)
    assert handle.pread(K, 0) == ONES


def test_connections_that_are_given_up_together_do_not_wait_for_each_other(make_rig):
    volume = make_rig(columns=(("x",), ("y",)))
    handle = volume.connect()
    handle.pwrite(THREES, 0)
    volume["x"].stop()
    _given_up(volume, _write(0, ONES))
    _given_up(volume, _write(0, ONES), _write(MIB, ONES))
    late = legs.Doing(handle.pwrite, TWOS, 0)
    volume["x"].go_on()
    late.result()
    assert handle.pread(K, 0) == TWOS
    assert handle.pread(K, MIB) in (ONES, bytes(K))  # read before the end was seen, or not


def test_threads_that_wait_for_a_client_that_is_gone_end(make_rig):
    """While I/O waits for long, the kernel comes again and again."""
    volume = make_rig()
    volume.connect().pwrite(ONES, 0)
    for server in volume.servers.values():
        server.kill()
    threads = Path(f"/proc/{volume.plugin.process.pid}/task")
    before = len(list(threads.iterdir()))
    first = _open(volume, _write(0, TWOS), _READ, _FLUSH)
    legs.until(lambda: len(list(threads.iterdir())) > before)
    first.shutdown(socket.SHUT_RDWR)
    for _ in range(5):
        again = _open(volume, _write(0, TWOS), _READ, _FLUSH)
        again.shutdown(socket.SHUT_RDWR)
    # What stays is the write that was begun, and its connection.
    legs.until(lambda: len(list(threads.iterdir())) <= before + 8)
    volume.turn()
    last = volume.connect()
    last.pwrite(THREES, 0)
    assert last.pread(K, 0) == THREES
    legs.until(lambda: len(list(threads.iterdir())) <= before + 8)
