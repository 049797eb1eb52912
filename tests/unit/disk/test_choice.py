"""Which copies are right: every case that a device's own words can prove, and those they cannot."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.disk import choice, records, survey
from appliance.domain import intents, model
from appliance.protocol import messages

MIB = 1 << 20
IN_SYNC, SYNCING, STALE = (
    model.ReplicaState.IN_SYNC,
    model.ReplicaState.SYNCING,
    model.ReplicaState.STALE,
)
HOLDERS = (messages.Holder("x", "sx", "sds-x"), messages.Holder("y", "sy", "sds-y"))


def copy(device, generation=5, version=9, settled=True, states=(IN_SYNC, IN_SYNC), dirty=(),
         created=1):  # fmt: skip
    """One column on devices x and y, as ``device`` has it."""
    marks = bytearray(intents.file_length(64 * MIB))
    for region in dirty:
        intents.set_dirty(marks, region)
    replicas = tuple(model.Replica(d, s) for d, s in zip("xy", states, strict=True))
    own = next(r.state for r in replicas if r.device_id == device)
    volume = records.VolumeFile(
        id="v", name="v", cluster_id="c", device_id=device, size=64 * MIB, unit=MIB, ncols=1,
        thin=True, columns=(messages.OwnColumn(0, own),), generation=generation, created=created,
        chart=messages.Chart(version, settled, columns=(replicas,), holders=HOLDERS),
    )  # fmt: skip
    path = Path("/") / device
    return survey.Copy(path / "volumes/v", path, device, volume, {"c1": bytes(marks)})


def taken(*copies):
    """(devices that are right, doubts)."""
    (column,) = choice.choose(copies).columns
    return "".join(sorted(c.device_id for c in column.right)), column.doubts


def test_two_in_sync_at_one_generation_are_both_right():
    assert taken(copy("x"), copy("y")) == ("xy", ())


def test_the_newer_map_says_who_was_dropped():
    x = copy("x", generation=5, version=9)
    y = copy("y", generation=6, version=11, states=(STALE, IN_SYNC))
    assert taken(x, y) == ("y", ())
    assert taken(y, x) == ("y", ())


def test_a_stale_device_is_not_missed():
    assert taken(copy("y", states=(STALE, IN_SYNC))) == ("y", ())


@pytest.mark.parametrize("state", [IN_SYNC, SYNCING])
def test_a_missing_device_that_was_written_may_be_newer(state):
    right, doubts = taken(copy("y", states=(state, IN_SYNC)))
    assert right == "y"
    assert "device x of SDS sds-x is not among the folders" in doubts[0]


def test_the_promotion_within_a_generation_counts():
    x = copy("x", version=12)
    y = copy("y", version=11, states=(SYNCING, IN_SYNC))
    assert taken(x, y) == ("xy", ())
    assert taken(replace_version(x, 10), y) == ("y", ())


def replace_version(found, version):
    chart = replace(found.volume.chart, map_version=version)
    return replace(found, volume=replace(found.volume, chart=chart))


def test_a_copy_of_an_older_day_does_not_count_as_in_sync():
    x = copy("x", generation=3, version=5)  # restored from a tape, say
    y = copy("y", generation=5, version=9)
    assert taken(x, y)[0] == "y"


def test_only_an_old_copy_of_what_was_in_sync_is_doubtful():
    x = copy("x", generation=3, version=5)
    y = copy("y", generation=5, version=9, states=(IN_SYNC, STALE))
    right, doubts = taken(x, y)
    assert right == "x"
    assert "as it was at generation 3 only" in doubts[0]


def test_after_a_turn_going_on_who_sealed_last_is_right():
    x = copy("x", generation=5)
    y = copy("y", generation=6, settled=False)
    assert taken(x, y) == ("y", ())


def test_after_a_turn_going_on_equal_marks_prove_nothing_unless_there_are_none():
    def both(*dirty):
        return (
            copy("x", generation=6, settled=False, dirty=dirty),
            copy("y", generation=6, settled=False, dirty=dirty),
        )

    assert taken(*both()) == ("xy", ())
    right, doubts = taken(*both(2))
    assert right == "xy"
    assert "a turn was going on" in doubts[0]


def test_after_a_turn_going_on_who_has_all_marks_was_written_to():
    x = copy("x", generation=6, settled=False, dirty=[1])
    y = copy("y", generation=6, settled=False, dirty=[1, 3])
    assert taken(x, y) == ("y", ())


def test_files_made_in_the_turn_going_on_hold_nothing():
    x = copy("x", generation=6, settled=False, created=6)
    y = copy("y", generation=6, settled=False)
    assert taken(x, y) == ("y", ())


def test_the_settled_word_of_one_decides_for_both():
    x = copy("x", generation=6, settled=False, dirty=[1])
    y = copy("y", generation=6, version=11, states=(SYNCING, IN_SYNC), dirty=[1])
    assert taken(x, y) == ("y", ())


def test_the_best_of_the_rest_is_offered_with_a_doubt():
    right, doubts = taken(copy("x", states=(SYNCING, IN_SYNC)))
    assert right == "x"
    assert any("no copy of column 0 that was in sync is here" in doubt for doubt in doubts)


def test_a_column_without_any_copy_is_absent():
    one = copy("x")
    chart = replace(one.volume.chart, columns=(*one.volume.chart.columns, (
        model.Replica("p", IN_SYNC), model.Replica("q", IN_SYNC))))  # fmt: skip
    one = replace(one, volume=replace(one.volume, ncols=2, chart=chart))
    found = choice.choose([one])
    assert found.absent == (1,)
    assert "column 1 has no copy" in found.doubts[-1]


def test_copies_that_contradict_one_another_are_refused():
    x = copy("x")
    y = replace(copy("y"), volume=replace(copy("y").volume, unit=2 * MIB))
    with pytest.raises(errors.Damaged):
        choice.choose([x, y])
