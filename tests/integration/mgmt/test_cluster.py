"""MGMT beside a real cluster: the checks such a system is measured by, a server that dies and
comes back, breakers and healing, each seen where people and tools look."""

import json
import re
import subprocess
import sys
import urllib.parse

import nbd
import pytest
import urllib3

from appliance.common import errors
from appliance.rest import client
from tests.fakes import running_mgmt
from tests.integration import local_cluster

MIB = 1024**2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, running_clusters):
    made = local_cluster.LocalCluster(tmp_path_factory.mktemp("mgmt") / "cluster", sds=2, mgmt=True)
    running_clusters.append(made)
    made.up()
    yield made
    made.stop()
    running_clusters.remove(made)
    made.remove()


@pytest.fixture(scope="module")
def browser(cluster):
    made = running_mgmt.Browser(cluster.mgmt_url)
    assert made.login("admin", cluster.mgmt_password).status == 303
    return made


def ask(browser, path):
    return json.loads(browser.page(path))


def mdm(cluster, path):
    return cluster.client().get(path)


def metric(cluster, family, **labels):
    """A value of the MDM's Prometheus text; None if it is not there."""
    text = urllib3.request(
        "GET", f"{cluster.url}/metrics", headers={"Authorization": f"Bearer {cluster.token}"}
    ).data.decode()
    for line in text.splitlines():
        if line.startswith(family + "{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rpartition(" ")[2])
    return None


def alerts(browser, rule, status="all"):
    items = ask(browser, f"/api/v1/alerts?status={status}&limit=500")["items"]
    return [one for one in items if one["rule_id"] == rule]


class Checks:
    """Counts what held. A check that does not hold is named."""

    def __init__(self):
        self.passed, self.failed = [], []

    def __call__(self, name, held):
        (self.passed if held else self.failed).append(name)


def mapped(cluster, name):
    def look():
        mappings = cluster.cli("volume", "show", name)["mappings"]
        return mappings[0] if mappings else None

    return local_cluster.wait(
        look, lambda one: one is not None and one["state"] == "attached", f"{name} mapped"
    )


def another_client(cluster, request):
    """The process of sdc2, which is up. It does not outlive the test."""
    words = [word.replace("sdc1", "sdc2") for word in cluster.command("sdc1")]
    made = subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.DEVNULL)
    request.addfinalizer(made.kill)
    local_cluster.wait(lambda: clients_up(cluster), lambda count: count == 2, "a second client")
    return made


def clients_up(cluster):
    return sum(one["health"] == "healthy" for one in cluster.cli("sdc", "list"))


