"""Sums: where they are in their file, which of them a region voids, and whom they convict."""

import pytest

from appliance.domain import model, sums

MIB = 1 << 20
FIRST, SECOND, UNKNOWN = sums.Verdict.FIRST, sums.Verdict.SECOND, sums.Verdict.UNKNOWN


def test_a_sum_is_eight_bytes_never_none_and_tells_bytes_apart():
    assert len(sums.checksum(b"")) == sums.SUM_BYTES
    assert sums.checksum(b"a") == sums.checksum(bytearray(b"a")) == sums.checksum(memoryview(b"a"))
    assert len({sums.checksum(bytes([n])) for n in range(256)} - {sums.NONE}) == 256


@pytest.mark.parametrize(
    ("size", "length"), [(MIB, 8), (16 * MIB, 128), (17 * MIB, 136), (0, 0), (MIB + 1, 16)]
)
def test_the_file_has_a_sum_for_each_unit(size, length):
    assert sums.file_length(size) == length


def test_rows_of_regions_cover_the_file_without_overlap():
    size = 50 * MIB
    at = 0
    for region in range(4):
        offset, length = sums.row(region, size)
        assert offset == at
        at += length
    assert at == sums.file_length(size)
    assert sums.row(1, size) == (sums.place(16 * MIB), 128)
    assert sums.row(4, size)[1] == 0


def test_voided_rows_are_joined_and_end_with_the_volume():
    assert sums.rows([], 64 * MIB) == []
    assert sums.rows([0, 1, 3], 64 * MIB) == [(0, 256), (384, 128)]
    assert sums.rows([3, 9], 50 * MIB) == [(384, 16)]


def test_units_larger_than_a_region_are_voided_by_each_region_they_touch():
    unit = 2 * model.REGION_BYTES
    assert sums.rows([1], 4 * unit, unit) == [(0, 8)]
    assert sums.rows([2, 3], 4 * unit, unit) == [(8, 8)]


GOOD, ROTTEN = sums.checksum(b"good"), sums.checksum(b"rotten")


@pytest.mark.parametrize(
    ("first", "second", "touched", "verdict"),
    [
        ((ROTTEN, GOOD), (GOOD, GOOD), False, FIRST),
        ((GOOD, GOOD), (ROTTEN, GOOD), False, SECOND),
        ((ROTTEN, GOOD), (GOOD, GOOD), True, UNKNOWN),
        ((ROTTEN, sums.NONE), (GOOD, GOOD), False, UNKNOWN),
        ((ROTTEN, GOOD), (GOOD, sums.NONE), False, UNKNOWN),
        ((ROTTEN, sums.NONE), (GOOD, sums.NONE), False, UNKNOWN),
        ((ROTTEN, ROTTEN), (GOOD, GOOD), False, UNKNOWN),
        ((ROTTEN, GOOD), (sums.checksum(b"x"), GOOD), False, UNKNOWN),
        ((GOOD, ROTTEN), (GOOD, ROTTEN), False, UNKNOWN),
    ],
)
def test_only_a_sum_that_holds_and_that_one_side_matches_convicts(first, second, touched, verdict):
    assert sums.judge(sums.Side(*first), sums.Side(*second), touched)[0] is verdict
