"""Alerts as e-mail, over plain SMTP, STARTTLS or TLS from the start."""

import datetime
import re
import smtplib
import ssl
from email import message as messages
from email import utils
from typing import Any

from appliance.common import errors

_TIMEOUT_S = 10.0
_ADDRESS = re.compile(r"[^@\s,<>\r\n]{1,64}@[A-Za-z0-9.-]{1,250}")
_SECURITY = ("none", "starttls", "tls")

FIELDS = {
    "host": "Server", "port": "Port", "security": "Security (none, starttls, tls)",
    "user": "User", "secret": "Password", "sender": "From", "recipients": "To (comma between)",
}  # fmt: skip


def check(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings to keep. Raises errors.Invalid."""
    host = str(settings.get("host", "")).strip()
    if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host):
        raise errors.Invalid(what="host", why="give the mail server's name or address")
    security = str(settings.get("security") or "starttls")
    if security not in _SECURITY:
        raise errors.Invalid(what="security", why=f"one of {', '.join(_SECURITY)}")
    port = _port(settings.get("port"), 465 if security == "tls" else 25)
    sender = str(settings.get("sender", "")).strip()
    recipients = [one.strip() for one in str(settings.get("recipients", "")).split(",")]
    for what, address in (("sender", sender), *(("recipients", one) for one in recipients)):
        if not _ADDRESS.fullmatch(address):
            raise errors.Invalid(what=what, why=f"{address[:80]!r} is no e-mail address")
    return {
        "host": host, "port": port, "security": security, "sender": sender,
        "recipients": ", ".join(recipients), "user": str(settings.get("user", ""))[:200],
        "secret": str(settings.get("secret", ""))[:200],
    }  # fmt: skip


def send(settings: dict[str, Any], message: dict[str, Any]) -> None:
    """Raises errors.Unreachable unless the server took it for every recipient."""
    peer = f"the mail server {settings['host']}:{settings['port']}"
    try:
        with _connected(settings) as server:
            if settings.get("user"):
                server.login(settings["user"], settings.get("secret", ""))
            refused = server.send_message(_mail(settings, message))
    except (smtplib.SMTPException, OSError) as exc:
        raise errors.Unreachable(peer=peer, why=str(exc)) from exc
    if refused:
        raise errors.Unreachable(peer=peer, why=f"it refused {', '.join(refused)}")


def _connected(settings: dict[str, Any]) -> smtplib.SMTP:
    where = (settings["host"], settings["port"])
    if settings["security"] == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(*where, timeout=_TIMEOUT_S, context=context)
    server = smtplib.SMTP(*where, timeout=_TIMEOUT_S)
    try:
        if settings["security"] == "starttls":
            server.starttls(context=ssl.create_default_context())
    except (smtplib.SMTPException, OSError):
        server.close()
        raise
    return server


def _mail(settings: dict[str, Any], message: dict[str, Any]) -> messages.EmailMessage:
    mail = messages.EmailMessage()
    mail["From"], mail["To"] = settings["sender"], settings["recipients"]
    mail["Date"] = utils.formatdate(message["at"])
    mail["Message-ID"] = utils.make_msgid(domain="basalt.invalid")
    words = f"[Basalt] {message['severity']} {message['event']}: {message['message']}"
    mail["Subject"] = " ".join(words.split())[:200]
    at = datetime.datetime.fromtimestamp(message["at"], datetime.UTC).isoformat(timespec="seconds")
    mail.set_content(
        f"{message['message']}\n\n"
        f"Severity:   {message['severity']}\n"
        f"What:       {message['event']} at {at}\n"
        f"Component:  {message['component_type']} {message['component_name']}\n"
        f"Meaning:    {message['meaning']}\n"
        f"What to do: {message['what_to_do']}\n"
        f"Alert:      {message['alert_id']} ({message['rule_id']})\n"
    )
    return mail


def _port(value: Any, default: int) -> int:
    try:
        port = int(value or default)
    except (TypeError, ValueError):
        port = 0
    if not 1 <= port <= 65535:
        raise errors.Invalid(what="port", why="give a number from 1 to 65535")
    return port
