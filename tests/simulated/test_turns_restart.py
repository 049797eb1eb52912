"""An MDM that restarts: an open turn begins anew, a volume without one is left alone (R4)."""

import sqlite3

from appliance.domain import model

EFFECTIVE_S = model.PULSE_S + model.PULSE_MARGIN_S


def test_a_turn_open_at_the_mdm_s_restart_begins_anew_and_earlier_seals_do_not_count(cluster):
    volume = cluster.mapped()
    cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.until(lambda: cluster.sds[0].leg(volume).generation == 3)
    assert cluster.row(volume).turn_open
    cluster.restart()
    cluster.sds[1].sealing = True
    cluster.sds[0].sealing = False
    cluster.steps(8)
    assert cluster.row(volume).generation == 4
    assert cluster.row(volume).turn_open  # sds1 sealed 3, which is nothing now
    cluster.sds[0].sealing = True
    cluster.until(lambda: cluster.map_of().generation == cluster.row(volume).generation)
    assert cluster.map_of().generation >= 4


def test_an_open_turn_at_a_restart_waits_for_an_agent_not_heard_yet(cluster):
    volume = cluster.mapped()
    cluster.sds[0].sealing = cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.exchange(cluster.sds[0])
    cluster.restart()
    cluster.sds[0].sealing = cluster.sds[1].sealing = True
    for _ in range(8):
        cluster.clock.advance(0.1)
        cluster.exchange(cluster.sds[0])
        cluster.rounds.run_once()
    assert cluster.row(volume).turn_open
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert cluster.all_in_sync(volume)


def test_after_a_restart_the_mdm_waits_for_the_pulse_anew(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].plugin().deaf = True
    cluster.sds[0].stop_servers()
    cluster.exchange(cluster.sds[0])
    assert cluster.row(volume).turn_open
    cluster.restart()
    cluster.until(
        lambda: all(a.leg(volume).generation == cluster.row(volume).generation for a in cluster.sds)
    )
    sealed = cluster.clock.now
    cluster.until(lambda: not cluster.row(volume).turn_open)
    # Every replica sealed, but a map older than the database's columns may be in use.
    assert cluster.clock.now - sealed >= EFFECTIVE_S - 0.25


def test_a_client_being_cut_off_is_waited_for_even_by_the_mdm_s_successor(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True  # cut off from the MDM; the client reads it all the same
    cluster.sdcs[0].silent = True
    cluster.until(lambda: cluster.row(volume).turn_open)
    cluster.clock.advance(5.0)
    cluster.unmap(volume, force=True)
    # The turn decides, and before it is effective the MDM dies.
    cluster.until(lambda: cluster.incarnations(volume) == ["retiring"])
    cluster.restart()
    cluster.until(lambda: cluster.sds[0].leg(volume).generation == cluster.row(volume).generation)
    began = cluster.clock.now
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert cluster.clock.now - began >= EFFECTIVE_S - 0.25


def test_a_restart_of_the_mdm_alone_makes_no_turn(cluster):
    volume = cluster.mapped()
    cluster.restart()
    cluster.steps(30)
    assert cluster.row(volume).generation == 2
    assert cluster.all_in_sync(volume)


def test_an_agent_not_heard_yet_after_a_restart_is_not_dropped(cluster):
    volume = cluster.mapped()
    cluster.restart()
    cluster.sds[1].silent = True  # for as long as the grace allows
    cluster.steps(40)
    assert cluster.all_in_sync(volume)
    cluster.sds[1].silent = False
    cluster.steps(5)
    assert cluster.row(volume).generation == 2


def test_a_database_that_is_busy_for_a_while_puts_a_turn_off_and_does_not_undo_it(cluster):
    """Else an MDM with much to do begins every open turn anew, and has more to do."""
    volume = cluster.mapped()
    cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.until(lambda: cluster.sds[0].leg(volume).generation == 3)
    assert cluster.row(volume).turn_open
    other = sqlite3.connect(cluster.folder / "mdm.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cluster.rounds.run_once()
    other.close()
    cluster.sds[1].sealing = True
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert cluster.row(volume).generation == 3
