"""When is a single-host cluster ready? Every role says so, and a byte went through a volume.

Called by ``up``. Every wait also looks after the children: one that died ends it at once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from appliance.cli import waiting
from appliance.cli.session import Session
from appliance.common import errors
from appliance.rest import client

T = TypeVar("T")

#: A name no person would choose; the volume is there for a second.
CHECK_VOLUME = "basalt-ready-check"

_CHECK_BYTES = 16 * 1024 * 1024
_LIMIT_S = 60.0


def wait(
    children_live: Callable[[], None],
    ask: Callable[[], T],
    reached: Callable[[T], bool],
    what: str,
    limit_s: float = _LIMIT_S,
) -> T:
    """As ``waiting.until``, but ``children_live`` is called before each look and may raise."""

    def look() -> T:
        children_live()
        return ask()

    return waiting.until(look, reached, what, limit_s, "look into the logs named above")


def agent_ready(port: int) -> bool:
    """Whether the daemon at this control port of this host says it is ready."""
    return _says(port, "/health", "ready")


def mgmt_ready(port: int) -> bool:
    """Whether MGMT answers at this port."""
    return _says(port, "/health/live", "live")


def _says(port: int, path: str, word: str) -> bool:
    try:
        asking = client.Client([f"http://127.0.0.1:{port}"], timeout_s=2.0, user_agent="basalt")
        answer = asking.get(path)
    except errors.BasaltError:
        return False
    return isinstance(answer, dict) and answer.get(word) is True


def port_in(file: Path) -> int:
    """The port a daemon wrote into ``file``; 0 if it has not yet."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def named(session: Session, collection: str, name: str) -> dict[str, Any] | None:
    """The object of that name; None if there is none (yet)."""
    try:
        found: dict[str, Any] = session.get(collection, name)
    except (errors.NotFound, errors.Unavailable, errors.Unreachable):
        return None
    return found


def check_byte(session: Session, sdc: str, children_live: Callable[[], None]) -> None:
    """Make a volume, map it, write through it, read that back, and leave nothing behind."""
    _remove(session, children_live)  # an earlier check may have been interrupted
    made = session.post("volumes", body={"name": CHECK_VOLUME, "size_bytes": _CHECK_BYTES})
    mapping = session.post("volumes", made["id"], "mappings", body={"sdc": sdc, "backend": "none"})
    mapping = wait(
        children_live,
        lambda: session.get("volumes", made["id"], "mappings", mapping["id"]),
        lambda seen: seen["state"] in ("attached", "failed"),
        "the first volume to be mapped",
    )
    if mapping["state"] == "failed":
        raise errors.Unavailable(why=f"the first volume could not be mapped: {mapping['error']}")
    _write_and_read(mapping["uri"])
    _remove(session, children_live)


def _write_and_read(uri: str) -> None:
    try:
        import nbd  # here: every other command works without libnbd
    except ImportError as exc:
        raise errors.Unavailable(
            why=f"this Python has no libnbd: {exc}", next="apt-get install python3-libnbd"
        ) from exc
    wrote = b"\xb5" + bytes(4095)
    try:
        handle = nbd.NBD()
        handle.connect_uri(uri)
        handle.pwrite(wrote, _CHECK_BYTES // 2)
        handle.flush()
        read = bytes(handle.pread(len(wrote), _CHECK_BYTES // 2))
        handle.shutdown()
    except nbd.Error as exc:
        raise errors.Unavailable(why=f"the first volume takes no data: {exc.string}") from exc
    if read != wrote:
        raise errors.Damaged(path=uri, why="what was read is not what was written")


def _remove(session: Session, children_live: Callable[[], None]) -> None:
    found = named(session, "volumes", CHECK_VOLUME)
    if found is None:
        return
    for mapping in found["mappings"]:
        session.delete("volumes", found["id"], "mappings", mapping["id"])
    wait(
        children_live,
        lambda: session.items("volumes", found["id"], "mappings"),
        lambda items: not items,
        "the first volume to be unmapped",
    )
    session.delete("volumes", found["id"])
    wait(
        children_live,
        lambda: named(session, "volumes", CHECK_VOLUME),
        lambda seen: seen is None,
        "the first volume to be deleted",
    )
