"""How one attempt at a request can fail, by what the volume does about it."""

import errno as errno_

from appliance.common import errors


class EpochOver(errors.BasaltError):
    """No acknowledgement under this generation; the request goes out again under the next (R2)."""

    code = "epoch_over"
    template = "generation {generation} is over: {why}"


class LegDied(errors.BasaltError):
    """A connection died or could not be made; what was in flight has an unknown outcome (R5)."""

    code = "leg_died"
    template = "device {device}: {why}"


class LegUnreached(LegDied):
    """No connection could be made because nobody at the leg's host answered, not even to refuse."""

    code = "leg_unreached"


def blamed_for(failure: Exception) -> str:
    """What a turn is asked for because of a leg that failed so; see ``Epoch.blame``."""
    return "unreached" if isinstance(failure, LegUnreached) else "suspects"


class LegRefused(errors.BasaltError):
    """The server answered with an error; the connection is well. ``errno`` is the server's.

    ``devices``: all that refused the same request for lack of space.
    """

    code = "leg_refused"
    template = "device {device} refused a {command}: {why}"

    def __init__(self, device: str, command: str, errno: int, why: str) -> None:
        super().__init__(device=device, command=command, why=why)
        self.device = device
        self.errno = errno
        self.devices = frozenset({device})

    @property
    def full(self) -> bool:
        """For lack of space, which a write may have and go on; a flush that failed lost pages."""
        return self.errno in (errno_.ENOSPC, errno_.EDQUOT) and self.facts["command"] != "flush"


class FullEverywhere(LegRefused):
    """Every copy of a column refused for lack of space. The error may go up to the application
    once the copies are equal again (R5)."""

    code = "full_everywhere"


class LockIdInUse(errors.BasaltError):
    """A copy step asked for a lock under the id of one that is held."""

    code = "lock_id_in_use"
    template = "a lock with the id {ident} is held; take another id"


class NoReader(errors.BasaltError):
    """No replica of the column may be read now: none is reachable, or a pulse is missing (R6)."""

    code = "no_reader"
    template = "column {column} cannot be read now; its readable copies are on {devices}"


class ClientGone(errors.BasaltError):
    """Whoever asked hung up, and gets no answer: what was not begun need not be."""

    code = "client_gone"
    template = "the client of this connection hung up"


class MappingEnded(errors.BasaltError):
    """The whole mapping is over: all I/O fails until the volume is mapped again (R5, R7)."""

    code = "mapping_ended"
    template = "the mapping ended: {why}"


class WaitedTooLong(errors.BasaltError):
    """A read waited for a readable replica as long as the volume allows."""

    code = "waited_too_long"
    template = "no readable copy for {seconds:.0f} s: {why}"


class NotDone(errors.BasaltError):
    """What a scrubber asked for was not done, and changed nothing."""

    code = "not_done"
    template = "{what} was not done: {why}"
