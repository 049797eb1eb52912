"""The table of ``make failures``."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    seen: str
    aim: str = ""


def table(rows: Sequence[Row]) -> str:
    """The aim beside what was seen."""
    if not rows:
        return ""
    widths = [max(len(getattr(row, key)) for row in rows) for key in ("what", "aim")]
    return "\n".join(
        f"{row.what:<{widths[0]}}  {row.aim:<{widths[1]}}  {row.seen}".rstrip() for row in rows
    )
