"""R1, R2, R5 and R6 where the client keeps them: maps, acknowledgements, outcomes, pulses."""

import pytest

from appliance.domain import model
from nbd_plugin import changing, commands, epoch, failures, mapping, reading
from tests.fakes import hand_clock, legs
from tests.rules.clauses import clause
from tests.rules.client_rig import IN_SYNC, STALE, SYNCING, K, block, read, writing


@clause("R1 older maps are refused", without="C reads 1 from X, after 2 was acknowledged")
def test_a_map_that_was_held_up_changes_nothing(clients, broken):
    def adopt_any(self, volume_map):
        with self._cond:
            self._next, self._next_request = volume_map, "-"
            self._cond.notify_all()

    broken.setattr(mapping.Mapping, "adopt", adopt_any)
    clients.servers["x"].overwrite(0, b"1" * K)
    held_up = clients.map({"y": STALE})  # nothing but this clause keeps C from reading X by it
    new = clients.map({"x": STALE}, kept={"x": held_up.legs[0]})
    c = clients.used(new)
    c.write(block(2), 0, False)
    c.adopt(held_up)
    if broken:
        legs.until(
            lambda: (
                c._mapping.epoch is not None and c._mapping.epoch.generation == held_up.generation
            )
        )
    found = read(c)
    assert found == 2, f"C reads {chr(found)} from X, after 2 was acknowledged"
    assert c.status().generation == new.generation


@clause("R2 acknowledgements of one generation", without="Y lacks an acknowledged write")
def test_acknowledgements_of_two_generations_do_not_add_up(clients, broken):
    acked: set[str] = set()

    def adding_up(at, view, offset, fua):
        for pool in reversed(at.routes[0].written):
            if pool.device_id not in acked:
                connection = pool.take()
                try:
                    connection.nbd.pwrite(view, offset)
                except Exception as exc:
                    raise failures.EpochOver(generation=at.generation, why=str(exc)) from exc
                pool.put(connection)
                acked.add(pool.device_id)

    broken.setattr(changing, "write", adding_up)
    x, y = clients.servers["x"], clients.servers["y"]
    c = clients.used(clients.map(serve={"x": {"holding": True}}))
    (x.folder / "hold").touch()
    write = writing(c, 7)
    legs.until(lambda: clients.value("y") == 7 and not (x.folder / "hold").exists())
    c.leave(2)
    turned = clients.map({"y": SYNCING})
    y.overwrite(0, bytes(K))  # the copier brings what X has
    clients.used(turned, by=c)
    write.result()
    assert clients.value("x") == 7
    assert clients.value("y") == 7, "Y lacks an acknowledged write"


@clause("R5 never simply reopened", without="the first 1 lands on X after 2 was acknowledged")
def test_a_write_that_was_held_up_never_lands_later(clients, broken):
    broken.setattr(mapping.Mapping, "leave_over", lambda self, over: None)
    x = clients.servers["x"]
    c = clients.used(clients.map(serve={"x": {"holding": True}}))
    c.write(block(9), 5 * K, False)  # marks are made
    (x.folder / "hold").touch()
    first = writing(c, 1)
    legs.until(lambda: not (x.folder / "hold").exists())
    for connection in list(c._mapping.epoch.pools["x"]._all):
        connection.release()  # as the network does
    if broken:
        first.result()
    else:
        legs.until(lambda: c.status().left == 1)
        assert not first.done
        clients.used(clients.map(), by=c)
        first.result()
    c.write(block(2), 0, False)
    (x.folder / "go").touch()
    if broken:
        legs.until(lambda: clients.value("x") == 1)
    values = clients.value("x"), clients.value("y")
    assert values == (2, 2), "the first 1 lands on X after 2 was acknowledged"


@clause(
    "R5 an unknown outcome is never given up",
    without="C gave the write up and goes on: 14 on X, 0 on Y",
)
def test_a_write_nobody_can_finish_ends_the_mapping(clients, broken):
    real = mapping.Mapping.wait_for_better
    broken.setattr(
        mapping.Mapping,
        "wait_for_better",
        lambda self, over, since_s, now, why, must: real(self, over, since_s, now, why, False),
    )
    c = clients.used(clients.map(wait_limit_s=0.3))
    c.write(block(1), 5 * K, False)
    clients.servers["y"].kill()
    write = writing(c, 14)
    with pytest.raises((failures.MappingEnded, failures.WaitedTooLong)):
        write.result()
    values = f"{clients.value('x')} on X, {clients.value('y')} on Y"
    assert c.status().ended, f"C gave the write up and goes on: {values}"
    with pytest.raises(failures.MappingEnded):
        read(c)


