"""Tokens open what they should, are kept as hashes only, and end when they are withdrawn."""

import pytest
from sqlalchemy import select

from appliance.common import errors
from appliance.mdm import bodies
from appliance.mdm.db import models
from appliance.mdm.services import auth, registration, sds, tokens, withdrawal
from appliance.protocol import messages
from tests.fakes import mdm_site

ACTOR = mdm_site.ACTOR


@pytest.fixture
def door(site, tmp_path):
    tokens.ensure_files(site.ctx.uow, tmp_path)
    made = auth.Authenticator(site.ctx.uow)
    made.reload()
    return made


def token(tmp_path, name):
    return (tmp_path / name).read_text(encoding="ascii").strip()


def test_the_first_start_makes_two_tokens_in_files_for_their_owner(door, tmp_path):
    admin = door.identify(f"Bearer {token(tmp_path, 'admin.token')}")
    join = door.identify(f"bearer  {token(tmp_path, 'join.token')} ")
    assert (admin.role, admin.actor) == ("administrator", "admin")
    assert (join.role, join.actor) == ("join", "join:join")
    assert (tmp_path / "admin.token").stat().st_mode & 0o777 == 0o600


def test_later_starts_keep_the_tokens(site, door, tmp_path):
    before = token(tmp_path, "admin.token")
    tokens.ensure_files(site.ctx.uow, tmp_path)
    assert token(tmp_path, "admin.token") == before


@pytest.mark.parametrize("content", [None, b"other\n", b"\xff\xfe"])
def test_a_lost_or_foreign_file_is_replaced_and_the_old_token_ends(site, door, tmp_path, content):
    before = token(tmp_path, "admin.token")
    (tmp_path / "admin.token").unlink()
    if content is not None:
        (tmp_path / "admin.token").write_bytes(content)
    tokens.ensure_files(site.ctx.uow, tmp_path)
    door.reload()
    assert door.identify(f"Bearer {token(tmp_path, 'admin.token')}").role == "administrator"
    with pytest.raises(errors.Unauthenticated):
        door.identify(f"Bearer {before}")


def test_no_token_is_kept_in_the_database(site, door, tmp_path):
    made = tokens.create(site.ctx, ACTOR, bodies.NewToken(name="t", role="join"))
    secrets_ = [made["token"], token(tmp_path, "admin.token"), token(tmp_path, "join.token")]
    site.close()
    files = [path.read_bytes() for path in tmp_path.glob("mdm.db*")]
    assert not any(secret.encode() in content for secret in secrets_ for content in files)


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer ", "Basic x", "Bearer wrong"])
def test_whatever_is_no_good_token_is_refused(door, given):
    with pytest.raises(errors.Unauthenticated):
        door.identify(given)


def test_others_must_not_read_a_tokens_file(door, tmp_path):
    tokens.check_file_modes(tmp_path)
    (tmp_path / "join.token").chmod(0o640)
    with pytest.raises(errors.BadConfig, match="chmod 600"):
        tokens.check_file_modes(tmp_path)


def test_the_last_administrators_token_stays(site, door):
    with pytest.raises(errors.InUse, match="last administrator"):
        tokens.delete(site.ctx, ACTOR, "admin")
    tokens.create(site.ctx, ACTOR, bodies.NewToken(name="b", role="administrator"))
    tokens.delete(site.ctx, ACTOR, "admin")
    listed = tokens.list_page(site.ctx, bodies.Page())["items"]
    assert [item["name"] for item in listed] == ["b", "join"]


def test_an_agent_gets_a_secret_that_ends_with_it(site, door):
    words = messages.Registration("one", ("127.0.0.1",), 7072)
    made = registration.sds(site.ctx, words, "")
    door.reload()
    found = door.secret(made.secret)
    assert found is not None
    assert (found.role, found.id, found.actor) == ("sds", made.id, "sds:one")
    withdrawal.remove(site.ctx, ACTOR, "one", evacuate=False)
    door.reload()
    assert door.secret(made.secret) is None
    assert site.reloads == 2


def test_registering_again_keeps_who_it_is_and_learns_where_it_is(site):
    first = registration.sds(site.ctx, messages.Registration("one", ("10.0.0.1",), 1), "")
    sds.rename(site.ctx, ACTOR, "one", bodies.Rename(name="uno"))
    words = messages.Registration("one", ("10.0.0.2", "fe80::1%eth0"), 2, version="2")
    assert registration.sds(site.ctx, words, first.secret) == first
    shown = sds.get(site.ctx, first.id)
    assert (shown["name"], shown["control_port"], shown["version"]) == ("uno", 2, "2")
    assert shown["hosts"] == ["10.0.0.2", "fe80::1%eth0"]
    again = registration.sdc(site.ctx, words, "")
    assert registration.sdc(site.ctx, words, again.secret) == again


def test_a_known_name_without_its_secret_is_refused(site):
    words = messages.Registration("one", ("10.0.0.1",), 1)
    registration.sds(site.ctx, words, "")
    registration.sdc(site.ctx, words, "")
    for secret in ("", "wrong"):
        with pytest.raises(errors.Conflict, match="basalt sds remove one"):
            registration.sds(site.ctx, words, secret)
        with pytest.raises(errors.Conflict, match="basalt sdc remove one"):
            registration.sdc(site.ctx, words, secret)


def test_an_sds_changes_its_fault_set_only_while_it_has_no_device(site):
    words = messages.Registration("one", ("10.0.0.1",), 1, fault_set="rack1")
    made = registration.sds(site.ctx, words, "")
    moved = messages.Registration("one", ("10.0.0.1",), 1, domain="east", fault_set="rack2")
    registration.sds(site.ctx, moved, made.secret)
    shown = sds.get(site.ctx, "one")
    assert (shown["domain"], shown["fault_set"]) == ("east", "rack2")
    site.ctx.liveness.seen(made.id, site.clock.monotonic())
    registration.sds(site.ctx, words, made.secret)
    site.device(made.id, site.pool())
    with pytest.raises(errors.Conflict, match="has devices"):
        registration.sds(site.ctx, moved, made.secret)


@pytest.mark.parametrize(
    "words",
    [
        messages.Registration("a b", ("h",), 1),
        messages.Registration("a", ("h",), 1, domain=""),
        messages.Registration("a", ("h",), 1, fault_set="/"),
        messages.Registration("a", (), 1),
        messages.Registration("a", ("h",) * 17, 1),
        messages.Registration("a", ("h h",), 1),
        messages.Registration("a", ("h",), 0),
        messages.Registration("a", ("h",), 65536),
        messages.Registration("a", ("h",), 1, version="\x1b[31m"),
    ],
)
def test_nonsense_is_refused_and_nothing_is_made(site, words):
    with pytest.raises(errors.Invalid):
        registration.sds(site.ctx, words, "")
    with site.ctx.uow.read() as tx:
        assert tx.session.scalars(select(models.Sds)).first() is None
