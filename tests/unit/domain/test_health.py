"""A volume's health says whether somebody is hurt, and by what."""

import pytest

from appliance.domain import health, model

H = health.Health
UP, DOWN, UNKNOWN = health.Reach.UP, health.Reach.DOWN, health.Reach.UNKNOWN
IN_SYNC, STALE = model.ReplicaState.IN_SYNC, model.ReplicaState.STALE
SYNCING = model.ReplicaState.SYNCING


def flaw(state, reach, where="sds1", column=0):
    return health.Flaw(column, state, reach, where)


@pytest.mark.parametrize(
    ("flaws", "word", "reason"),
    [
        ([], H.HEALTHY, ""),
        ([flaw(IN_SYNC, DOWN)], H.DEGRADED, "1 column with one copy only: sds1 is down"),
        ([flaw(STALE, UP)], H.DEGRADED, "1 column with one copy only: sds1 is stale"),
        ([flaw(SYNCING, UP)], H.DEGRADED, "1 column with one copy only: sds1 is syncing"),
        ([flaw(IN_SYNC, UNKNOWN)], H.UNKNOWN, "not heard yet of sds1"),
        ([flaw(STALE, UNKNOWN)], H.DEGRADED, "1 column with one copy only: sds1 is unknown"),
        (
            [flaw(IN_SYNC, DOWN), flaw(IN_SYNC, DOWN, "sds2")],
            H.UNHEALTHY,
            "1 column without a readable copy; bring back sds1, sds2",
        ),
        (
            [flaw(STALE, UP), flaw(IN_SYNC, UNKNOWN, "sds2")],
            H.UNKNOWN,
            "not heard yet of sds1, sds2",
        ),
        (
            [flaw(IN_SYNC, DOWN), flaw(STALE, UP, "sds2")],
            H.UNHEALTHY,
            "1 column without a readable copy; bring back sds1, sds2",
        ),
        (
            [flaw(IN_SYNC, DOWN, column=1), flaw(IN_SYNC, DOWN, column=3)],
            H.DEGRADED,
            "2 columns with one copy only: sds1 is down",
        ),
    ],
)
def test_health_of_a_volume_follows_its_worst_column(flaws, word, reason):
    assert health.volume(flaws, turn_open=False) == (word, reason)


def test_an_open_turn_shows():
    assert health.volume([], turn_open=True) == (H.DEGRADED, "its map is being changed")


def test_worst_of_several():
    assert health.worst([]) is H.HEALTHY
    assert health.worst([H.HEALTHY, H.UNKNOWN]) is H.UNKNOWN
    assert health.worst([H.UNKNOWN, H.DEGRADED, H.HEALTHY]) is H.DEGRADED
    assert health.worst([H.UNHEALTHY, H.DEGRADED]) is H.UNHEALTHY
