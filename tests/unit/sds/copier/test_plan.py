"""The steps of a copy against a plain list of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain import model
from appliance.protocol import messages
from appliance.sds import copy_job
from appliance.sds.copier import plan

MIB = 1 << 20
LEG = model.Leg("d", "s", "s", (), 0, "", "", "")


def _job(size: int, ncols: int, full: set[int], partly: set[int], unit: int = MIB) -> copy_job.Job:
    columns = tuple(
        messages.ColumnCopy(column, column in full, LEG) for column in sorted(full | partly)
    )
    order = messages.CopyOrder(1, columns)
    return copy_job.Job(order, "v", "/", size, unit, ncols, True)


def _all(job: copy_job.Job, dirty: set[int]) -> list[plan.Step]:
    return [
        step
        for start, end in plan.chunks(job, dirty)
        for step in plan.steps(job, dirty, start, end)
    ]


@given(
    st.integers(1, 700),
    st.integers(1, 5),
    st.data(),
)
def test_steps_are_exactly_what_is_wanted(units: int, ncols: int, data) -> None:
    kinds = data.draw(st.lists(st.sampled_from(["full", "partly", ""]), min_size=ncols))
    full = {c for c, kind in enumerate(kinds[:ncols]) if kind == "full"}
    partly = {c for c, kind in enumerate(kinds[:ncols]) if kind == "partly"}
    dirty = data.draw(st.sets(st.integers(0, units // 16), max_size=6))
    job = _job(units * MIB, ncols, full, partly)
    wanted = [
        unit
        for unit in range(units)
        if unit % ncols in full or (unit % ncols in partly and unit // 16 in dirty)
    ]
    found = _all(job, dirty)
    assert [(step.offset, step.length) for step in found] == [(u * MIB, MIB) for u in wanted]
    assert all(step.column.column == step.offset // MIB % ncols for step in found)
    assert plan.total_bytes(job, dirty) == len(wanted) * MIB


@pytest.mark.parametrize("unit", [4 * MIB, 64 * MIB, 65536])
def test_steps_are_a_mebibyte_at_most_and_cover_other_units(unit: int) -> None:
    job = _job(200 * MIB, 2, {1}, set(), unit)
    found = _all(job, set())
    assert all(step.length <= MIB for step in found)
    assert sum(step.length for step in found) == plan.total_bytes(job, set())
    covered = {at // unit % 2 for step in found for at in (step.offset, step.offset + MIB - 1)}
    assert covered == {1} or unit < MIB


def test_untouched_chunks_are_passed_over() -> None:
    job = _job(1 << 44, 1, set(), {0})
    assert len(list(plan.chunks(job, {5, 1000, 1 << 19}))) == 3
