"""One incarnation as its mapping sees it: the process, the link to it, what was handed to it."""

import logging
import secrets
import socket
from collections.abc import Callable

from appliance.common import errors
from appliance.protocol import messages
from appliance.sdc import ground, handover, plugin_link, plugin_process, processes, records

logger = logging.getLogger(__name__)


class Plugin:
    """Made by ``start`` or ``adopt``. ``offer``, ``cut_off``, ``lock`` and ``unlock`` may be called
    from any thread; the rest is the mapping's thread's."""

    def __init__(
        self,
        on: ground.Ground,
        process: processes.Process,
        book: records.Book,
        news: Callable[[], None],
    ) -> None:
        self.incarnation = book.record.incarnation
        self.process = process
        self.born_at = on.clock.monotonic()
        self._ground = on
        self._handover = handover.Handover(self.incarnation)
        self._end_limit: float | None = None
        self._obey_limit: float | None = None
        self._lock_token = book.record.lock_token
        self._link = plugin_link.Link(
            book.folder.link_socket, self.incarnation, self._connected, news
        )
        self._link.start()

    @property
    def status(self) -> messages.PluginStatus | None:
        return self._link.status

    @property
    def lock_token(self) -> str:
        """What a copier must present; empty until an order told it."""
        return self._lock_token

    @property
    def asked(self) -> bool:
        return self._end_limit is not None

    @property
    def late(self) -> bool:
        """Whether it was asked to end too long ago."""
        return self._end_limit is not None and self._ground.clock.monotonic() > self._end_limit

    def offer(self, order: messages.MappingOrder) -> None:
        """Hand over what is for this incarnation, and new."""
        if order.incarnation == self.incarnation and order.lock_token:
            self._lock_token = order.lock_token
        self._handover.offer(order, self._link)

    def end(self) -> None:
        """Ask it to answer everything, flush and finish; its status will say ``clean``."""
        self._end_limit = self._ground.clock.monotonic() + self._ground.cfg.end_timeout_s
        self._link.end()

    def cut_off(self, why: str) -> None:
        """All its I/O fails from now on. Called again with each order, and then ends a plugin
        that did not obey in time. Never waits."""
        status = self._link.status
        if status is not None and status.ended:
            return
        now = self._ground.clock.monotonic()
        if self._obey_limit is None:
            self._obey_limit = now + self._ground.cfg.stop_timeout_s
        if now > self._obey_limit:
            logger.warning("plugin_disobeys incarnation=%s", self.incarnation)
            self.process.kill()
        else:
            self._link.fail(why)

    def lock(self, ident: str, request: messages.LockRequest, limit_s: float) -> None:
        """Hold a range for a copy step (R8). Raises errors.Unauthenticated or Unavailable."""
        self._check_token(request.token)
        self._link.lock(ident, request.generation, request.offset, request.length, limit_s)

    def unlock(self, ident: str) -> None:
        self._link.unlock(ident)

    def lock_line(self, token: str, generation: int, line: socket.socket) -> None:
        """Hand on a connection for locks. Raises errors.Unauthenticated or Unavailable."""
        self._check_token(token)
        if not self._link.send_lock_line(line, generation, self._ground.cfg.lock_limit_s):
            raise errors.Unavailable(why="the client's plugin is not connected")

    def scrub(self, ident: str, request: messages.ScrubRequest, limit_s: float) -> None:
        """As ``Link.scrub``. Raises errors.Unauthenticated too."""
        self._check_token(request.token)
        self._link.scrub(ident, request, limit_s)

    def _check_token(self, token: str) -> None:
        if not self._lock_token:
            raise errors.Unavailable(why="the client has no orders of this incarnation yet")
        if not secrets.compare_digest(self._lock_token.encode(), token.encode()):
            raise errors.Unauthenticated(why="this is not the incarnation's lock token")

    def stop(self) -> bool:
        """End the process; whether the incarnation ended cleanly. Raises errors.Unavailable.

        One that never had a map never wrote anything.
        """
        status = self._link.status
        self.process.stop(self._ground.cfg.stop_timeout_s)
        return status is not None and (status.clean or status.generation == 0)

    def leave(self) -> None:
        """Let go of it; a running process goes on."""
        self._link.close()
        self.process.close()

    def _connected(self) -> None:
        self._handover.connected(self._link)
        if self.asked:
            self._link.end()


def start(
    on: ground.Ground,
    book: records.Book,
    order: messages.MappingOrder,
    news: Callable[[], None],
) -> Plugin:
    """A new incarnation for ``order``. OSError if nbdkit cannot be started."""
    # Written down first, so that a process of an agent that dies right now is found.
    book.write(
        volume_id=order.volume_id,
        volume_name=order.volume_name,
        read_only=order.read_only,
        incarnation=secrets.token_hex(8),
        plugin=None,
        lock_token="",
        detached=False,
        clean=False,
    )
    process = plugin_process.start(on.cfg, on.launcher, book.folder, book.record)
    book.write(plugin=process.ident)
    return Plugin(on, process, book, news)


def adopt(on: ground.Ground, book: records.Book, news: Callable[[], None]) -> Plugin | None:
    """The incarnation an earlier agent started, if its process still runs."""
    process = plugin_process.find(book.record)
    if process is None:
        return None
    logger.info("plugin_adopted mapping=%s pid=%d", book.record.mapping_id, process.ident.pid)
    return Plugin(on, process, book, news)
