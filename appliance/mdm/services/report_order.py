"""Reports in the order in which they were made, not in which they arrive (R10). Used by
``heartbeats``."""

from appliance.common import errors


class ReportOrder:
    """Refuses a report that was made before one already taken. Used under the write lock."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[str, int]] = {}
        self._over: dict[str, set[str]] = {}

    def check(self, ident: str, session: str, sequence: int) -> None:
        """Raises errors.StaleOrder."""
        known, last = self._newest.get(ident, (session, sequence))
        if session in self._over.get(ident, ()) or (session == known and sequence < last):
            raise errors.StaleOrder(
                what="report", got=f"{session}/{sequence}", have=f"{known}/{last}"
            )
        if session != known:
            self._over.setdefault(ident, set()).add(known)
        self._newest[ident] = (session, sequence)
