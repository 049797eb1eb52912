"""The life of a mapping as a pure function: what is wanted and what is seen → the next step.

    starting → attached → (detaching) → detached, or failed with a reason, tried again

``mapping`` looks, asks, and does the step; it keeps no state that is not in ``Seen``.
"""

from dataclasses import dataclass
from enum import StrEnum


class Device(StrEnum):
    NONE = "none"
    BOUND = "bound"  # to the running plugin
    STALE = "stale"  # to a plugin that died, or dead itself


class Step(StrEnum):
    START = "start"  # a plugin, as a new incarnation
    WAIT = "wait"  # for a map, an end, an order
    ATTACH = "attach"
    RENEW = "renew"  # bind the device to the new plugin
    KEEP = "keep"
    DETACH = "detach"
    END = "end"  # ask the plugin to flush and finish
    STOP = "stop"  # the plugin's process
    DONE = "done"  # nothing of the mapping is left


@dataclass(frozen=True, slots=True)
class Seen:
    """``known``: the plugin told its status. ``serving``: it took a map. ``ended``: it answers
    no I/O any more; ``clean``: all was flushed before. ``asked``: it was told to end, ``late``:
    too long ago."""

    running: bool = False
    known: bool = False
    serving: bool = False
    ended: bool = False
    clean: bool = False
    asked: bool = False
    late: bool = False
    device: Device = Device.NONE


def next_step(wanted: bool | None, seen: Seen) -> Step:
    """``wanted`` None: no order was heard since the agent started, so nothing is changed."""
    if wanted is None:
        return Step.KEEP
    return _towards_attached(seen) if wanted else _towards_detached(seen)


def _towards_attached(seen: Seen) -> Step:
    if not seen.running:
        return Step.START
    if seen.clean:
        return Step.STOP  # it was unmapped, and is mapped again
    if seen.ended:
        return Step.KEEP  # failed: people unmap it and map it again
    if not seen.serving:
        return Step.WAIT
    if seen.device is Device.NONE:
        return Step.ATTACH
    return Step.RENEW if seen.device is Device.STALE else Step.KEEP


def _towards_detached(seen: Seen) -> Step:
    if seen.device is not Device.NONE:
        return Step.DETACH
    if not seen.running:
        return Step.DONE
    if seen.ended or seen.clean or seen.late or (seen.known and not seen.serving):
        # One that never had a map never wrote anything.
        return Step.STOP
    return Step.WAIT if seen.asked else Step.END


def state(wanted: bool | None, seen: Seen, problem: bool) -> str:
    """The word for it in the report: starting, attached, detached or failed.

    A mapping on its way to be detached is attached until nothing of it is left.
    """
    if wanted is False:
        return "detached" if next_step(False, seen) is Step.DONE else "attached"
    if seen.ended and not seen.clean:
        return "failed"
    if seen.device is Device.BOUND:
        return "attached"
    return "failed" if problem else "starting"
