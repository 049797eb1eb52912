"""Printing for people and for programs: tables and details without lines, never wider than the
terminal (80 columns when piped), colours on a terminal only, ASCII where the locale is."""

import contextlib
import io
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TextIO

import rich.console
import rich.progress
import rich.table
import rich.text

from appliance.common import units

_STYLES = {
    "healthy": "green",
    "ok": "green",
    "attached": "green",
    "in_sync": "green",
    "running": "green",
    "done": "green",
    "degraded": "yellow",
    "syncing": "yellow",
    "attaching": "yellow",
    "adding": "yellow",
    "warning": "yellow",
    "unhealthy": "bold red",
    "failed": "bold red",
    "stale": "red",
    "missing": "red",
    "refused": "red",
    "dead": "bold red",
    "error": "bold red",
    "critical": "bold red",
}


_Pairs = Iterable[tuple[str, object]]


def ascii_where_needed() -> None:
    """Make stdout and stderr ASCII if the locale is.

    Python itself writes UTF-8 under LANG=C (PEP 538, PEP 540), which such a terminal cannot show.
    """
    if utf8_locale(os.environ):
        return
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="ascii", errors="backslashreplace")


def utf8_locale(environ: Mapping[str, str]) -> bool:
    """Whether the caller's locale is UTF-8, looking through Python's coercion of LC_CTYPE."""
    for key in ("LC_ALL", "LC_CTYPE", "LANG"):
        value = environ.get(key, "").lower()
        if not value or (key == "LC_CTYPE" and value in ("c.utf-8", "c.utf8", "utf-8")):
            continue
        return value.endswith(("utf-8", "utf8"))
    return False


def console(file: TextIO | None = None) -> rich.console.Console:
    """Plain when ``file`` (stdout) is no terminal; nothing in the text is taken for markup."""
    return rich.console.Console(
        file=file or sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=False
    )


def line(text: str = "", err: bool = False) -> None:
    """One line as it is. (click.echo would write UTF-8 whatever the stream's encoding is.)"""
    print(text, file=sys.stderr if err else sys.stdout, flush=True)


def emit_json(value: Any) -> None:
    line(json.dumps(value, indent=2))


def changed(as_json: bool, answer: Any, text: str) -> None:
    """What a change came to: the API's answer (``{}`` if it had none), or ``text``."""
    if as_json:
        emit_json({} if answer is None else answer)
    else:
        line(text)


def listed(
    as_json: bool,
    items: Sequence[Any],
    columns: Sequence[str],
    row: Callable[[Any], Sequence[object]],
    empty: str = "none",
) -> None:
    """A list: the API's items, or a table with one ``row`` of each."""
    if as_json:
        emit_json(items)
    else:
        table(columns, [row(item) for item in items], empty)


def shown(as_json: bool, item: Any, pairs: _Pairs) -> None:
    """One object: the API's answer, or ``pairs`` of label and value."""
    if as_json:
        emit_json(item)
    else:
        details(pairs)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "none") -> None:
    """Rows under headings; a column whose heading starts with ``>`` is set to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        line(empty)
        return
    made = rich.table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        justify = "right" if name.startswith(">") else "left"
        made.add_column(name.lstrip(">").upper(), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in cells:
        made.add_row(*(styled(cell) for cell in row))
    screen = console()
    with screen.capture() as shown:
        screen.print(made)
    for text in shown.get().splitlines():
        line(text.rstrip())


def details(pairs: _Pairs) -> None:
    """``Label   value`` a line; pairs whose value is empty are left out.

    Values are wrapped between words only, so that a path or a URI can be copied.
    """
    shown = [(label, str(value)) for label, value in pairs if value not in ("", None)]
    indent = max((len(label) for label, _ in shown), default=0) + 2
    screen = console()
    for label, value in shown:
        lines = textwrap.wrap(
            value, screen.width - indent, break_long_words=False, break_on_hyphens=False
        )
        style = styled(value).style
        for number, line in enumerate(lines):
            head = rich.text.Text((label if number == 0 else "").ljust(indent), style="bold")
            screen.print(head + rich.text.Text(line, style=style), soft_wrap=True)


def styled(text: str) -> rich.text.Text:
    """``text`` in the colour of the state it begins with, if it is one."""
    first = text.split(":", 1)[0].split(" ", 1)[0]
    return rich.text.Text(text, style=_STYLES.get(first, ""))


def say(text: str, style: str = "", wrap: bool = True) -> None:
    """One paragraph for a person, wrapped to the width unless it is to be copied."""
    screen = console()
    lines = [text]
    if wrap:
        indent = " " * (len(text) - len(text.lstrip()))
        lines = textwrap.wrap(
            text,
            screen.width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    for one in lines:
        screen.print(rich.text.Text(one, style=style), soft_wrap=True)


def note(text: str) -> None:
    """A remark on stderr: never part of what a program reads."""
    line(text, err=True)


def reason(state: str, why: str | None) -> str:
    return f"{state}: {why}" if why else state


def size(value: int | None) -> str:
    return "-" if value is None else units.format_size(value)


def percent(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole else "-"


def moment(at: float | None) -> str:
    """A point in time of the MDM's clock, in this host's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else "-"


def ago(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name} ago"
    return f"{seconds:.0f} s ago"


def progress() -> rich.progress.Progress:
    """A bar with time left on stderr, on a terminal; nothing at all when piped."""
    shown = console(sys.stderr)
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(bar_width=24),
        rich.progress.TaskProgressColumn(markup=False),
        rich.progress.TimeRemainingColumn(),
        console=shown,
        transient=True,
        disable=not shown.is_terminal,
    )


def spinner(text: str) -> AbstractContextManager[object]:
    """A turning stroke beside ``text`` on stderr, on a terminal; nothing at all when piped."""
    shown = console(sys.stderr)
    if not shown.is_terminal:
        return contextlib.nullcontext()
    return shown.status(rich.text.Text(text), spinner="line")
