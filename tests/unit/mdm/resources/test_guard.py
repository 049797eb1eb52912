"""What each role of people may do at the MDM: one line per kind of request."""

import pytest

from appliance.common import errors
from appliance.mdm.resources import guard
from appliance.mdm.services import auth, tokens


@pytest.mark.parametrize(
    ("method", "template", "role"),
    [
        ("GET", "/api/v1/volumes", "monitor"),
        ("HEAD", "/api/v1/volumes", "monitor"),
        ("GET", "/metrics", "monitor"),
        ("GET", "/api/v1/events", "monitor"),
        ("POST", "/api/v1/volumes", "configure"),
        ("PATCH", "/api/v1/volumes/{ref}", "configure"),
        ("DELETE", "/api/v1/volumes/{ref}/mappings/{mapping}", "configure"),
        ("POST", "/api/v1/volumes/{ref}/recovery", "administrator"),
        ("POST", "/api/v1/pools", "administrator"),
        ("DELETE", "/api/v1/devices/{ref}", "administrator"),
        ("PATCH", "/api/v1/sdcs/{ref}", "administrator"),
        ("POST", "/api/v1/backups", "administrator"),
        ("GET", "/api/v1/tokens", "administrator"),
        ("POST", "/api/v1/tokens", "administrator"),
        ("POST", "/api/v1/agents/sds", "administrator"),
    ],
)
def test_the_least_role_for_a_request(method, template, role):
    assert guard.role_needed(method, template) == role


@pytest.mark.parametrize("own", tokens.PEOPLE)
@pytest.mark.parametrize("wanted", tokens.PEOPLE)
def test_acting_for_a_person_never_gains_rights(own, wanted):
    found = auth.Identity(own, "i", "robot").acting_for("alice", wanted)
    assert tokens.PEOPLE.index(found.role) == min(
        tokens.PEOPLE.index(own), tokens.PEOPLE.index(wanted)
    )
    assert found.actor == "alice (robot)"


@pytest.mark.parametrize("role", ["join", "sds", "sdc"])
def test_agents_act_for_nobody(role):
    with pytest.raises(errors.Forbidden):
        auth.Identity(role, "i", "x").acting_for("alice", "monitor")


@pytest.mark.parametrize(("name", "role"), [("a b", "monitor"), ("", "monitor"), ("a", "root")])
def test_who_is_acted_for_is_checked(name, role):
    with pytest.raises(errors.Invalid):
        auth.Identity("administrator", "i", "x").acting_for(name, role)
