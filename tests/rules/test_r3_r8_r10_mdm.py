"""R3 and R8 where the MDM keeps them: intent files let go, copies ordered, copies believed."""

from dataclasses import replace
from types import SimpleNamespace

from sqlalchemy import delete

from appliance.agent import identity, talk
from appliance.mdm.db import models
from appliance.mdm.services import needs, orders, sds_reports, upkeep
from appliance.protocol import codec, messages
from tests.rules.clauses import clause


@clause("R3 the intent file outlives the mapping", without="what C marked is forgotten")
def test_marks_stay_until_the_copies_are_equal(cluster, broken):
    volume = cluster.mapped()
    incarnation = cluster.sdcs[0].plugin().status.incarnation
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})

    def with_the_mapping(vol):
        return tuple(i.id for i in vol.incarnations if i.state in ("clean", "retiring"))

    broken.setattr(orders, "retirable", with_the_mapping)
    cluster.sds[1].silent = False
    cluster.unmap(volume)
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"syncing"})
    cluster.steps(20)
    known = [agent for agent in cluster.sds if incarnation in agent.leg(volume).intents]
    assert known == cluster.sds, "what C marked is forgotten"


@clause(
    "R3 the intent file goes only after fdatasync everywhere",
    without="the marks are gone while Y's pages are not on its disk",
)
def test_marks_stay_until_every_replica_is_synced(cluster, broken):
    volume = cluster.mapped()

    def at_once(self, tx, vol):
        ready = orders.retirable(vol)
        tx.session.execute(delete(models.Incarnation).where(models.Incarnation.id.in_(ready)))
        tx.session.expire(vol, ["incarnations"])

    broken.setattr(upkeep.Upkeep, "_tidy", at_once)
    cluster.sds[1].silent = True  # a moment only: nobody takes it out for that
    cluster.unmap(volume)
    cluster.steps(10)
    assert cluster.states(volume)["sds2"] == {"in_sync"}
    left = cluster.incarnations(volume)
    assert left == ["clean"], "the marks are gone while Y's pages are not on its disk"


def _lost(cluster) -> str:
    """A mapped volume whose second replica is stale, its SDS silent."""
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    cluster.until(lambda: not cluster.row(volume).turn_open)
    return volume


@clause("R8 a join is a turn", without="X is copied to while C writes without it")
def test_nothing_is_copied_to_a_replica_a_client_has_not_heard_of(cluster, broken):
    volume = _lost(cluster)
    real = upkeep.Upkeep._wants_turn

    def joined_in_passing(self, vol, look):
        reason = real(self, vol, look)
        if reason != "a replica came, or came back":
            return reason
        for replica in vol.replicas:
            if replica.state == "stale":
                replica.state = "syncing"
        return ""

    broken.setattr(upkeep.Upkeep, "_wants_turn", joined_in_passing)
    cluster.sdcs[0].silent = True  # it does not hear of the join
    cluster.steps(60)
    cluster.sds[1].silent = False
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"syncing"})
    cluster.until(lambda: not cluster.row(volume).turn_open)
    (leg,) = cluster.map_of().legs
    writes = cluster.sds[0].leg(volume).server == leg.data_export
    assert not writes, "X is copied to while C writes without it"


@clause(
    "R8 a mapping during a copy is a turn",
    without="the copy that runs asks the new client for no lock",
)
def test_a_copy_locks_every_client_there_is(new_cluster, broken):
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped(shareable=True)
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    cluster.sds[1].silent = False
    cluster.until(lambda: cluster.sds[1].leg(volume).copy_order is not None)

    def handed_out(vol, incarnation, places, real=orders.client_map):
        for leg in vol.legs:
            leg.intents = {**leg.intents, incarnation: f"{leg.data_export}-{incarnation}"}
        return real(vol, incarnation, places)

    broken.setattr(needs, "newcomers", lambda vol: [])
    broken.setattr(orders, "granted", lambda vol, incarnation: True)
    broken.setattr(orders, "client_map", handed_out)
    cluster.map(volume, sdc=1)
    cluster.until(lambda: bool(cluster.sdcs[1].maps))
    cluster.until(lambda: cluster.sds[1].leg(volume).copy_order is not None)
    asked = {client.incarnation for client in cluster.sds[1].leg(volume).copy_order.clients}
    mapped = {agent.plugin().status.incarnation for agent in cluster.sdcs}
    assert asked == mapped, "the copy that runs asks the new client for no lock"


