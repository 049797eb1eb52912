"""The life of an alert in the database: active, acknowledged, suppressed, resolved; told once."""

import pytest
from sqlalchemy import select

from appliance.common import errors
from appliance.mgmt.alerts import catalog, engine, rules, store
from appliance.mgmt.db import models
from appliance.mgmt.delivery import channels

DOWN = engine.Reading("sds_down", "sds", "abc", "sds1", 1.0, "Storage server sds1 is down: gone")
KEY = DOWN.key


@pytest.fixture
def watch(db, boss):
    """``watch(raised, cleared)`` keeps what an engine would have found."""
    hook = {"url": "http://192.0.2.1/x", "secret": "very secret"}
    channels.create(db, boss, "hook", "webhook", "warning", hook)

    def keep(raised=(), cleared=(), by_hand=()):
        outcome = engine.Outcome(list(raised), list(cleared), [])
        store.keep(db, rules.load(db), outcome, by_hand)

    return keep


def only(db, status="all"):
    (alert,) = store.page(db, status)["items"]
    return alert


def told(db):
    with db.read() as tx:
        rows = tx.session.scalars(select(models.Delivery).order_by(models.Delivery.id))
        return [row.message["event"] for row in rows]


def test_an_alert_has_all_the_fields_that_tools_read(db, watch, clock):
    watch([DOWN])
    clock.advance(7)
    alert = only(db)
    assert {
        "id", "rule_id", "component_id", "status", "severity", "message", "metric_value",
        "threshold_value", "fired_at", "acknowledged_at", "acknowledged_by_user_id",
        "resolved_at", "details_json", "age_seconds",
    } <= alert.keys()  # fmt: skip
    assert alert["age_seconds"] == 7
    assert (alert["status"], alert["severity"]) == ("active", "error")
    assert alert["what_to_do"] == catalog.BY_ID["sds_down"].what_to_do


def test_it_is_raised_once_and_cleared_once_and_each_is_told_once(db, watch):
    watch([DOWN])
    watch([DOWN])  # as after a restart
    watch([], [KEY])
    watch([], [KEY])
    assert only(db)["status"] == "resolved"
    assert told(db) == ["raised", "resolved"]
    watch([DOWN])
    assert len(store.page(db, "all")["items"]) == 2


def test_somebody_acknowledges_it_and_it_resolves_all_the_same(db, watch, boss):
    watch([DOWN])
    found = store.acknowledge(db, boss, only(db)["id"])
    assert (found["status"], found["acknowledged_by_user_id"]) == ("acknowledged", boss.user_id)
    with pytest.raises(errors.Conflict):
        store.acknowledge(db, boss, found["id"])
    watch([], [KEY])
    assert only(db)["status"] == "resolved"
    assert told(db) == ["raised", "acknowledged", "resolved"]


def test_what_still_holds_cannot_be_resolved_by_hand(db, watch, boss):
    watch([DOWN])
    with pytest.raises(errors.Conflict, match="suppress it"):
        store.resolve(db, boss, only(db)["id"], {KEY})
    assert store.resolve(db, boss, only(db)["id"], ())["status"] == "resolved"
    with pytest.raises(errors.Conflict, match="resolved already"):
        store.resolve(db, boss, only(db)["id"], ())


def test_a_suppressed_one_is_quiet_until_its_time_and_then_active_if_it_still_holds(
    db, watch, boss, clock
):
    watch([DOWN])
    until = clock.wall() + 100
    found = store.suppress(db, boss, only(db)["id"], until, "the rack is being moved")
    assert found["status"] == "suppressed"
    assert found["details_json"]["suppressed_reason"] == "the rack is being moved"
    watch([], [KEY])
    watch([DOWN])  # again within the time: still nobody is told
    assert told(db) == ["raised", "suppressed"]
    assert [a["status"] for a in store.page(db, "open")["items"]] == ["suppressed"]
    clock.advance(101)
    watch()
    assert [a["status"] for a in store.page(db, "open")["items"]] == ["active"]
    assert told(db) == ["raised", "suppressed", "raised"]


@pytest.mark.parametrize(("ahead_s", "reason"), [(-1, "x"), (0, "x"), (1e9, "x"), (60, " ")])
def test_a_suppression_needs_an_end_in_reach_and_a_reason(db, watch, boss, clock, ahead_s, reason):
    watch([DOWN])
    with pytest.raises(errors.Invalid):
        store.suppress(db, boss, only(db)["id"], clock.wall() + ahead_s, reason)


def test_an_alert_for_people_only_is_not_cleared_by_itself_nor_raised_twice_for_one_event(
    db, watch, boss, clock
):
    event = engine.Reading(
        "scrub_mismatch", "volume", "v", "music", 1.0, "differs", {"seq": 5, "at": clock.wall()}
    )
    watch([event], [], {"scrub_mismatch"})
    watch([], [event.key], {"scrub_mismatch"})
    assert only(db)["status"] == "active"
    store.resolve(db, boss, only(db)["id"], ())
    watch([event])
    assert only(db)["status"] == "resolved"


def test_below_a_channel_s_severity_nothing_is_sent(db, watch, boss):
    (hook,) = channels.listed(db)
    channels.delete(db, boss, hook["id"])
    url = {"url": "http://192.0.2.1/"}
    channels.create(db, boss, "grave", "webhook", "critical", url)
    watch([DOWN])
    assert told(db) == []


def test_a_channel_s_secrets_are_never_shown(db, watch):
    assert "very secret" not in str(channels.listed(db))
    assert channels.listed(db)[0]["settings"]["secret"] == "(set)"


def test_pages_go_from_the_newest_to_the_oldest_without_holes(db, watch, clock):
    for number in range(25):
        clock.advance(1)
        watch([engine.Reading("sds_down", "sds", f"s{number}", f"s{number}", 1.0, f"no {number}")])
    seen, after = [], None
    while True:
        page = store.page(db, "open", after=after, limit=10)
        seen += [alert["message"] for alert in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [f"no {number}" for number in reversed(range(25))]
    assert [a["message"] for a in store.page(db, "open", "no 7")["items"]] == ["no 7"]
    assert store.page(db, "open", "%")["items"] == []


def test_old_resolved_alerts_go_and_open_ones_stay(db, watch, clock):
    watch([DOWN])
    watch([], [KEY])
    watch([engine.Reading("sds_down", "sds", "other", "sds2", 1.0, "down")])
    clock.advance(1000)
    store.prune(db, clock.wall() - 10)
    assert only(db)["component_id"] == "other"


def test_a_rule_s_change_is_checked_and_audited(db, boss):
    found = rules.update(db, boss, "pool_used_warning", {"threshold": 70.0, "clear_threshold": 65})
    assert found["threshold"] == 70
    with pytest.raises(errors.Invalid, match="above the threshold"):
        rules.update(db, boss, "pool_used_warning", {"clear_threshold": 71.0})
    with pytest.raises(errors.NotFound):
        rules.update(db, boss, "nothing", {"threshold": 1.0})
    assert rules.load(db)["pool_used_warning"].clear_threshold == 65
    rules.ensure(db)
    assert rules.load(db)["pool_used_warning"].threshold == 70
