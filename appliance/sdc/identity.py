"""What a client keeps in its data folder: who it is, its secret, and the highest term seen."""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from appliance.common import errors
from appliance.protocol import codec
from appliance.sdc import records


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

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._identity_file = data_dir / "identity.json"
        self._term_file = data_dir / "term"
        self._lock_fd = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._lock_fd)
            raise errors.Conflict(why=f"another agent works on {data_dir}; stop it first") from exc
        self.identity = self._read_identity()
        self.term = self._read_term()

    def close(self) -> None:
        os.close(self._lock_fd)

    def save_identity(self, identity: Identity) -> None:
        records.replace_file(self._identity_file, json.dumps(codec.to_json(identity)).encode())
        self.identity = identity

    def save_term(self, term: int) -> None:
        """From now on, over restarts too, a lower term is refused (R10)."""
        records.replace_file(self._term_file, f"{term}\n".encode())
        self.term = term

    def _read_identity(self) -> Identity | None:
        try:
            return codec.from_json(Identity, json.loads(self._identity_file.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, errors.Invalid) as exc:
            raise errors.Damaged(path=self._identity_file, why=str(exc)) from exc

    def _read_term(self) -> int:
        try:
            return int(self._term_file.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except ValueError as exc:
            raise errors.Damaged(path=self._term_file, why=str(exc)) from exc
