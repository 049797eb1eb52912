"""What every plugin does on its link, the real one and the fake: the agent relies on it."""

import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import nbd
import pytest

from appliance.common import errors, units
from appliance.protocol import codec, messages
from appliance.sdc import config, launch, plugin_link, plugin_process, processes, records
from tests.fakes import legs, sdc_host

_SIZE = 32 * units.MIB

PLUGINS = {
    "fake": sdc_host.FAKE_PLUGIN,
    "real": plugin_process.PACKAGES / "nbd_plugin" / "plugin.py",
}


class Site:
    """A plugin in nbdkit, legs behind it, and the agent's link to it."""

    def __init__(self, folder: Path, script: Path) -> None:
        self.folder = records.Folder(folder, "m")
        incarnation = secrets.token_hex(8)  # tests that run beside this one look for theirs
        self.record = records.Record("m", "v", "vol", False, "boot", incarnation=incarnation)
        self.legs = [legs.LegServer(folder / f"d{index}", _SIZE) for index in range(2)]
        cfg = config.Config(
            run_dir=folder, plugin=str(script), plugin_log_dir=str(folder), plugin_threads=4
        )
        self.process = plugin_process.start(cfg, launch.Children(), self.folder, self.record)
        self.news = threading.Event()
        self.link = self.new_link()

    def new_link(self) -> plugin_link.Link:
        link = plugin_link.Link(
            self.folder.link_socket, self.record.incarnation, lambda: None, self.news.set
        )
        link.start()
        return link

    def serve(self, generation: int, version: int = 1) -> None:
        """A new generation's servers and map."""
        served = [leg.serve() for leg in self.legs]
        self.map = legs.make_map(served, _SIZE, generation, ncols=1, version=version)
        self.link.send_map(self.map)

    def status(self, done: Callable[[messages.PluginStatus], bool]) -> messages.PluginStatus:
        sdc_host.until(lambda: self.link.status is not None and done(self.link.status))
        assert self.link.status is not None
        return self.link.status

    def connect(self) -> nbd.NBD:
        handle = nbd.NBD()
        handle.connect_unix(str(self.folder.nbd_socket))
        return handle

    def close(self) -> None:
        self.link.close()
        with contextlib.suppress(errors.Unavailable):
            self.process.stop(2.0)
        self.process.close()
        for leg in self.legs:
            leg.kill()


@pytest.fixture(params=sorted(PLUGINS))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, PLUGINS[request.param])
    yield made
    made.close()


@pytest.fixture
def serving(site: Site) -> Site:
    sdc_host.until(lambda: site.link.connected)
    site.serve(5)
    site.status(lambda s: s.generation == 5)
    return site


def test_a_status_comes_on_connect_before_any_map(site: Site) -> None:
    status = site.status(lambda _: True)
    assert (status.incarnation, status.generation) == (site.record.incarnation, 0)
    assert not status.ended


def test_a_new_connection_replaces_the_old_one_and_hears_the_state(serving: Site) -> None:
    second = serving.new_link()
    try:
        sdc_host.until(lambda: second.status is not None and second.status.generation == 5)
    finally:
        second.close()


def test_a_map_is_served(serving: Site) -> None:
    handle = serving.connect()
    assert handle.get_size() == _SIZE
    handle.pwrite(b"x" * 4096, 8192)
    assert handle.pread(4096, 8192) == b"x" * 4096
    handle.flush()
    serving.status(lambda s: s.stats.writes >= 1 and s.stats.flushes >= 1)


def test_a_client_that_comes_before_the_map_waits_for_it(site: Site) -> None:
    sdc_host.until(lambda: site.link.connected)
    sizes: list[int] = []
    waiting = threading.Thread(target=lambda: sizes.append(site.connect().get_size()))
    waiting.start()
    site.serve(1)
    waiting.join(20)
    assert sizes == [_SIZE]


def test_a_map_for_another_incarnation_and_an_older_one_change_nothing(serving: Site) -> None:
    foreign = plugin_link.Link(serving.folder.link_socket, "f" * 16, lambda: None, lambda: None)
    foreign.start()
    sdc_host.until(lambda: foreign.connected)
    foreign.send_map(legs.make_map([], _SIZE, 9, ncols=0))
    foreign.close()
    again = serving.new_link()

    def left() -> bool:
        # Sent again each time: the site's first link may have replaced this one meanwhile.
        again.send_map(legs.make_map([], _SIZE, 4, ncols=0))
        again.open_generation(6)  # an answer to this one shows that the map was read
        return again.status is not None and again.status.left == 5

    sdc_host.until(left)
    assert again.status is not None
    assert again.status.generation == 5
    again.close()


