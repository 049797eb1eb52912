"""Default alerts that need no servers of their own, over a real MDM: raised once, cleared once.

What needs real ones is in ``test_real_faults``. Agents are in memory here; what they report goes
the whole way: heartbeat, MDM, MGMT, rule, database.
"""

import contextlib
import datetime
import json
import os
import re
import socket
import sqlite3

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.mgmt.alerts import rules, store
from appliance.mgmt.delivery import queue
from tests.fakes import alert_receivers, running_mdm, running_mgmt, small_disk

GIB = 1024**3
MIB = 1024**2
LARGE_BYTES = 5 * MIB


def certificate(path, days):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "basalt")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days, hours=1))
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))


class Site:
    """One MDM with agents that say what a test wants, and one MGMT without waiting times."""

    def __init__(self, folder):
        self.folder = folder
        self._cleanup = contextlib.ExitStack()
        self._cleanup.enter_context(small_disk.tmpfs(folder / "mdm", 64 * MIB))
        self.mdm = running_mdm.RunningMdm(folder / "mdm")
        self.mdm.build()
        self.database = folder / "mdm" / "mdm.db"
        self.certificate = folder / "cert.pem"
        certificate(self.certificate, 365)
        self.mgmt = running_mgmt.RunningMgmt(
            folder / "mgmt", self.mdm.url, folder / "mdm" / "admin.token",
            certificates=(str(self.certificate),),
        )  # fmt: skip
        for rule in rules.listed(self.mgmt.context.db):
            self.rule(rule["id"], hold_s=0, clear_hold_s=0)
        self.rule("mdm_database_large", threshold=LARGE_BYTES, clear_threshold=LARGE_BYTES)

    def rule(self, ident, **change):
        rules.update(self.mgmt.context.db, self.mgmt.boss, ident, change)

    def close(self):
        self.mgmt.stop()
        self.mdm.close()
        self._cleanup.close()

    def alerts(self, rule):
        items = store.page(self.mgmt.context.db, "all", limit=500)["items"]
        return [one for one in items if one["rule_id"] == rule]

    def silence(self, name, silent):
        """As if the agent had ended, or were back."""
        agent = {**self.mdm.sds, **self.mdm.sdcs}[name]
        if silent:
            self.mdm.mdm.context.liveness.refused(agent.identity.id)
        else:
            agent.beat()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("alerts"))
    yield made
    made.close()


def _database_grows(site):
    """Past the rule's threshold, which is small here."""
    with contextlib.closing(sqlite3.connect(site.database, timeout=30)) as connection:
        connection.execute("CREATE TABLE ballast AS SELECT zeroblob(?)", (2 * LARGE_BYTES,))
        connection.commit()


def _database_shrinks(site):
    with contextlib.closing(sqlite3.connect(site.database, timeout=30)) as connection:
        connection.execute("DROP TABLE ballast")
        connection.commit()
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _disk_fills(site):
    space = os.statvfs(site.folder / "mdm")
    wanted = (space.f_bavail - space.f_blocks * 7 // 100) * space.f_frsize
    with (site.folder / "mdm" / "foreign").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, wanted)


CASES = {
    "mdm_database_large": (_database_grows, _database_shrinks, "The MDM's database is"),
    "mdm_disk_filling": (
        _disk_fills, lambda s: (s.folder / "mdm" / "foreign").unlink(),
        "The disk of the MDM's database is 93 % full",
    ),
    "certificate_expiring": (
        lambda s: certificate(s.certificate, 5), lambda s: certificate(s.certificate, 365),
        "ends in 5 days",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES)
def test_it_is_raised_once_and_cleared_once(site, rule):
    make_true, make_false, words = CASES[rule]
    known = len(site.alerts(rule))
    make_true(site)
    site.mgmt.until(lambda: len(site.alerts(rule)) > known, f"{rule} to be raised")
    raised = site.alerts(rule)[0]
    assert words in raised["message"]
    assert raised["status"] == "active"
    make_false(site)
    site.mgmt.until(lambda: site.alerts(rule)[0]["status"] == "resolved", f"{rule} to be cleared")
    at = site.mgmt.context.view.current.at
    site.mgmt.until(lambda: site.mgmt.context.view.current.at > at + 0.3, "some more looks")
    assert len(site.alerts(rule)) == known + 1


def test_what_cannot_be_delivered_is_told_once_until_the_test_button_works(
    site, mailbox_port, monkeypatch
):
    """A web server that refuses and a mail server that is not there; then both are well."""
    monkeypatch.setattr(queue, "RETRY_S", (0.1, 0.1))
    hook = alert_receivers.Hook()
    hook.status = 503
    browser = site.mgmt.browser()
    mail = {"host": "127.0.0.1", "port": str(mailbox_port), "security": "none",
            "sender": "basalt@example.org", "recipients": "night@example.org"}  # fmt: skip
    for name, kind, settings in (("hook", "webhook", {"url": hook.url}), ("post", "smtp", mail)):
        fields = {"name": name, "kind": kind, "min_severity": "error", **settings}
        assert browser.post("/channels", fields).status == 303
    site.silence("sds1", True)
    site.mgmt.until(lambda: len(site.alerts("delivery_failed")) == 2, "both to be given up")
    messages_of = {one["component_name"]: one["message"] for one in site.alerts("delivery_failed")}
    assert "HTTP 503" in messages_of["hook"]
    assert "refused" in messages_of["post"]
    assert "The test message was taken" not in _tested(browser, "post")
    assert "refused" in _tested(browser, "post")
    hook.status = 200
    mailbox = alert_receivers.Mailbox(mailbox_port)
    for name in ("hook", "post"):
        assert "The test message was taken" in _tested(browser, name)
    site.silence("sds1", False)
    site.mgmt.until(
        lambda: {one["status"] for one in site.alerts("delivery_failed")} == {"resolved"},
        "both to be cleared",
    )
    site.mgmt.until(lambda: _subjects(mailbox, "resolved"), "mail of the server's return")
    assert len(site.alerts("delivery_failed")) == 2
    assert json.loads(hook.taken[0][1])["event"] == "test"
    assert len(_subjects(mailbox, "test")) == 1
    mailbox.close()
    hook.close()


def _tested(browser, name):
    """What the page says after the test button of the channel ``name``."""
    row = browser.page("/channels").partition(f">{name}<")[2]
    browser.post(re.search(r"/channels/\w+/test", row)[0], {})
    return browser.page("/channels")


def _subjects(mailbox, event):
    mails = [one.content.decode() for one in mailbox.taken]
    return [one for one in mails if re.search(rf"Subject: \[Basalt\] \w+ {event}:", one)]


@pytest.fixture
def mailbox_port():
    """Of nobody, when it is given."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
