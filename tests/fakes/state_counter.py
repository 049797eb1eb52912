"""An nbdkit plugin whose reads tell how many thread states Python has.

The first read of a thread pins its state, as in the real plugin. Every read waits for as many
others as ``together`` says, so that it is known how many threads there were.
"""

import ctypes
import sys
import threading
from typing import Any

import nbdkit

API_VERSION = 2

_given: dict[str, str] = {}
_states: Any = None
_together = threading.Barrier(1)


def config(key: str, value: str) -> None:
    _given[key] = value


def thread_model() -> int:
    return int(nbdkit.THREAD_MODEL_PARALLEL)


def after_fork() -> None:
    global _states, _together
    sys.path.insert(0, _given["path"])
    from nbd_plugin import thread_states

    if _given.get("ctypes") == "0":
        sys.modules["ctypes"] = None
    _states = thread_states.load()
    _together = threading.Barrier(int(_given.get("together", "1")))


def open(_readonly: bool) -> Any:
    from nbd_plugin import thread_states

    return thread_states.Pins(_states)


def close(pins: Any) -> None:
    pins.free()


def get_size(_pins: Any) -> int:
    return 1 << 20


def can_multi_conn(_pins: Any) -> bool:
    return True


def pread(pins: Any, buf: Any, _offset: int, _flags: int) -> None:
    if threading.get_ident() not in pins.pinned:
        pins.pin()
    _together.wait(20)
    buf[:8] = _count().to_bytes(8, "little")


def _count() -> int:
    api = ctypes.PyDLL(None)
    for name in ("PyInterpreterState_Get", "PyInterpreterState_ThreadHead", "PyThreadState_Next"):
        getattr(api, name).restype = ctypes.c_void_p
    state = api.PyInterpreterState_ThreadHead(ctypes.c_void_p(api.PyInterpreterState_Get()))
    count = 0
    while state:
        count += 1
        state = api.PyThreadState_Next(ctypes.c_void_p(state))
    return count
