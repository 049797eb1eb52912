"""An operator's order in a blocked turn: refused where it is not needed or would not help."""

import pytest

from appliance.common import errors


@pytest.fixture
def blocked(cluster):
    """sds1 has everything and is cut off from the MDM; sds2 rebooted."""
    volume = cluster.mapped()
    cluster.sds[0].silent = True
    cluster.sds[1].reboot()
    cluster.until(lambda: cluster.recovery.look(volume)["blocked"])
    return volume


def test_what_is_not_blocked_needs_no_order(cluster):
    volume = cluster.mapped()
    assert not cluster.recovery.look(volume)["blocked"]
    with pytest.raises(errors.Conflict, match="is not blocked"):
        cluster.recovery.order("test", volume)
    cluster.sds[0].silent = True
    cluster.until(lambda: cluster.row(volume).turn_open)
    with pytest.raises(errors.Conflict, match="is not blocked"):  # it waits; that is no block
        cluster.recovery.order("test", volume)


def test_it_says_who_would_avoid_the_loss_and_what_would_be_lost(cluster, blocked):
    seen = cluster.recovery.look("vol")
    assert (seen["columns"], seen["possible"]) == ([0], True)
    assert seen["bring_back"] == ["sds1:/srv/sds1"]
    assert seen["keep"] == ["sds2:/srv/sds2"]
    assert "acknowledged and not flushed" in seen["explanation"]
    assert "bring back sds1:/srv/sds1" in seen["explanation"]
    cluster.steps(100)
    assert cluster.row(blocked).turn_open  # looking decides nothing


def test_the_order_makes_the_turn_go_on_and_the_loss_known(cluster, blocked):
    cluster.recovery.order("test", blocked)
    cluster.until(lambda: cluster.map_of().generation > 2)
    assert cluster.map_states() == {"sds2": {"in_sync"}, "sds1": {"stale"}}
    assert cluster.map_of().lost_generation == cluster.map_of().generation
    (told,) = cluster.events("recovery_ordered")
    assert told["given_up"] == ["sds1:/srv/sds1"]
    cluster.sds[0].silent = False  # it comes back as a copy, not as the truth
    cluster.until(lambda: cluster.map_states() == {"sds2": {"in_sync"}, "sds1": {"syncing"}})


def test_one_that_returned_in_time_makes_the_order_needless(cluster, blocked):
    cluster.sds[0].silent = False
    cluster.until(lambda: not cluster.row(blocked).turn_open)
    with pytest.raises(errors.Conflict, match="is not blocked"):
        cluster.recovery.order("test", blocked)
    assert cluster.map_of().lost_generation == 0


def test_an_order_does_not_outlive_its_turn(cluster, blocked):
    cluster.turns.order(blocked)
    cluster.restart()
    cluster.until(lambda: cluster.recovery.look(blocked)["blocked"], 30)
    cluster.steps(50)
    assert cluster.row(blocked).turn_open


def test_where_no_copy_in_sync_answers_there_is_nothing_to_go_on_with(cluster):
    volume = cluster.mapped()
    cluster.sds[0].silent = True
    cluster.until(lambda: cluster.map_states()["sds1"] == {"stale"})
    cluster.sds[1].silent = True
    cluster.sds[0].silent = False
    cluster.until(lambda: cluster.recovery.look(volume)["blocked"], 30)
    seen = cluster.recovery.look(volume)
    assert not seen["possible"]
    assert "nothing to go on with; bring back sds2:/srv/sds2" in seen["explanation"]
    with pytest.raises(errors.Conflict, match="nothing to go on with"):
        cluster.recovery.order("test", volume)
