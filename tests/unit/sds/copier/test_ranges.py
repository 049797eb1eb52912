"""Small arithmetic on ranges: gaps between holes, and what lies within them."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.sds.copier import source, target


def _extents(flags: list[bool]) -> list[tuple[int, int]]:
    """Set flags as (offset, length), neighbours joined now and then."""
    found: list[tuple[int, int]] = []
    for index, flag in enumerate(flags):
        if not flag:
            continue
        if found and sum(found[-1]) == index and index % 3:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((index, 1))
    return found


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.data())
def test_ranges_agree_with_plain_lists(flags: list[bool], data) -> None:
    extents = _extents(flags)
    start = data.draw(st.integers(0, len(flags) - 1))
    length = data.draw(st.integers(1, len(flags) - start))
    part = flags[start : start + length]
    assert source.all_within(extents, start, length) == all(part)
    assert source.any_within(extents, start, length) == any(part)


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 5))
def test_gaps_are_what_extents_leave(flags: list[bool], base: int) -> None:
    extents = [(base + at, size) for at, size in _extents(flags)]
    found = target.gaps(base, len(flags), extents)
    left = {at for offset, size in found for at in range(offset, offset + size)}
    assert left == {base + at for at, flag in enumerate(flags) if not flag}
