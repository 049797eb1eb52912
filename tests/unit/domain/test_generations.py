"""Every small turn there is, against what R1, R4, R6 and R7 promise; and the histories that
random search does not find, one by one."""

import dataclasses
import itertools
from collections.abc import Iterator

import pytest

from appliance.domain import generations, model

IN_SYNC, SYNCING, STALE = model.ReplicaState
WAITING, BLOCKED, DECIDED = generations.Verdict

NOW = 100.0
LATER = NOW + 10.0
EFFECTIVE_S = model.PULSE_S + model.PULSE_MARGIN_S


def replica(device: str, state: model.ReplicaState = IN_SYNC) -> model.Replica:
    return model.Replica(device, state)


def turn(*columns: tuple[model.Replica, ...], **fields) -> generations.Turn:
    fields.setdefault("last_seal_s", NOW)
    return generations.Turn(5, columns, NOW, fields.pop("deadline_s", NOW + 2.0), **fields)


def states(decision: generations.Decision) -> list[tuple[str, ...]]:
    return [tuple(r.state.value for r in column) for column in decision.columns]


# --- every turn of one column, of two replicas and of three ---------------------------------


def _subsets(items: tuple[str, ...]) -> Iterator[frozenset[str]]:
    for count in range(len(items) + 1):
        for chosen in itertools.combinations(items, count):
            yield frozenset(chosen)


def _columns(devices: tuple[str, ...]) -> Iterator[tuple[model.Replica, ...]]:
    """Each state of each replica, as long as one is in sync (no other map exists)."""
    for chosen in itertools.product(model.ReplicaState, repeat=len(devices)):
        if IN_SYNC in chosen:
            yield tuple(map(replica, devices, chosen))


def _seals(devices: tuple[str, ...]) -> Iterator[dict[str, bool]]:
    """Each device: not sealed, sealed, or sealed with its cache lost."""
    for chosen in itertools.product((None, False, True), repeat=len(devices)):
        yield {d: lost for d, lost in zip(devices, chosen, strict=True) if lost is not None}


def _turns(devices: tuple[str, ...], columns: Iterator[generations.Columns]):
    for layout in columns:
        stale = tuple({r.device_id for column in layout for r in column if not r.written})
        for seals in _seals(devices):
            for drop, joiners in itertools.product(_subsets(devices), _subsets(stale)):
                for doubt, ordered in itertools.product((False, True), repeat=2):
                    yield turn(
                        *layout,
                        seals=seals,
                        drop=drop,
                        joiners=joiners,
                        doubt=doubt,
                        ordered=ordered,
                    )


def _one_column() -> Iterator[generations.Turn]:
    two, three = ("x", "y"), ("x", "y", "z")
    yield from _turns(two, ((column,) for column in _columns(two)))
    yield from _turns(three, ((column,) for column in _columns(three)))


def _two_columns() -> Iterator[generations.Turn]:
    """Both on the same two devices, and in a ring of three."""
    both = list(_columns(("x", "y")))
    yield from _turns(("x", "y"), itertools.product(both, both))
    ring = itertools.product(both, _columns(("y", "z")))
    for layout in ring:
        for seals in _seals(("x", "y", "z")):
            for doubt in (False, True):
                yield turn(*layout, seals=seals, doubt=doubt)


def _check(given: generations.Turn) -> generations.Verdict:
    decision = generations.decide(given, LATER)
    assert decision.verdict is not WAITING  # the deadline passed
    keeperless = [column for column in given.columns if not _may_keep(given, column)]
    assert (decision.verdict is BLOCKED) == bool(keeperless), given
    if decision.verdict is BLOCKED:
        assert not decision.columns
        wanted = {r.device_id for column in keeperless for r in column if r.readable}
        assert decision.missing == wanted - set(given.seals), given
        assert decision.missing
        return decision.verdict
    lost = False
    for old, new in zip(given.columns, decision.columns, strict=True):
        assert [r.device_id for r in old] == [r.device_id for r in new]
        lost |= _check_column(given, old, new)
    assert decision.lost == lost, given
    return decision.verdict


