"""What an agent keeps in its data folder: who it is, its secret, and the highest term seen.

Used by ``registration`` and ``talk``; the SDS keeps its devices beside it (``sds.registry``).
"""

import contextlib
import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.common import durable, errors
from appliance.protocol import record_file

#: What kind of agent it is, as it is spelled in paths, names of processes and logs.
Role = Literal["sds", "sdc"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What registration gave; ``secret`` is the agent's token."""

    id: str
    secret: str
    cluster_id: str


class Store:
    """``data_dir``, held by this process alone. Every change is durable on return.

    Raises errors.Conflict if another agent works on ``data_dir``, Damaged for unreadable files.
    """

    def __init__(self, data_dir: Path, role: Role) -> None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._dir = data_dir
        self._lock_fd = hold_alone(data_dir, role)
        try:
            self.identity = self._read_identity()
            self.term = self._read_term()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._lock_fd)

    def save_identity(self, identity: Identity) -> None:
        durable.replace_file(self._dir / "identity.json", record_file.to_bytes(identity))
        self.identity = identity
        (self._dir / "secret-offered").unlink(missing_ok=True)

    def secret_to_offer(self) -> str:
        """What a newcomer proposes as its secret: the same until it is registered, so that it is
        known again if the answer to its first word was lost."""
        path = self._dir / "secret-offered"
        with contextlib.suppress(FileNotFoundError):
            return path.read_text(encoding="ascii").strip()
        offered = secrets.token_urlsafe(32)
        durable.replace_file(path, f"{offered}\n".encode())
        return offered

    def save_term(self, term: int) -> None:
        """Remember that orders of ``term`` were seen: lower ones are refused for ever (R10)."""
        durable.replace_file(self._dir / "term", f"{term}\n".encode())
        self.term = term

    def _read_identity(self) -> Identity | None:
        try:
            return record_file.read(self._dir / "identity.json", Identity)
        except FileNotFoundError:
            return None

    def _read_term(self) -> int:
        path = self._dir / "term"
        try:
            return int(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except ValueError as exc:
            raise errors.Damaged(path=path, why="it does not hold a number") from exc


def hold_alone(folder: Path, role: Role) -> int:
    """A descriptor that keeps every other agent from ``folder`` until it is closed."""
    fd = os.open(folder / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(fd)
        raise errors.Conflict(
            why=f"another {role.upper()} agent works on {folder}; stop it, or give this one "
            "another folder"
        ) from exc
    return fd
