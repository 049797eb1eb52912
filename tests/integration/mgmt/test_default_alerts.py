"""Every default alert, made true by what it is for, over a real MDM: raised once, cleared once.

Agents are in memory here, so that a clock can be wrong and a disk full without harm to the host;
what they report goes the whole way: heartbeat, MDM, MGMT, rule, database.
"""

import dataclasses
import datetime
import json
import re
import socket
import sqlite3

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.mgmt.alerts import catalog, rules, store
from appliance.mgmt.delivery import queue
from appliance.protocol import codec, messages
from tests.fakes import alert_receivers, running_mdm, running_mgmt

GIB = 1024**3
MIB = 1024**2


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
        self.mdm = running_mdm.RunningMdm(folder / "mdm")
        self.mdm.build()
        self.certificate = folder / "cert.pem"
        certificate(self.certificate, 365)
        self.mgmt = running_mgmt.RunningMgmt(
            folder / "mgmt", self.mdm.url, folder / "mdm" / "admin.token",
            certificates=(str(self.certificate),),
        )  # fmt: skip
        for rule in rules.listed(self.mgmt.context.db):
            self.rule(rule["id"], hold_s=0, clear_hold_s=0)
        self.rule("mdm_backup_old", threshold=1e-9, clear_threshold=1e-9, enabled=False)
        self.volume = self.mdm.volume("music", columns=1)
        self.mdm.beat(2)

    def rule(self, ident, **change):
        rules.update(self.mgmt.context.db, self.mgmt.boss, ident, change)

    def close(self):
        self.mgmt.stop()
        self.mdm.close()

    def alerts(self, rule):
        items = store.page(self.mgmt.context.db, "all", limit=500)["items"]
        return [one for one in items if one["rule_id"] == rule]

    def sdc_says(self, **plugin):
        """The client reports its mappings with other words of their plugins."""
        client = self.mdm.sdcs["sdc1"]
        client._reports = {
            key: dataclasses.replace(one, plugin=dataclasses.replace(one.plugin, **plugin))
            for key, one in client._reports.items()
        }
        client.beat()

    def device_says(self, **words):
        sds = self.mdm.sds["sds1"]
        sds.devices = {key: dataclasses.replace(one, **words) for key, one in sds.devices.items()}
        beat = messages.SdsHeartbeat(
            sds._session, "boot", sds._revision, False, tuple(sds.devices.values()), (), "0.1.0"
        )
        sds._client.post(f"/api/v1/agents/sds/{sds.identity.id}/heartbeat", codec.to_json(beat))

    def clock_says(self, ahead_s):
        sds = self.mdm.sds["sds2"]
        now = self.mdm.mdm.context.clock.wall()
        beat = messages.SdsHeartbeat(
            sds._session, "boot", sds._revision, False, tuple(sds.devices.values()), (), "0.1.0",
            clock=now + ahead_s,
        )  # fmt: skip
        sds._client.post(f"/api/v1/agents/sds/{sds.identity.id}/heartbeat", codec.to_json(beat))

    def silence(self, name, silent):
        """As if the agent had ended, or were back."""
        agent = {**self.mdm.sds, **self.mdm.sdcs}[name]
        if silent:
            self.mdm.mdm.context.liveness.refused(agent.identity.id)
        else:
            agent.beat()

    def replica(self, state, only=1):
        self.sql("UPDATE replicas SET state = ? WHERE volume_id = ? AND slot < ?",
                 state, self.volume["id"], only)  # fmt: skip

    def sql(self, text, *values):
        connection = sqlite3.connect(self.mdm.folder / "mdm.db", timeout=5)
        with connection:
            connection.execute(text, values)
        connection.close()

    def job(self, done, total, state="running"):
        self.sql("DELETE FROM jobs WHERE id = 'j'")
        self.sql(
            "INSERT INTO jobs (id, kind, subject_kind, subject_id, subject_name, state, done_bytes,"
            " total_bytes, moved_bytes, rate, rate_at, rate_bytes, detail, request_id, started_at,"
            " updated_at) VALUES"
            " ('j', 'resync', 'volume', ?, 'music', ?, ?, ?, 0, 0, 0, 0, '', '-', 1, 1)",
            self.volume["id"], state, done, total,
        )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("alerts"))
    yield made
    made.close()


def _mapped(site):
    site.mdm.api.post(
        f"/api/v1/volumes/{site.volume['id']}/mappings", {"sdc": "sdc1", "backend": "none"}
    )
    site.mdm.beat(4)


def _slow(site):
    site.rule("rebuild_slow", threshold=10.0, clear_threshold=10.0)
    for done in (0, 1, 2, 3):
        site.job(done * 1000, 10**12)
        at = site.mgmt.context.view.current.at
        site.mgmt.until(lambda at=at: site.mgmt.context.view.current.at > at + 0.15, "a look")


def _backup(site):
    site.rule("mdm_backup_old", enabled=True)


def _made_backup(site):
    site.mdm.api.post("/api/v1/backups", {})
    site.rule("mdm_backup_old", threshold=48.0, clear_threshold=48.0)


