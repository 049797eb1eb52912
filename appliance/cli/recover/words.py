"""What ``basalt recover image`` says: which volumes there are, which copy was taken and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.cli import output
from appliance.disk import choice, image, survey


def name(copies: Sequence[survey.Copy]) -> str:
    """What the volume was called last."""
    return choice.choose(copies).newest.volume.name


def volumes(as_json: bool, found: survey.Survey) -> None:
    """A table of the volumes in the folders."""
    rows: list[dict[str, Any]] = []
    for ident, copies in sorted(found.volumes().items()):
        chosen = choice.choose(copies)
        newest = chosen.newest.volume
        rows.append(
            {
                "id": ident,
                "name": newest.name,
                "size_bytes": newest.size,
                "columns": newest.ncols,
                "generation": chosen.generation,
                "devices": len(copies),
                "doubts": list(chosen.doubts),
            }
        )
    if as_json:
        output.emit_json(rows)
        return
    output.table(
        ["name", "id", ">size", ">columns", ">generation", ">devices", "newest"],
        [
            (
                row["name"],
                row["id"],
                output.size(row["size_bytes"]),
                row["columns"],
                row["generation"],
                row["devices"],
                "not sure" if row["doubts"] else "yes",
            )
            for row in rows
        ],
        "no volume lies in these folders",
    )


def columns(chosen: choice.Choice) -> None:
    """Column by column: the copy taken, why, and what was passed over."""
    for column in chosen.columns:
        taken = column.right[0]
        dirty = len(taken.dirty)
        marks = f"; {dirty} region{'' if dirty == 1 else 's'} marked" if dirty else ""
        output.say(f"column {column.index}: {taken.device} ({column.why}{marks})")
        for copy, why in column.passed_over:
            output.say(f"  not {copy.device} ({why})")


def result(
    chosen: choice.Choice, out: Path, size: int, differences: list[image.Difference] | None
) -> dict[str, Any]:
    """The answer as JSON; ``differences`` is null if nothing was compared."""
    found = None
    if differences is not None:
        found = [
            {"column": one.column, "region": one.region, "marked": one.marked}
            for one in differences
        ]
    return {
        "volume": chosen.newest.volume.id,
        "name": chosen.newest.volume.name,
        "file": str(out),
        "size_bytes": size,
        "generation": chosen.generation,
        "columns": [
            {
                "column": column.index,
                "taken": str(column.right[0].device),
                "why": column.why,
                "passed_over": [
                    {"device": str(copy.device), "why": why} for copy, why in column.passed_over
                ],
                "doubts": list(column.doubts),
            }
            for column in chosen.columns
        ],
        "differences": found,
    }


def sentence(
    answer: dict[str, Any], chosen: choice.Choice, differences: list[image.Difference] | None
) -> str:
    """The end, for people."""
    lines = [
        f"wrote {answer['file']} ({output.size(answer['size_bytes'])}), volume {answer['name']}"
    ]
    if differences is None:
        if any(len(column.right) > 1 for column in chosen.columns):
            lines.append("copies that should be equal were not compared; --compare does that")
        return "\n".join(lines)
    marked = [one for one in differences if one.marked]
    wrong = [one for one in differences if not one.marked]
    if marked:
        lines.append(
            "the copies differ where they may, for a write was going on: "
            f"{image.regions_text(marked)}"
        )
    if wrong:
        lines.append(
            "THE COPIES DIFFER WHERE THEY MUST NOT: "
            f"{image.regions_text(wrong)}. One of them is damaged; the image holds what the copy "
            "named above has"
        )
    return "\n".join(lines if differences else [*lines, "all copies are equal"])