@clause("R5 a refused write is evened out", without="the error went up, 2 on X and 0 on Y")
def test_an_error_goes_up_only_when_the_copies_are_equal(clients, broken):
    broken.setattr(commands, "is_final", lambda at, error: True)
    refusing = [
        "error-pwrite=ENOSPC",
        "error-pwrite-rate=100%",
        f"error-pwrite-file={_at(clients)}",
    ]
    c = clients.used(clients.map(serve={"y": {"filters": ["error"], "arguments": refusing}}))
    c.write(block(1), 5 * K, False)
    _at(clients).touch()
    write = writing(c, 2)
    legs.until(lambda: write.done or c.status().full == ("y",))
    values = f"{clients.value('x')} on X and {clients.value('y')} on Y"
    assert not write.done, f"the error went up, {values}"
    clients.used(clients.map({"y": STALE}), by=c)
    write.result()  # the one that refused was taken out


def _at(clients):
    return clients.servers["y"].folder / "full"


@clause(
    "R5 a failed flush takes the device out",
    without="a flush succeeded on the server that had lost a page",
)
def test_a_flush_is_not_tried_again_where_it_failed(clients, broken):
    broken.setattr(mapping.Mapping, "leave_over", lambda self, over: None)
    c = clients.used(clients.map(serve={"y": {"holding": True}}))
    c.write(block(1), 0, False)
    (clients.servers["y"].folder / "no-flush").touch()
    flush = legs.Doing(c.flush)
    legs.until(lambda: flush.done or c.status().left == 1)
    assert not flush.done, "a flush succeeded on the server that had lost a page"
    assert c.status().failed == ("y",)
    assert c.status().unflushed
    clients.used(clients.map({"y": STALE}), by=c)
    flush.result()


def _cut_off_reader(clients, state: model.ReplicaState) -> tuple[int | None, int]:
    """C and X hear each other, nobody else hears them; Y serves others by now.

    What C reads, if it may read at all, and what was acknowledged.
    """
    clock = hand_clock.HandClock()
    clients.servers["x"].overwrite(0, b"\x01" * K)
    old = clients.map({"y": state})
    c = clients.client()
    c._clock = c._pulse._clock = c._mapping._clock = clock
    clients.used(old, by=c)
    assert read(c) == 1
    new = clients.map({"x": STALE}, kept={"x": old.legs[0]})
    other = clients.used(new)
    clock.advance(model.PULSE_S)  # the MDM waited for so long before the new map was out
    other.write(block(2), 0, False)
    view = memoryview(bytearray(K))
    try:
        reading.read(c._mapping.epoch, view, 0, clock.monotonic)
    except failures.NoReader:
        return None, 2
    return view[0], 2


@clause("R6 the pulse", without="C reads 1 from X after 2 was acknowledged by Y")
def test_the_wrong_side_of_a_partition_reads_nothing(clients, broken):
    broken.setattr(reading, "_pulse_of_others", lambda written, pool, now: True)
    found, acknowledged = _cut_off_reader(clients, IN_SYNC)
    assert found in (None, acknowledged), (
        f"C reads {found} from X after {acknowledged} was acknowledged by Y"
    )


@clause(
    "R6 the pulse of syncing replicas too",
    without="C reads 1 from X after 2 was acknowledged by Y",
)
def test_a_replica_that_may_be_promoted_by_now_must_answer_too(clients, broken):
    """Y was promoted and X dropped before C heard of either."""
    real = reading._pulse_of_others
    routes: list[epoch.Route] = []

    def of_readers(written, pool, now):
        readers = next(route.readers for route in routes if route.written == written)
        return real(readers, pool, now)

    real_route = epoch.Route

    def noted(*args):
        routes.append(real_route(*args))
        return routes[-1]

    if broken:
        broken.setattr(epoch, "Route", noted)
    broken.setattr(reading, "_pulse_of_others", of_readers)
    found, acknowledged = _cut_off_reader(clients, SYNCING)
    assert found in (None, acknowledged), (
        f"C reads {found} from X after {acknowledged} was acknowledged by Y"
    )