def test_the_25_checks(cluster, browser, request):
    check = Checks()
    api, data = cluster.client(), bytes(range(256)) * 4096
    check("the MDM answers", mdm(cluster, "/health")["ready"])
    check("MGMT answers", client.Client([cluster.mgmt_url]).get("/health/live")["live"])
    check("/health is healthy", mdm(cluster, "/health")["status"] == "healthy")
    parts = mdm(cluster, "/health/components")
    check(
        "/health/components lists all",
        {p["component_type"] for p in parts} == {"mdm", "sds", "sdc"},
    )
    check("/health/metrics counts", mdm(cluster, "/health/metrics")["roles"]["sds"]["up"] == 2)
    # topology
    check("a domain", [d["name"] for d in cluster.cli("domain", "list")] == ["default"])
    check("two SDSs", len(cluster.cli("sds", "list")) == 2)
    check("a pool", [p["name"] for p in cluster.cli("pool", "list")] == ["default"])
    second = another_client(cluster, request)
    check("two SDCs", clients_up(cluster) == 2)
    # volume life
    thin = api.post("/api/v1/volumes", {"name": "thin", "size_bytes": 32 * MIB})
    check("a thin volume", thin["thin"])
    api.post("/api/v1/volumes", {"name": "thick", "size_bytes": 16 * MIB, "thin": False})
    thick = local_cluster.wait(
        lambda: cluster.cli("volume", "show", "thick"), lambda v: v["state"] == "ready", "thick"
    )
    check("a thick volume", thick["state"] == "ready" and not thick["thin"])
    api.post(f"/api/v1/volumes/{thin['id']}/mappings", {"sdc": "sdc1", "backend": "none"})
    mapping = mapped(cluster, "thin")
    check("map", mapping["state"] == "attached")
    handle = nbd.NBD()
    handle.connect_uri(mapping["uri"])
    handle.pwrite(data, 5 * MIB)
    handle.flush()
    check("write", True)
    read = bytes(handle.pread(len(data), 5 * MIB))
    check("read", read == data)
    # MGMT
    local_cluster.wait(
        lambda: ask(browser, "/health/api/summary")["health_metrics"]["volumes"].get("healthy"),
        lambda count: count == 2, "MGMT to know both volumes",
    )  # fmt: skip
    summary = ask(browser, "/health/api/summary")
    check("MGMT data", summary["health_metrics"]["capacity"]["capacity_bytes"] > 0)
    components = ask(browser, "/health/api/components")
    check(
        "MGMT components",
        {c["component_type"] for c in components} == {"mgmt", "mdm", "sds", "sdc"},
    )
    check("MGMT alerts", isinstance(ask(browser, "/api/v1/alerts")["items"], list))
    check("MGMT counts alerts", set(summary["alert_counts"]) == {"by_status", "by_severity"})
    tree = mdm(cluster, "/discovery/topology")
    check("discovery topology", len(tree["domains"][0]["fault_sets"]) == 2)
    figures = mdm(cluster, "/metrics/cluster")
    check("cluster metrics", figures["mappings"] == 1)
    told = local_cluster.wait(
        lambda: mdm(cluster, "/api/v1/statistics")["items"],
        lambda items: items and items[0]["stats"]["writes"] >= 1, "statistics",
    )  # fmt: skip
    check("statistics of what was written", told[0]["stats"]["write_bytes"] >= len(data))
    check("data integrity", bytes(handle.pread(len(data), 5 * MIB)) == data)
    handle.shutdown()
    # clean-up
    cluster.cli("volume", "unmap", "thin", "--sdc", "sdc1")
    check("unmap", cluster.cli("volume", "show", "thin")["mappings"] == [])
    for name in ("thin", "thick"):
        cluster.cli("volume", "delete", name)
    left = local_cluster.wait(
        lambda: cluster.cli("volume", "list"), lambda items: items == [], "no volume to be left"
    )
    check("clean-up of volumes", left == [])
    second.terminate()
    ended = second.wait(30) == 0
    cluster.cli("sdc", "remove", "sdc2", "--yes")
    check("clean-up of clients", ended and len(cluster.cli("sdc", "list")) == 1)
    assert check.failed == []
    assert len(check.passed) == 25


def test_breaker_and_healing_in_five_phases(cluster):
    """The MDM's calls to sds1: works, fails, open, half-open, closed; seen by people and tools."""

    def seen():
        (one,) = [c for c in mdm(cluster, "/health/components") if c["name"] == "sds1"]
        return one

    def state(word):
        return metric(cluster, "basalt_breaker_state", peer="sds sds1", state=word)

    works = local_cluster.wait(seen, lambda one: one["check_count"] >= 2, "checks", 20)
    assert (works["state"], works["breaker"], state("closed")) == ("healthy", "closed", 1)
    failed = works["failed_calls"]
    cluster.kill_sds(1)
    fails = local_cluster.wait(seen, lambda one: one["failed_calls"] > failed, "a failed call", 20)
    assert fails["failed_calls"] <= failed + 3
    opened = local_cluster.wait(seen, lambda one: one["breaker"] == "open", "an open breaker", 20)
    assert opened["failed_calls"] == failed + 3
    local_cluster.wait(seen, lambda one: one["state"] == "unhealthy", "the state to say so", 20)
    assert state("open") == 1
    later = local_cluster.wait(
        seen, lambda one: one["refused_calls"] >= opened["refused_calls"] + 2, "refused calls", 20
    )
    assert later["calls"] == opened["calls"]  # no call goes out any more
    cluster.start_sds(1)
    closed = local_cluster.wait(seen, lambda one: one["breaker"] == "closed", "a closed one", 30)
    assert closed["failed_calls"] - failed <= 5  # perhaps a probe that came too early
    healed = local_cluster.wait(seen, lambda one: one["state"] == "healthy", "health", 30)
    assert healed["breaker"] == "closed"
    assert (state("closed"), state("open")) == (1, 0)
    assert metric(cluster, "basalt_breaker_opened_total", peer="sds sds1") >= 1


