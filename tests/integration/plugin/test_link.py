"""The link to the agent: garbage, a new agent, a stuck one, none."""

import json

import pytest

from tests.integration.plugin.cases import ONES, K


def test_garbage_from_the_agent_changes_nothing(make_rig):
    volume = make_rig()
    for garbage in (b"\n", b"{}\n", b"[1]\n", b"\xff\n", b'{"op":"map"}\n', b'"x"\n', b'{"op":1}\n',
                    b'{"op":"dance"}\n', b'{"op":"open_generation","generation":"x"}\n',
                    b'{"op":"lock","id":"l"}\n', b"x" * (3 << 19) + b"\n",
                    b'{"op":"map","incarnation":"' + volume.plugin.incarnation.encode()
                    + b'","map":{"size":-1}}\n'):  # fmt: skip
        volume.plugin.send_raw(garbage)
    volume.connect().pwrite(ONES, 0)
    volume.turn()
    assert volume.plugin.status(generation=2)["ended"] == ""


def test_a_newer_agent_replaces_an_older_one(make_rig):
    volume = make_rig()
    older = volume.plugin.link
    volume.plugin.attach()
    assert volume.plugin.status()["generation"] == 1
    older.settimeout(10)
    while older.recv(65536):
        pass  # what was sent before; then the end
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume.turn()
    assert handle.pread(K, 0) == ONES


def test_an_agent_that_reads_nothing_does_not_keep_a_newer_one_out(make_rig):
    volume = make_rig()
    stuck = volume.plugin.link
    stuck.settimeout(1.0)
    request = json.dumps(
        {"op": "lock", "id": "i" * 60_000, "generation": 9, "offset": 0, "length": 1, "limit_s": 1}
    ).encode()
    with pytest.raises(TimeoutError):  # nor does the plugin read on, once it cannot answer
        for _ in range(1000):
            stuck.sendall(request + b"\n")
    volume.plugin.attach()
    assert volume.plugin.status()["generation"] == 1
    stuck.close()


def test_io_goes_on_without_an_agent(make_rig):
    volume = make_rig()
    handle = volume.connect()
    volume.plugin.link.close()
    handle.pwrite(ONES, 0)
    handle.flush()
    volume.plugin.attach()
    stats = volume.plugin.status()["stats"]
    assert (stats["writes"], stats["flushes"], stats["write_bytes"]) == (1, 1, K)
