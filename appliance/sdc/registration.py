"""How a client makes itself known: with the join token, and the secret it kept if it has one.

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
from appliance.sdc import config, identity

logger = logging.getLogger(__name__)


def register(cfg: config.Config, control_port: int, store: identity.Store) -> None:
    """Register and keep the answer, durably. Raises BasaltError; nothing is changed then."""
    kept = store.identity
    words = messages.Registration(
        name=cfg.name or socket.gethostname(),
        hosts=cfg.hosts or (_own_address(cfg.mdm),),
        control_port=control_port,
        version=version(),
    )
    caller = client.Client(
        cfg.mdm,
        _join_token(cfg.join_token_file),
        headers={"X-Basalt-Secret": kept.secret} if kept is not None else None,
        user_agent="basalt-sdc",
    )
    try:
        answer = caller.post("/api/v1/agents/sdc", codec.to_json(words))
    finally:
        caller.close()
    got = codec.from_json(messages.Registered, answer)
    if kept is not None and (kept.id, kept.cluster_id) != (got.id, got.cluster_id):
        raise errors.Conflict(
            why=f"this client is {kept.id} of cluster {kept.cluster_id}, but the MDM at "
            f"{', '.join(cfg.mdm)} takes it for {got.id} of {got.cluster_id}: it is another MDM "
            "(correct the setting mdm), or the client was removed (give it a new data_dir)"
        )
    new = identity.Identity(got.id, got.secret, got.cluster_id)
    if new != kept:
        store.save_identity(new)
    logger.info("registered sdc=%s name=%s hosts=%s", got.id, words.name, ",".join(words.hosts))


@functools.cache
def version() -> str:
    """Of this release. Read once: every heartbeat tells it."""
    return importlib.metadata.version("basalt")


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
        why="this host's address cannot be found out, for there is no way to the MDM; set hosts"
    )
