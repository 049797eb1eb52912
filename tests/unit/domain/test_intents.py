"""The intent file's format: lengths at every corner, bits where the format says they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain import intents, model

REGION = model.REGION_BYTES
BLOCK = intents.BLOCK_REGIONS


@pytest.mark.parametrize(
    ("size", "blocks"),
    [
        (0, 0),
        (1, 1),
        (REGION - 1, 1),
        (REGION, 1),
        (REGION + 1, 1),
        (BLOCK * REGION, 1),
        (BLOCK * REGION + 1, 2),
        (16 << 40, 64),
    ],
)
def test_file_is_whole_blocks(size: int, blocks: int) -> None:
    assert intents.file_length(size) == blocks * intents.BLOCK_BYTES


@pytest.mark.parametrize(
    ("region", "byte", "bit"),
    [
        (0, 0, 0),
        (7, 0, 7),
        (8, 1, 0),
        (BLOCK - 1, 2047, 7),
        (BLOCK, 4096, 0),
        (2 * BLOCK + 9, 8193, 1),
    ],
)
def test_bits_lie_where_the_format_says(region: int, byte: int, bit: int) -> None:
    data = bytearray(3 * intents.BLOCK_BYTES)
    intents.set_dirty(data, region)
    wanted = bytearray(len(data))
    wanted[byte] = 1 << bit
    wanted[byte + 2048] = 1 << bit
    assert data == wanted
    assert intents.block_of(region) == byte // 4096


def test_cleared_region_stays_touched_until_scrubbed() -> None:
    data = bytearray(intents.BLOCK_BYTES)
    intents.set_dirty(data, 5)
    intents.set_dirty(data, 6)
    intents.clear_dirty(data, 5)
    assert not intents.is_dirty(data, 5)
    assert intents.is_touched(data, 5)
    assert intents.is_dirty(data, 6)
    intents.clear_touched(data, 5)
    assert list(intents.touched_regions(data)) == [6]


@given(st.sets(st.integers(0, 3 * BLOCK - 1), max_size=40))
def test_what_was_marked_is_found_in_order(regions: set[int]) -> None:
    data = bytearray(3 * intents.BLOCK_BYTES)
    for region in regions:
        intents.set_dirty(data, region)
    assert list(intents.dirty_regions(data)) == sorted(regions)
    assert list(intents.touched_regions(memoryview(data))) == sorted(regions)
    assert all(intents.is_dirty(data, region) for region in regions)


@given(st.lists(st.sets(st.integers(0, 2 * BLOCK - 1), max_size=10), max_size=4))
def test_union_has_every_mark(files: list[set[int]]) -> None:
    datas = []
    for regions in files:
        data = bytearray((1 + any(r >= BLOCK for r in regions)) * intents.BLOCK_BYTES)
        for region in regions:
            intents.set_dirty(data, region)
        datas.append(data)
    joined = intents.union(*datas)
    assert set(intents.dirty_regions(joined)) == set().union(*files)
    assert len(joined) == max((len(data) for data in datas), default=0)


def test_marks_in_a_cut_file_still_count() -> None:
    data = bytearray(intents.BLOCK_BYTES)
    intents.set_dirty(data, 3)
    assert list(intents.dirty_regions(data[:100])) == [3]
