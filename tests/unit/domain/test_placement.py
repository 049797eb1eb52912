"""Two replicas of a column never fail together; columns lie evenly; a new device moves few."""

import collections

import hypothesis
import pytest
from hypothesis import strategies as st

from appliance.common import errors, units
from appliance.domain import model, placement

GIB = units.GIB


def targets(*weights: int, room: int | None = None) -> list[placement.Target]:
    return [placement.Target(f"d{n}", f"f{n}", w * GIB, room) for n, w in enumerate(weights)]


def counts(placed: tuple[tuple[str, ...], ...]) -> collections.Counter[str]:
    return collections.Counter(device for column in placed for device in column)


@st.composite
def pools(draw: st.DrawFn) -> list[placement.Target]:
    sets = draw(st.integers(2, 6))
    shape = st.tuples(st.integers(0, sets - 1), st.integers(0, 10**15))
    extra = draw(st.lists(shape, max_size=12))
    wanted = [(n, draw(st.integers(0, 10**15))) for n in range(2)] + extra
    return [placement.Target(f"d{n}", f"f{f}", w) for n, (f, w) in enumerate(wanted)]


@hypothesis.given(pools(), st.integers(1, model.MAX_COLUMNS), st.text(max_size=8))
def test_every_column_gets_two_devices_of_different_fault_sets(pool, ncols, key):
    fault_set = {target.device_id: target.fault_set for target in pool}
    placed = placement.place(key, ncols, GIB, pool)
    assert len(placed) == ncols
    for column in placed:
        assert len(column) == model.REPLICAS
        assert len({fault_set[device] for device in column}) == model.REPLICAS


@hypothesis.given(
    st.lists(st.integers(0, 40), min_size=2, max_size=8), st.integers(1, 16), st.integers(1, 99)
)
def test_reservations_fit_or_are_refused_and_room_is_found_if_there_is_any(rooms, ncols, key):
    pool = [placement.Target(f"d{n}", f"f{n}", 100, room) for n, room in enumerate(rooms)]
    # Each device takes a column once at most: this is exactly what can be placed.
    fits = sum(min(ncols, room // 2) for room in rooms) >= ncols * model.REPLICAS
    if not fits:
        with pytest.raises(errors.NoCapacity):
            placement.place(str(key), ncols, 2, pool)
        return
    placed = placement.place(str(key), ncols, 2, pool)
    for device, count in counts(placed).items():
        assert count * 2 <= rooms[int(device[1:])]


@hypothesis.settings(max_examples=300)
@hypothesis.given(pools(), st.integers(1, 16))
def test_the_same_input_gives_the_same_places_in_any_order_of_devices(pool, ncols):
    placed = placement.place("v", ncols, GIB, pool)
    assert placed == placement.place("v", ncols, GIB, list(reversed(pool)))


@pytest.mark.parametrize("ncols", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("devices", [2, 3, 4, 7])
def test_equal_devices_take_equal_shares_of_every_single_volume(ncols, devices):
    found = counts(placement.place("volume", ncols, GIB, targets(*[10] * devices)))
    share = ncols * model.REPLICAS / devices
    assert all(int(share) <= found[f"d{n}"] <= int(share) + 1 for n in range(devices))


def test_shares_follow_weights():
    found = collections.Counter()
    for number in range(200):
        found += counts(placement.place(f"v{number}", 8, GIB, targets(1, 1, 2, 4)))
    assert [found[f"d{n}"] for n in range(4)] == [400, 400, 800, 1600]


def test_a_device_heavier_than_all_others_takes_each_column_once():
    found = counts(placement.place("v", 8, GIB, targets(1, 1, 100)))
    assert found["d2"] == 8
    assert found["d0"] + found["d1"] == 8


@pytest.mark.parametrize("devices", [3, 4, 8, 16])
def test_a_device_more_moves_about_its_share(devices):
    moved = total = 0
    for number in range(50):
        before = placement.place(f"v{number}", 64, GIB, targets(*[10] * devices))
        after = placement.place(f"v{number}", 64, GIB, targets(*[10] * (devices + 1)))
        for old, new in zip(before, after, strict=True):
            moved += len(set(old) - set(new))
            total += len(old)
    share = 1 / (devices + 1)
    assert share * 0.9 <= moved / total <= share * 2.2


def test_one_fault_set_is_refused_with_the_numbers():
    pool = [placement.Target(f"d{n}", "rack", GIB) for n in range(3)]
    with pytest.raises(errors.NoCapacity, match="3 usable devices in 1"):
        placement.place("v", 1, GIB, pool)


def test_no_room_is_refused_with_the_numbers():
    with pytest.raises(errors.NoCapacity) as caught:
        placement.place("v", 4, GIB, targets(10, 10, 10, room=2 * GIB))
    assert "8 GiB must be reserved" in str(caught.value)
    assert "3 devices with 6 GiB free take only 6 of 8" in str(caught.value)
