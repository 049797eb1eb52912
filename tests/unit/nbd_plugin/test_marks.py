"""Intents over real connections to real intent files (R3)."""

import dataclasses

import pytest

from appliance.domain import intents, model
from nbd_plugin import epoch as epoch_module
from nbd_plugin import failures, marks
from tests.fakes import legs


def entered(epoch: epoch_module.Epoch) -> marks.Marks:
    made = marks.Marks(epoch.map.size)
    made.enter(epoch)
    return made


def write(marked: marks.Marks, epoch: epoch_module.Epoch, *regions: int) -> None:
    """All that a write does to marks."""
    span = range(min(regions), max(regions) + 1)
    marked.begin(span)
    marked.ensure(epoch, span)
    marked.end(span)


def flush(marked: marks.Marks, succeeded: bool = True) -> None:
    marked.flush_ended(marked.flush_begins(), succeeded)


def clear(marked: marks.Marks, epoch: epoch_module.Epoch) -> None:
    """The two rounds that clear what is quiet."""
    marked.clear_quiet(epoch)
    marked.clear_quiet(epoch)


def test_a_region_is_dirty_on_every_leg_when_ensure_returns(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 1, 2)
    assert epochs.dirty() == [{1, 2}, {1, 2}]
    assert epoch.marked == {1, 2}
    assert intents.is_touched((epochs.servers["x"].folder / "intent").read_bytes(), 2)


