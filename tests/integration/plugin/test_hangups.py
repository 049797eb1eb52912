"""The kernel gives a connection up and sends its requests again on another one: what it writes
there later is not overtaken by first copies that are still on their way (R5)."""

import os
import socket
import struct

from tests.fakes import legs
from tests.integration.plugin.cases import MIB, ONES, THREES, TWOS, K

_REQUEST = struct.Struct(">IHHQQI")  # magic, flags, command, handle, offset, length


def _write(offset: int, data: bytes) -> bytes:
    """As the kernel sends it."""
    return _REQUEST.pack(0x25609513, 0, 1, 7, offset, len(data)) + data


def _given_up(volume, *requests: bytes) -> None:
    """A connection that sends ``requests`` and is shut, without a look at the answers."""
    handle = volume.connect()
    with socket.socket(fileno=os.dup(handle.aio_get_fd())) as sock:
        sock.sendall(b"".join(requests))
        sock.shutdown(socket.SHUT_RDWR)


def test_a_write_waits_for_those_of_a_connection_that_was_given_up(make_rig):
    volume = make_rig(columns=(("x",), ("y",)))
    handle, other, reader = (volume.connect() for _ in range(3))
    handle.pwrite(ONES, MIB)  # its region is marked
    volume["x"].stop()
    _given_up(volume, _write(0, ONES))
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