def _may_keep(given: generations.Turn, column: tuple[model.Replica, ...]) -> bool:
    """R4: one that did not lose its cache; or all reported; or an operator accepts it."""
    readable = [r.device_id for r in column if r.readable]
    sealed = [d for d in readable if d in given.seals]
    kept = [d for d in sealed if not given.seals[d]]
    return bool(kept) or (bool(sealed) and (sealed == readable or given.ordered))


def _check_column(given, old, new) -> bool:
    """Whether acknowledged writes may be lost in it."""
    was = {r.device_id: r.state for r in old}
    now = {r.device_id: r.state for r in new}
    keepers = {d for d in now if now[d] is IN_SYNC}
    # R1: the last in-sync replica never goes, and none appears out of nothing.
    assert keepers
    assert keepers <= {d for d in was if was[d] is IN_SYNC}
    # R4: nobody who did not seal is read or written.
    assert {d for d in now if now[d] is not STALE} <= set(given.seals)
    # R8: nobody joins who was not asked to; R4: nobody who sealed is left out but by order.
    for device in set(now) - keepers:
        invited = was[device] is not STALE or device in given.joiners
        joins = invited and device in given.seals and device not in given.drop
        assert now[device] is (SYNCING if joins else STALE), given
    # R7: a keeper that lost its cache only if nobody in sync kept it.
    had = {d for d in was if was[d] is IN_SYNC and d in given.seals}
    kept = {d for d in had if not given.seals[d]}
    assert keepers <= (kept or had)
    if given.doubt or not kept:
        assert len(keepers) == 1
    else:
        assert keepers == ((kept - given.drop) or kept)
    # Who is to be dropped goes, unless nobody else has the bytes.
    if keepers & given.drop:
        assert (kept or had) <= given.drop
    return not kept


def test_every_turn_of_one_column():
    verdicts = {_check(given) for given in _one_column()}
    assert verdicts == {BLOCKED, DECIDED}


def test_every_turn_of_two_columns():
    verdicts = {_check(given) for given in _two_columns()}
    assert verdicts == {BLOCKED, DECIDED}


def test_before_the_deadline_nothing_is_decided_while_a_seal_is_awaited():
    for given in _one_column():
        decision = generations.decide(given, NOW)
        written = {r.device_id for column in given.columns for r in column if r.written}
        awaited = (written | given.joiners) - set(given.seals)
        assert given.awaited() == awaited
        assert (decision.verdict is WAITING) == bool(awaited)


def test_those_known_to_be_gone_are_not_awaited_but_still_needed():
    for given in _one_column():
        for gone in _subsets(("x", "y")):
            told = dataclasses.replace(given, gone=gone)
            assert told.awaited() == given.awaited() - gone
            assert generations.decide(told, LATER) == generations.decide(given, LATER)


def test_every_turn_s_effect():
    """R6: at once only if all in-sync replicas of the map before sealed, or nobody is left."""
    for given in _one_column():
        every = all(r.device_id in given.seals for c in given.columns for r in c if r.readable)
        for inherited, clients in itertools.product((False, True), (frozenset(), frozenset("c"))):
            told = dataclasses.replace(given, inherited=inherited, clients=clients)
            at_once = (every and not inherited) or not clients
            assert generations.effective(told, NOW) == at_once
            assert generations.effective(told, NOW + EFFECTIVE_S - 0.01) == at_once
            assert generations.effective(told, NOW + EFFECTIVE_S)
            assert generations.effective(told.left("c"), NOW)


# --- reports --------------------------------------------------------------------------------


def test_a_seal_reported_again_changes_nothing():
    given = turn((replica("x"), replica("y"))).sealed("x", False, NOW + 1)
    assert given.sealed("x", True, NOW + 9) == given
    assert given.last_seal_s == NOW + 1


def test_effect_is_counted_from_the_last_seal():
    given = turn((replica("x"), replica("y")), clients=frozenset("c"))
    given = given.sealed("y", False, NOW + 5)
    assert not generations.effective(given, NOW + EFFECTIVE_S)
    assert generations.effective(given, NOW + 5 + EFFECTIVE_S)


def test_a_client_that_left_is_one_less_to_wait_for():
    given = turn((replica("x"),), clients=frozenset({"c", "d"}))
    assert given.left("c").clients == {"d"}
    assert given.left("nobody").clients == {"c", "d"}


