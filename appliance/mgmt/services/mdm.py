"""The MDM, as MGMT reaches it: over REST, through one circuit breaker, for people or itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from appliance.common import errors
from appliance.mgmt import config
from appliance.mgmt.services import identity
from appliance.rest import breaker, client

T = TypeVar("T")

_PREFIX = "/api/v1/"


class Mdm:
    """Thread-safe. Every call raises what the MDM refused with, or errors.Unreachable, or
    errors.Unavailable while the breaker is open."""

    def __init__(self, settings: config.Config) -> None:
        self.breaker = breaker.Breaker("the MDM")
        self._settings = settings
        self._client = self._made()

    def get(self, path: str, **params: Any) -> Any:
        """GET ``path`` from the root, with MGMT's own rights."""
        return self._call(lambda: self._client.get(path, **params))

    def items(self, collection: str, **params: Any) -> list[dict[str, Any]]:
        """Every item of a list under /api/v1, page after page."""
        found: list[dict[str, Any]] = []
        after = None
        while True:
            page = self.get(_PREFIX + collection, after=after, **params)
            found.extend(page["items"])
            after = page.get("next")
            if after is None:
                return found

    def acting_for(self, who: identity.Identity) -> "Acting":
        """Requests that carry ``who`` and get no more than their role allows."""
        headers = {"X-Basalt-User": who.name, "X-Basalt-Role": who.role}
        return Acting(self._client.with_headers(headers), self._call)

    def token_changed(self) -> bool:
        """Whether the token's file holds another one than is used. Raises errors.BadConfig."""
        return _token(self._settings.mdm_token_file) != self._token

    def token_renewed(self) -> bool:
        """Read the token's file again; whether another token is used from now on.

        The MDM makes a new one when the old one's file was removed (healing, ``services.parts``).
        """
        before = self._token
        self._client = self._made()
        return self._token != before

    def close(self) -> None:
        self._client.close()

    def _call(self, body: Callable[[], T]) -> T:
        return self.breaker.call(body)

    def _made(self) -> client.Client:
        self._token = _token(self._settings.mdm_token_file)
        return client.Client(
            self._settings.mdm,
            self._token,
            self._settings.mdm_timeout_s,
            "basalt-mgmt",
            ca_file=self._settings.mdm_ca_file,
        )


class Acting:
    """The same for one person's request. Paths are parts under /api/v1, quoted here."""

    def __init__(self, made: client.Client, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._client = made
        self._call = call

    def get(self, *parts: str, **params: Any) -> Any:
        return self._call(lambda: self._client.get(_path(parts), **params))

    def post(self, *parts: str, body: dict[str, Any]) -> Any:
        return self._call(lambda: self._client.post(_path(parts), body))

    def patch(self, *parts: str, body: dict[str, Any]) -> Any:
        return self._call(lambda: self._client.patch(_path(parts), body))

    def delete(self, *parts: str, **params: Any) -> Any:
        return self._call(lambda: self._client.delete(_path(parts), **params))


def _path(parts: tuple[str, ...]) -> str:
    return _PREFIX + "/".join(client.quote(part) for part in parts)


def _token(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise errors.BadConfig(
            file=str(file), key="mdm_token_file", why=f"the MDM's token cannot be read: {exc}"
        ) from exc
