"""What one run of ``basalt`` works with: where the MDM is, the token, and how to print.

Built by ``main`` from options and environment; every command gets it as click's context object.
"""

import functools
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.common import errors
from appliance.rest import client

DEFAULT_URL = "http://127.0.0.1:6611"

#: Where an MDM of this host writes its administrator's token.
DEFAULT_TOKEN_FILE = Path("/var/lib/basalt/mdm/admin.token")

#: The CA of a deployed cluster, which its MDM's certificate is of.
DEFAULT_CA_FILE = Path("/etc/basalt/tls/ca-cert.pem")

_PREFIX = "/api/v1"


@dataclass
class Session:
    """``urls`` are tried in turn; ``timeout_s`` is the limit of one request."""

    urls: tuple[str, ...] = (DEFAULT_URL,)
    token_file: Path | None = None
    timeout_s: float = 10.0
    json: bool = False
    ca_file: Path | None = None

    @functools.cached_property
    def client(self) -> client.Client:
        """Made at first use, so that commands without an MDM need neither address nor token."""
        for url in self.urls:
            parts = urllib.parse.urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise errors.Invalid(what="--url", why=f"{url!r} is not like {DEFAULT_URL}")
        return client.Client(
            self.urls, self._token(), self.timeout_s, "basalt-cli", ca_file=self._authority()
        )

    def get(self, *parts: str, **params: Any) -> Any:
        """GET ``/api/v1/<parts>``; parts are quoted, parameters that are None left out."""
        return self.client.get(path(*parts), **params)

    def post(self, *parts: str, body: dict[str, Any]) -> Any:
        return self.client.post(path(*parts), body)

    def patch(self, *parts: str, body: dict[str, Any]) -> Any:
        return self.client.patch(path(*parts), body)

    def delete(self, *parts: str, **params: Any) -> Any:
        return self.client.delete(path(*parts), **params)

    def items(self, *parts: str, **params: Any) -> list[dict[str, Any]]:
        """Every item of a list, page after page."""
        return [item for page in self.pages(*parts, **params) for item in page]

    def pages(self, *parts: str, **params: Any) -> Iterator[list[dict[str, Any]]]:
        after = params.pop("after", None)
        while True:
            page = self.get(*parts, after=after, **params)
            yield page["items"]
            after = page.get("next")
            if after is None:
                return

    def _authority(self) -> str:
        if self.ca_file is None:
            return str(DEFAULT_CA_FILE) if DEFAULT_CA_FILE.is_file() else ""
        if not self.ca_file.is_file():
            raise errors.Invalid(what="--ca-file", why=f"there is no file {self.ca_file}")
        return str(self.ca_file)

    def _token(self) -> str | None:
        file = self.token_file or DEFAULT_TOKEN_FILE
        try:
            return file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            if self.token_file is None:
                return None
            raise errors.Invalid(
                what="--token-file",
                why=f"there is no file {file}",
                next="give the administrator's token, by default <data_dir>/admin.token of the MDM",
            ) from None
        except (OSError, UnicodeDecodeError) as exc:
            raise errors.Invalid(what="--token-file", why=f"cannot read {file}: {exc}") from exc


def path(*parts: str) -> str:
    """The URL path of ``parts`` under the API's prefix, each part quoted."""
    return "/".join([_PREFIX, *(client.quote(part) for part in parts)])