def _mismatch(site):
    site.sql(
        "INSERT INTO events (at, who, request_id, kind, subject_kind, subject_id, subject_name,"
        " detail) VALUES (?, 'sds1', '-', 'scrub_mismatch', 'volume', ?, 'music', ?)",
        site.mdm.mdm.context.clock.wall(), site.volume["id"], '{"region": 3}',
    )  # fmt: skip


def _resolve_by_hand(site):
    (alert,) = site.alerts("scrub_mismatch")
    status, _ = site.mgmt.api("POST", f"/api/v1/alerts/{alert['id']}/resolve", {})
    assert status == 200


FULL = 100 * GIB

CASES = {
    "sds_down": (
        lambda s: s.silence("sds1", True), lambda s: s.silence("sds1", False),
        "Storage server sds1 is down",
    ),
    "client_disconnected": (
        lambda s: s.silence("sdc1", True), lambda s: s.silence("sdc1", False),
        "Client sdc1 is down",
    ),
    "column_one_copy": (
        lambda s: s.replica("stale"), lambda s: s.replica("in_sync"),
        "Volume music has one good copy of 1 of 1 columns",
    ),
    "replica_stale": (
        lambda s: s.replica("stale"), lambda s: s.replica("in_sync"),
        "Volume music has 1 copies that missed writes",
    ),
    "column_unavailable": (
        lambda s: s.replica("stale", 2), lambda s: s.replica("in_sync", 2),
        "Volume music has no readable copy of 1 of 1 columns",
    ),
    "rebuild_stuck": (
        lambda s: (s.rule("rebuild_stuck", threshold=0.5, clear_threshold=0.5), s.job(5, 10)),
        lambda s: s.job(10, 10, "done"), "The resync of music stands still",
    ),
    "rebuild_slow": (
        _slow, lambda s: s.job(10, 10, "done"), "The resync of music takes",
    ),
    "pool_used_warning": (
        lambda s: s.sql("UPDATE devices SET free_bytes = capacity_bytes * 15 / 100"),
        lambda s: s.sql("UPDATE devices SET free_bytes = capacity_bytes"),
        "Pool p is 85 % full",
    ),
    "pool_used_critical": (
        lambda s: s.sql("UPDATE devices SET free_bytes = capacity_bytes * 5 / 100"),
        lambda s: s.sql("UPDATE devices SET free_bytes = capacity_bytes"),
        "Pool p is 95 % full",
    ),
    "device_slow": (
        lambda s: s.device_says(sync_s=4.2), lambda s: s.device_says(sync_s=0.001),
        "took 4.20 s to become durable",
    ),
    "device_failed": (
        lambda s: s.device_says(state="missing", reason="pulled out"),
        lambda s: s.device_says(state="ok", reason=""),
        "is missing: pulled out",
    ),
    "scrub_mismatch": (_mismatch, _resolve_by_hand, "Copies of music differ: region 3"),
    "mdm_backup_old": (_backup, _made_backup, "has had no backup for"),
    "mdm_database_large": (
        lambda s: s.rule("mdm_database_large", threshold=1.0, clear_threshold=1.0),
        lambda s: s.rule("mdm_database_large", threshold=9e9, clear_threshold=9e9),
        "The MDM's database is",
    ),
    "mdm_disk_filling": (
        lambda s: s.rule("mdm_disk_filling", threshold=0.001, clear_threshold=0.001),
        lambda s: s.rule("mdm_disk_filling", threshold=100.1, clear_threshold=100.1),
        "The disk of the MDM's database is",
    ),
    "certificate_expiring": (
        lambda s: certificate(s.certificate, 5), lambda s: certificate(s.certificate, 365),
        "ends in 5 days",
    ),
    "clock_skew": (
        lambda s: s.clock_says(30), lambda s: s.clock_says(0.01),
        "The clock of sds2 is 30.0 s ahead of the MDM's",
    ),
    "volume_io_waiting": (
        lambda s: (s.rule("volume_io_waiting", threshold=0.1, clear_threshold=0.1), _mapped(s),
                   s.sdc_says(waiting="column 0: sds1, sds2")),
        lambda s: s.sdc_says(waiting=""),
        "I/O of volume music at sdc1 waits",
    ),
    "heal_failed": (
        lambda s: s.mgmt.context.checks._checks.append(s.broken),
        lambda s: s.mgmt.context.checks._checks.remove(s.broken),
        "widget could not be healed in 2 attempts: no spare part",
    ),
    "mdm_unreachable": (
        lambda s: (s.rule("mdm_unreachable", threshold=0.2, clear_threshold=0.2), s.mdm.stop()),
        lambda s: (s.mdm.start(), s.mdm.beat(2)), "The MDM has not answered for",
    ),
}  # fmt: skip


def test_every_default_has_a_case():
    assert set(CASES) | {"delivery_failed"} == set(catalog.BY_ID)


@pytest.mark.parametrize("rule", CASES)
def test_it_is_raised_once_and_cleared_once(site, rule, caplog):
    from appliance.common import backoff
    from appliance.domain import health
    from appliance.rest import checks

    def no_spare():
        raise RuntimeError("no spare part")

    site.broken = checks.Check(
        "widget", lambda: (health.Health.UNHEALTHY, "it broke"), no_spare, "replace it", limit=2,
        pause=backoff.Backoff(0.01, 0.01),
    )  # fmt: skip
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