def test_with_the_mdm_stopped_the_page_says_so_and_recovers(cluster, browser, announce_errors):
    soon = {"severity": "error", "threshold": "1", "clear_threshold": "1", "hold_s": "0",
            "clear_hold_s": "0", "enabled": "on"}  # fmt: skip
    assert browser.post("/rules/mdm_unreachable", soon).status == 303
    cluster.kill("mdm")
    text = local_cluster.wait(
        lambda: browser.page("/health"), lambda text: "The MDM does not answer" in text,
        "the page to say so", 20,
    )  # fmt: skip
    assert "I/O goes on without it" in text
    raised = local_cluster.wait(
        lambda: alerts(browser, "mdm_unreachable", "active"), len, "the alert", 30
    )
    assert len(raised) == 1
    summary = local_cluster.wait(
        lambda: ask(browser, "/health/api/summary"),
        lambda told: told["breakers"][0]["state"] == "open", "the breaker to open",
    )  # fmt: skip
    assert summary["health_summary"]["overall_status"] == "unknown"
    answer = browser.get("/volumes/0123456789abcdef")
    assert answer.status == 503
    assert b"<html" in answer.data
    cluster.up()
    local_cluster.wait(
        lambda: browser.page("/health"), lambda text: "verdict healthy" in text, "health", 40
    )
    local_cluster.wait(
        lambda: alerts(browser, "mdm_unreachable")[0]["status"],
        lambda status: status == "resolved", "the alert to resolve", 30,
    )  # fmt: skip
    assert len(alerts(browser, "mdm_unreachable")) == 1


def test_with_mgmt_stopped_storage_works_as_before(cluster):
    cluster.cli("volume", "create", "alone", "--size", "16MiB")
    cluster.cli("volume", "map", "alone", "--sdc", "sdc1", "--backend", "none")
    handle = nbd.NBD()
    handle.connect_uri(mapped(cluster, "alone")["uri"])
    cluster.kill("mgmt")
    data = bytes(range(256)) * 4096
    handle.pwrite(data, 0)
    handle.flush()
    assert bytes(handle.pread(len(data), 0)) == data
    handle.shutdown()
    cluster.cli("volume", "unmap", "alone", "--sdc", "sdc1")
    cluster.cli("volume", "delete", "alone")
    cluster.up()


def test_every_role_tells_prometheus(cluster):
    for name, word in (("sds1", "basalt_device_capacity_bytes"), ("sdc1", "basalt_sdc_mdm_reach")):
        port = cluster.state.ports[name]
        text = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
        assert word in text
    assert metric(cluster, "basalt_agent_silent_seconds", role="sds", name="sds1") is not None


def test_a_program_makes_and_deletes_a_volume_through_mgmt_and_the_mdm_knows_who(cluster, browser):
    token = re.search(
        r'class="token">([^<]+)<',
        browser.post("/account/tokens", {"name": "robot", "role": "configure"}).data.decode(),
    )[1]
    asking = client.Client([cluster.mgmt_url], token, timeout_s=20)
    made = asking.post("/api/v1/volumes", {"name": "by-robot", "size_bytes": MIB})
    with pytest.raises(errors.Forbidden):
        asking.post("/api/v1/pools", {"name": "more"})
    query = urllib.parse.urlencode({"subject": "by-robot"})
    (event,) = mdm(cluster, f"/api/v1/events?{query}")["items"]
    assert event["who"].startswith("admin/robot (")
    asking.delete(f"/api/v1/volumes/{made['id']}")
    asking.close()
