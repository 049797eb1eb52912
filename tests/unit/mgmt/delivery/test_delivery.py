"""Messages arrive at a real mail server, web server and SNMP receiver, and are tried again."""

import asyncio
import hashlib
import hmac
import json
import threading
import time

import pytest
from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config as snmp_config
from pysnmp.entity import engine as snmp_engine
from pysnmp.entity.rfc3413 import ntfrcv
from sqlalchemy import select

from appliance.common import errors
from appliance.mgmt.alerts import engine, rules, store
from appliance.mgmt.db import models
from appliance.mgmt.delivery import channels, queue, smtp, snmp, webhook
from tests.fakes import alert_receivers


@pytest.fixture
def hook():
    made = alert_receivers.Hook()
    yield made
    made.close()


@pytest.fixture
def mailbox():
    made = alert_receivers.Mailbox()
    yield made
    made.close()


class Receiver:
    """A real SNMP notification receiver, v2c and v3, in a thread of its own."""

    def __init__(self):
        self.taken = []
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(20)

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _open(self):
        made = snmp_engine.SnmpEngine()
        transport = udp.UdpAsyncioTransport()
        snmp_config.add_transport(
            made, udp.DOMAIN_NAME, transport.open_server_mode(("127.0.0.1", 0))
        )
        while transport.transport is None:
            await asyncio.sleep(0.01)
        self.port = transport.transport.get_extra_info("sockname")[1]
        snmp_config.add_v1_system(made, "area", "public")
        snmp_config.add_v3_user(
            made, "basalt",
            snmp_config.USM_AUTH_HMAC192_SHA256, "authentication",
            snmp_config.USM_PRIV_CFB128_AES, "privacy-key",
        )  # fmt: skip
        ntfrcv.NotificationReceiver(made, self._note)
        self._engine = made

    def _note(self, _engine, _reference, _context, _name, variables, _cb):
        self.taken.append({str(oid): str(value) for oid, value in variables})

    def close(self):
        self._loop.call_soon_threadsafe(self._engine.close_dispatcher)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def wait(found, what):
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


MESSAGE = queue.test_message(1_700_000_000.0) | {
    "severity": "error", "message": "Storage server sds1 is down: gone",
    "component_name": "sds1", "event": "raised",
}  # fmt: skip


def test_a_webhook_gets_the_alert_signed(hook):
    settings = webhook.check({"url": hook.url, "secret": "key"})
    webhook.send(settings, MESSAGE)
    ((headers, body),) = hook.taken
    assert json.loads(body) == MESSAGE
    digest = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert headers["X-BASALT-SIGNATURE"] == f"sha256={digest}"


def test_a_webhook_that_says_no_or_is_not_there_has_not_taken_it(hook):
    hook.status = 500
    with pytest.raises(errors.Unreachable, match="HTTP 500"):
        webhook.send({"url": hook.url}, MESSAGE)
    hook.close()
    with pytest.raises(errors.Unreachable):
        webhook.send({"url": hook.url}, MESSAGE)


def test_mail_has_the_message_in_its_subject_and_what_to_do_in_its_body(mailbox):
    settings = smtp.check(
        {
            "host": "127.0.0.1", "port": mailbox.port, "security": "none",
            "sender": "basalt@example.org", "recipients": "a@example.org, b@example.org",
        }
    )  # fmt: skip
    smtp.send(settings, MESSAGE)
    (envelope,) = mailbox.taken
    text = envelope.content.decode()
    assert envelope.rcpt_tos == ["a@example.org", "b@example.org"]
    assert "[Basalt] error raised: Storage server sds1 is down: gone" in text
    assert "What to do: Nothing." in text


def test_a_line_end_in_a_name_makes_no_header_of_its_own(mailbox):
    settings = smtp.check(
        {"host": "127.0.0.1", "port": mailbox.port, "security": "none",
         "sender": "basalt@example.org", "recipients": "a@example.org"}
    )  # fmt: skip
    smtp.send(settings, MESSAGE | {"message": "x\r\nBcc: evil@example.org"})
    assert "\r\nBcc:" not in mailbox.taken[0].content.decode().partition("\r\n\r\n")[0]


def test_a_mail_server_without_tls_gets_nothing_where_tls_is_wanted(mailbox):
    settings = smtp.check(
        {"host": "127.0.0.1", "port": mailbox.port, "security": "starttls",
         "sender": "basalt@example.org", "recipients": "a@example.org"}
    )  # fmt: skip
    with pytest.raises(errors.Unreachable):
        smtp.send(settings, MESSAGE)
    assert mailbox.taken == []


