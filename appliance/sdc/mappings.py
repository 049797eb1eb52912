"""All mappings of this client: orders go down to each, reports come up, locks find theirs."""

import logging
import secrets
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace

from appliance.common import errors
from appliance.protocol import messages
from appliance.sdc import ground, mapping, reaching, records

logger = logging.getLogger(__name__)

#: Longest wait for a plugin that does a step of a scrub: a write of one unit, at most. Seconds.
_SCRUB_LIMIT_S = 8.0


class Mappings:
    """Thread-safe. Nothing here waits for a device; ``lock`` waits for a plugin."""

    def __init__(self, on: ground.Ground) -> None:
        self._ground = on
        self._mutex = threading.Lock()
        self._mappings: dict[str, mapping.Mapping] = {}
        self._refused: dict[str, messages.MappingReport] = {}
        self._locks: dict[str, tuple[mapping.Mapping, float]] = {}
        self._unordered: set[str] = set()
        self._reaching = reaching.Reaching(on.news)

    def adopt(self) -> None:
        """Take up the mappings an earlier agent left running."""
        for record in records.load_all(self._ground.cfg.run_dir, self._ground.boot_id):
            self._add(record)

    def apply(self, orders: Sequence[messages.MappingOrder]) -> None:
        """Pass ``orders``, which are all there are, on. A mapping not in them is over."""
        self._refused = {}
        for order in orders:
            found = self._mappings.get(order.mapping_id)
            if found is None:
                if len(self._mappings) >= self._ground.cfg.max_mappings:
                    self._refuse(order)
                    continue
                found = self._add(self._fresh_record(order))
            found.order(order)
        self._reaching.want({order.mapping_id: order.probes for order in orders})
        wanted = {order.mapping_id for order in orders}
        unordered = self._mappings.keys() - wanted
        for ident in unordered:
            self._not_ordered(ident, self._mappings[ident])
        self._unordered = unordered

    def reports(self) -> tuple[messages.MappingReport, ...]:
        with self._mutex:
            known = list(self._mappings.values())
        reports = [each.report() for each in known]
        return (
            *(replace(one, reached=self._reaching.reached(one.mapping_id)) for one in reports),
            *self._refused.values(),
        )

    def named_reports(self) -> list[tuple[str, messages.MappingReport]]:
        """Each mapping's report with the name of its volume."""
        with self._mutex:
            known = list(self._mappings.values())
        return [(each.record.volume_name, each.report()) for each in known]

    def lock(self, request: messages.LockRequest) -> tuple[str, float]:
        """Hold a range for a copy step (R8): (lock id, seconds it holds at most).

        Raises errors.NotFound for an unknown incarnation, Unauthenticated, Unavailable.
        """
        if request.instead_of:
            self.unlock(request.instead_of)
        if request.limit_s <= 0 or request.offset < 0 or request.length <= 0:
            raise errors.Invalid(what="lock", why="limit_s, offset and length describe no range")
        limit_s = min(request.limit_s, self._ground.cfg.lock_limit_s)
        found = self._of(request.incarnation)
        ident = secrets.token_hex(16)
        found.lock(ident, request, limit_s)
        now = self._ground.clock.monotonic()
        with self._mutex:
            self._locks = {key: held for key, held in self._locks.items() if held[1] > now}
            self._locks[ident] = (found, now + limit_s)
        return ident, limit_s

    def unlock(self, ident: str) -> None:
        """Give a lock back. Who knows its id holds it; one that ran out is no error."""
        with self._mutex:
            held = self._locks.pop(ident, None)
        if held is not None:
            held[0].unlock(ident)

    def lock_line(self, incarnation: str, token: str, generation: int, line: socket.socket) -> None:
        """Let the plugin serve ``line``, a lock line; the caller's end may be closed then.

        Raises errors.NotFound for an unknown incarnation, Unauthenticated, Unavailable.
        """
        self._of(incarnation).lock_line(incarnation, token, generation, line)

    def scrub(self, request: messages.ScrubRequest) -> None:
        """Have a client do one step of a scrub; returns when it is done.

        Raises errors.NotFound for an unknown incarnation, Unauthenticated, Unavailable.
        """
        if request.offset < 0 or request.length <= 0:
            raise errors.Invalid(what="scrub", why="offset and length describe no range")
        found = self._of(request.incarnation)
        found.scrub(secrets.token_hex(16), request, _SCRUB_LIMIT_S)

    def close(self) -> None:
        """Stop looking after them; plugins and devices stay for the next agent."""
        with self._mutex:
            known = list(self._mappings.values())
        self._reaching.close()
        for each in known:
            each.close()

    def _add(self, record: records.Record) -> mapping.Mapping:
        new = mapping.Mapping(self._ground, record)
        new.start()
        with self._mutex:
            self._mappings[record.mapping_id] = new
        return new

    def _of(self, incarnation: str) -> mapping.Mapping:
        with self._mutex:
            known = list(self._mappings.values())
        for each in known:
            if each.record.incarnation == incarnation:
                return each
        raise errors.NotFound(kind="incarnation", key=incarnation)

    def _fresh_record(self, order: messages.MappingOrder) -> records.Record:
        return records.Record(
            mapping_id=order.mapping_id,
            volume_id=order.volume_id,
            volume_name=order.volume_name,
            read_only=order.read_only,
            boot_id=self._ground.boot_id,
        )

    def _refuse(self, order: messages.MappingOrder) -> None:
        self._refused[order.mapping_id] = messages.MappingReport(
            mapping_id=order.mapping_id,
            state="failed" if order.wanted else "detached",
            error=f"this client has {self._ground.cfg.max_mappings} mappings, and its setting "
            "max_mappings allows no more",
        )

    def _not_ordered(self, ident: str, gone: mapping.Mapping) -> None:
        """The MDM knows the mapping no more: forget it if it is detached, else detach it.

        A device in use is left alone while its I/O works. Once the plugin waits for an MDM that
        knows nothing of it, its I/O would wait for ever, so it is failed.
        """
        report = gone.report()
        if report.state == "detached":
            with self._mutex:
                self._mappings.pop(ident, None)
            gone.forget()
            return
        plugin = report.plugin
        cut_off = plugin is not None and bool(plugin.suspects or plugin.unreached or plugin.waiting)
        record = gone.record
        if ident not in self._unordered:
            logger.warning("mapping_unknown_to_mdm id=%s volume=%s", ident, record.volume_name)
        gone.order(
            messages.MappingOrder(
                mapping_id=ident,
                volume_id=record.volume_id,
                volume_name=record.volume_name,
                size=0,
                read_only=record.read_only,
                backend=record.backend,
                wanted=False,
                force=cut_off,
            )
        )