def _copying(cluster) -> str:
    volume = _lost(cluster)
    cluster.sds[1].silent = False
    cluster.until(lambda: cluster.sds[1].leg(volume).copy is not None)
    return volume


@clause(
    "R8 progress is bound to cache id and generation",
    without="regions that were only in the lost cache count as copied",
)
def test_a_copy_whose_host_rebooted_is_not_believed(cluster, broken):
    volume = _copying(cluster)
    real = sds_reports.SdsReports._apply_copy

    def believed(self, tx, vol, leg, copy):
        leg.serving, was = True, leg.serving
        real(self, tx, vol, leg, copy)
        leg.serving = was

    broken.setattr(sds_reports.SdsReports, "_apply_copy", believed)
    cluster.sds[1].finish_copies()
    done = cluster.sds[1].leg(volume).copy
    cluster.sds[1].reboot()  # before it is said, and said all the same
    cluster.sds[1].leg(volume).copy = done
    cluster.exchange(cluster.sds[1])
    states = cluster.states(volume)
    assert states["sds2"] == {"syncing"}, "regions that were only in the lost cache count as copied"


@clause(
    "R8 done is refused if the generation moved",
    without="done of the copy before the turn promotes Y",
)
def test_done_of_an_older_generation_promotes_nobody(cluster, broken):
    volume = _copying(cluster)
    old = cluster.row(volume).generation
    cluster.sdcs[0].crash_plugins()  # its last write is somewhere: regions are in doubt
    cluster.until(lambda: cluster.row(volume).generation > old + 0 and _copies(cluster, volume))
    real = sds_reports.SdsReports._apply_leg

    def any_generation(self, tx, vol, leg, report):
        if report.copy is not None:
            copy = replace(report.copy, generation=vol.generation)
            report = replace(report, copy=copy)
        real(self, tx, vol, leg, report)

    broken.setattr(sds_reports.SdsReports, "_apply_leg", any_generation)
    for agent in cluster.sds:
        agent.finish_copies(generation=old)
    cluster.steps(10)
    states = [state for found in cluster.states(volume).values() for state in found]
    assert "syncing" in states, "done of the copy before the turn promotes Y"


def _copies(cluster, volume) -> bool:
    if cluster.row(volume).turn_open:
        return False
    return any(agent.leg(volume).copy_order is not None for agent in cluster.sds)


@clause("R8 removed means full copy", without="what its deleted marks knew is not copied")
def test_one_whose_files_were_made_anew_gets_everything(cluster, broken):
    volume = cluster.mapped()
    agent = cluster.sds[1]
    real = orders._copy_order

    def by_marks(vol, leg, own, places):
        found = real(vol, leg, own, places)
        if found is None:
            return None
        return replace(found, columns=tuple(replace(c, full=False) for c in found.columns))

    broken.setattr(orders, "_copy_order", by_marks)
    agent.reboot()
    leg = agent.leg(volume)
    leg.generation = leg.created = 0  # nothing is there: it makes new files as ordered
    cluster.until(lambda: agent.leg(volume).copy_order is not None, 30)
    (column,) = agent.leg(volume).copy_order.columns
    assert column.full, "what its deleted marks knew is not copied"


class _Talk(talk.Talk):
    role = "sds"

    def __init__(self, store, answer: messages.SdsOrders) -> None:
        super().__init__(SimpleNamespace(control_port=0), store, "boot")
        self._client = SimpleNamespace(post=lambda path, words: codec.to_json(answer))
        self.obeyed: messages.SdsOrders | None = None

    def _words(self) -> messages.Registration:
        raise NotImplementedError

    def _turn(self) -> None:
        beat = messages.SdsHeartbeat("s", "boot", 0, False)
        self.obeyed = self._exchange(beat, messages.SdsOrders)


@clause("R10 a lower term is refused", without="an MDM restored from a backup is obeyed")
def test_orders_of_a_lower_term_are_refused(tmp_path, broken):
    store = identity.Store(tmp_path, "sds")
    store.save_identity(identity.Identity("i", "secret", "cluster"))
    store.save_term(5)
    store.close()
    store = identity.Store(tmp_path, "sds")  # across restarts
    broken.setattr(store, "term", 0)
    told = _Talk(store, messages.SdsOrders("cluster", term=4, revision=9))
    told.run_once()
    store.close()
    assert told.obeyed is None, "an MDM restored from a backup is obeyed"
    assert "term 4 is older than 5" in told.trouble
