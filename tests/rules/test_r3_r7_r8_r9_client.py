"""R3, R7, R8 and R9 where the client keeps them: marks, lost caches, locks, order."""

import threading
import types

from appliance.domain import model
from nbd_plugin import gate, marks, volume
from tests.fakes import legs
from tests.rules.clauses import clause
from tests.rules.client_rig import STALE, SYNCING, K, block, writing

REGION = 16 << 20
BLOCKS = REGION // K


def dirty(clients, name: str) -> set[int]:
    return clients.servers[name].dirty()


@clause("R3 both replicas are marked", without="Y differs, and its region is unmarked there")
def test_a_region_is_marked_wherever_it_is_written(clients, broken):
    real = marks.Marks._write_block

    def one_only(self, at, start, data):
        first = dict(list(at.pools.items())[:1])
        real(
            self,
            types.SimpleNamespace(
                pools=first, marked=at.marked, generation=at.generation, blame=at.blame
            ),
            start,
            data,
        )

    broken.setattr(marks.Marks, "_write_block", one_only)
    c = clients.used(clients.map(serve={"x": {"holding": True}}))
    (clients.servers["x"].folder / "hold").touch()
    write = writing(c, 1)
    legs.until(lambda: clients.value("y") == 1)  # and now C and X die
    assert not write.done
    assert dirty(clients, "y") == {0}, "Y differs, and its region is unmarked there"


@clause("R3 marks are remembered per replica and region", without="X has no mark")
def test_a_replica_that_was_away_is_marked_anew(clients, broken):
    real = marks.Marks.enter
    everywhere: set[int] = set()

    def known_anyhow(self, at):
        if self._epoch is not None:
            everywhere.update(self._epoch.marked)
        real(self, at)
        at.marked = set(everywhere)

    broken.setattr(marks.Marks, "enter", known_anyhow)
    c = clients.used(clients.map({"x": STALE}))
    c.write(block(1), 3 * REGION, False)
    assert (dirty(clients, "x"), dirty(clients, "y")) == (set(), {3})
    clients.used(clients.map({"x": SYNCING}), by=c)
    c.write(block(2), 3 * REGION, False)
    assert dirty(clients, "x") == {3}, "X has no mark"


@clause("R3 one bitmap block is serialised", without="region 2 is written and unmarked")
def test_of_two_writes_of_a_block_the_older_never_lands_last(clients, broken):
    class Free(set):
        def __contains__(self, item: object) -> bool:
            return False

    c = clients.used(clients.map())
    known = c._marks
    if broken:
        known._busy_blocks = Free()
    c.write(block(1), REGION, False)
    c.flush()
    real, held, go = known._write_block, threading.Event(), threading.Event()

    def held_up(at, start, data):
        if not held.is_set():
            held.set()
            assert go.wait(20)
        real(at, start, data)

    known._write_block = held_up
    known.clear_quiet(c._mapping.epoch)
    clearing = legs.Doing(known.clear_quiet, c._mapping.epoch)
    assert held.wait(20)
    write = writing(c, 2, 2 * BLOCKS)
    if broken:
        write.result()
    go.set()
    clearing.result()
    write.result()
    for name in ("x", "y"):
        assert 2 in dirty(clients, name), "region 2 is written and unmarked"


@clause(
    "R3 clearing needs a flush that began after the last write",
    without="cleared while X's page is in its cache only",
)
def test_an_acknowledged_write_that_was_not_flushed_stays_marked(clients, broken):
    broken.setattr(marks.Marks, "_in_use", lambda self: set(self._in_flight))
    c = clients.used(clients.map())
    c.flush()
    c.write(block(1), 0, False)
    for _ in range(3):
        c._marks.clear_quiet(c._mapping.epoch)
    assert dirty(clients, "x") == {0}, "cleared while X's page is in its cache only"


@clause("R3 clearing needs all in sync", without="Y is stale, and its delta misses the region")
def test_marks_stay_while_a_copy_is_away(clients, broken):
    broken.setattr(model.VolumeMap, "all_in_sync", property(lambda self: True))
    c = clients.used(clients.map({"y": STALE}))
    c.write(block(1), 0, False)
    c.flush()
    for _ in range(3):
        c._marks.clear_quiet(c._mapping.epoch)
    assert dirty(clients, "x") == {0}, "Y is stale, and its delta misses the region"


@clause("R7 a lost cache fails the writer", without="C's next flush says success")
def test_a_writer_whose_unflushed_writes_may_be_gone_is_told(clients, broken):
    broken.setattr(volume.Volume, "_lost", lambda self, before, after: False)
    c = clients.used(clients.map({"y": STALE}))
    c.write(block(1), 0, False)
    c.adopt(clients.map({"y": STALE}, lost_generation=2))  # X rebooted
    flush = legs.Doing(c.flush)
    legs.until(lambda: flush.done)
    assert c.status().ended, "C's next flush says success"


@clause(
    "R7 on a shared volume every mapping fails",
    without="C2 goes on with a block it read, which no longer exists",
)
def test_who_may_have_read_what_is_lost_is_told_too(clients, broken):
    broken.setattr(
        volume.Volume,
        "_lost",
        lambda self, before, after: (
            after.lost_generation > before.generation and self._marks.unflushed
        ),
    )
    c2 = clients.used(clients.map(shared=True))
    after = clients.map(shared=True, lost_generation=2)
    c2.adopt(after)
    legs.until(lambda: c2.status().ended or c2.status().generation == 2)
    assert c2.status().ended, "C2 goes on with a block it read, which no longer exists"


def _without_waiting(self, start, end, timeout_s=None):
    ticket = gate.Ticket(start, end)
    self._tickets[ticket] = None
    return ticket


@clause("R8 drain", without="the range is locked while a write is in flight in it")
def test_a_lock_waits_for_writes_in_flight(clients, broken):
    c = clients.used(clients.map(serve={"y": {"holding": True}}))
    c.write(block(1), K, False)
    (clients.servers["y"].folder / "hold").touch()
    write = writing(c, 2)
    legs.until(lambda: clients.value("x") == 2)  # the copier would read it, and Y lacks it
    broken.setattr(gate.Gate, "enter", _without_waiting)
    try:
        c.lock("step", 1, 0, K, 0.2)
        locked = True
    except TimeoutError:
        locked = False
    in_flight = not write.done
    (clients.servers["y"].folder / "go").touch()
    write.result()
    assert not (locked and in_flight), "the range is locked while a write is in flight in it"


@clause("R9 first come first served", without="2 was applied on X while 1 was in flight to Y")
def test_overlapping_writes_reach_each_replica_in_one_order(clients, broken):
    c = clients.used(clients.map(serve={"y": {"holding": True}}))
    c.write(block(9), 5 * K, False)
    broken.setattr(gate.Gate, "enter", _without_waiting)
    (clients.servers["y"].folder / "hold").touch()
    first = writing(c, 1)
    legs.until(lambda: clients.value("x") == 1)
    second = writing(c, 2)
    if broken:  # the second may be over by now
        legs.until(lambda: clients.value("x") == 2)
    else:
        legs.until(lambda: len(c._gate) == 2)
    overtaken = clients.value("x") == 2
    (clients.servers["y"].folder / "go").touch()
    first.result()
    second.result()
    assert not overtaken, "2 was applied on X while 1 was in flight to Y"
    assert (clients.value("x"), clients.value("y")) == (2, 2)
