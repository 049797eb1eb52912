"""The clauses of the rules data safety rests on, and how a test shows that each one is needed.

A test marked ``@clause(TEXT, without=WORDS)`` runs twice: with the code as it is, when it must
pass, and with that clause alone taken out by ``broken``, when it must fail with ``WORDS``.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

#: Every clause; test_every_clause.py holds that each has its test here.
CLAUSES = (
    "R1 older maps are refused",
    "R1 the last in_sync replica stays",
    "R2 degraded before acknowledged",
    "R2 acknowledgements of one generation",
    "R3 both replicas are marked",
    "R3 marks are remembered per replica and region",
    "R3 one bitmap block is serialised",
    "R3 clearing needs a flush that began after the last write",
    "R3 clearing needs all in sync",
    "R3 the intent file outlives the mapping",
    "R3 the intent file goes only after fdatasync everywhere",
    "R3 the intent file is durable before the map is handed out",
    "R4 the joiner seals too",
    "R4 copy processes are sealed too",
    "R4 death is proved",
    "R4 a server is started once per generation",
    "R4 a restarted MDM begins the turn anew",
    "R4 a survivor that lost its cache does not count",
    "R5 never simply reopened",
    "R5 an unknown outcome is never given up",
    "R5 a refused write is evened out",
    "R5 a failed flush takes the device out",
    "R6 the pulse",
    "R6 the pulse of syncing replicas too",
    "R6 the effective wait",
    "R6 clients being cut off count",
    "R7 doubt for a client",
    "R7 doubt for a lost cache",
    "R7 the keeper is one with its cache",
    "R7 running copies start over in doubted regions",
    "R7 the turn that cuts off fdatasyncs",
    "R7 a lost cache fails the writer",
    "R7 on a shared volume every mapping fails",
    "R7 a new incarnation has a new intent file",
    "R8 a join is a turn",
    "R8 a mapping during a copy is a turn",
    "R8 the source's marks are joined",
    "R8 drain",
    "R8 a step is redone when its lock ran out",
    "R8 progress is bound to cache id and generation",
    "R8 removed means full copy",
    "R8 the target fdatasyncs before done",
    "R8 done is refused if the generation moved",
    "R9 first come first served",
    "R10 a lower term is refused",
    "R10 a lower generation is refused",
)


class Broken:
    """Takes a clause out, in the second run only."""

    def __init__(self, patch: pytest.MonkeyPatch | None) -> None:
        self._patch = patch

    def __bool__(self) -> bool:
        return self._patch is not None

    def setattr(self, target: Any, name: str, value: Any) -> None:
        if self._patch is not None:
            self._patch.setattr(target, name, value)


def clause(text: str, without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The decorated test takes ``broken``; ``without`` is how its failure begins without it."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(taken_out: bool, **given: Any) -> None:
            with pytest.MonkeyPatch.context() as patch:
                if not taken_out:
                    test(broken=Broken(None), **given)
                    return
                with pytest.raises(AssertionError) as caught:
                    test(broken=Broken(patch), **given)
            words = str(caught.value).splitlines()[0]
            assert words.startswith(without), f"it failed for another reason: {caught.value}"
            print(f"{text}; without it: {words}")

        signature = inspect.signature(test)
        wanted = [p for name, p in signature.parameters.items() if name != "broken"]
        added = inspect.Parameter("taken_out", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = signature.replace(parameters=[added, *wanted])  # type: ignore[attr-defined]
        run.clause = text  # type: ignore[attr-defined]
        run.without = without  # type: ignore[attr-defined]
        return pytest.mark.parametrize("taken_out", [False, True], ids=["kept", "taken-out"])(run)

    return decorate
