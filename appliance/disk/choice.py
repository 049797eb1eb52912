"""Which copies of a volume's columns are right, from what the devices themselves say. Pure.

The newest map among the copies (highest version) says who was in sync when it was made; who is
right now can only be one of those, for nobody comes to be in sync without a turn that every
other one in sync takes part in (R4, R8). Of these the ones with the highest generation are
right: a turn that left one behind dropped it. Within unmarked regions they are equal (R3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.common import errors
from appliance.disk import survey
from appliance.domain import model

_RANK = {
    model.ReplicaState.IN_SYNC: 2,
    model.ReplicaState.SYNCING: 1,
    model.ReplicaState.STALE: 0,
}


@dataclass(frozen=True, slots=True)
class Column:
    """``right``: copies that hold the truth, the first one to be taken. ``why`` is for people.

    ``passed_over``: other copies with the reason. ``doubts``: why a newer copy may exist.
    """

    index: int
    right: tuple[survey.Copy, ...]
    why: str
    passed_over: tuple[tuple[survey.Copy, str], ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """``newest`` is the copy whose map counts; ``generation`` the highest seen.

    ``columns`` has no entry for those in ``absent``, of which there is no copy at all.
    """

    newest: survey.Copy
    generation: int
    columns: tuple[Column, ...]
    absent: tuple[int, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """Every column's, each sentence once."""
        found = [doubt for column in self.columns for doubt in column.doubts]
        found += [f"column {index} has no copy in the folders given" for index in self.absent]
        return tuple(dict.fromkeys(found))


def choose(copies: Sequence[survey.Copy]) -> Choice:
    """``copies`` are all of one volume, at least one. Raises errors.Damaged if they contradict
    one another in what never changes."""
    _check_same(copies)
    newest = max(
        copies, key=lambda c: (c.volume.chart.map_version, c.volume.chart.settled, _generation(c))
    )
    here = {copy.device_id: copy for copy in copies}
    highest = max(_generation(copy) for copy in copies)
    columns = []
    absent = []
    for index, replicas in enumerate(newest.volume.chart.columns):
        found = _column(index, replicas, newest, highest, here)
        if found is None:
            absent.append(index)
        else:
            columns.append(found)
    return Choice(newest, highest, tuple(columns), tuple(absent))


def _column(
    index: int,
    replicas: Sequence[model.Replica],
    newest: survey.Copy,
    highest: int,
    here: Mapping[str, survey.Copy],
) -> Column | None:
    present = [(here[r.device_id], r.state) for r in replicas if r.device_id in here]
    if not present:
        return None
    doubts = _missing(replicas, newest, here)
    was = [copy for copy, state in present if state is model.ReplicaState.IN_SYNC]
    candidates = [copy for copy in was if not _emptied(copy, newest)] or was
    if not candidates:
        best = max(present, key=lambda found: (_RANK[found[1]], _generation(found[0])))
        doubts.append(f"no copy of column {index} that was in sync is here")
        return _told(index, (best[0],), f"the best that is here, though {best[1]}", present, doubts)
    top = max(_generation(copy) for copy in candidates)
    right = [copy for copy in candidates if _generation(copy) == top]
    settled = newest.volume.chart.settled and _generation(newest) == highest
    why = f"generation {top}, in sync"
    if newest.volume.chart.settled and top < _generation(newest):
        doubts.append(
            f"column {index} was in sync at generation {_generation(newest)}, and the folders "
            f"given have it as it was at generation {top} only"
        )
    elif not settled and len(right) > 1:
        right, more = _after_a_turn(index, right, doubts)
        why = f"{why}; {more}"
    elif len(right) > 1:
        why += f" (so is {_others(right)})"
    return _told(index, tuple(right), why, present, doubts)


def _after_a_turn(
    index: int, right: list[survey.Copy], doubts: list[str]
) -> tuple[list[survey.Copy], str]:
    """Both took part in a turn whose outcome nobody here knows: one may have been dropped in it.

    Who was written to after that has all marks of who was not (R3).
    """
    marks = {copy.device_id: copy.dirty for copy in right}
    everything = frozenset().union(*marks.values())
    whole = [copy for copy in right if marks[copy.device_id] == everything]
    if not everything:
        return right, "no write was going on"
    if len(whole) == 1:
        return whole, "it has marks that the other lacks"
    doubts.append(
        f"a turn was going on, and nothing here tells whether one of the {len(right)} copies of "
        f"column {index} was dropped in it; they can differ in {len(everything)} regions"
    )
    return whole or right, "a turn was going on"


def _missing(
    replicas: Sequence[model.Replica], newest: survey.Copy, here: Mapping[str, survey.Copy]
) -> list[str]:
    """One that was written and is not here may have gone on alone; a stale one cannot have."""
    names = {holder.device_id: holder.sds for holder in newest.volume.chart.holders}
    return [
        f"device {r.device_id} of SDS {names.get(r.device_id, 'unknown')} is not among the "
        "folders, and may hold a newer generation"
        for r in replicas
        if r.device_id not in here and r.written
    ]


def _told(
    index: int,
    right: tuple[survey.Copy, ...],
    why: str,
    present: Sequence[tuple[survey.Copy, model.ReplicaState]],
    doubts: Sequence[str],
) -> Column:
    passed = tuple(
        (copy, f"generation {_generation(copy)}, {state}")
        for copy, state in present
        if copy not in right
    )
    return Column(index, right, why, passed, tuple(doubts))


def _emptied(copy: survey.Copy, newest: survey.Copy) -> bool:
    """Its files were made in the very turn that was going on: they hold nothing."""
    return not newest.volume.chart.settled and copy.volume.created == _generation(copy)


def _others(right: Sequence[survey.Copy]) -> str:
    return ", ".join(str(copy.device) for copy in right[1:])


def _generation(copy: survey.Copy) -> int:
    return copy.volume.generation


def _check_same(copies: Sequence[survey.Copy]) -> None:
    first = copies[0].volume
    for copy in copies[1:]:
        if (copy.volume.unit, copy.volume.ncols) != (first.unit, first.ncols):
            raise errors.Damaged(
                path=copy.folder,
                why=f"it has {copy.volume.ncols} columns of {copy.volume.unit} bytes a unit, "
                f"{copies[0].folder} has {first.ncols} of {first.unit}",
            )
