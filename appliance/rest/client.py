"""HTTP client between Basalt's parts: agents and the CLI to the MDM, the copier to clients.

JSON in and out; an error answer is raised as the class of ``common.errors`` its code names.
"""

import copy
import json
import logging
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import urllib3

from appliance.common import errors, log
from appliance.protocol import status

logger = logging.getLogger(__name__)


class Client:
    """Keeps connections open; may be used by many threads at once. Blocks ``timeout_s`` at most
    for each address it tries.

    ``base_urls`` ("http://host:6611") are tried in turn, starting with the one that answered
    last. A request goes to a second address only if the first cannot have acted on it: no
    connection was made, or it was a GET. ``headers`` go with every request.
    ``ca_file`` has the CA that servers at https addresses must be of; empty: the host's own CAs.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        token: str | None = None,
        timeout_s: float = 5.0,
        user_agent: str = "basalt",
        headers: Mapping[str, str] | None = None,
        ca_file: str = "",
    ) -> None:
        self._bases = [base.rstrip("/") for base in base_urls]
        if not self._bases:
            raise errors.Invalid(what="address", why="no server's address is given")
        self._best = 0
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._headers.update(headers or {})
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._pool = urllib3.PoolManager(
            maxsize=16,
            retries=False,
            timeout=urllib3.Timeout(total=timeout_s),
            ca_certs=ca_file or None,
        )
        self._lock = threading.Lock()

    def get(self, path: str, **params: Any) -> Any:
        """What is at ``path``. Parameters that are None are left out.

        Every method returns the answer's parsed JSON, None if it has no content, and raises
        errors.Unreachable if nobody answered, else the error that the server named, with the
        server's own words and ``request_id``. Parts of a path that people typed are the
        caller's to quote (``client.quote``).
        """
        query = {name: _text(value) for name, value in params.items() if value is not None}
        return self._request("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, path: str, body: Any = None) -> Any:
        return self._request("POST", path, {} if body is None else body)

    def put(self, path: str, body: Any = None) -> Any:
        return self._request("PUT", path, {} if body is None else body)

    def patch(self, path: str, body: Any) -> Any:
        return self._request("PATCH", path, body)

    def delete(self, path: str, **params: Any) -> Any:
        query = {name: _text(value) for name, value in params.items() if value is not None}
        return self._request(
            "DELETE", path + ("?" + urllib.parse.urlencode(query) if query else "")
        )

    def with_headers(self, headers: Mapping[str, str]) -> "Client":
        """The same client, over the same connections, that sends ``headers`` too."""
        twin = copy.copy(self)
        twin._headers = {**self._headers, **headers}
        return twin

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.clear()

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        headers = dict(self._headers)
        if (ident := log.request_id()) != "-":
            headers["X-Request-Id"] = ident
        data = None
        if body is not None:
            data = json.dumps(body, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        first = self._best
        failed = []
        for turn in range(len(self._bases)):
            index = (first + turn) % len(self._bases)
            base = self._bases[index]
            try:
                response = self._pool.request(method, base + path, body=data, headers=headers)
            except urllib3.exceptions.HTTPError as exc:
                failed.append(f"{base}: {_reason(exc)}")
                if method != "GET" and not _never_sent(exc):
                    break
                continue
            self._best = index
            return _answer(base, response)
        raise errors.Unreachable(peer="the server", why="; ".join(failed))


def quote(part: str) -> str:
    """``part`` as one element of a path, whatever is in it."""
    return urllib.parse.quote(part, safe="")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _never_sent(exc: urllib3.exceptions.HTTPError) -> bool:
    return isinstance(
        exc,
        urllib3.exceptions.NewConnectionError
        | urllib3.exceptions.ConnectTimeoutError
        | urllib3.exceptions.LocationValueError,
    )


def _reason(exc: urllib3.exceptions.HTTPError) -> str:
    cause = exc.__cause__ or exc.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    if isinstance(exc, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    return str(cause or exc)


def _answer(base: str, response: urllib3.BaseHTTPResponse) -> Any:
    try:
        data = json.loads(response.data) if response.data else None
    except ValueError as exc:
        raise errors.Unreachable(
            peer=base, why=f"it answered HTTP {response.status}, but not in JSON"
        ) from exc
    if response.status < 300:
        return data
    if not isinstance(data, dict) or "code" not in data:
        raise errors.Unreachable(peer=base, why=f"it answered HTTP {response.status} and no error")
    cls = status.by_code().get(data["code"], errors.BasaltError)
    raise cls.received(str(data.get("description", "")), str(data.get("request_id", "")))
