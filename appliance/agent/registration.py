"""How an agent makes itself known: with the join token and its secret, which it thinks up itself.

Called by ``talk`` at every start, so that the MDM learns new addresses and ports.
"""

import dataclasses
import logging
import socket
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from appliance.agent import identity
from appliance.common import errors, release
from appliance.protocol import codec, messages
from appliance.rest import client

logger = logging.getLogger(__name__)

#: What a removed agent needs to join as a new one.
_TO_JOIN_ANEW = {"sds": "a new data_dir and empty devices", "sdc": "a new data_dir"}


class Settings(Protocol):
    """What of a role's configuration is used here."""

    @property
    def name(self) -> str: ...
    @property
    def mdm(self) -> tuple[str, ...]: ...
    @property
    def join_token_file(self) -> Path: ...
    @property
    def mdm_ca_file(self) -> str: ...
    @property
    def hosts(self) -> tuple[str, ...]: ...
    @property
    def control_port(self) -> int: ...


def words(
    settings: Settings, control_port: int, domain: str = "default", fault_set: str = ""
) -> messages.Registration:
    """What an agent says of itself. Raises errors.Unavailable if its address is not known."""
    return messages.Registration(
        name=settings.name or socket.gethostname(),
        hosts=settings.hosts or (_own_address(settings.mdm),),
        control_port=control_port,
        domain=domain,
        fault_set=fault_set,
        version=release.VERSION,
    )


def register(
    role: identity.Role, settings: Settings, said: messages.Registration, store: identity.Store
) -> None:
    """Register and keep the answer, durably. Raises BasaltError; nothing is changed then."""
    kept = store.identity
    secret = kept.secret if kept is not None else store.secret_to_offer()
    if kept is not None:
        said = dataclasses.replace(said, id=kept.id, cluster_id=kept.cluster_id)
    caller = client.Client(
        settings.mdm,
        _join_token(settings.join_token_file),
        headers={"X-Basalt-Secret": secret},
        user_agent=f"basalt-{role}",
        ca_file=settings.mdm_ca_file,
    )
    try:
        answer = caller.post(f"/api/v1/agents/{role}", codec.to_json(said))
    finally:
        caller.close()
    got = codec.from_json(messages.Registered, answer)
    if kept is not None:
        _check_same(role, kept, got, settings.mdm)
    new = identity.Identity(got.id, got.secret, got.cluster_id)
    if new != kept:
        store.save_identity(new)
    logger.info("registered %s=%s name=%s hosts=%s", role, got.id, said.name, ",".join(said.hosts))


def _check_same(
    role: identity.Role, kept: identity.Identity, got: messages.Registered, mdm: Sequence[str]
) -> None:
    title = role.upper()
    if kept.cluster_id != got.cluster_id:
        raise errors.Conflict(
            why=f"this {title} belongs to cluster {kept.cluster_id}, but the MDM at "
            f"{', '.join(mdm)} is of cluster {got.cluster_id}; correct the setting mdm"
        )
    if kept.id != got.id:
        raise errors.Conflict(
            why=f"the MDM does not know this {title} ({kept.id}) any more: it was removed, or the "
            f"MDM is an older copy. To join as a new {title} give it {_TO_JOIN_ANEW[role]}"
        )


def _join_token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise errors.BadConfig(
            file="configuration",
            key="join_token_file",
            why=f"{file} cannot be read: {exc.strerror}",
        ) from exc


def _own_address(mdm: Sequence[str]) -> str:
    """The address of this host on the way to the MDM; no packet is sent to find out."""
    for url in mdm:
        parts = urllib.parse.urlsplit(url)
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM)
            with socket.socket(found[0][0], socket.SOCK_DGRAM) as probe:
                probe.connect(found[0][4])
                return str(probe.getsockname()[0])
        except OSError as exc:
            logger.info("no_route mdm=%s why=%s", url, exc)
    raise errors.Unavailable(
        why="this host's address cannot be found out, for the MDM's name is not known or there "
        "is no way to it; set hosts"
    )
