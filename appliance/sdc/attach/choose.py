"""Which backend shows a volume on this host, with the reason in words for people."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.common import errors
from appliance.sdc import processes
from appliance.sdc.attach import nbd_netlink

NBD = "nbd"
FUSE = "fuse"
NONE = "none"
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Probes:
    """Each says why its backend cannot be used here; empty if it can. May block."""

    nbd: Callable[[], str]
    fuse: Callable[[], str]


def choose(wanted: str, probes: Probes) -> tuple[str, str]:
    """(name, reason) for ``wanted``: auto, nbd, fuse or none.

    Raises errors.Unavailable if what was asked for by name cannot be had.
    """
    if wanted == NONE:
        return NONE, "asked for: the NBD socket only"
    if wanted in (NBD, FUSE):
        lacking = probes.nbd() if wanted == NBD else probes.fuse()
        if lacking:
            raise errors.Unavailable(why=f"backend '{wanted}' cannot be used here: {lacking}")
        return wanted, "asked for"
    if wanted != AUTO:
        raise errors.Invalid(what="backend", why=f"'{wanted}' is none of auto, nbd, fuse, none")
    no_nbd = probes.nbd()
    if not no_nbd:
        return NBD, "the kernel has nbd"
    no_fuse = probes.fuse()
    if not no_fuse:
        return FUSE, f"nbdfuse and a loop device, because {no_nbd}"
    return NONE, f"the NBD socket only, because {no_nbd}, and {no_fuse}"


def host_probes(tool_timeout_s: float) -> Probes:
    """The probes of the host this runs on."""
    return Probes(nbd=lambda: _lacks_nbd(tool_timeout_s), fuse=_lacks_fuse)


def _lacks_nbd(tool_timeout_s: float) -> str:
    if nbd_netlink.in_kernel():
        return ""
    try:
        # No devices in advance: netlink makes them as they are needed.
        processes.run(["modprobe", "nbd", "nbds_max=0"], tool_timeout_s)
    except errors.Unavailable:
        return "this kernel has no nbd and no module of that name"
    return "" if nbd_netlink.in_kernel() else "nbd is loaded but does not answer over netlink"


def _lacks_fuse() -> str:
    for tool in ("nbdfuse", "losetup", "umount"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    for node in ("/dev/fuse", "/dev/loop-control"):
        if not Path(node).exists():
            return f"there is no {node}"
        if not os.access(node, os.R_OK | os.W_OK):
            return f"{node} may not be opened"
    return ""
