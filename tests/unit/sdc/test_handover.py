from typing import Any

import pytest

from appliance.domain import model
from appliance.protocol import messages
from appliance.sdc import handover
from tests.fakes import sdc_host


class RecordingLink:
    """Takes what the real plugin_link.Link takes, and remembers it."""

    def __init__(self) -> None:
        self.up = True
        self.sent: list[Any] = []
        self.status: messages.PluginStatus | None = None

    def send_map(self, volume_map: model.VolumeMap) -> bool:
        return self._take((volume_map.generation, volume_map.version))

    def open_generation(self, generation: int) -> bool:
        return self._take(generation)

    def _take(self, what: Any) -> bool:
        if self.up:
            self.sent.append(what)
        return self.up


@pytest.fixture
def link() -> Any:
    return RecordingLink()


def _order(
    generation: int = 0, version: int = 1, opened: int = 0, incarnation: str = "i1"
) -> messages.MappingOrder:
    found = sdc_host.volume_map("v", 1 << 20, generation, version) if generation else None
    return messages.MappingOrder(
        "m", "v", "vol", 1 << 20, False, "none",
        open_generation=opened, incarnation=incarnation, map=found,
    )  # fmt: skip


def test_a_map_is_handed_over_once(link: Any) -> None:
    giving = handover.Handover("i1")
    giving.offer(_order(3), link)
    giving.offer(_order(3), link)
    assert link.sent == [(3, 1)]


def test_a_map_for_another_incarnation_is_not(link: Any) -> None:
    handover.Handover("i1").offer(_order(3, incarnation="i2"), link)
    assert link.sent == []


@pytest.mark.parametrize("older", [(2, 9), (3, 1)])
def test_an_older_map_is_refused(link: Any, older: tuple[int, int]) -> None:
    giving = handover.Handover("i1")
    giving.offer(_order(3, 2), link)
    giving.offer(_order(*older), link)
    assert link.sent == [(3, 2)]
    assert giving.floor == (3, 2)


def test_a_map_older_than_what_the_plugin_has_is_refused_after_a_restart(link: Any) -> None:
    link.status = messages.PluginStatus("i1", generation=4, version=2)
    giving = handover.Handover("i1")
    giving.offer(_order(4, 1), link)
    giving.offer(_order(4, 3), link)
    assert link.sent == [(4, 3)]


def test_a_turn_is_told_before_the_map_that_ends_it(link: Any) -> None:
    giving = handover.Handover("i1")
    giving.offer(_order(3), link)
    giving.offer(_order(opened=4), link)
    giving.offer(_order(4), link)
    assert link.sent == [(3, 1), 4, (4, 1)]


def test_what_could_not_be_sent_is_sent_on_the_next_connection(link: Any) -> None:
    giving = handover.Handover("i1")
    link.up = False
    giving.offer(_order(3, opened=3), link)
    assert link.sent == []
    link.up = True
    giving.connected(link)
    assert link.sent == [3, (3, 1)]


def test_a_new_connection_hears_everything_again(link: Any) -> None:
    giving = handover.Handover("i1")
    giving.offer(_order(3, opened=3), link)
    giving.connected(link)
    assert link.sent == [3, (3, 1)] * 2
