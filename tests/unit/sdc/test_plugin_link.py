import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.common import errors
from appliance.sdc import plugin_link
from tests.fakes import sdc_host


class Peer:
    """The plugin's end, played by hand."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.listener.settimeout(20)
        self.accept()

    def accept(self) -> None:
        self.sock, _ = self.listener.accept()
        self.sock.settimeout(20)
        self.lines = self.sock.makefile("r")

    def say(self, text: str) -> None:
        self.sock.sendall(text.encode() + b"\n")

    def status(self, **values: Any) -> None:
        self.say(json.dumps({"op": "status", "incarnation": "i1", **values}))

    def hear(self) -> Any:
        return json.loads(self.lines.readline())

    def hang_up(self) -> None:
        self.lines.close()
        self.sock.close()


class Site:
    def __init__(self, folder: Path) -> None:
        self.news = 0
        self.connects = 0
        self.link = plugin_link.Link(folder / "link.sock", "i1", self._connected, self._news)
        self.link.start()
        self.peer = Peer(folder / "link.sock")

    def _connected(self) -> None:
        self.connects += 1

    def _news(self) -> None:
        self.news += 1


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.link.close()
    made.peer.hang_up()
    made.peer.listener.close()


def test_a_status_is_kept_and_its_news_told_once(site: Site) -> None:
    site.peer.status(generation=3, stats={"reads": 1})
    sdc_host.until(lambda: site.link.status is not None)
    assert site.link.status is not None
    assert (site.link.status.generation, site.news) == (3, 1)
    site.peer.status(generation=3, unflushed=True, stats={"reads": 2})
    sdc_host.until(lambda: site.link.status is not None and site.link.status.stats.reads == 2)
    assert site.news == 1, "statistics alone are no news"
    site.peer.status(generation=3, suspects=["d1"])
    sdc_host.until(lambda: site.news == 2)


def test_bad_lines_and_foreign_incarnations_are_passed_over(site: Site) -> None:
    for text in ("no json", "[]", '"x"', "{}", '{"op":"other"}', '{"op":"status","generation":1}',
                 '{"op":"status","incarnation":"i2"}', '{"op":"locked"}'):  # fmt: skip
        site.peer.say(text)
    site.peer.status(generation=7)
    sdc_host.until(lambda: site.link.status is not None)
    assert site.link.status is not None
    assert site.link.status.generation == 7


def test_a_line_in_pieces_is_one_message(site: Site) -> None:
    data = json.dumps({"op": "status", "incarnation": "i1", "generation": 2}).encode() + b"\n"
    for byte in data:
        site.peer.sock.sendall(bytes([byte]))
    sdc_host.until(lambda: site.link.status is not None)


def test_it_connects_again_and_says_so(site: Site) -> None:
    sdc_host.until(lambda: site.connects == 1)
    site.peer.hang_up()
    site.peer.accept()
    sdc_host.until(lambda: site.connects == 2)
    assert site.link.end()
    assert site.peer.hear() == {"op": "end"}


def test_without_a_peer_nothing_is_sent(tmp_path: Path) -> None:
    link = plugin_link.Link(tmp_path / "none", "i1", lambda: None, lambda: None)
    link.start()
    try:
        assert not link.connected
        assert not link.end()
        with pytest.raises(errors.Unavailable, match="not connected"):
            link.lock("a", 1, 0, 512, 1.0)
    finally:
        link.close()


def test_a_lock_waits_for_its_answer(site: Site) -> None:
    sdc_host.until(lambda: site.link.connected)
    done = threading.Event()

    def _lock() -> None:
        site.link.lock("a", 5, 512, 1024, 20.0)
        done.set()

    threading.Thread(target=_lock).start()
    assert site.peer.hear() == {
        "op": "lock", "id": "a", "generation": 5, "offset": 512, "length": 1024, "limit_s": 20.0
    }  # fmt: skip
    assert not done.is_set()
    site.peer.say('{"op":"locked","id":"a","ok":true,"why":""}')
    assert done.wait(20)


def test_a_refused_lock_says_why(site: Site) -> None:
    sdc_host.until(lambda: site.link.connected)
    threading.Thread(
        target=lambda: (
            site.peer.hear(),
            site.peer.say('{"op":"locked","id":"a","ok":false,"why":"not now"}'),
        )
    ).start()
    with pytest.raises(errors.Unavailable, match="not now"):
        site.link.lock("a", 5, 0, 1024, 20.0)


def test_a_lock_without_an_answer_is_given_up_and_back(site: Site) -> None:
    sdc_host.until(lambda: site.link.connected)
    with pytest.raises(errors.Unavailable, match="in time"):
        site.link.lock("a", 5, 0, 1024, 0.05)
    assert site.peer.hear()["op"] == "lock"
    assert site.peer.hear() == {"op": "unlock", "id": "a"}
    site.peer.say('{"op":"locked","id":"a","ok":true,"why":""}')  # too late: given back again
    assert site.peer.hear() == {"op": "unlock", "id": "a"}


def test_a_lock_fails_when_the_plugin_goes(site: Site) -> None:
    sdc_host.until(lambda: site.link.connected)
    threading.Thread(target=lambda: (site.peer.hear(), site.peer.hang_up())).start()
    with pytest.raises(errors.Unavailable, match="went away"):
        site.link.lock("a", 5, 0, 1024, 20.0)
    site.peer.accept()
