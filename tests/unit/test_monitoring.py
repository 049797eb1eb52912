"""What monitoring/ holds is right in Prometheus's own eyes, and asks only for what roles tell."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from appliance.domain import latency
from appliance.protocol import messages
from appliance.rest import breaker, checks, metrics
from appliance.sdc import metrics as sdc_metrics
from appliance.sds import metrics as sds_metrics
from tests.fakes import hand_clock, mdm_site

FOLDER = Path(__file__).parents[2] / "monitoring"

STATS = messages.IoStats(
    reads=7, writes=5, read_bytes=4096, errors=1, in_flight=2, degraded_s=1.5, turns=3,
    latency={"read": tuple([1] * latency.BUCKETS), "write": (5,)}, seconds={"read": 1.0},
)  # fmt: skip


def promtool(*words, text=None):
    return subprocess.run(
        ["promtool", *words], input=text, capture_output=True, check=False, cwd=FOLDER
    )


def of_sdc():
    plugin = messages.PluginStatus("i", waiting="sds1", stats=STATS)
    report = messages.MappingReport("m", "attached", plugin=plugin)
    return sdc_metrics.render([("music", report)], heard=True)


def of_sds():
    device = messages.DeviceReport("d", "ok", capacity_bytes=10, free_bytes=5, sync_s=0.2)
    leg = messages.LegReport("v", "d", 3, "c", used_bytes=9, copy=messages.CopyReport(3, 1, 2))
    return sds_metrics.render([device], {("v", "d"): leg}, heard=True)


def of_mdm(folder):
    from appliance.mdm.services import peers, prometheus

    site = mdm_site.Site(folder)
    try:
        site.ready(2)
        site.sdc("client1")
        asked = peers.Peers(site.ctx)
        asked.run_once()
        site.ctx.statistics.clock(asked.all()[0].id, 5.0, 2.0)
        times = metrics.RequestTimes()
        text = prometheus.render(site.ctx, asked.all(), times)
        asked.close()
        return text
    finally:
        site.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The text of each role; MGMT's is looked at where MGMT runs."""
    return {"sdc": of_sdc(), "sds": of_sds(), "mdm": of_mdm(tmp_path_factory.mktemp("mdm"))}


@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules.test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_no_fault(words):
    done = promtool(*words)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", ["sdc", "sds", "mdm"])
def test_every_role_s_metrics_keep_the_conventions(told, role):
    done = promtool("check", "metrics", text=told[role])
    assert (done.returncode, done.stderr + done.stdout) == (0, b"")


def _names(text):
    return set(re.findall(r"\bbasalt_[a-z0-9_]+", text))


def test_rules_and_dashboard_ask_only_for_what_there_is(told):
    there = _names("".join(text.decode() for text in told.values()))
    there |= {"basalt_http_request_duration_seconds_bucket"}
    there |= {"basalt_mgmt_alerts", "basalt_mgmt_snapshot_age_seconds"}
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    asked = " ".join(t["expr"] for panel in dashboard["panels"] for t in panel["targets"])
    rules = re.sub(r"description:.*|summary:.*", "", (FOLDER / "rules.yml").read_text())
    assert _names(asked) - there == set()
    assert _names(rules) - there == set()


def test_promtool_can_read_every_expression_of_the_dashboard(tmp_path):
    """As recording rules, which it checks; Grafana's own variables are filled in first."""
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert asked
    filled = [re.sub(r"\$__rate_interval|\$__interval|\$__range", "5m", one) for one in asked]
    filled = [re.sub(r"\$\{?\w+\}?", ".*", one) for one in filled]
    rules = [{"record": f"basalt:panel{n}", "expr": one} for n, one in enumerate(filled)]
    file = tmp_path / "rules.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout.decode()


def test_every_panel_has_a_place_of_its_own():
    panels = json.loads((FOLDER / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_a_histogram_is_cumulated_and_ends_with_its_count(told):
    lines = [
        line for line in told["sdc"].decode().splitlines()
        if line.startswith("basalt_volume_request_duration_seconds_bucket")
        and 'operation="read"' in line
    ]  # fmt: skip
    values = [float(line.rpartition(" ")[2]) for line in lines]
    assert values == sorted(values)
    assert values[-1] == latency.BUCKETS
    assert 'le="+Inf"' in lines[-1]


def test_breakers_and_checks_show_one_state_each():
    clock = hand_clock.HandClock()
    guard = breaker.Breaker("p", monotonic=clock.monotonic)
    found = {
        (sample.labels["peer"], sample.labels["state"]): sample.value
        for family in metrics.breakers([guard])
        for sample in family.samples
        if sample.name == "basalt_breaker_state"
    }
    assert found == {("p", "closed"): 1, ("p", "half-open"): 0, ("p", "open"): 0}
    looked = checks.Checks([checks.Check("x", lambda: 1 / 0)], clock)
    looked.run_once()
    states = {
        sample.labels["health"]: sample.value
        for family in metrics.checks_of([looked])
        for sample in family.samples
        if sample.name == "basalt_part_health"
    }
    assert states == {"healthy": 0, "degraded": 0, "unhealthy": 0, "unknown": 1}


def test_the_readme_shows_every_screenshot_there_is_and_each_is_small():
    shown = set(
        re.findall(r"monitoring/screenshots/(\S+?\.png)", (FOLDER.parent / "README.md").read_text())
    )
    kept = {path.name: path.stat().st_size for path in (FOLDER / "screenshots").iterdir()}
    assert shown == set(kept)
    assert max(kept.values()) < 100_000
