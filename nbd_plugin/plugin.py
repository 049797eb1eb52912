"""nbdkit's callbacks: translate, and nothing else. Started by the SDC agent, one per mapping.

    nbdkit python plugin.py path=DIR volume=ID incarnation=ID link=SOCKET read_only=0|1

``path`` is the folder that holds the packages ``appliance`` and ``nbd_plugin``; it is given before
anything of them is imported. Every error path sets an errno *and* raises: set_error alone would
report success.
"""

import errno
import sys
from threading import get_ident
from typing import Any, NoReturn

import nbdkit

API_VERSION = 2

#: How long a client that connects before the first map waits for it.
_READY_TIMEOUT_S = 30.0

_pairs: dict[str, str] = {}
_volume: Any = None

#: Python's C functions that keep a thread's state.
_states: Any = None

#: Connections whose client hung up.
_hangups: Any = None


def config(key: str, value: str) -> None:
    if key == "path":
        sys.path.insert(0, value)
    else:
        _pairs[key] = value


def config_complete() -> None:
    from nbd_plugin import params

    params.parse(_pairs)


def thread_model() -> int:
    return int(nbdkit.THREAD_MODEL_PARALLEL)


def after_fork() -> None:
    """Connections and threads start here: nbdkit has forked and dropped its terminal."""
    global _volume, _states, _hangups
    from appliance.common import log
    from nbd_plugin import agent_link, hangups, params, thread_states, volume

    log.setup("plugin")
    _states = thread_states.load()
    told = params.parse(_pairs)
    _hangups = hangups.Hangups(not_clients=told.link)
    link = agent_link.AgentLink(told.link, told.incarnation)
    _volume = volume.Volume(told.incarnation, told.read_only, link.changed, data_tls=told.data_tls)
    _volume.start()
    link.start(_volume)


def cleanup() -> None:
    if _volume is not None:
        _volume.stop()


def open(readonly: bool) -> Any:
    """A connection's handle: what is kept for its threads."""
    from nbd_plugin import thread_states

    try:
        _volume.wait_ready(_READY_TIMEOUT_S)
    except Exception as exc:
        _fail(exc)
    pins = thread_states.Pins(_states)
    pins.own = own = _hangups.own()
    pins.gone = lambda: bool(_hangups.gone(own))
    return pins


def close(pins: Any) -> None:
    """The connection's threads have ended."""
    pins.free()


def get_size(_pins: Any) -> int:
    """What this connection may reach for its whole life: nbdkit asks once. Those of the kernel's
    device outlive a growth of the volume, and the kernel itself keeps to the device's size."""
    from appliance.protocol import messages

    if nbdkit.export_name() == messages.GROWING_EXPORT:
        return messages.GROWING_EXPORT_BYTES
    return int(_volume.size)


def block_size(_pins: Any) -> tuple[int, int, int]:
    """Any byte range works; 4 KiB is what the disks below like; 32 MiB is nbdkit's limit."""
    return (1, 4096, 32 * 1024 * 1024)


def can_write(_pins: Any) -> bool:
    return _pairs.get("read_only") != "1"


def can_flush(_pins: Any) -> bool:
    return True


def can_fua(_pins: Any) -> int:
    return int(nbdkit.FUA_NATIVE)


def can_trim(_pins: Any) -> bool:
    return True


def can_zero(_pins: Any) -> bool:
    return True


def can_fast_zero(_pins: Any) -> bool:
    return False


def can_multi_conn(_pins: Any) -> bool:
    """True: a flush on any connection goes to every device, whatever connection wrote."""
    return True


def can_extents(_pins: Any) -> bool:
    return True


def pread(pins: Any, buf: Any, offset: int, _flags: int) -> None:
    try:
        if get_ident() not in pins.pinned:
            pins.pin()
        _volume.read(memoryview(buf), offset, pins.gone)
    except Exception as exc:
        _fail(exc)


def pwrite(pins: Any, buf: Any, offset: int, flags: int) -> None:
    try:
        if get_ident() not in pins.pinned:
            pins.pin()
        _hangups.wait(pins.own)
        _volume.write(memoryview(buf), offset, bool(flags & nbdkit.FLAG_FUA), pins.gone)
    except Exception as exc:
        _fail(exc)


def flush(pins: Any, _flags: int) -> None:
    try:
        _volume.flush(pins.gone)
    except Exception as exc:
        _fail(exc)


def trim(pins: Any, count: int, offset: int, flags: int) -> None:
    """Reads zeroes afterwards. A thick volume keeps its allocation, so there is nothing to do."""
    try:
        if _volume.thin:
            _hangups.wait(pins.own)
            _volume.zero(offset, count, bool(flags & nbdkit.FLAG_FUA), True, pins.gone)
        elif flags & nbdkit.FLAG_FUA:
            _volume.flush()
    except Exception as exc:
        _fail(exc)


def zero(pins: Any, count: int, offset: int, flags: int) -> None:
    try:
        _hangups.wait(pins.own)
        _volume.zero(
            offset,
            count,
            bool(flags & nbdkit.FLAG_FUA),
            bool(flags & nbdkit.FLAG_MAY_TRIM),
            pins.gone,
        )
    except Exception as exc:
        _fail(exc)


def extents(_pins: Any, count: int, offset: int, _flags: int) -> list[tuple[int, int, int]]:
    """Nbdkit's extent types are NBD's base:allocation flags: 1 hole, 2 reads as zeroes."""
    try:
        return list(_volume.extents(offset, count))
    except Exception as exc:
        _fail(exc)


def _fail(exc: Exception) -> NoReturn:
    from nbd_plugin import failures

    if isinstance(exc, failures.ClientGone):
        _hangups.one_by_one()
        nbdkit.set_error(errno.ESHUTDOWN)
        raise exc
    number = getattr(exc, "errno", None)
    if isinstance(exc, failures.MappingEnded):
        number = errno.ESHUTDOWN
    nbdkit.set_error(number if isinstance(number, int) and number else errno.EIO)
    raise exc
