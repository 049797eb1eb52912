"""Waiting for the cluster to get somewhere: one poll loop with a deadline for every command."""

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from appliance.cli import output
from appliance.common import errors

T = TypeVar("T")

_POLL_S = 0.1


def until(
    ask: Callable[[], T],
    reached: Callable[[T], bool],
    what: str,
    limit_s: float,
    next_step: str = "",
    quiet: bool = False,
) -> T:
    """Call ``ask`` until ``reached`` says yes to its answer, and return that answer.

    On a terminal a spinner says what is waited for, unless ``quiet``. Raises errors.Unavailable
    after ``limit_s`` seconds; what was ordered stays ordered.
    """
    deadline = time.monotonic() + limit_s
    answer = ask()
    if reached(answer):
        return answer
    with contextlib.nullcontext() if quiet else output.spinner(f"waiting for {what}"):
        while not reached(answer):
            if time.monotonic() >= deadline:
                raise errors.Unavailable(
                    why=f"waited {limit_s:.0f} s in vain for {what}; it stays ordered",
                    next=next_step or "basalt status says what is wrong",
                )
            time.sleep(_POLL_S)
            answer = ask()
    return answer
