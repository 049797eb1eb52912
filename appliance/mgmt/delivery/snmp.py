"""Alerts as SNMP v2c or v3 notifications (pysnmp): traps, or informs, which are confirmed.

Object identifiers lie under netSnmpPlaypen, meant for whoever has no enterprise number:
``BASE.0.1`` is the notification, ``BASE.1.n`` its variables in the order of ``VARIABLES``.
"""

import asyncio
import re
from typing import Any

from pysnmp.hlapi.v3arch import asyncio as hlapi

from appliance.common import errors

BASE = "1.3.6.1.4.1.8072.9999.9999.611"
NOTIFICATION = f"{BASE}.0.1"
VARIABLES = (
    "event", "severity", "rule_id", "component_type", "component_name", "message", "alert_id",
)  # fmt: skip

_TIMEOUT_S = 2.0
_VERSIONS = ("2c", "3")
_MODES = ("trap", "inform")

FIELDS = {
    "host": "Receiver", "port": "Port (162)", "version": "Version (2c or 3)",
    "mode": "Mode (trap or inform)", "user": "User (version 3)",
    "secret": "Community (2c), or authentication key (3)", "privacy_secret": "Privacy key (3)",
}  # fmt: skip


def check(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings to keep. Raises errors.Invalid."""
    host = str(settings.get("host", "")).strip()
    if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host):
        raise errors.Invalid(what="host", why="give the receiver's name or address")
    version = str(settings.get("version") or "2c")
    mode = str(settings.get("mode") or "trap")
    if version not in _VERSIONS or mode not in _MODES:
        raise errors.Invalid(what="version", why="2c or 3, and mode trap or inform")
    try:
        port = int(settings.get("port") or 162)
    except (TypeError, ValueError):
        port = 0
    if not 1 <= port <= 65535:
        raise errors.Invalid(what="port", why="give a number from 1 to 65535")
    found = {"host": host, "port": port, "version": version, "mode": mode}
    for key in ("user", "secret", "privacy_secret"):
        found[key] = str(settings.get(key, ""))[:200]
    if version == "3" and (not found["user"] or len(str(found["secret"])) < 8):
        raise errors.Invalid(what="user", why="version 3 needs a user and a key of 8 characters")
    return found


def send(settings: dict[str, Any], message: dict[str, Any]) -> None:
    """Raises errors.Unreachable if it could not be sent, or an inform was not confirmed."""
    peer = f"the SNMP receiver {settings['host']}:{settings['port']}"
    try:
        why = asyncio.run(_send(settings, message))
    except Exception as exc:  # the library raises of its own kinds, and OSError
        raise errors.Unreachable(peer=peer, why=str(exc)) from exc
    if why:
        raise errors.Unreachable(peer=peer, why=why)


async def _send(settings: dict[str, Any], message: dict[str, Any]) -> str:
    engine = hlapi.SnmpEngine()
    try:
        target = await hlapi.UdpTransportTarget.create(
            (settings["host"], settings["port"]), timeout=_TIMEOUT_S, retries=1
        )
        variables = [
            hlapi.ObjectType(
                hlapi.ObjectIdentity(f"{BASE}.1.{number}"), hlapi.OctetString(_text(message[name]))
            )
            for number, name in enumerate(VARIABLES, 1)
        ]
        trap = hlapi.NotificationType(hlapi.ObjectIdentity(NOTIFICATION)).add_varbinds(*variables)
        indication, status, _index, _vars = await hlapi.send_notification(
            engine, _credentials(settings), target, hlapi.ContextData(), settings["mode"], trap
        )
        return str(indication or "") or (status.prettyPrint() if status else "")
    finally:
        engine.close_dispatcher()


def _credentials(settings: dict[str, Any]) -> Any:
    if settings["version"] == "2c":
        return hlapi.CommunityData(settings["secret"] or "public", mpModel=1)
    private = settings["privacy_secret"]
    return hlapi.UsmUserData(
        settings["user"],
        authKey=settings["secret"],
        privKey=private or None,
        authProtocol=hlapi.USM_AUTH_HMAC192_SHA256,
        privProtocol=hlapi.USM_PRIV_CFB128_AES if private else hlapi.USM_PRIV_NONE,
    )


def _text(value: Any) -> bytes:
    return str(value).encode()[:1000]
