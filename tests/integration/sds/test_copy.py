"""A copy (R8): what is marked or everything, holes kept, once, and only over syncing columns."""

import os
from dataclasses import replace

from appliance.domain import intents
from appliance.protocol import messages
from tests.fakes import sds_agent
from tests.fakes.copy_pair import REGION, SIZE, SOURCE, TARGET, Pair
from tests.fakes.sds_agent import CLIENT, IN_SYNC, MIB, VOLUME, connect, order


def test_marked_regions_become_equal_and_others_are_not_touched(pair: Pair) -> None:
    pair.turn()
    for region in range(5):
        pair.write(SOURCE, region * REGION, b"S" * 3 * MIB)
        pair.write(TARGET, region * REGION, b"T" * 3 * MIB)
    pair.write(TARGET, 3 * REGION + 8 * MIB, b"t" * 512)  # a hole at the source
    pair.mark(SOURCE, 1)
    pair.mark(TARGET, 3)
    for device in (SOURCE, TARGET):
        (pair.paths[device] / "sums").write_bytes(b"12345678" * 80)
    pair.copy()
    done = pair.wait_copy()
    assert (done.copied_bytes, done.total_bytes, done.generation) == (2 * REGION, 2 * REGION, 1)
    source, target = pair.data(SOURCE), pair.data(TARGET)
    for region in range(5):
        part = slice(region * REGION, (region + 1) * REGION)
        assert (source[part] == target[part]) == (region in (1, 3)), region
    # 5 x 3 MiB of data, and the hole made again
    assert pair.used(TARGET) < 15 * MIB + 256 * 1024
    assert not (pair.paths[TARGET] / "intent.join").exists()
    held = (pair.paths[TARGET] / "sums").read_bytes()
    for region in range(5):  # what a scrub saw of a region that was copied holds no more
        part = held[region * 128 : (region + 1) * 128]
        assert part == (bytes(128) if region in (1, 3) else b"12345678" * 16), region
    assert (pair.paths[SOURCE] / "sums").read_bytes() == b"12345678" * 80
    assert intents.is_dirty((pair.paths[TARGET] / f"intent.{CLIENT}").read_bytes(), 3)


def test_full_copy_takes_everything_and_keeps_holes(pair: Pair) -> None:
    pair.turn()
    pair.write(SOURCE, 0, os.urandom(5 * MIB))
    pair.write(SOURCE, 41 * MIB + 4096, os.urandom(8192))
    pair.write(SOURCE, SIZE - 512, b"e" * 512)
    pair.write(TARGET, 20 * MIB, b"old" * 1024 * 1024)
    pair.copy(full=True)
    done = pair.wait_copy()
    assert (done.copied_bytes, done.total_bytes) == (SIZE, SIZE)
    assert pair.data(SOURCE) == pair.data(TARGET)
    assert pair.used(TARGET) < 6 * MIB


def test_thick_target_keeps_its_blocks(pair: Pair) -> None:
    pair.turn(thin=False)
    pair.mdm.wait_leg(VOLUME, TARGET, lambda leg: leg.allocated)
    pair.write(SOURCE, 4 * MIB, os.urandom(MIB))
    handle = connect(pair.reports[SOURCE])
    handle.trim(MIB, 60 * MIB)
    handle.shutdown()
    pair.write(TARGET, 60 * MIB, b"old" * 512)
    pair.copy(full=True)
    pair.wait_copy()
    assert pair.data(SOURCE) == pair.data(TARGET)
    assert pair.used(TARGET) >= SIZE


def test_only_the_ordered_columns_are_copied(pair: Pair) -> None:
    pair.turn(ncols=4, columns=(1, 2))
    pair.write(SOURCE, 0, os.urandom(16 * MIB))
    pair.copy(full=True)
    done = pair.wait_copy()
    assert done.total_bytes == SIZE // 2
    source, target = pair.data(SOURCE), pair.data(TARGET)
    for unit in range(SIZE // MIB):
        part = slice(unit * MIB, (unit + 1) * MIB)
        wanted = source[part] if unit % 4 in (1, 2) else bytes(MIB)
        assert target[part] == wanted, unit


def test_marks_are_kept_for_columns_not_yet_copied(pair: Pair) -> None:
    pair.turn(ncols=2, columns=(0, 1))
    pair.write(SOURCE, 0, b"S" * 2 * MIB)
    pair.mark(SOURCE, 0)
    source = pair.reports[SOURCE]
    first = messages.ColumnCopy(0, False, sds_agent.leg_of(source), source.intents)
    pair.copy(columns=(first,))
    pair.wait_copy()
    joined = pair.paths[TARGET] / "intent.join"
    assert pair.data(TARGET)[: 2 * MIB] == b"S" * MIB + bytes(MIB)
    assert list(intents.dirty_regions(joined.read_bytes())) == [0]
    pair.copy(columns=(first, replace(first, column=1)))
    pair.mdm.wait(lambda: not joined.exists())
    assert pair.data(SOURCE) == pair.data(TARGET)


def test_copy_is_done_once(pair: Pair) -> None:
    pair.turn()
    pair.copy(full=True)
    pair.wait_copy()
    pair.write(SOURCE, 0, b"S" * 512)  # would be copied by a second run
    pair.copy(full=True)
    pair.mdm.wait_heartbeats(4)
    assert pair.mdm.reports[(VOLUME, TARGET)].copy.done
    assert pair.data(TARGET)[:512] == bytes(512)


def test_nothing_is_copied_over_a_replica_in_sync(pair: Pair) -> None:
    pair.turn(state=IN_SYNC)
    pair.write(TARGET, 0, b"T" * 512)
    wanted = messages.CopyOrder(
        generation=1,
        columns=(messages.ColumnCopy(0, True, sds_agent.leg_of(pair.reports[SOURCE])),),
    )
    columns = (messages.OwnColumn(0, IN_SYNC),)
    pair.mdm.order(order(1, device_id=TARGET, size=SIZE, columns=columns, copy=wanted))
    pair.mdm.wait_leg(VOLUME, TARGET, lambda leg: "not syncing" in leg.error)
    assert pair.data(TARGET)[:512] == b"T" * 512


def test_copy_order_of_another_generation_is_refused(pair: Pair) -> None:
    pair.turn()
    pair.write(SOURCE, 0, b"S" * 512)
    pair.copy(full=True, generation=7)
    pair.mdm.wait_leg(VOLUME, TARGET, lambda leg: leg.error != "")
    assert pair.data(TARGET)[:512] == bytes(512)


def test_bandwidth_can_be_raised_while_it_runs(pair: Pair) -> None:
    pair.turn()
    pair.write(SOURCE, 0, os.urandom(20 * MIB))
    pair.copy(full=True, bandwidth=64 * 1024)
    started = pair.wait_copy(lambda copy: copy.total_bytes > 0)
    assert not started.done
    pids = sds_agent.holders(pair.paths[TARGET] / "lock")
    pair.copy(full=True, bandwidth=0)
    pair.wait_copy()
    assert len(pids) == 2
    assert pair.data(SOURCE) == pair.data(TARGET)
