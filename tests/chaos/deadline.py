"""Waiting for what will be, with a limit: tests here sleep for nothing else."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from appliance.common import errors

T = TypeVar("T")


def wait(ask: Callable[[], T], reached: Callable[[T], bool], what: str, limit_s: float = 60.0) -> T:
    """Ask until ``reached`` says yes to the answer; raises TimeoutError after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while True:
        answer: Any
        try:
            answer = ask()
            if reached(answer):
                return answer
        except errors.Unreachable as exc:
            answer = exc
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit_s:.0f} s in vain for {what}: {answer}")
        time.sleep(0.05)
