"""Every replica that has to go somewhere goes somewhere allowed, or says why it cannot; evening out
moves no more than a device's share."""

import dataclasses

import hypothesis
from hypothesis import strategies as st

from appliance.common import units
from appliance.domain import moves, placement

MIB = units.MIB


def device(number: int, fault_set: str = "", room: int = 1 << 40, weight: int = 100):
    return moves.Device(f"d{number}", fault_set or f"f{number}", weight, room)


def volume(name: str, *holders: tuple[str, ...], size: int = MIB) -> moves.Volume:
    return moves.Volume(
        name,
        tuple(
            moves.Column(index, tuple(sorted(devices)), frozenset(devices), size)
            for index, devices in enumerate(holders)
        ),
    )


def placed(name: str, ncols: int, devices) -> moves.Volume:
    targets = [one.target for one in devices]
    return volume(name, *placement.place(name, ncols, MIB, targets))


def fault_sets(devices) -> dict[str, str]:
    return {one.device_id: one.fault_set for one in devices}


def after(given: moves.Volume, done) -> moves.Volume:
    """The volume when the moves are over."""
    holders = {column.index: set(column.holders) for column in given.columns}
    for move in done:
        if move.volume_id == given.volume_id:
            holders[move.column].remove(move.from_device)
            holders[move.column].add(move.to_device)
    return volume(given.volume_id, *(tuple(sorted(holders[c.index])) for c in given.columns))


@st.composite
def pools(draw):
    """Devices in fault sets, some of which are to be vacated, and volumes placed on them all."""
    sets = draw(st.integers(2, 5))
    count = draw(st.integers(sets, 9))
    devices = [
        device(
            n,
            f"f{n % sets}",
            room=draw(st.integers(0, 12)) * MIB,
            weight=draw(st.integers(1, 5)),
        )
        for n in range(count)
    ]
    volumes = [
        placed(f"v{n}", draw(st.integers(1, 8)), devices) for n in range(draw(st.integers(1, 4)))
    ]
    leaving = draw(st.sets(st.sampled_from([one.device_id for one in devices])))
    return devices, volumes, leaving


@hypothesis.given(pools())
def test_each_replica_to_be_vacated_moves_where_it_may_or_is_said_to_be_stuck(given):
    devices, volumes, leaving = given
    staying = [one for one in devices if one.device_id not in leaving]
    sets = fault_sets(devices)
    plan = moves.vacate(volumes, staying, leaving, sets)
    rooms = {one.device_id: one.room for one in staying}
    seen = set()
    for move in plan.moves:
        column = next(v for v in volumes if v.volume_id == move.volume_id).columns[move.column]
        assert move.from_device in leaving
        assert move.from_device in column.holders
        others = [sets[d] for d in column.holders if d != move.from_device]
        assert sets[move.to_device] not in others
        assert move.to_device not in column.holders
        rooms[move.to_device] -= move.size_bytes
        seen.add((move.volume_id, move.column))
    assert all(room >= 0 for room in rooms.values())
    stuck = {(one.volume_id, one.column): one for one in plan.stuck}
    for one in volumes:
        for column in one.columns:
            key = (one.volume_id, column.index)
            wanted = not leaving.isdisjoint(column.holders)
            assert wanted == (key in seen or key in stuck)
            if key in stuck:
                others = [sets[d] for d in column.holders if d != stuck[key].from_device]
                assert not [
                    d
                    for d in staying
                    if d.fault_set not in others and rooms[d.device_id] >= column.size_bytes
                    and d.device_id not in column.holders
                ]  # fmt: skip


@hypothesis.given(pools(), st.randoms())
def test_the_plan_depends_on_nothing_but_what_is_there(given, chance):
    devices, volumes, leaving = given
    staying = [one for one in devices if one.device_id not in leaving]
    plan = moves.vacate(volumes, staying, leaving, fault_sets(devices))
    chance.shuffle(staying)
    chance.shuffle(volumes)
    assert moves.vacate(volumes, staying, leaving, fault_sets(devices)) == plan


@hypothesis.given(pools())
def test_evening_out_ends_and_leaves_no_two_copies_together(given):
    devices, volumes, _ = given
    devices = [dataclasses.replace(one, room=1 << 40) for one in devices]
    sets = fault_sets(devices)
    done = moves.even_out(volumes, devices, sets)
    evened = [after(one, done) for one in volumes]
    for one in evened:
        for column in one.columns:
            assert len({sets[d] for d in column.holders}) == 2
    assert moves.even_out(evened, devices, sets) == ()


@hypothesis.given(st.integers(2, 7), st.integers(1, 16))
def test_volumes_as_they_were_placed_are_even(count, ncols):
    devices = [device(n) for n in range(count)]
    assert moves.even_out([placed("v", ncols, devices)], devices, fault_sets(devices)) == ()


@hypothesis.given(st.integers(2, 7))
def test_one_more_device_moves_about_its_share_and_to_itself_only(count):
    devices = [device(n) for n in range(count)]
    volumes = [placed(f"v{n}", 8, devices) for n in range(20)]
    more = [*devices, device(count)]
    done = moves.even_out(volumes, more, fault_sets(more))
    assert {move.to_device for move in done} == {f"d{count}"}
    share = 20 * 16 / (count + 1)
    assert abs(len(done) - share) <= 20  # each volume's share is rounded
    sources = {move.from_device for move in done}
    assert sources == {one.device_id for one in devices}


def test_a_lost_device_s_columns_are_spread_over_all_others():
    devices = [device(n) for n in range(5)]
    volumes = [placed(f"v{n}", 8, devices) for n in range(10)]
    plan = moves.vacate(volumes, devices[1:], {"d0"}, fault_sets(devices))
    assert not plan.stuck
    counts = {}
    for move in plan.moves:
        counts[move.to_device] = counts.get(move.to_device, 0) + 1
    assert set(counts) == {"d1", "d2", "d3", "d4"}
    assert max(counts.values()) - min(counts.values()) <= len(plan.moves) // 4


def test_where_there_is_no_room_the_numbers_are_said():
    devices = [device(0), device(1), device(2, room=3 * MIB)]
    plan = moves.vacate(
        [volume("v", ("d0", "d1"), size=4 * MIB)], devices[1:], {"d0"}, fault_sets(devices)
    )
    (stuck,) = plan.stuck
    assert stuck.why == (
        "4 MiB are needed on one of 1 devices, of which the emptiest has room for 3 MiB"
    )


def test_a_device_with_something_still_to_be_deleted_is_no_place_to_go():
    devices = [device(n) for n in range(3)]
    given = volume("v", ("d0", "d1"))
    column = dataclasses.replace(given.columns[0], barred=frozenset({"d2"}))
    plan = moves.vacate([moves.Volume("v", (column,))], devices[1:], {"d0"}, fault_sets(devices))
    assert plan.moves == ()
    assert len(plan.stuck) == 1
