"""Turns that nobody's I/O waits for begin a few at a time; those of a loss at once."""

from appliance.mdm.services import admission

MANY = admission.AT_ONCE + 5


def _all_mapped(cluster, ids):
    maps = cluster.sdcs[0].maps
    return len(maps) == len(ids) and not any(cluster.row(ident).turn_open for ident in ids)


def test_many_who_map_at_once_are_let_in_a_few_at_a_time(cluster):
    ids = [cluster.create(f"v{number}") for number in range(MANY)]
    for agent in cluster.sds:
        agent.silent = True  # so that no turn ends
    for ident in ids:
        cluster.map(ident)
    cluster.steps(10)
    begun = [ident for ident in ids if cluster.row(ident).turn_open]
    assert len(begun) == admission.AT_ONCE
    for agent in cluster.sds:
        agent.silent = False
    cluster.until(lambda: _all_mapped(cluster, ids), 20)


def test_turns_that_are_blocked_hold_up_nobody(cluster):
    ids = [cluster.create(f"v{number}") for number in range(MANY)]
    for agent in cluster.sds:
        agent.silent = True
    for ident in ids:
        cluster.map(ident)
    cluster.until(lambda: all(cluster.row(ident).turn_open for ident in ids), 20)


def test_a_loss_waits_for_nobody(cluster):
    ids = [cluster.create(f"v{number}") for number in range(MANY)]
    for ident in ids:
        cluster.map(ident)
    cluster.until(lambda: _all_mapped(cluster, ids), 20)
    cluster.sds[0].silent = True
    cluster.until(lambda: any(cluster.row(ident).turn_open for ident in ids), 20)
    assert all(cluster.row(ident).turn_open for ident in ids)
