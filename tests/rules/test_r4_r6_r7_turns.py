"""R4, R6 and R7 where the MDM keeps them: who seals, who stays, when the new map is known."""

from dataclasses import replace

from appliance.domain import generations, model
from appliance.mdm.services import orders, sds_reports, turns
from tests.rules.clauses import clause

EFFECTIVE_S = model.PULSE_S + model.PULSE_MARGIN_S


@clause("R4 the joiner seals too", without="X is joined and its old server lives")
def test_a_joiner_that_does_not_seal_is_not_joined(cluster, broken):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    real = generations.decide

    def uncounted(turn, now):
        joined = dict.fromkeys(turn.joiners, False)
        return real(replace(turn, seals={**joined, **turn.seals}), now)

    broken.setattr(generations, "decide", uncounted)
    cluster.sds[1].sealing = False
    cluster.sds[1].silent = False
    generation = cluster.row(volume).generation
    cluster.until(lambda: cluster.row(volume).generation > generation)
    cluster.steps(25)
    joined = cluster.events("replica_syncing")
    assert not joined, "X is joined and its old server lives"


@clause(
    "R4 a restarted MDM begins the turn anew",
    without="Y was dropped for X, whose seal was of before the restart",
)
def test_seals_of_before_the_restart_do_not_count(cluster, broken):
    volume = cluster.mapped()
    cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.until(lambda: any(leg.generation == 3 for leg in cluster.row(volume).legs))
    assert cluster.row(volume).turn_open
    real = turns.Turns.begin

    def resume(self, tx, volume_, *given):
        resumed = volume_.turn_open and self.get(volume_.id) is None
        real(self, tx, volume_, *given)
        if resumed:
            volume_.generation -= 1
            found = self._open[volume_.id]
            sealed = {leg.device_id: False for leg in volume_.legs if leg.serving}
            found.turn = replace(found.turn, generation=volume_.generation, seals=sealed)

    broken.setattr(turns.Turns, "begin", resume)
    cluster.sds[0].reboot()  # while nobody listens: what it sealed with is gone
    cluster.restart()
    cluster.sds[0].silent = True
    cluster.steps(40)
    states = cluster.states(volume)
    assert states["sds2"] == {"in_sync"}, (
        "Y was dropped for X, whose seal was of before the restart"
    )


@clause(
    "R4 a survivor that lost its cache does not count",
    without="X, which has every acknowledged write, was made stale",
)
def test_the_one_that_kept_its_cache_is_waited_for(cluster, broken):
    volume = cluster.mapped()

    def any_survivor(turn, column):
        return any(r.readable and r.device_id in turn.seals for r in column)

    broken.setattr(generations, "_has_keeper", any_survivor)
    cluster.sds[0].silent = True  # well, but cut off from the MDM
    cluster.sds[1].reboot()
    cluster.steps(60)
    states = cluster.states(volume)
    assert states["sds1"] == {"in_sync"}, "X, which has every acknowledged write, was made stale"


def _partitioned(cluster) -> str:
    """sds2 and the first client do not hear the MDM; they hear each other."""
    volume = cluster.mapped(shareable=True)
    cluster.sds[1].silent = True
    cluster.sdcs[0].silent = True
    cluster.until(lambda: cluster.sds[0].leg(volume).generation == 3)
    return volume


@clause("R6 the effective wait", without="the new map is out while a client still reads X")
def test_the_new_map_waits_for_pulses_to_run_out(cluster, broken):
    broken.setattr(generations, "effective", lambda turn, now: True)
    volume = _partitioned(cluster)
    sealed = cluster.clock.now
    cluster.until(lambda: not cluster.row(volume).turn_open)
    waited_s = cluster.clock.now - sealed
    assert waited_s >= EFFECTIVE_S - 0.2, "the new map is out while a client still reads X"


@clause("R6 clients being cut off count", without="the client that is cut off still reads X")
def test_a_client_that_is_cut_off_is_waited_for(cluster, broken):
    volume = cluster.mapped()
    real = turns.Turns.begin

    def uncounted(self, tx, volume_, *args, **kwargs):
        real(self, tx, volume_, *args, **kwargs)
        found = self._open[volume_.id]
        over = {i.id for i in volume_.incarnations if i.state != "live"}
        found.turn = replace(found.turn, clients=found.turn.clients - over)

    broken.setattr(turns.Turns, "begin", uncounted)
    cluster.sdcs[0].silent = True  # its pulses of sds2 go on
    cluster.steps(60)
    cluster.sds[1].silent = True
    cluster.ctx.liveness.refused(cluster.sds[1].id)  # so that nobody waits for its seal
    cluster.unmap(volume, force=True)
    cluster.until(lambda: cluster.sds[0].leg(volume).generation == 3)
    sealed = cluster.clock.now
    cluster.until(lambda: not cluster.row(volume).turn_open)
    waited_s = cluster.clock.now - sealed
    assert waited_s >= EFFECTIVE_S - 0.2, "the client that is cut off still reads X"


@clause("R7 doubt for a client", without="both copies stay, with C's last write on one only")
def test_a_client_that_died_leaves_one_keeper(cluster, broken):
    volume = cluster.mapped()
    real = generations.decide
    broken.setattr(generations, "decide", lambda turn, now: real(replace(turn, doubt=False), now))
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: cluster.row(volume).generation > 2)
    cluster.until(lambda: not cluster.row(volume).turn_open)
    states = sorted(state for found in cluster.states(volume).values() for state in found)
    assert states == ["in_sync", "syncing"], "both copies stay, with C's last write on one only"