def test_leaving_a_generation_is_told_and_the_next_map_ends_it(serving: Site) -> None:
    serving.link.open_generation(6)
    assert serving.status(lambda s: s.left == 5).left == 5
    serving.serve(6)
    serving.status(lambda s: s.generation == 6)
    serving.connect().pwrite(b"y" * 512, 0)


def test_the_end_is_clean_and_refuses_io_afterwards(serving: Site) -> None:
    handle = serving.connect()
    handle.pwrite(b"x" * 512, 0)
    serving.link.end()
    assert serving.status(lambda s: bool(s.ended)).clean
    with pytest.raises(nbd.Error):
        handle.pwrite(b"x" * 512, 0)


def test_a_failed_mapping_says_why_and_is_not_clean(serving: Site) -> None:
    handle = serving.connect()
    serving.link.fail("for the test")
    status = serving.status(lambda s: bool(s.ended))
    assert "for the test" in status.ended
    assert not status.clean
    with pytest.raises(nbd.Error):
        handle.pread(512, 0)


def test_a_lock_holds_writes_of_its_range_until_it_is_given_back(serving: Site) -> None:
    handle = serving.connect()
    serving.link.lock("a", 5, 0, 65536, 20.0)
    written: list[int] = []

    def _write() -> None:
        handle.pwrite(b"z" * 4096, 0)
        written.append(1)

    writer = threading.Thread(target=_write)
    writer.start()
    serving.connect().pwrite(b"o" * 4096, 1 << 20)  # elsewhere nothing is held
    assert not written
    serving.link.unlock("a")
    writer.join(20)
    assert written == [1]


def test_a_lock_ends_at_its_limit_by_itself(serving: Site) -> None:
    serving.link.lock("a", 5, 0, 65536, 0.1)
    serving.connect().pwrite(b"z" * 4096, 0)


def test_a_lock_of_another_generation_is_refused(serving: Site) -> None:
    with pytest.raises(errors.Unavailable):
        serving.link.lock("a", 4, 0, 65536, 5.0)


def test_a_lock_line_holds_one_range_after_another(serving: Site) -> None:
    ours, theirs = socket.socketpair()
    with ours, ours.makefile("rb") as answers:
        with theirs:
            assert serving.link.send_lock_line(theirs, 5, 20.0)
        ours.settimeout(20)
        for offset in (0, units.MIB):
            step = messages.StepLock(offset, units.MIB, 60.0)
            ours.sendall(json.dumps(codec.to_json(step)).encode() + b"\n")
            answer = codec.from_json(messages.StepAnswer, json.loads(answers.readline()))
            assert answer == messages.StepAnswer(limit_s=20.0)
        serving.connect().pwrite(b"o" * 4096, 0)
        handle = serving.connect()
        cookie = handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(512)), units.MIB)
        handle.poll(50)
        assert not handle.aio_command_completed(cookie)
        last = codec.to_json(messages.StepLock(0, 0, 0.0))
        ours.sendall(json.dumps(last).encode() + b"\n")
        while not handle.aio_command_completed(cookie):
            assert handle.poll(20_000) == 1


def test_a_lock_line_of_another_generation_is_refused(serving: Site) -> None:
    ours, theirs = socket.socketpair()
    with ours, ours.makefile("rb") as answers:
        with theirs:
            serving.link.send_lock_line(theirs, 4, 20.0)
        ours.settimeout(20)
        ours.sendall(b'{"offset": 0, "length": 4096, "limit_s": 5.0}\n')
        assert json.loads(answers.readline())["why"]


def test_sigterm_ends_the_process_though_clients_are_connected(serving: Site) -> None:
    handle = serving.connect()
    serving.process.stop(2.0)
    assert not serving.process.alive
    assert not processes.with_argument(f"incarnation={serving.record.incarnation}")
    with pytest.raises(nbd.Error):
        handle.pread(512, 0)