def test_quiet_and_flushed_regions_are_cleared_by_the_second_round(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    flush(marked)
    marked.clear_quiet(epoch)
    assert epochs.dirty() == [{0}, {0}]
    marked.clear_quiet(epoch)
    assert epochs.dirty() == [set(), set()]
    write(marked, epoch, 0)
    assert epochs.dirty() == [{0}, {0}]


def test_nothing_is_cleared_without_a_flush(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    clear(marked, epoch)
    flush(marked, succeeded=False)
    clear(marked, epoch)
    assert epochs.dirty() == [{0}, {0}]
    assert marked.unflushed
    flush(marked)
    assert not marked.unflushed


def test_nothing_is_cleared_while_its_flush_is_still_in_flight(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    covered = marked.flush_begins()
    clear(marked, epoch)
    assert epochs.dirty() == [{0}, {0}]
    assert marked.unflushed
    marked.flush_ended(covered, True)
    clear(marked, epoch)
    assert epochs.dirty() == [set(), set()]


def test_a_flush_that_began_before_the_write_ended_does_not_cover_it(epochs):
    epoch = epochs()
    marked = entered(epoch)
    marked.begin(range(1))
    marked.ensure(epoch, range(1))
    covered = marked.flush_begins()
    assert covered == set()
    marked.flush_ended(covered, True)
    clear(marked, epoch)
    assert epochs.dirty() == [{0}, {0}]  # it is in flight
    marked.end(range(1))
    clear(marked, epoch)
    assert epochs.dirty() == [{0}, {0}]  # it is not flushed


def test_a_write_that_comes_between_the_rounds_keeps_its_mark(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0, 1)
    flush(marked)
    marked.clear_quiet(epoch)
    marked.begin(range(1))
    marked.begin(range(1))  # two at once
    marked.end(range(1))
    marked.clear_quiet(epoch)
    assert epochs.dirty() == [{0}, {0}]


@pytest.mark.parametrize("state", [model.ReplicaState.SYNCING, model.ReplicaState.STALE])
def test_nothing_is_cleared_unless_every_replica_is_in_sync(epochs, state):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    later = epochs({"y": state})
    marked.enter(later)
    write(marked, later, 0)
    flush(marked)
    clear(marked, later)
    assert epochs.dirty() == [{0}, {0}]


def test_what_is_marked_stays_known_in_the_next_generation(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0, 1)
    later = epochs()
    marked.enter(later)
    assert later.marked == {0, 1}


def test_nothing_is_known_of_a_file_that_may_be_new(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    later = epochs({"y": model.ReplicaState.SYNCING})
    intent = epochs.servers["y"].folder / "intent"
    intent.write_bytes(bytes(intent.stat().st_size))
    marked.enter(later)
    write(marked, later, 0)
    assert epochs.dirty() == [{0}, {0}]


def test_a_leg_that_died_is_blamed_and_nothing_counts_as_marked(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    epochs.servers["y"].kill()
    with pytest.raises(failures.EpochOver):
        marked.ensure(epoch, range(1, 2))
    assert epochs.blamed == [("y", "suspects")]
    assert epoch.marked == {0}
    assert epochs.dirty() == [{0, 1}, {0}]
    with pytest.raises(failures.EpochOver):  # now the connection cannot be made any more
        marked.enter(epoch)
        marked.ensure(epoch, range(2, 3))


def test_a_leg_that_refuses_an_intent_failed(epochs):
    epoch = epochs(filters=["error"], arguments=["error-pwrite=EIO", "error-pwrite-rate=100%"])
    marked = entered(epoch)
    with pytest.raises(failures.EpochOver):
        marked.ensure(epoch, range(1))
    assert sorted(epochs.blamed) == [("x", "failed"), ("y", "failed")]


def test_clearing_that_fails_leaves_the_region_to_be_marked_again(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    flush(marked)
    epochs.servers["y"].kill()
    with pytest.raises(failures.EpochOver):
        clear(marked, epoch)
    later = epochs()
    marked.enter(later)
    assert later.marked == set()
    write(marked, later, 0)
    assert epochs.dirty() == [{0}, {0}]


def test_an_epoch_that_is_over_marks_and_clears_nothing(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    flush(marked)
    epoch.end("a turn began")
    with pytest.raises(failures.EpochOver):
        marked.ensure(epoch, range(1, 2))
    clear(marked, epoch)
    assert epochs.dirty() == [{0}, {0}]


def test_writers_into_one_block_share_its_writes(epochs):
    """One write of a block at a time; who came meanwhile is served by the next one."""
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    x, y = epochs.servers.values()
    x.stop()
    first = legs.Doing(write, marked, epoch, 1)
    legs.until(lambda: y.dirty() == {0, 1})
    others = [legs.Doing(write, marked, epoch, region) for region in (2, 2, 3, 3)]
    legs.until(lambda: len(marked._changed._waiters) == len(others))
    assert y.dirty() == {0, 1}
    x.go_on()
    for writer in (first, *others):
        writer.result()
    assert epochs.dirty() == [{0, 1, 2, 3}] * 2


def test_blocks_are_written_beside_each_other(epochs):
    """A volume above 256 GiB has several blocks: each has connections of its own."""
    epochs.resize(4 * intents.BLOCK_REGIONS * model.REGION_BYTES)
    epoch = epochs()
    marked = entered(epoch)
    regions = [block * intents.BLOCK_REGIONS + n for n in range(25) for block in range(4)]
    writers = [
        legs.Doing(lambda mine=regions[i::8]: [write(marked, epoch, r) for r in mine])
        for i in range(8)
    ]
    for writer in writers:
        writer.result()
    assert epochs.dirty() == [set(regions)] * 2
    assert len(marked._channels) == 2 * 4


def test_a_request_over_two_blocks_marks_both(epochs):
    epochs.resize(2 * intents.BLOCK_REGIONS * model.REGION_BYTES)
    epoch = epochs()
    marked = entered(epoch)
    edge = intents.BLOCK_REGIONS
    write(marked, epoch, edge - 1, edge)
    assert epochs.dirty() == [{edge - 1, edge}] * 2
    flush(marked)
    clear(marked, epoch)
    assert epochs.dirty() == [set(), set()]


def test_an_answer_for_an_old_epoch_proves_nothing_in_the_next(epochs):
    """The write was begun before the turn; the file it went to may be another one by now."""
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    x, y = epochs.servers.values()
    x.stop()
    writing = legs.Doing(write, marked, epoch, 1)
    legs.until(lambda: y.dirty() == {0, 1})
    later = epoch_module.Epoch(dataclasses.replace(epoch.map, generation=2), lambda *_: None)
    marked.enter(later)
    x.go_on()
    writing.result()
    assert later.marked == {0}
    assert all(known == {0} for known in marked._durable.values())


def test_nothing_is_marked_any_more_in_an_epoch_that_is_over(epochs):
    epoch = epochs()
    marked = entered(epoch)
    marked.enter(epochs())
    with pytest.raises(failures.EpochOver):
        marked.ensure(epoch, range(1))
    assert epochs.dirty() == [set(), set()]


def touched(epochs) -> list[set[int]]:
    files = [(server.folder / "intent").read_bytes() for server in epochs.servers.values()]
    return [set(intents.touched_regions(file)) for file in files]


def test_a_scrubbed_region_is_untouched_on_every_leg_and_touched_by_the_next_write(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0, 1)
    flush(marked)
    clear(marked, epoch)
    marked.watch(range(2))
    marked.scrubbed(epoch, range(1))
    assert touched(epochs) == [{1}, {1}]
    assert epochs.dirty() == [set(), set()]
    write(marked, epoch, 0)
    assert touched(epochs) == [{0, 1}, {0, 1}]
    assert epochs.dirty() == [{0}, {0}]


def test_a_region_written_since_the_watch_stays_touched_though_it_is_clean_again(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    flush(marked)
    clear(marked, epoch)
    marked.watch(range(1))
    write(marked, epoch, 0)
    flush(marked)
    clear(marked, epoch)
    marked.scrubbed(epoch, range(1))
    assert touched(epochs) == [{0}, {0}]
    marked.watch(range(1))
    marked.scrubbed(epoch, range(1))
    assert touched(epochs) == [set(), set()]


def test_a_region_nobody_watched_stays_touched(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    flush(marked)
    clear(marked, epoch)
    marked.scrubbed(epoch, range(1))
    assert touched(epochs) == [{0}, {0}]


def test_a_dirty_region_stays_touched(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    flush(marked)
    marked.watch(range(1))
    marked.scrubbed(epoch, range(1))
    assert touched(epochs) == [{0}, {0}]
    assert epoch.marked == {0}


def test_a_region_with_a_write_in_flight_stays_touched(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    flush(marked)
    clear(marked, epoch)
    marked.begin(range(1))
    marked.watch(range(1))
    marked.scrubbed(epoch, range(1))
    assert touched(epochs) == [{0}, {0}]


def test_nothing_is_untouched_while_a_replica_is_away(epochs):
    epoch = epochs()
    marked = entered(epoch)
    write(marked, epoch, 0)
    flush(marked)
    clear(marked, epoch)
    gone = epochs({"y": model.ReplicaState.SYNCING})
    marked.enter(gone)
    marked.watch(range(1))
    marked.scrubbed(gone, range(1))
    assert touched(epochs)[0] == {0}
