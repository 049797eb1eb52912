"""Logging in: what is checked, how guessing is slowed, and when a session or token ends."""

import dataclasses

import pytest
from sqlalchemy import select

from appliance.common import errors
from appliance.mgmt import config
from appliance.mgmt.db import models
from appliance.mgmt.services import audit, passwords, sessions, users

PASSWORD = "correct horse battery"
CHEAP = {"password_memory_kib": 32}


@pytest.fixture
def settings():
    return config.Config(session_idle_s=100, session_limit_s=1000)


@pytest.fixture
def known(db, hasher, settings, clock, boss):
    users.create(db, hasher, boss, "alice", "configure", PASSWORD)
    return sessions.Sessions(db, hasher, settings, clock)


def wrong(known, times, name="alice", peer="192.0.2.9"):
    for _ in range(times):
        with pytest.raises(errors.Unauthenticated, match="name or password is wrong"):
            known.login(name, "not the password", peer)


def test_a_login_gives_a_session_with_the_user_s_role(known):
    value = known.login("alice", PASSWORD, "192.0.2.1")
    who = known.of_cookie(value, "192.0.2.1")
    assert (who.name, who.role, who.peer) == ("alice", "configure", "192.0.2.1")
    assert len(who.csrf) > 20


def test_every_login_is_another_session(known):
    first, second = (known.login("alice", PASSWORD, "p") for _ in range(2))
    assert first != second
    assert known.of_cookie(first, "p").csrf != known.of_cookie(second, "p").csrf


def test_an_invented_cookie_is_nobody_s(known):
    assert known.of_cookie("x" * 43, "p") is None
    assert known.of_cookie("", "p") is None


def test_a_session_ends_when_idle_when_old_and_at_logout(known, clock):
    value = known.login("alice", PASSWORD, "p")
    clock.advance(99)
    assert known.of_cookie(value, "p") is not None  # and that counts as use
    clock.advance(99)
    assert known.of_cookie(value, "p") is not None
    clock.advance(101)
    assert known.of_cookie(value, "p") is None
    value = known.login("alice", PASSWORD, "p")
    for _ in range(11):
        clock.advance(95)
        known.of_cookie(value, "p")
    assert known.of_cookie(value, "p") is None
    value = known.login("alice", PASSWORD, "p")
    known.logout(known.of_cookie(value, "p"))
    assert known.of_cookie(value, "p") is None


def test_wrong_name_and_wrong_password_are_told_alike(known):
    wrong(known, 1)
    wrong(known, 1, name="nobody")


def test_guessing_locks_the_user_for_longer_and_longer_and_a_login_lifts_it(known, clock):
    wrong(known, sessions.FREE_TRIES)
    with pytest.raises(errors.TooMany, match="wait 3 s"):
        known.login("alice", PASSWORD, "192.0.2.1")
    clock.advance(2.1)
    wrong(known, 1)
    with pytest.raises(errors.TooMany, match="wait 5 s"):
        known.login("alice", PASSWORD, "192.0.2.1")
    clock.advance(4.1)
    assert known.login("alice", PASSWORD, "192.0.2.1")
    wrong(known, sessions.FREE_TRIES - 1)
    assert known.login("alice", PASSWORD, "192.0.2.1")


def test_an_address_that_tries_many_names_is_slowed_and_others_are_not(known, clock):
    for number in range(20):
        wrong(known, 1, name=f"user{number}")
    with pytest.raises(errors.TooMany):
        known.login("alice", PASSWORD, "192.0.2.9")
    assert known.login("alice", PASSWORD, "192.0.2.1")
    clock.advance(61)
    assert known.login("alice", PASSWORD, "192.0.2.9")


def test_logins_and_refusals_are_audited_and_passwords_are_not(known, db):
    known.login("alice", PASSWORD, "192.0.2.1")
    wrong(known, 1)
    entries = audit.newest(db)["items"]
    assert [(e["who"], e["what"], e["outcome"], e["peer"]) for e in entries[:2]] == [
        ("alice", "login", "refused", "192.0.2.9"),
        ("alice", "login", "done", "192.0.2.1"),
    ]
    assert "password" not in str([entry["detail"] for entry in entries]).lower()


def test_a_token_works_until_it_ends_with_the_lesser_of_its_role_and_its_owner_s(
    known, db, hasher, boss, clock
):
    made = known.create_token(boss, "robot", "administrator", days=1)
    assert known.of_token(made["token"], "p").role == "administrator"
    assert known.of_token(made["token"], "p").csrf == ""
    users.create(db, hasher, boss, "other", "administrator", PASSWORD)
    (other,) = [one for one in users.everyone(db) if one["name"] == "other"]
    other_boss = dataclasses.replace(boss, user_id=other["id"], name="other")
    users.change_role(db, other_boss, boss.user_id, "monitor")
    assert known.of_token(made["token"], "p").role == "monitor"
    clock.advance(86401)
    assert known.of_token(made["token"], "p") is None


def test_nobody_makes_a_token_with_more_rights_than_the_own(known):
    who = known.of_cookie(known.login("alice", PASSWORD, "p"), "p")
    with pytest.raises(errors.Forbidden):
        known.create_token(who, "more", "administrator", None)
    assert known.create_token(who, "same", "configure", None)["role"] == "configure"


def test_nobody_but_its_owner_and_administrators_withdraws_a_token(known, db, boss):
    who = known.of_cookie(known.login("alice", PASSWORD, "p"), "p")
    of_boss = known.create_token(boss, "mine", "monitor", None)
    with pytest.raises(errors.NotFound):
        known.delete_token(who, of_boss["id"])
    of_alice = known.create_token(who, "hers", "monitor", None)
    known.delete_token(boss, of_alice["id"])
    assert known.of_token(of_alice["token"], "p") is None


def test_a_login_brings_an_older_hash_to_the_present_cost(db, hasher, known, settings, clock):
    dearer = passwords.Hasher(dataclasses.replace(settings, password_rounds=2, **CHEAP))
    later = sessions.Sessions(db, dearer, settings, clock)
    for _ in range(2):
        with db.read() as tx:
            stored = tx.session.scalars(select(models.User.password_hash)).all()
        assert any(hasher.verify(one, PASSWORD) for one in stored)
        assert later.login("alice", PASSWORD, "p")
    assert sum("t=2" in one for one in stored) == 1


@pytest.mark.parametrize("cost", [{"password_rounds": 0}, {"password_memory_kib": 1}])
def test_a_cost_that_argon2_does_not_take_stops_the_start(settings, cost):
    with pytest.raises(errors.BadConfig, match="password_rounds, password_memory_kib"):
        passwords.Hasher(dataclasses.replace(settings, **{**CHEAP, **cost}))


def test_secrets_are_kept_nowhere(known, tmp_path, boss):
    value = known.login("alice", PASSWORD, "p")
    token = known.create_token(boss, "robot", "monitor", None)["token"]
    everything = b"".join(path.read_bytes() for path in tmp_path.glob("mgmt.db*"))
    for secret in (value, token, PASSWORD):
        assert secret.encode() not in everything


@pytest.mark.parametrize("bad", ["short", "x" * 201, "aaaaaaaaaaaaaaa", "somebody-there"])
def test_weak_passwords_are_refused(bad):
    with pytest.raises(errors.Invalid):
        passwords.check_new(bad, "somebody-there")
