"""Agents join with the join token and a secret they thought up, get an id, and register again at
every start.

The secret is what proves that an agent is the same one; then its name in the MDM, its id and its
secret stay, and its addresses are brought up to date. So an agent that never got the answer to its
first word asks again and is known. A database that was recovered from the devices knows no secrets:
there an agent gets its id back by naming it, once.
"""

import re
import secrets
from typing import TypeVar

from sqlalchemy import select

from appliance.common import errors
from appliance.mdm import bodies
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, domains, fault_sets, refs, tokens
from appliance.protocol import messages

#: In place of a secret's hash: of an agent that a recovered database knows by its id only.
UNCLAIMED = ""

Agent = TypeVar("Agent", models.Sds, models.Sdc)

#: Shortest and longest secret an agent may choose: 32 random bytes are 43 signs.
_SECRET_SIGNS = range(40, 129)

_HOST = re.compile(r"[A-Za-z0-9:._%-]{1,255}")


def sds(ctx: context.Context, words: messages.Registration, secret: str) -> messages.Registered:
    """``secret``: the one the agent kept or, of a newcomer, offers. Raises errors.Conflict."""
    _check(words)
    with ctx.uow.write(f"sds:{words.name}") as tx:
        row = _known(tx, models.Sds, words, secret)
        domain, fault_set = _place(tx, words)
        placed = (domain.id, fault_set.id if fault_set is not None else None)
        if row is None:
            secret = _accepted(secret)
            ident = words.id or secrets.token_hex(8)
            row = models.Sds(id=ident, name=words.name, created_at=tx.now)
            row.state, row.secret_hash, row.boot_id = "normal", tokens.hashed(secret), ""
            row.domain_id, row.fault_set_id = placed
            tx.session.add(row)
            tx.event("sds_joined", "sds", row.id, row.name, hosts=list(words.hosts))
            tx.after_commit(ctx.tokens_changed)
        elif row.secret_hash == UNCLAIMED:
            secret = _claim(ctx, tx, row, secret)
            # The devices told where it was, if any of its own was there to tell.
            row.domain_id, row.fault_set_id = placed
        if (row.domain_id, row.fault_set_id) != placed:
            _move(tx, row, placed)
        row.hosts, row.control_port = list(words.hosts), words.control_port
        row.version = words.version[:64]
        return messages.Registered(row.id, secret, _cluster_id(tx))


def sdc(ctx: context.Context, words: messages.Registration, secret: str) -> messages.Registered:
    """As ``sds``; clients belong to no domain."""
    _check(words)
    with ctx.uow.write(f"sdc:{words.name}") as tx:
        row = _known(tx, models.Sdc, words, secret)
        if row is None:
            secret = _accepted(secret)
            ident = words.id or secrets.token_hex(8)
            row = models.Sdc(id=ident, name=words.name, created_at=tx.now)
            row.approved, row.secret_hash, row.boot_id = True, tokens.hashed(secret), ""
            tx.session.add(row)
            tx.event("sdc_joined", "sdc", row.id, row.name, hosts=list(words.hosts))
            tx.after_commit(ctx.tokens_changed)
        row.hosts, row.control_port = list(words.hosts), words.control_port
        row.version = words.version[:64]
        return messages.Registered(row.id, secret, _cluster_id(tx))


def _known(
    tx: unit_of_work.Tx, model: type[Agent], words: messages.Registration, secret: str
) -> Agent | None:
    """The row the agent's secret or, in a recovered database, its id belongs to; None: a newcomer.

    Raises errors.Conflict for an agent of another cluster, for one that this MDM does not know
    (any more), and for a name that is taken.
    """
    cluster = tx.session.get_one(models.Cluster, 1)
    if words.cluster_id and words.cluster_id != cluster.id:
        raise errors.Conflict(
            why=f"this agent belongs to cluster {words.cluster_id}, and this MDM is of cluster "
            f"{cluster.id}; correct its setting mdm, or give it a new data_dir"
        )
    by_secret = select(model).where(model.secret_hash == tokens.hashed(secret))
    row = tx.session.scalars(by_secret).first() if secret else None
    if row is not None:
        return row
    named = tx.session.get(model, words.id) if words.id else None
    if named is not None and named.secret_hash == UNCLAIMED:
        return named
    if words.id and (named is not None or not cluster.recovered_at):
        kind = refs.KINDS[model].upper()
        raise errors.Conflict(
            why=f"the MDM does not know this {kind} ({words.id}) by its secret: it was removed, or "
            f"the MDM's database is an older copy. To join as a new {kind} give it a new data_dir "
            "(and an SDS empty devices)"
        )
    _check_name(tx, model, words.name)
    return None


