"""Alerts as JSON by HTTP POST. With a secret the body is signed: X-Basalt-Signature is
``sha256=`` and the hex HMAC-SHA-256 of the body."""

import hashlib
import hmac
import json
from typing import Any
from urllib import parse

import urllib3

from appliance.common import errors

_TIMEOUT_S = 5.0

FIELDS = {"url": "URL", "secret": "Secret (signs the body)"}


def check(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings to keep. Raises errors.Invalid."""
    url = str(settings.get("url", ""))
    parts = parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or len(url) > 1000:
        raise errors.Invalid(what="url", why="give one like https://host/path")
    return {"url": url, "secret": str(settings.get("secret", ""))[:200]}


def send(settings: dict[str, Any], message: dict[str, Any]) -> None:
    """Raises errors.Unreachable unless the receiver answered 2xx."""
    body = json.dumps(message, sort_keys=True).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "basalt-mgmt"}
    if settings.get("secret"):
        digest = hmac.new(settings["secret"].encode(), body, hashlib.sha256).hexdigest()
        headers["X-Basalt-Signature"] = f"sha256={digest}"
    where = f"the webhook at {parse.urlsplit(settings['url']).netloc.rpartition('@')[2]}"
    try:
        with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=_TIMEOUT_S)) as pool:
            answer = pool.request(
                "POST", settings["url"], body=body, headers=headers, redirect=False
            )
    except (urllib3.exceptions.HTTPError, OSError) as exc:
        raise errors.Unreachable(peer=where, why=str(exc.__cause__ or exc)) from exc
    if not 200 <= answer.status < 300:
        raise errors.Unreachable(peer=where, why=f"it answered HTTP {answer.status}")