def _no_cache_is_lost(self, volume_id, device_id, cache_id, cache_lost, real=turns.Turns.sealed):
    real(self, volume_id, device_id, cache_id, False)


@clause("R7 doubt for a lost cache", without="Y stays in sync without its unflushed pages")
def test_a_host_that_rebooted_is_copied_to(cluster, broken):
    volume = cluster.mapped()
    broken.setattr(turns.Turns, "sealed", _no_cache_is_lost)
    cluster.sds[1].reboot()
    cluster.until(lambda: cluster.map_of().generation > 2)
    states = cluster.states(volume)
    assert states["sds2"] == {"syncing"}, "Y stays in sync without its unflushed pages"


@clause("R7 the keeper is one with its cache", without="the one that rebooted was kept")
def test_of_two_the_one_with_its_cache_is_kept(cluster, broken):
    volume = cluster.mapped()
    first = cluster.row(volume).replicas[0].device_id
    rebooted = next(agent for agent in cluster.sds if first in agent.paths)
    broken.setattr(generations, "_cache_lost", lambda turn, replica: False)
    rebooted.reboot()
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: cluster.row(volume).generation > 2)
    cluster.until(lambda: not cluster.row(volume).turn_open)
    state = cluster.states(volume)[rebooted.name]
    assert state == {"syncing"}, "the one that rebooted was kept"


@clause(
    "R7 the turn that cuts off fdatasyncs",
    without="the next client reads what can still vanish",
)
def test_a_seal_in_doubt_is_flushed(cluster, broken):
    volume = cluster.mapped()
    real = sds_reports.SdsReports._apply_seal
    broken.setattr(
        sds_reports.SdsReports,
        "_apply_seal",
        lambda self, vol, leg, report: real(self, vol, leg, replace(report, flushed=True)),
    )
    for agent in cluster.sds:
        agent.flushing = False  # the fdatasync of the seal does not end
    cluster.sdcs[0].crash_plugins()
    cluster.steps(30)
    assert cluster.row(volume).turn_open, "the next client reads what can still vanish"


@clause(
    "R7 a new incarnation has a new intent file",
    without="the new plugin's first intent block goes over the dead one's marks",
)
def test_a_restarted_plugin_is_given_a_file_of_its_own(cluster, broken):
    volume = cluster.mapped()
    dead = cluster.sdcs[0].plugin().status.incarnation

    def same_file(vol, incarnation, places, real=orders.client_map):
        for leg in vol.legs:
            leg.intents = dict.fromkeys(leg.intents, leg.intents[min(leg.intents)])
        return real(vol, incarnation, places)

    broken.setattr(orders, "client_map", same_file)
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: cluster.sdcs[0].plugin().map is not None)
    new = cluster.sdcs[0].plugin().status.incarnation
    names = {leg.intent_export.rpartition("-")[2] for leg in cluster.map_of().legs}
    assert names == {new}, "the new plugin's first intent block goes over the dead one's marks"
    assert all(dead in agent.leg(volume).intents for agent in cluster.sds)  # until all is equal


@clause("R1 the last in_sync replica stays", without="no copy in sync is left")
def test_one_that_is_out_of_reach_for_a_moment_stays(cluster, broken):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    cluster.sds[1].silent = False
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"syncing"})
    broken.setattr(generations, "_has_keeper", lambda turn, column: True)
    cluster.sds[0].silent = True
    for _ in range(100):
        cluster.step()
        left = [r.state for r in cluster.row(volume).replicas if r.state == "in_sync"]
        assert left, "no copy in sync is left"


@clause(
    "R2 degraded before acknowledged",
    without="C has the map without Y, and the database still promises Y",
)
def test_the_map_without_a_replica_is_committed_before_it_is_handed_out(cluster, broken):
    """With it C acknowledges on X alone; X dies; would Y be taken for the truth?"""
    volume = cluster.mapped()
    real = turns.Turns._decide

    def uncommitted(self, tx, vol, found, decision):
        before = {replica.slot: replica.state for replica in vol.replicas}
        real(self, tx, vol, found, decision)
        handed_out[0] = decision.columns
        for replica in vol.replicas:
            replica.state = before[replica.slot]

    def from_memory(vol, incarnation, places, of=orders.client_map):
        made = of(vol, incarnation, places)
        if not handed_out:
            return made
        kept = {r.device_id for r in handed_out[0][0] if r.written}
        legs = tuple(leg for leg in made.legs if leg.device_id in kept)
        return replace(made, columns=handed_out[0], legs=legs)

    handed_out: dict[int, generations.Columns] = {}
    broken.setattr(turns.Turns, "_decide", uncommitted)
    broken.setattr(orders, "client_map", from_memory)
    broken.setattr(orders, "granted", lambda vol, incarnation: True)
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert [leg.sds_name for leg in cluster.map_of().legs] == ["sds1"]
    cluster.restart()  # whatever it had in memory is gone: the database is the truth
    states = cluster.states(volume)
    assert states["sds2"] == {"stale"}, "C has the map without Y, and the database still promises Y"