@pytest.mark.parametrize(
    "settings",
    [
        {"version": "2c", "mode": "trap", "secret": "public"},
        {"version": "2c", "mode": "inform", "secret": "public"},
        {"version": "3", "mode": "inform", "user": "basalt", "secret": "authentication",
         "privacy_secret": "privacy-key"},
    ],
    ids=["v2c trap", "v2c inform", "v3 inform"],
)  # fmt: skip
def test_an_snmp_receiver_gets_every_variable(receiver, settings):
    checked = snmp.check({"host": "127.0.0.1", "port": receiver.port, **settings})
    snmp.send(checked, MESSAGE)
    wait(lambda: receiver.taken, "the notification")
    (found,) = receiver.taken
    assert snmp.NOTIFICATION in found.values()
    for number, name in enumerate(snmp.VARIABLES, 1):
        assert found[f"{snmp.BASE}.1.{number}"] == str(MESSAGE[name])


def test_an_inform_that_nobody_confirms_was_not_delivered(receiver, monkeypatch):
    monkeypatch.setattr(snmp, "_TIMEOUT_S", 0.2)
    checked = snmp.check(
        {"host": "127.0.0.1", "port": receiver.port, "version": "2c", "mode": "inform",
         "secret": "not the community"}
    )  # fmt: skip
    with pytest.raises(errors.Unreachable):
        snmp.send(checked, MESSAGE)


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (webhook, {"url": "file:///etc/passwd"}),
        (webhook, {"url": "http://"}),
        (smtp, {"host": "a b", "sender": "a@b.c", "recipients": "a@b.c"}),
        (smtp, {"host": "mail", "sender": "a@b.c\r\nX: y", "recipients": "a@b.c"}),
        (smtp, {"host": "mail", "sender": "a@b.c", "recipients": "nobody"}),
        (smtp, {"host": "mail", "port": "0x", "sender": "a@b.c", "recipients": "a@b.c"}),
        (snmp, {"host": "x", "version": "1"}),
        (snmp, {"host": "x", "version": "3", "user": "u", "secret": "short"}),
        (snmp, {"host": "x", "port": 70000}),
    ],
)
def test_settings_that_make_no_sense_are_refused(module, settings):
    with pytest.raises(errors.Invalid):
        module.check(settings)


def raise_one(db):
    reading = engine.Reading("sds_down", "sds", "abc", "sds1", 1.0, "sds1 is down")
    store.keep(db, rules.load(db), engine.Outcome([reading], [], []))


def state(db):
    with db.read() as tx:
        row = tx.session.scalars(select(models.Delivery)).one()
        return row.state, row.attempts


def test_what_fails_is_tried_again_until_it_arrives(db, boss, clock, hook):
    channels.create(db, boss, "hook", "webhook", "info", {"url": hook.url})
    queued = queue.Queue(db, channels.send)
    hook.status = 503
    raise_one(db)
    queued.run_once()
    queued.run_once()  # too early
    assert state(db) == ("waiting", 1)
    hook.status = 200
    clock.advance(queue.RETRY_S[0] + 0.1)
    queued.run_once()
    assert state(db) == ("sent", 2)
    queued.run_once()
    assert len(hook.taken) == 1
    assert queued.failed() == {}


def test_what_never_arrives_is_given_up_and_told(db, boss, clock, hook):
    channels.create(db, boss, "hook", "webhook", "info", {"url": hook.url})
    queued = queue.Queue(db, channels.send)
    hook.status = 503
    raise_one(db)
    for _ in range(len(queue.RETRY_S) + 3):
        queued.run_once()
        clock.advance(3600)
    assert state(db) == ("failed", len(queue.RETRY_S) + 1)
    ((count, error),) = queued.failed().values()
    assert count == 1
    assert "HTTP 503" in error


def given_up(db, boss, clock, hook):
    """A queue whose only channel failed, and that channel's id."""
    made = channels.create(db, boss, "hook", "webhook", "info", {"url": hook.url})
    queued = queue.Queue(db, channels.send)
    hook.status = 503
    raise_one(db)
    for _ in range(len(queue.RETRY_S) + 1):
        queued.run_once()
        clock.advance(3600)
    assert set(queued.failed()) == {"hook"}
    return queued, made["id"]


def test_a_channel_that_failed_works_again_once_it_takes_a_test_message(db, boss, clock, hook):
    queued, channel = given_up(db, boss, clock, hook)
    clock.advance(86400)
    assert set(queued.failed()) == {"hook"}  # time alone mends nothing
    with pytest.raises(errors.Unreachable):
        channels.test(db, boss, channel)
    assert set(queued.failed()) == {"hook"}
    hook.status = 200
    channels.test(db, boss, channel)
    assert queued.failed() == {}


def test_a_channel_that_is_off_is_not_waited_for(db, boss, clock, hook):
    queued, channel = given_up(db, boss, clock, hook)
    channels.enable(db, boss, channel, False)
    assert queued.failed() == {}


def test_the_test_button_sends_at_once_or_says_why_not(db, boss, hook):
    made = channels.create(db, boss, "hook", "webhook", "info", {"url": hook.url})
    channels.test(db, boss, made["id"])
    assert json.loads(hook.taken[0][1])["event"] == "test"
    hook.status = 404
    with pytest.raises(errors.Unreachable, match="HTTP 404"):
        channels.test(db, boss, made["id"])
