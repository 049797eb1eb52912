"""A lane speaks NBD to a real server, and trusts no reply it cannot account for."""

import errno
import socket
import struct

import pytest

from nbd_plugin import connections, failures, lanes
from tests.fakes import legs

K = 4096
MIB = 1 << 20
SIZE = 4 * MIB
LENGTHS = (1, 2, K - 1, K, K + 1, 2 * K + 1, 5 * K - 5, MIB - 1, MIB, MIB + 1)

_REPLY = struct.Struct(">IIQ")


@pytest.fixture
def server(tmp_path):
    made = legs.LegServer(tmp_path / "x", SIZE)
    yield made
    made.kill()


@pytest.fixture
def pool(server):
    made = connections.LegPool(server.serve())
    yield made
    made.close()


@pytest.mark.parametrize("tcp", [False, True])
def test_what_a_lane_writes_it_reads_and_nothing_beside_it_changes(server, tcp):
    pool = connections.LegPool(server.serve(tcp=tcp))
    lane = pool.take_lane()
    wanted = bytearray(SIZE)
    for index, length in enumerate(LENGTHS):
        for offset in (0, 1, K - 1, MIB + 3):
            data = bytes([index + 1]) * length
            lane.begin_write(memoryview(data), offset, 0)
            lane.acknowledged()
            wanted[offset : offset + length] = data
            view = memoryview(bytearray(length))
            lane.read(view, offset)
            assert view == data
    assert server.read() == wanted
    pool.put_lane(lane)
    pool.close()


def test_a_lane_given_back_is_handed_out_again_and_one_in_use_is_not(pool):
    one = pool.take_lane()
    two = pool.take_lane()
    assert two is not one
    pool.put_lane(one)
    assert pool.take_lane() is one
    for lane in (one, two):
        pool.discard(lane)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EPERM])
def test_after_a_refusal_a_lane_goes_on(server, number):
    gate = server.folder / "refuse"
    arguments = ["error-rate=100%", f"error={errno.errorcode[number]}", f"error-file={gate}"]
    pool = connections.LegPool(server.serve(["error"], arguments))
    lane = pool.take_lane()
    view = memoryview(bytearray(b"1" * K))
    for _ in range(2):
        gate.touch()
        with pytest.raises(failures.LegRefused, match="device x refused a read") as caught:
            lane.read(view, 0)
        assert (caught.value.errno, caught.value.device) == (number, "x")
        lane.begin_write(view, 0, 0)
        with pytest.raises(failures.LegRefused, match="device x refused a write") as caught:
            lane.acknowledged()
        assert caught.value.full == (number == errno.ENOSPC)
        gate.unlink()
        lane.begin_write(view, 0, 0)
        lane.acknowledged()
        lane.read(view, 0)
        assert view == b"1" * K
    pool.discard(lane)


def test_a_server_that_is_killed_is_a_dead_leg(server):
    pool = connections.LegPool(server.serve())
    view = memoryview(bytearray(K))
    reader, writer = pool.take_lane(), pool.take_lane()
    server.kill()
    with pytest.raises(failures.LegDied):
        reader.read(view, 0)
    with pytest.raises(failures.LegDied):
        writer.begin_write(view, 0, 0)
    for lane in (reader, writer):
        pool.discard(lane)


def test_closing_the_pool_wakes_whoever_waits_on_a_lane_and_leaves_no_descriptor(server):
    pool = connections.LegPool(server.serve(["pause"], [server.pause_argument]))
    view = memoryview(bytearray(K))
    reader, writer, idle = (pool.take_lane() for _ in range(3))
    pool.put_lane(idle)
    server.pause()
    writer.begin_write(view, 0, 0)
    waiting = [legs.Doing(reader.read, view, 0), legs.Doing(writer.acknowledged)]
    pool.close()
    for doing in waiting:
        with pytest.raises(failures.LegDied):
            doing.result()
    with pytest.raises(failures.LegDied, match="its generation is over"):
        pool.take_lane()
    pool.discard(reader)
    pool.put_lane(writer)  # too late to be used again
    assert [lane._sock.fileno() for lane in (reader, writer, idle)] == [-1, -1, -1]
    reader.release()  # once more does nothing


@pytest.fixture
def ends():
    """A lane and the server's end of its socket."""
    ours, theirs = socket.socketpair()
    yield lanes.Lane("x", ours), theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"", "hung up"),
        (_REPLY.pack(0x67446698, 0, 1)[:9], "hung up"),
        (_REPLY.pack(0x67446698, 0, 1) + bytes(K - 1), "hung up"),
        (_REPLY.pack(0x67446698, 0, 2) + bytes(K), "no request of ours"),
        (_REPLY.pack(0x668E33EF, 0, 1) + bytes(K), "no request of ours"),
        (_REPLY.pack(0x67446698, errno.ESHUTDOWN, 1), "is ending"),
    ],
)
def test_a_reply_that_is_not_whole_or_not_ours_is_a_dead_leg(ends, reply, why):
    lane, theirs = ends
    theirs.sendall(reply)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(failures.LegDied, match=why):
        lane.read(memoryview(bytearray(K)), 0)


def test_a_reply_in_pieces_is_put_together(ends):
    lane, theirs = ends
    view = memoryview(bytearray(K))
    reply = _REPLY.pack(0x67446698, 0, 1) + b"1" * K
    reading = legs.Doing(lane.read, view, 0)
    assert len(theirs.recv(28, socket.MSG_WAITALL)) == 28
    for piece in (reply[:7], reply[7:20], reply[20:]):
        theirs.sendall(piece)
        legs.until(lambda: not _unread(lane))
    reading.result()
    assert view == b"1" * K


def _unread(lane: lanes.Lane) -> bytes:
    try:
        return lane._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def test_a_write_that_goes_out_in_pieces_is_whole(ends):
    lane, theirs = ends
    lane._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    data = bytes(range(256)) * 1024
    writing = legs.Doing(lane.begin_write, memoryview(data), 512, 1)
    sent = theirs.recv(28 + len(data), socket.MSG_WAITALL)
    writing.result()
    assert sent == struct.pack(">IHHQQI", 0x25609513, 1, 1, 1, 512, len(data)) + data
    theirs.sendall(_REPLY.pack(0x67446698, 0, 1))
    lane.acknowledged()
