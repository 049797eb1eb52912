"""A connection that begins as an HTTP request and then speaks another protocol (RFC 9110, 7.8)."""

import http.client
import socket
import urllib.parse
from typing import Any

from appliance.common import errors


def connect(
    host: str, port: int, path: str, protocol: str, token: str, timeout_s: float, **params: Any
) -> socket.socket | None:
    """A connection to ``host`` on which ``protocol`` is spoken; None if the server answers anything
    but that it will. Raises errors.Unreachable. Calls on the socket take ``timeout_s`` at most."""
    asked = http.client.HTTPConnection(host, port, timeout=timeout_s)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": protocol,
        "Authorization": f"Bearer {token}",
    }
    try:
        asked.request("GET", f"{path}?{urllib.parse.urlencode(params)}", headers=headers)
        answer = asked.getresponse()
        if answer.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            asked.close()
            return None
        # What is read ahead of its own bytes is none: the server waits for the first word.
        answer.close()
        connection, asked.sock = asked.sock, None
    except (OSError, http.client.HTTPException) as exc:
        asked.close()
        raise errors.Unreachable(peer=f"{host}:{port}", why=str(exc)) from exc
    return connection
