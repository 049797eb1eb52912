"""How a failed command ends: what failed, why, and what to do next, on stderr; and its exit code
(``protocol.status``). Called by ``main`` only."""

import json
import sys
import traceback
from typing import Any

import click

from appliance.cli import output
from appliance.common import errors
from appliance.protocol import status

#: Exit code after Ctrl-C or a "no" to a question: the shell's own number for an interrupt.
INTERRUPTED = 130

_NEXT = {
    "unreachable": "see that the MDM runs (systemctl status basalt-mdm, or basalt local status)"
    " and that --url or BASALT_URL names it",
    "unavailable": "try again in a moment; basalt status says what is wrong",
    "unauthenticated": "name the file with the administrator's token: --token-file or"
    " BASALT_TOKEN_FILE",
    "forbidden": "use the token of an administrator",
    "already_exists": "choose another name",
    "no_capacity": "basalt pool list shows what is free; add a device or delete a volume",
    "stale": "ask again; the state has changed meanwhile",
    "damaged": "nothing was changed; restore from a backup (basalt mdm restore)",
    "internal": "this is a bug; the MDM's log has a traceback under the request id",
}


def report(error: BaseException, doing: str, as_json: bool) -> int:
    """Print ``error`` of command ``doing`` on stderr and return the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        output.line("\nstopped; what was asked before goes on in the MDM", err=True)
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, errors.BasaltError):
        _print(error, doing, as_json)
        return status.meaning(error).exit
    traceback.print_exception(error, file=sys.stderr)
    output.line(f"error: {doing}: this is a bug in basalt; please report the lines above", err=True)
    return status.meaning(error).exit


def _print(error: errors.BasaltError, doing: str, as_json: bool) -> None:
    facts: dict[str, Any] = {
        "code": error.code,
        "description": str(error),
        "next": next_step(error, doing),
        "request_id": getattr(error, "request_id", "") or "",
    }
    if as_json:
        output.line(json.dumps({"command": doing, **facts}), err=True)
        return
    output.line(f"error: {doing}: {facts['description']}", err=True)
    if facts["next"]:
        output.line(f"next:  {facts['next']}", err=True)
    ident = f", request id {facts['request_id']}" if facts["request_id"] else ""
    output.line(f"       (code {error.code}{ident})", err=True)


def next_step(error: errors.BasaltError, doing: str) -> str:
    """What a person can do now, unless the message itself says it."""
    given = error.facts.get("next")
    if isinstance(given, str):
        return given
    if error.code == "not_found":
        noun = doing.split()[1] if len(doing.split()) > 2 else ""
        return f"basalt {noun} list shows what there is" if noun else ""
    return _NEXT.get(error.code, "")
