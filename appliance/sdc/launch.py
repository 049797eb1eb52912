"""Who starts the processes behind a mapping: this agent, or systemd as units of their own.

As units they outlive a restart of the agent's unit, have a sandbox that the agent could not have,
and show in ``systemctl status``. A host without systemd (the single-host cluster) starts them
itself.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from appliance.common import errors
from appliance.sdc import processes

logger = logging.getLogger(__name__)

#: Kinds of processes: templates systemd/basalt-<kind>@.service.
VOLUME = "volume"
FUSE = "fuse"

#: What systemd passes on as it is: no blank, quote, backslash, dollar or percent sign.
_PLAIN = re.compile(r"[A-Za-z0-9_@:=.,/+~-]+")


class Launcher(Protocol):
    """Blocks until the process runs; it outlives the caller."""

    def start(
        self, kind: str, mapping_id: str, argv: Sequence[str], log_file: Path | None
    ) -> processes.Process:
        """Start ``argv``. Raises errors.Unavailable or OSError; then nothing runs."""


class Children:
    """Started by this agent, as orphans. The output goes to ``log_file``, else the agent's."""

    def start(
        self, kind: str, mapping_id: str, argv: Sequence[str], log_file: Path | None
    ) -> processes.Process:
        return processes.Process.start(argv, log_file)


class Units:
    """Started by systemd, each as the instance of its kind's template that the mapping names.

    Its arguments are put where the template reads them, ``run_dir/<mapping>/<kind>.env``; the
    program is the template's. The output goes to the journal.
    """

    def __init__(self, run_dir: Path, timeout_s: float) -> None:
        self._run_dir = run_dir
        self._timeout_s = timeout_s

    def start(
        self, kind: str, mapping_id: str, argv: Sequence[str], log_file: Path | None
    ) -> processes.Process:
        unit = f"basalt-{kind}@{mapping_id}.service"
        folder = self._run_dir / mapping_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / f"{kind}.env").write_text(environment(argv), encoding="ascii")
        # Not "start": a process left over that nobody wrote down would be taken for the new one.
        self._systemctl("restart", unit)
        pid = int(self._systemctl("show", "--property=MainPID", "--value", unit))
        process = processes.find(pid) if pid else None
        if process is None:
            raise errors.Unavailable(
                why=f"{unit} ended as soon as it was started; journalctl -u {unit} says why"
            )
        return process

    def _systemctl(self, *words: str) -> str:
        return processes.run(["systemctl", "--no-ask-password", *words], self._timeout_s).strip()


def environment(argv: Sequence[str]) -> str:
    """The environment file for ``argv`` without its program. Raises errors.Invalid."""
    for word in argv[1:]:
        if not _PLAIN.fullmatch(word):
            raise errors.Invalid(what="argument", why=f"{word!r} cannot be handed to systemd")
    return f'ARGUMENTS="{" ".join(argv[1:])}"\n'