# --- rules_cases, the ones to be directed ----------------------------------------------------


def test_r1_the_only_one_in_sync_is_waited_for_however_long():
    """X unreachable a moment, dropped, Y is only syncing: the column would have no truth."""
    given = turn((replica("x"), replica("y", SYNCING)), drop=frozenset("x"), gone=frozenset("x"))
    given = given.sealed("y", False, NOW)
    decision = generations.decide(given, NOW + 1e6)
    assert (decision.verdict, decision.missing) == (BLOCKED, {"x"})
    decision = generations.decide(given.sealed("x", False, NOW + 1e6), NOW + 1e6)
    assert states(decision) == [("in_sync", "syncing")]  # and it is not dropped either


def test_r4_a_survivor_that_lost_its_cache_does_not_count():
    """X well but cut off from the MDM, Y rebooted: X has acknowledged writes that Y has not."""
    given = turn((replica("x"), replica("y"))).sealed("y", True, NOW)
    decision = generations.decide(given, LATER)
    assert (decision.verdict, decision.missing) == (BLOCKED, {"x"})
    decision = generations.decide(given.sealed("x", False, LATER), LATER)
    assert states(decision) == [("in_sync", "syncing")]
    assert not decision.lost


def test_r4_an_operator_may_give_up_what_only_the_missing_one_has():
    given = turn((replica("x"), replica("y")), ordered=True).sealed("y", True, NOW)
    decision = generations.decide(given, LATER)
    assert states(decision) == [("stale", "in_sync")]
    assert decision.lost


def test_r4_one_column_s_keeper_is_no_keeper_of_another():
    given = turn((replica("x"), replica("y")), (replica("y"), replica("z")))
    given = given.sealed("x", False, NOW).sealed("y", True, NOW)
    decision = generations.decide(given, LATER)
    assert (decision.verdict, decision.missing) == (BLOCKED, {"z"})
    decision = generations.decide(given.sealed("z", False, LATER), LATER)
    assert states(decision) == [("in_sync", "syncing"), ("syncing", "in_sync")]


@pytest.mark.parametrize("doubt", [False, True])
def test_r4_a_joiner_that_does_not_seal_stays_out(doubt):
    given = turn((replica("x"), replica("y", STALE)), joiners=frozenset("y"), doubt=doubt)
    given = given.sealed("x", False, NOW)
    assert generations.decide(given, NOW).verdict is WAITING
    assert states(generations.decide(given, LATER)) == [("in_sync", "stale")]
    given = given.sealed("y", True, NOW)
    assert states(generations.decide(given, NOW)) == [("in_sync", "syncing")]


def test_r4_sealed_but_not_invited_is_not_joined():
    given = (
        turn((replica("x"), replica("y", STALE))).sealed("x", False, NOW).sealed("y", False, NOW)
    )
    assert states(generations.decide(given, NOW)) == [("in_sync", "stale")]


def test_r6_a_syncing_replica_unsealed_holds_nobody_up():
    given = turn((replica("x"), replica("y", SYNCING)), clients=frozenset("c"))
    assert generations.effective(given.sealed("x", False, NOW), NOW)


def test_r6_the_partitioned_replica_keeps_its_readers_for_a_pulse():
    """C, cut off with X, reads X for as long as Y's pulse is fresh; Y's server died at its seal."""
    given = turn((replica("x"), replica("y")), clients=frozenset("c"))
    given = given.sealed("y", False, NOW + 1)
    assert states(generations.decide(given, LATER)) == [("stale", "in_sync")]
    assert not generations.effective(given, NOW + 1 + model.PULSE_S)
    assert generations.effective(given, NOW + 1 + EFFECTIVE_S)


def test_r6_a_turn_left_unfinished_may_have_older_maps_about():
    """The turn before made X stale and did not become effective: C may still read X."""
    column = (replica("x", STALE), replica("y"))
    given = turn(column, clients=frozenset("c"), inherited=True).sealed("y", False, NOW)
    assert not generations.effective(given, NOW)
    assert generations.effective(dataclasses.replace(given, inherited=False), NOW)


