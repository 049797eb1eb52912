"""What every way of making a block device from an NBD socket offers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.sdc import processes


@dataclass(frozen=True, slots=True)
class Target:
    """What to show: the volume behind ``socket``, served by ``incarnation``.

    ``folder`` is the mapping's own, for whatever the backend needs.
    """

    mapping_id: str
    volume_name: str
    incarnation: str
    socket: Path
    folder: Path
    read_only: bool


@dataclass(frozen=True, slots=True)
class Attached:
    """A device in place, as a restarted agent must know it.

    ``incarnation`` is the plugin it is bound to. ``device`` is its path, empty for none.
    ``backing`` and ``server`` are the file and the process behind a loop device.
    """

    incarnation: str
    device: str = ""
    backing: str = ""
    server: processes.Ident | None = None


class Backend(Protocol):
    """Every method may block for some multiple of its tools' timeout and is called by one thread
    at a time per mapping, never by the poll loop. Errors are errors.BasaltError or OSError."""

    def attach(self, target: Target) -> Attached:
        """Make the device. Leaves nothing behind when it raises."""
        ...

    def renew(self, held: Attached, target: Target) -> Attached:
        """Bind the device to the target's new incarnation, or replace it.

        Raises errors.InUse if it must be replaced and somebody uses it.
        """
        ...

    def detach(self, held: Attached, flush: bool, force: bool) -> None:
        """Remove the device, flushed before if ``flush``; done already is no error.

        Raises errors.InUse, saying by what, and then nothing was torn down. With ``force`` a
        device in use is cut off: whoever uses it gets I/O errors.
        """
        ...

    def grow(self, held: Attached, target: Target, size: int) -> None:
        """Have the device show ``size`` bytes, which its plugin serves already, while it is used.
        Nothing where it cannot: it grows when it is mapped anew."""
        ...

    def fault(self, held: Attached) -> str:
        """Why the device does not work any more though its plugin does; empty if it does."""
        ...
