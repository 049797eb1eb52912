"""A token that the MDM no longer knows: MGMT says so, tries its file again a few times, gives up
with an alert, and works again, by itself, once the file holds a good one."""

from appliance.mgmt.alerts import rules, store
from appliance.rest import checks, client


def alerts(mgmt, status):
    items = store.page(mgmt.context.db, status)["items"]
    return [one for one in items if one["rule_id"] == "heal_failed"]


def part(mgmt):
    (found,) = [one for one in mgmt.context.checks.report() if one["part"] == "mdm"]
    return found


def test_a_lost_token_is_healed_from_its_file_and_given_up_at_the_limit(mgmt, mdm):
    rules.update(mgmt.context.db, mgmt.boss, "heal_failed", {"clear_hold_s": 0.0})
    check = next(one for one in mgmt.context.checks._checks if one.name == "mdm")
    check.pause = checks.backoff.Backoff(0.01, 0.01)
    good = mdm.api.post("/api/v1/tokens", {"name": "other", "role": "administrator"})["token"]
    boss = client.Client([mdm.url], good)
    boss.delete("/api/v1/tokens/admin")
    mgmt.until(lambda: part(mgmt)["state"] == "unhealthy", "MGMT to be locked out")
    mgmt.until(lambda: part(mgmt)["given_up"], "healing to be given up")
    assert part(mgmt)["heal_attempts"] == checks.HEAL_LIMIT
    raised = mgmt.until(lambda: alerts(mgmt, "active"), "the alert")
    assert "mdm could not be healed in 5 attempts" in raised[0]["message"]
    mgmt.mdm_token_file.write_text(good + "\n")
    mgmt.until(lambda: part(mgmt)["state"] == "healthy", "the new token to be read")
    mgmt.until(lambda: not alerts(mgmt, "active"), "the alert to resolve")
    boss.close()