def test_r7_doubt_leaves_one_keeper_in_each_column():
    given = turn((replica("x"), replica("y")), (replica("y"), replica("z")), doubt=True)
    for device in ("x", "y", "z"):
        given = given.sealed(device, False, NOW)
    assert states(generations.decide(given, NOW)) == [("in_sync", "syncing")] * 2


def test_r7_the_keeper_is_the_one_with_its_cache():
    given = turn((replica("x"), replica("y")), doubt=True)
    given = given.sealed("x", True, NOW).sealed("y", False, NOW)
    assert states(generations.decide(given, NOW)) == [("syncing", "in_sync")]


def test_r7_doubt_does_not_keep_the_one_to_be_dropped():
    given = turn((replica("x"), replica("y")), doubt=True, drop=frozenset("x"))
    given = given.sealed("x", False, NOW).sealed("y", False, NOW)
    assert states(generations.decide(given, NOW)) == [("stale", "in_sync")]


def test_r7_all_caches_lost_is_said():
    given = turn((replica("x"), replica("y"))).sealed("x", True, NOW).sealed("y", True, NOW)
    decision = generations.decide(given, NOW)
    assert states(decision) == [("in_sync", "syncing")]
    assert decision.lost


def test_r7_a_copy_that_runs_starts_over():
    """Regions copied before the doubt are compared again: the target is still syncing."""
    given = turn((replica("x"), replica("y", SYNCING)), doubt=True)
    given = given.sealed("x", False, NOW).sealed("y", False, NOW)
    assert states(generations.decide(given, NOW)) == [("in_sync", "syncing")]


# --- replicas that moved elsewhere ----------------------------------------------------------


def _moved(*states: model.ReplicaState, **fields) -> generations.Decision:
    """Old, staying, new: all seal, the old one is to leave."""
    column = tuple(map(replica, ("old", "stays", "new"), states))
    fields.setdefault("seals", {"old": False, "stays": False, "new": False})
    found = turn(column, leave=frozenset({(0, fields.pop("goes", "old"))}), **fields)
    return generations.decide(found, NOW)


def test_a_replica_that_moved_leaves_once_two_others_are_in_sync():
    assert states(_moved(IN_SYNC, IN_SYNC, IN_SYNC)) == [("stale", "in_sync", "in_sync")]
    assert states(_moved(SYNCING, IN_SYNC, IN_SYNC)) == [("stale", "in_sync", "in_sync")]


def test_a_replica_that_moved_stays_where_the_others_are_not_all_certain():
    assert states(_moved(IN_SYNC, IN_SYNC, SYNCING)) == [("in_sync", "in_sync", "syncing")]
    one_silent = {"old": False, "new": False}
    late = _moved(IN_SYNC, IN_SYNC, IN_SYNC, seals=one_silent, gone=frozenset({"stays"}))
    assert states(late) == [("in_sync", "stale", "in_sync")]
    rebooted = {"old": False, "stays": True, "new": False}
    kept = _moved(IN_SYNC, IN_SYNC, IN_SYNC, seals=rebooted)
    assert states(kept) == [("in_sync", "syncing", "in_sync")]
    assert [s.count("in_sync") for s in states(_moved(IN_SYNC, IN_SYNC, IN_SYNC, doubt=True))] == [
        1
    ]
    assert "stale" not in states(_moved(IN_SYNC, IN_SYNC, IN_SYNC, doubt=True))[0]


def test_a_move_that_was_cancelled_takes_its_new_replica_out():
    undone = _moved(IN_SYNC, IN_SYNC, SYNCING, goes="new")
    assert states(undone) == [("in_sync", "in_sync", "stale")]
    # Even if its device joins with another column in the same turn.
    joining = _moved(STALE, IN_SYNC, STALE, goes="new", joiners=frozenset({"old", "new"}))
    assert states(joining) == [("syncing", "in_sync", "stale")]


def test_a_replica_leaves_one_column_and_stays_in_another():
    first = (replica("old"), replica("stays"), replica("new"))
    second = (replica("old"), replica("stays"))
    seals = {"old": False, "stays": False, "new": False}
    found = turn(first, second, leave=frozenset({(0, "old")}), seals=seals)
    assert states(generations.decide(found, NOW)) == [
        ("stale", "in_sync", "in_sync"),
        ("in_sync", "in_sync"),
    ]
