"""Flush, FUA and trim reach every leg concerned."""

import nbd
import pytest

from tests.integration.plugin.cases import MIB, ONES, K, data_of, logged_turn


def test_any_connection_flushes_what_another_wrote(make_rig):
    """can_multi_conn: a flush goes to every device."""
    volume = make_rig(columns=(("x", "y"), ("z", "x")))
    logged_turn(volume)
    one, two = volume.connect(), volume.connect()
    assert one.can_multi_conn()
    one.pwrite(ONES, 0)
    assert volume.plugin.status(unflushed=True)
    two.flush()
    volume.plugin.status(unflushed=False)
    for name in ("x", "y", "z"):
        assert len(volume[name].logged("Flush")) == 1


@pytest.mark.parametrize("length", [K, 3 * MIB], ids=["small", "split"])
def test_fua_reaches_every_leg(make_rig, length):
    volume = make_rig(columns=(("x", "y"), ("y", "z")))
    logged_turn(volume)
    handle = volume.connect()
    handle.pwrite(bytes(length), 0)
    handle.pwrite(b"1" * length, 0, flags=nbd.CMD_FLAG_FUA)
    handle.zero(length, 0, flags=nbd.CMD_FLAG_FUA)
    concerned = ("x", "y") if length == K else ("x", "y", "z")
    for name in concerned:
        written = data_of(volume[name].logged("Write"))
        zeroed = volume[name].logged("Zero")
        assert [entry.fua for entry in written] == sorted(entry.fua for entry in written)
        assert sum(entry.fua for entry in written) * 2 == len(written)
        assert zeroed
        assert all(entry.fua for entry in zeroed)


def test_trim_punches_holes_in_every_copy_unless_the_volume_is_thick(make_rig):
    for thin in (True, False):
        volume = make_rig(thin=thin)
        logged_turn(volume)
        handle = volume.connect()
        handle.pwrite(b"1" * MIB, 0)
        handle.trim(MIB, 0)
        handle.trim(MIB, 0, flags=nbd.CMD_FLAG_FUA)
        handle.zero(MIB, 0)
        handle.zero(MIB, 0, flags=nbd.CMD_FLAG_NO_HOLE)
        blocks = {(server.folder / "data").stat().st_blocks for server in volume.servers.values()}
        assert min(blocks) >= MIB // 512
        flushes = [len(server.logged("Flush")) for server in volume.servers.values()]
        zeroes = [len(server.logged("Zero")) for server in volume.servers.values()]
        assert (flushes, zeroes) == (([0, 0], [4, 4]) if thin else ([1, 1], [2, 2]))
        if thin:
            handle.trim(MIB, 0)
            for server in volume.servers.values():
                assert (server.folder / "data").stat().st_blocks == 0