def _accepted(secret: str) -> str:
    """``secret``, or another if it is none to trust in: agents of an earlier release offer none."""
    good = len(secret) in _SECRET_SIGNS and secret.isascii() and secret.isprintable()
    return secret if good else secrets.token_urlsafe(32)


def _claim(ctx: context.Context, tx: unit_of_work.Tx, row: models.Sds, secret: str) -> str:
    """Give a recovered row to the agent that named it: its secret from now on."""
    secret = _accepted(secret)
    row.secret_hash = tokens.hashed(secret)
    tx.event("sds_claimed", "sds", row.id, row.name)
    tx.after_commit(ctx.tokens_changed)
    return secret


def _check_name(tx: unit_of_work.Tx, model: type[models.Sds] | type[models.Sdc], name: str) -> None:
    if tx.session.scalars(select(model).where(model.name == name)).first() is not None:
        kind = refs.KINDS[model].upper()
        raise errors.Conflict(
            why=f"{kind} '{name}' is registered, and the secret it got then was not given; give "
            "this agent another name, bring back its data folder, or remove the registered one "
            f"(basalt {kind.lower()} remove {name})"
        )


def _place(
    tx: unit_of_work.Tx, words: messages.Registration
) -> tuple[models.Domain, models.FaultSet | None]:
    """The domain and fault set named, made if they are new: the join token may do that."""
    named = select(models.Domain).where(models.Domain.name == words.domain)
    domain = tx.session.scalars(named).first() or domains.add(tx, words.domain)
    if not words.fault_set:
        return domain, None
    tx.session.flush()
    query = select(models.FaultSet).where(
        models.FaultSet.domain_id == domain.id, models.FaultSet.name == words.fault_set
    )
    found = tx.session.scalars(query).first()
    return domain, found or fault_sets.add(tx, domain, words.fault_set)


def _move(tx: unit_of_work.Tx, row: models.Sds, placed: tuple[str, str | None]) -> None:
    held = select(models.Device.id).where(models.Device.sds_id == row.id)
    if tx.session.scalars(held).first() is not None:
        raise errors.Conflict(
            why=f"SDS '{row.name}' has devices, so its domain and fault set cannot change; set "
            "them back in its configuration, or remove its devices first"
        )
    row.domain_id, row.fault_set_id = placed
    tx.event("sds_moved", "sds", row.id, row.name, domain_id=placed[0], fault_set_id=placed[1])


def _cluster_id(tx: unit_of_work.Tx) -> str:
    return tx.session.get_one(models.Cluster, 1).id


def _check(words: messages.Registration) -> None:
    for field, value in (("name", words.name), ("domain", words.domain)):
        _check_word(field, value)
    if words.fault_set:
        _check_word("fault_set", words.fault_set)
    if not 1 <= words.control_port <= 65535:
        raise errors.Invalid(what="control_port", why=f"{words.control_port} is no TCP port")
    if not 1 <= len(words.hosts) <= 16:
        raise errors.Invalid(what="hosts", why="give one to 16 addresses")
    if words.id and not bodies.is_id(words.id):
        raise errors.Invalid(what="id", why=f"{words.id[:80]!r} is no id")
    for host in words.hosts:
        if not _HOST.fullmatch(host):
            raise errors.Invalid(what="hosts", why=f"{host[:80]!r} is no host name or address")
    if not words.version.isprintable():
        raise errors.Invalid(what="version", why="it has control signs")


def _check_word(field: str, value: str) -> None:
    try:
        bodies.name(value)
    except ValueError as exc:
        raise errors.Invalid(what=field, why=str(exc)) from exc
