"""What a change came to, shown once on the next page of the same session. In memory."""

import threading

_SESSIONS = 1000


class Flash:
    """Thread-safe. A message is (kind, text); kind is done or failed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[str, str]] = {}

    def put(self, session: str, kind: str, text: str) -> None:
        with self._lock:
            if len(self._waiting) >= _SESSIONS:
                self._waiting.pop(next(iter(self._waiting)))
            self._waiting[session] = (kind, text)

    def take(self, session: str) -> tuple[str, str] | None:
        with self._lock:
            return self._waiting.pop(session, None)
