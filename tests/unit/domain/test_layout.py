"""The layout against a plain model: for each byte, its unit, column and region one by one."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain import layout, model

B = 8  # a small unit, so that bytes can be counted one by one
CORNERS = (0, 1, 2, B - 1, B, B + 1, 2 * B - 1, 2 * B, 2 * B + 1, 5 * B - 5, 5 * B, 5 * B + 5)


def column_of(byte: int, ncols: int, unit: int = B) -> int:
    return (byte // unit) % ncols


def check_split(offset: int, length: int, ncols: int, unit: int) -> None:
    segments = layout.split(offset, length, ncols, unit)
    at = offset
    for column, start, count in segments:
        assert start == at
        assert count > 0
        assert {column_of(byte, ncols, unit) for byte in range(start, start + count)} == {column}
        if ncols > 1:
            assert start // unit == (start + count - 1) // unit
        at += count
    assert at == offset + length


@pytest.mark.parametrize("ncols", [1, 2, 3, 8])
def test_every_corner_at_every_alignment_is_split_into_its_bytes(ncols):
    for base, offset, length in itertools.product((0, B, 7 * B), CORNERS, CORNERS):
        check_split(base + offset, length, ncols, B)


@given(st.integers(0, 400), st.integers(0, 200), st.integers(1, 64), st.integers(1, 32))
def test_every_request_is_split_into_its_bytes(offset, length, ncols, unit):
    check_split(offset, length, ncols, unit)


def test_one_column_needs_no_cut():
    assert layout.split(5, 100 * B, 1, B) == [(0, 5, 100 * B)]


def test_nothing_is_split_into_nothing():
    assert layout.split(3 * B, 0, 4, B) == []
    assert layout.split(0, 0, 1, B) == []


def test_the_unit_is_one_mib_unless_told():
    mib = 1024 * 1024
    assert layout.split(mib - 1, 2, 2) == [(0, mib - 1, 1), (1, mib, 1)]
    assert layout.split(16 * 1024**4 - 1, 1, 64) == [(63, 16 * 1024**4 - 1, 1)]


def owned(columns: frozenset[int], ncols: int, size: int) -> list[int]:
    return [byte for byte in range(size) if column_of(byte, ncols) in columns]


def columns_of(ncols: int):
    return st.frozensets(st.integers(0, ncols - 1))


@st.composite
def ownerships(draw):
    ncols = draw(st.integers(1, 9))
    return draw(columns_of(ncols)), ncols, draw(st.sampled_from(CORNERS) | st.integers(0, 40 * B))


@given(ownerships())
def test_own_extents_are_exactly_the_own_bytes_in_as_few_runs_as_there_are(ownership):
    columns, ncols, size = ownership
    extents = list(layout.own_extents(columns, ncols, size, B))
    covered = [byte for start, count in extents for byte in range(start, start + count)]
    assert covered == owned(columns, ncols, size)
    for (start, count), (following, _) in itertools.pairwise(extents):
        assert start + count < following


@given(ownerships())
def test_own_bytes_counts_the_own_bytes(ownership):
    columns, ncols, size = ownership
    assert layout.own_bytes(columns, ncols, size, B) == len(owned(columns, ncols, size))


@pytest.mark.parametrize("size", CORNERS)
@pytest.mark.parametrize("ncols", [1, 2, 3])
def test_all_columns_together_own_every_byte_once(size, ncols):
    each = [layout.own_bytes(frozenset({c}), ncols, size, B) for c in range(ncols)]
    assert sum(each) == size
    assert layout.own_bytes(frozenset(range(ncols)), ncols, size, B) == size


def test_a_large_volume_is_counted_at_once():
    size = 16 * 1024**4
    assert layout.own_bytes(frozenset({0, 1}), 64, size) == size // 32
    assert list(layout.own_extents(frozenset(range(64)), 64, size)) == [(0, size)]


@pytest.mark.parametrize("base", [0, 3 * B])
def test_every_corner_touches_the_regions_of_its_bytes(base):
    for offset, length in itertools.product(CORNERS, CORNERS):
        begin = base + offset
        wanted = sorted({byte // B for byte in range(begin, begin + length)})
        assert list(layout.regions(begin, length, B)) == wanted


@given(st.integers(0, 2**44), st.integers(0, 2**28))
def test_regions_hold_the_first_and_the_last_byte(offset, length):
    touched = layout.regions(offset, length)
    if length:
        assert touched[0] == offset // model.REGION_BYTES
        assert touched[-1] == (offset + length - 1) // model.REGION_BYTES
    else:
        assert len(touched) == 0
