"""Data connections with TLS: who is let in, by both sides; copies go the same way."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import nbd
import pytest

from appliance.common import tls
from appliance.protocol import messages
from nbd_plugin import connections, failures
from tests.fakes import certificates, copy_pair, fake_mdm, sds_agent
from tests.fakes.copy_pair import SOURCE, TARGET
from tests.fakes.sds_agent import DEVICE, VOLUME

MakeSds = Callable[..., sds_agent.SdsAgent]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates.make(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates.make(tmp_path_factory.mktemp("tls") / "theirs")


def _settings(folder: Path, mode: str = tls.REQUIRED) -> tuple[str, str]:
    return f"data_tls={mode}", f"tls_dir={folder}"


def _served(
    make_sds: MakeSds, mdm: fake_mdm.FakeMdm, device_dir: Path, *sets: str
) -> messages.LegReport:
    mdm.add_device(DEVICE, device_dir)
    agent = make_sds("sds1", *sets).start()
    mdm.wait_device(DEVICE, "ok")
    mdm.order(sds_agent.order(1))
    agent.poke()
    return mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving)


def _read(report: messages.LegReport, folder: Path, mode: str = tls.REQUIRED, **more: str) -> bytes:
    """As a client's plugin does."""
    leg = dataclasses.replace(sds_agent.leg_of(report), socket=report.socket, **more)
    pool = connections.LegPool(leg, data_tls=tls.DataTls(mode, str(folder)))
    try:
        return bytes(pool.take().nbd.pread(4, 0))
    finally:
        pool.close()


def test_only_a_client_with_a_certificate_of_this_cluster_is_let_in(
    make_sds: MakeSds,
    mdm: fake_mdm.FakeMdm,
    device_dir: Path,
    tmp_path: Path,
    ours: Path,
    theirs: Path,
) -> None:
    report = _served(make_sds, mdm, device_dir, *_settings(ours))
    assert _read(report, ours) == bytes(4)
    for unix in (False, True):
        with pytest.raises(nbd.Error, match="TLS"):
            sds_agent.connect(report, unix=unix)
    # A certificate of another cluster, and none, from a client that trusts this server.
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "ca-cert.pem").write_bytes((ours / "ca-cert.pem").read_bytes())
    with pytest.raises(failures.LegDied):
        _read(report, stranger)
    certificates.sign(stranger, theirs, "IP:127.0.0.1")
    with pytest.raises(failures.LegDied):
        _read(report, stranger)
    with pytest.raises(failures.LegDied):
        _read(report, ours, data_export="0" * 32)
    assert _read(report, ours) == bytes(4)


def test_lanes_read_write_and_end_over_tls(
    make_sds: MakeSds, mdm: fake_mdm.FakeMdm, device_dir: Path, ours: Path
) -> None:
    report = _served(make_sds, mdm, device_dir, *_settings(ours))
    pool = connections.LegPool(
        sds_agent.leg_of(report), data_tls=tls.DataTls("required", str(ours))
    )
    lane = pool.take_lane()
    data = os.urandom(64 << 10)
    lane.begin_write(memoryview(data), 4096, nbd.CMD_FLAG_FUA)
    lane.acknowledged()
    got = bytearray(len(data))
    lane.read(memoryview(got), 4096)
    assert got == data
    with pytest.raises(failures.LegRefused):
        lane.read(memoryview(bytearray(512)), 1 << 40)
    lane.read(memoryview(got), 4096)  # a refusal costs nothing
    pool.close()
    with pytest.raises(failures.LegDied):
        lane.read(memoryview(got), 4096)
    pool.discard(lane)


def test_a_client_goes_to_no_server_of_another_cluster(
    make_sds: MakeSds, mdm: fake_mdm.FakeMdm, device_dir: Path, tmp_path: Path, ours: Path
) -> None:
    report = _served(make_sds, mdm, device_dir, *_settings(ours))
    # The client shows a right certificate and knows another CA, so the server lets it in.
    certificates.make(tmp_path / "other", authority=str(ours))
    with pytest.raises(failures.LegDied, match="certificate"):
        _read(report, tmp_path / "other")


def test_a_client_goes_to_no_server_that_has_another_hosts_certificate(
    make_sds: MakeSds, mdm: fake_mdm.FakeMdm, device_dir: Path, tmp_path: Path, ours: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ca-cert.pem").write_bytes((ours / "ca-cert.pem").read_bytes())
    certificates.sign(elsewhere, ours, "IP:127.0.0.9")
    report = _served(make_sds, mdm, device_dir, *_settings(elsewhere))
    with pytest.raises(failures.LegDied, match="certificate"):
        _read(report, ours)


def test_while_it_is_allowed_both_kinds_of_client_are_let_in(
    make_sds: MakeSds, mdm: fake_mdm.FakeMdm, device_dir: Path, ours: Path
) -> None:
    report = _served(make_sds, mdm, device_dir, *_settings(ours, tls.ALLOWED))
    sds_agent.connect(report).shutdown()
    assert _read(report, ours) == bytes(4)
    assert _read(report, ours, tls.ALLOWED) == bytes(4)


def test_a_copy_goes_over_tls(
    make_sds: MakeSds, mdm: fake_mdm.FakeMdm, device_dir: Path, tmp_path: Path, ours: Path
) -> None:
    made = copy_pair.Pair(mdm, tmp_path)
    make_sds("sds1", *_settings(ours)).start()
    made.turn()
    data = os.urandom(3 << 20)
    (made.paths[SOURCE] / "data").open("r+b").write(data)
    made.copy(full=True)
    made.wait_copy()
    assert made.data(TARGET)[: len(data)] == data


def test_an_agent_without_its_certificate_does_not_start(make_sds: MakeSds, tmp_path: Path) -> None:
    status, said = make_sds("sds1", *_settings(tmp_path / "none")).run_to_end()
    assert status == 2
    assert "ca-cert.pem is not there" in said
