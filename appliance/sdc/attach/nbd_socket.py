"""NBD sockets for the kernel: libnbd does the handshake, the kernel then gets the descriptor.

The kernel's client knows no structured replies, so they are not negotiated; the transmission
flags are those of the NBD protocol (proto.md, "Transmission flags").
"""

import os
from dataclasses import dataclass
from pathlib import Path

import nbd

from appliance.common import errors
from appliance.protocol import messages

_HAS_FLAGS = 1 << 0
_READ_ONLY = 1 << 1
_SEND_FLUSH = 1 << 2
_SEND_FUA = 1 << 3
_SEND_TRIM = 1 << 5
_SEND_WRITE_ZEROES = 1 << 6
_CAN_MULTI_CONN = 1 << 8


@dataclass(frozen=True, slots=True)
class Ready:
    """A socket past its handshake, owned by whoever has this; ``flags`` as the server sent."""

    fd: int
    flags: int


def connect(path: Path, read_only: bool) -> Ready:
    """Connect to the plugin at Unix socket ``path``, without the bound of its present size: the
    kernel keeps to its device's. Raises errors.Unavailable."""
    handle = nbd.NBD()
    try:
        handle.set_request_structured_replies(False)
        handle.set_export_name(messages.GROWING_EXPORT)
        handle.connect_unix(str(path))
        # In transmission and with nothing in flight libnbd has read no byte too many, and it
        # closes its descriptor, with the handle's last reference, without a word to the server.
        return Ready(os.dup(handle.aio_get_fd()), _flags(handle, read_only))
    except (nbd.Error, OSError) as exc:
        raise errors.Unavailable(why=f"no NBD connection to {path}: {exc}") from exc


def size(path: Path) -> int:
    """Bytes of what the plugin at ``path`` serves now. Raises errors.Unavailable."""
    handle = nbd.NBD()
    try:
        handle.connect_unix(str(path))
        return int(handle.get_size())
    except nbd.Error as exc:
        raise errors.Unavailable(why=f"no NBD connection to {path}: {exc}") from exc


def _flags(handle: nbd.NBD, read_only: bool) -> int:
    flags = _HAS_FLAGS
    for yes, flag in (
        (read_only or handle.is_read_only(), _READ_ONLY),
        (handle.can_flush(), _SEND_FLUSH),
        (handle.can_fua(), _SEND_FUA),
        (handle.can_trim(), _SEND_TRIM),
        (handle.can_zero(), _SEND_WRITE_ZEROES),
        (handle.can_multi_conn(), _CAN_MULTI_CONN),
    ):
        if yes:
            flags |= flag
    return flags
