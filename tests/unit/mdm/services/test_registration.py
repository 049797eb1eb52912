"""Who an agent is when it registers: by its secret, or by its id in a recovered database, once."""

import secrets

import pytest
from sqlalchemy import update

from appliance.common import errors
from appliance.mdm.db import models
from appliance.mdm.services import registration, tokens
from appliance.protocol import messages

ID = "00000000000000aa"


def words(site, name="s1", ident=ID, cluster_id=None):
    with site.ctx.uow.read() as tx:
        own = tx.session.get_one(models.Cluster, 1).id
    return messages.Registration(
        name, ("127.0.0.1",), 7072, id=ident, cluster_id=own if cluster_id is None else cluster_id
    )


def recovered(site):
    with site.ctx.uow.write("test") as tx:
        tx.session.execute(update(models.Cluster).values(recovered_at=1.0))


@pytest.mark.parametrize("register", [registration.sds, registration.sdc])
def test_an_agent_nobody_knows_is_refused_and_leaves_nothing(site, register):
    with pytest.raises(errors.Conflict, match="does not know this SD"):
        register(site.ctx, words(site), "kept")
    with site.ctx.uow.read() as tx:
        assert tx.session.get(models.Sds, ID) is None
        assert tx.session.get(models.Sdc, ID) is None


@pytest.mark.parametrize("register", [registration.sds, registration.sdc])
def test_an_agent_of_another_cluster_is_refused(site, register):
    recovered(site)
    with pytest.raises(errors.Conflict, match="belongs to cluster 0123"):
        register(site.ctx, words(site, cluster_id="0123456789abcdef"), "kept")


@pytest.mark.parametrize("register", [registration.sds, registration.sdc])
def test_a_recovered_database_gives_an_unknown_agent_its_id_back_once(site, register):
    recovered(site)
    got = register(site.ctx, words(site), "kept")
    assert got.id == ID
    assert got.secret != "kept"
    assert register(site.ctx, words(site), got.secret) == got
    with pytest.raises(errors.Conflict, match="does not know this SD"):
        register(site.ctx, words(site), "kept")


def test_a_recovered_row_is_claimed_once_and_keeps_its_name(site):
    ident = site.sds("known")
    site.set(models.Sds, ident, secret_hash=registration.UNCLAIMED)
    got = registration.sds(site.ctx, words(site, "called-otherwise", ident), "lost")
    assert got.id == ident
    with site.ctx.uow.read() as tx:
        row = tx.session.get_one(models.Sds, ident)
        assert (row.name, row.secret_hash) == ("known", tokens.hashed(got.secret))
    assert "sds_claimed" in site.kinds()
    with pytest.raises(errors.Conflict, match="does not know this SDS"):
        registration.sds(site.ctx, words(site, "thief", ident), "guessed")


@pytest.mark.parametrize("register", [registration.sds, registration.sdc])
def test_an_agent_that_lost_the_answer_to_its_first_word_is_known(site, register):
    offered = secrets.token_urlsafe(32)
    first = register(site.ctx, words(site, ident="", cluster_id=""), offered)
    assert first.secret == offered
    assert register(site.ctx, words(site, ident="", cluster_id=""), offered) == first
    with pytest.raises(errors.Conflict, match="is registered"):
        register(site.ctx, words(site, ident="", cluster_id=""), secrets.token_urlsafe(32))


def test_one_that_lost_the_answer_to_its_claim_is_known(site):
    ident = site.sds("known")
    site.set(models.Sds, ident, secret_hash=registration.UNCLAIMED)
    kept = secrets.token_urlsafe(32)
    got = registration.sds(site.ctx, words(site, "known", ident), kept)
    assert got == registration.sds(site.ctx, words(site, "known", ident), kept)


@pytest.mark.parametrize("offered", ["", "short", "x" * 129, "\t" * 43, "\u00e9" * 43])
def test_a_secret_that_is_no_good_is_not_taken(site, offered):
    got = registration.sds(site.ctx, words(site, ident="", cluster_id=""), offered)
    assert len(got.secret) == 43
    assert got.secret != offered


def test_an_id_that_is_none_is_refused(site):
    with pytest.raises(errors.Invalid, match="is no id"):
        registration.sds(site.ctx, words(site, ident="../etc"), "kept")
