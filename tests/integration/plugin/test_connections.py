"""Clients come and go for years; what the plugin keeps for a connection goes with it."""

import contextlib
import re
from pathlib import Path

import nbd

from tests.fakes import rig
from tests.integration.plugin import cases

_THREADS = 6  # of nbdkit, for each connection
_MIB = 1 << 20


def _in_flight_at_once(handle: nbd.NBD) -> None:
    """Something to do for every thread of the connection."""
    cookies = [
        handle.aio_pwrite(bytearray(cases.ONES), index * cases.K) for index in range(_THREADS)
    ]
    buffers = [bytearray(cases.K) for _ in range(_THREADS)]
    cookies += [handle.aio_pread(buffer, cases.MIB) for buffer in buffers]
    for cookie in cookies:
        while not handle.aio_command_completed(cookie):
            assert handle.poll(20_000)


def _memory(pid: int) -> dict[str, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    return {name: int(kib) * 1024 for name, kib in re.findall(r"(Vm\w+):\s+(\d+) kB", status)}


def test_short_connections_leave_no_memory_behind_and_the_plugin_ends_well(make_rig: rig.Rigs):
    volume = make_rig()

    def come_and_go(times: int) -> dict[str, int]:
        for _ in range(times):
            handle = nbd.NBD()
            handle.connect_unix(volume.plugin.socket)
            _in_flight_at_once(handle)
            handle.shutdown()
        return _memory(volume.plugin.process.pid)

    first = come_and_go(200)
    last = come_and_go(1000)
    # A state left behind costs 16 KiB of address space, so six of a thousand connections 96 MiB.
    assert last["VmRSS"] - first["VmRSS"] < 8 * _MIB
    assert last["VmData"] - first["VmData"] < 48 * _MIB
    volume.plugin.process.terminate()
    assert volume.plugin.process.wait(20) == 0


def test_a_client_of_several_connections_reads_what_it_wrote_on_any(make_rig: rig.Rigs):
    volume = make_rig()
    handles = [volume.connect() for _ in range(4)]
    assert all(handle.can_multi_conn() for handle in handles)
    for number, handle in enumerate(handles):
        _in_flight_at_once(handle)
        handle.pwrite(bytes([number]) * cases.K, cases.K)
        assert all(other.pread(cases.K, cases.K) == bytes([number]) * cases.K for other in handles)
    handles[0].flush()
    volume.plugin.process.terminate()  # while the connections, and their threads, are there
    for handle in handles:
        handle.shutdown()
    assert volume.plugin.process.wait(20) == 0


def test_the_plugin_ends_well_in_the_middle_of_requests(make_rig: rig.Rigs):
    volume = make_rig()
    handle = nbd.NBD()
    handle.connect_unix(volume.plugin.socket)
    _in_flight_at_once(handle)
    for index in range(_THREADS):
        handle.aio_pwrite(bytearray(cases.TWOS), index * cases.K)
    volume.plugin.process.terminate()
    with contextlib.suppress(nbd.Error):  # it may hang up before all is answered
        while handle.aio_in_flight():
            assert handle.poll(20_000)
    del handle  # hangs up; nbdkit waits for its clients
    assert volume.plugin.process.wait(20) == 0
