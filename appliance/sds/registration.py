"""How an SDS makes itself known: with the join token, and the secret it kept if it has one.

Called by ``agent`` at every start, so that the MDM learns new addresses and ports.
"""

import functools
import importlib.metadata
import logging
import socket
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.rest import client
from appliance.sds import config, registry

logger = logging.getLogger(__name__)


def register(settings: config.Config, control_port: int, store: registry.Registry) -> None:
    """Register and keep the answer, durably. Raises BasaltError; nothing is changed then."""
    kept = store.identity
    caller = client.Client(
        settings.mdm,
        _join_token(settings.join_token_file),
        headers={"X-Basalt-Secret": kept.secret} if kept is not None else None,
        user_agent="basalt-sds",
    )
    words = messages.Registration(
        name=settings.name or socket.gethostname(),
        hosts=settings.hosts or (_own_address(settings.mdm),),
        control_port=control_port,
        domain=settings.domain,
        fault_set=settings.fault_set,
        version=version(),
    )
    try:
        answer = caller.post("/api/v1/agents/sds", codec.to_json(words))
    finally:
        caller.close()
    got = codec.from_json(messages.Registered, answer)
    if kept is not None and kept.cluster_id != got.cluster_id:
        raise errors.Conflict(
            why=f"this SDS belongs to cluster {kept.cluster_id}, but the MDM at "
            f"{', '.join(settings.mdm)} is of cluster {got.cluster_id}; correct the setting mdm"
        )
    if kept is not None and kept.id != got.id:
        raise errors.Conflict(
            why=f"the MDM does not know this SDS ({kept.id}) any more: it was removed, or the MDM "
            "is an older copy. To join as a new SDS give it a new data_dir and empty devices"
        )
    identity = registry.Identity(got.id, got.secret, got.cluster_id)
    if identity != kept:
        store.save_identity(identity)
    logger.info("registered sds=%s name=%s hosts=%s", got.id, words.name, ",".join(words.hosts))


@functools.cache
def version() -> str:
    """Of this release. Read once: every heartbeat tells it."""
    return importlib.metadata.version("basalt")


def _join_token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise errors.BadConfig(
            file="join_token_file", key=str(file), why=exc.strerror or "not readable"
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
