"""Python's thread states of nbdkit's threads, kept from one callback to the next.

nbdkit wraps each callback in ``PyGILState_Ensure`` and ``PyGILState_Release``
(plugins/python/plugin.h). In a thread that Python did not start, the outermost Ensure makes a
``PyThreadState`` and the Release that matches it destroys it (Python/pystate.c), stack chunk and
all: an mmap, a munmap and a fight for the process's mmap lock at each request.

``Pins.pin``, called in a callback, adds one Ensure that nothing matches. The thread's count then
never falls to zero, so nbdkit's own pairs find the state there and leave it: the documented use
of nested calls, except that the last Release comes from elsewhere. ``Pins.free`` is that:
nbdkit's threads belong to one connection, and its ``close`` callback runs after it has joined
them all (server/connections.c), so their states belong to nobody. They are taken down as Python
itself does with a thread's that ended: ``PyThreadState_Clear``, then ``PyThreadState_Delete``,
with the GIL held. nbdkit calls no ``close`` while it shuts down; ``Py_Finalize`` then deletes the
states of all threads but its own.

Without ctypes, or on a Python without these functions, nothing is pinned: slower, nothing else.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

_NEEDED = (
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyThreadState_Clear",
    "PyThreadState_Delete",
    "PyThreadState_Get",
)


def load() -> Any:
    """Python's C functions, called with the GIL held; None, and a line in the log, if missing."""
    try:
        import ctypes  # an optional part of Python

        # Not ``ctypes.pythonapi``: signatures set on that one would be everybody's.
        api = ctypes.PyDLL(None)
        for name in _NEEDED:
            getattr(api, name).argtypes = ()
        api.PyThreadState_Get.restype = ctypes.c_void_p
        for name in ("PyThreadState_Clear", "PyThreadState_Delete"):
            getattr(api, name).argtypes = (ctypes.c_void_p,)
            getattr(api, name).restype = None
        api.PyGILState_Release.argtypes = (ctypes.c_int,)
        api.PyGILState_Release.restype = None
    except (ImportError, OSError, AttributeError) as exc:
        logger.warning("thread_states_not_pinned why=%s: requests cost more CPU time", exc)
        return None
    return api


class Pins:
    """The pinned states of one connection's threads, by thread.

    A thread asks ``threading.get_ident() in pins.pinned`` before it calls ``pin``; as no thread
    of a connection ends before the connection does, no number in there is used again.
    """

    __slots__ = ("_api", "gone", "own", "pinned")

    def __init__(self, api: Any) -> None:
        """``api`` is what ``load`` gave."""
        self._api = api
        #: the connection's descriptor, and whether its client hung up (hangups)
        self.own: frozenset[int] = frozenset()
        self.gone: Callable[[], bool] = bool
        #: thread → (its state's address, what Ensure returned)
        self.pinned: dict[int, tuple[int, int] | None] = {}

    def pin(self) -> None:
        """Keep the calling thread's state until ``free``. Only inside a callback of nbdkit."""
        pinned = None
        if self._api is not None:
            pinned = self._api.PyThreadState_Get(), self._api.PyGILState_Ensure()
        self.pinned[threading.get_ident()] = pinned

    def free(self) -> None:
        """Give all states back. Every other thread that pinned one must have ended."""
        own = threading.get_ident()
        while self.pinned:
            thread, pinned = self.pinned.popitem()
            if pinned is None:
                continue
            state, ensured = pinned
            if thread == own:
                # nbdkit -t 1 serves requests in the thread that closes the connection.
                self._api.PyGILState_Release(ensured)
            else:
                self._api.PyThreadState_Clear(state)
                self._api.PyThreadState_Delete(state)
