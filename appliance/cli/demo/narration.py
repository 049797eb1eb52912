"""How the demo speaks: numbered steps with their times, and every command as a person types it."""

import contextlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.cli import output
from appliance.common import errors


class Narration:
    """``environ`` is what the commands run under; steps are counted from 1."""

    def __init__(self, steps: int) -> None:
        self.environ: Mapping[str, str] = {}
        self.times: list[tuple[str, float]] = []
        self._steps = steps

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A numbered step; its time is printed at its end, and kept for the summary."""
        number = len(self.times) + 1
        output.line()
        output.say(f"[{number}/{self._steps}] {title}", "bold")
        began = time.monotonic()
        yield
        took_s = time.monotonic() - began
        self.times.append((title, took_s))
        self.tell(f"({took_s:.1f} s)")

    def tell(self, text: str) -> None:
        output.say(f"    {text}")

    def run(self, *words: str) -> None:
        """Show a command and run it in full view. Raises errors.Unavailable if it fails."""
        self._show(words)
        done = subprocess.run(_real(words), env=self.environ, check=False)
        if done.returncode:
            raise errors.Unavailable(
                why=f"'{shlex.join(words)}' failed with exit code {done.returncode}"
            )

    def ask(self, *words: str) -> Any:
        """The JSON a ``basalt`` command prints, quietly. Raises errors.Unavailable."""
        done = subprocess.run(
            [*_real(words), "--json"], env=self.environ, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise errors.Unavailable(why=f"'{shlex.join(words)}' failed: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def _show(self, words: tuple[str, ...]) -> None:
        output.say(f"    $ {shlex.join(words)}", "cyan", wrap=False)
        sys.stdout.flush()  # before the child's own words


def _real(words: tuple[str, ...]) -> list[str]:
    """``basalt`` is this very release, whatever PATH says."""
    if words[0] == "basalt":
        return [sys.executable, "-m", "appliance.cli", *words[1:]]
    return list(words)
