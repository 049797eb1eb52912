"""The agent as a process of its own: real HTTP, real nbdkit, orders by hand."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.fakes import sdc_host, sdc_mdm, sdc_process


def test_it_registers_attaches_and_detaches(
    agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm
) -> None:
    ident = sdc_process.order(mdm)
    report = sdc_process.attached(mdm, ident)
    words, _ = mdm.registrations[0]
    assert (words.name, words.hosts) == ("client1", ("127.0.0.1",))
    assert words.control_port > 0
    assert (report.backend, report.device, report.link) == ("none", "", "")
    assert report.backend_reason
    handle = sdc_process.connect(report)
    handle.pwrite(b"x" * 512, 0)
    handle.shutdown()

    mdm.change(ident, wanted=False)
    sdc_host.until(lambda: mdm.reports[ident].state == "detached")
    plugin = mdm.reports[ident].plugin
    assert plugin is not None
    assert plugin.clean
    del mdm.orders[ident]
    sdc_host.until(lambda: ident not in mdm.reports)
    sdc_host.until(lambda: not (agent.folder / "run" / ident).exists())


def test_health_says_how_it_is(agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm) -> None:
    mdm.wait_beats(1)
    call = agent.call()
    sdc_host.until(lambda: call.get("/health")["status"] == "healthy")
    assert call.get("/health") == {"live": True, "ready": True, "status": "healthy", "reasons": []}
    mdm.down = True
    sdc_host.until(lambda: call.get("/health")["status"] == "degraded")
    assert "the fake MDM is down" in call.get("/health")["reasons"][0]


def test_a_poke_makes_it_ask_at_once(agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm) -> None:
    agent.stop()
    agent.start(poll_s="3600.0")
    mdm.wait_beats(1)
    call = agent.call()
    for _ in range(3):
        before = mdm.beats
        call.post("/poke")
        sdc_host.until(lambda before=before: mdm.beats > before)


def test_news_of_a_plugin_is_told_at_once(
    agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm
) -> None:
    agent.stop()
    agent.start(poll_s="3600.0")
    mdm.wait_beats(1)
    ident = sdc_process.order(mdm)
    agent.call().post("/poke")
    # Nobody polls, so each step was told by itself: incarnation, map taken, attached.
    sdc_process.attached(mdm, ident)


def test_orders_of_an_old_master_or_another_cluster_are_refused(
    agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm
) -> None:
    mdm.wait_beats(1)
    agent.stop()
    agent.start()  # the highest term seen is durable
    mdm.term = 4
    ident = sdc_process.order(mdm)
    mdm.wait_beats(3)
    assert ident not in mdm.reports
    mdm.term, mdm.cluster_id = 6, "00000000000000ee"
    mdm.wait_beats(3)
    assert ident not in mdm.reports
    mdm.cluster_id = sdc_mdm.CLUSTER
    sdc_process.attached(mdm, ident)


def test_io_goes_on_while_the_agent_is_away_and_the_next_one_takes_over(
    agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm
) -> None:
    ident = sdc_process.order(mdm)
    first = sdc_process.attached(mdm, ident)
    handle = sdc_process.connect(first)
    handle.pwrite(b"before--" * 64, 0)
    assert agent.stop() == 0
    assert handle.pread(8, 0) == b"before--"
    handle.pwrite(b"between-" * 64, 0)
    agent.start()
    mdm.wait_beats(2)
    second = sdc_process.attached(mdm, ident)
    assert second.incarnation == first.incarnation
    assert handle.pread(8, 0) == b"between-"
    assert mdm.registrations[-1][1], "the secret it kept proves who it is"


def test_an_agent_killed_and_a_plugin_killed_while_it_is_away(
    agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm
) -> None:
    ident = sdc_process.order(mdm)
    first = sdc_process.attached(mdm, ident)
    agent.kill()
    [pid] = sdc_host.pids_with(f"incarnation={first.incarnation}")
    os.kill(pid, signal.SIGKILL)
    agent.start()
    sdc_host.until(lambda: mdm.reports[ident].incarnation != first.incarnation)
    sdc_process.connect(sdc_process.attached(mdm, ident)).pwrite(b"x" * 512, 0)


def test_io_goes_on_while_the_mdm_is_down(
    agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm
) -> None:
    ident = sdc_process.order(mdm)
    handle = sdc_process.connect(sdc_process.attached(mdm, ident))
    mdm.down = True
    agent.stop()
    agent.start()
    call = agent.call()
    sdc_host.until(lambda: bool(call.get("/health")["reasons"]))
    handle.pwrite(b"x" * 512, 0)
    mdm.down = False
    mdm.wait_beats(2)
    assert mdm.reports[ident].state == "attached"


def test_a_mapping_the_mdm_forgot_is_detached(
    agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm
) -> None:
    ident = sdc_process.order(mdm)
    incarnation = sdc_process.attached(mdm, ident).incarnation
    del mdm.orders[ident]
    sdc_host.until(lambda: ident not in mdm.reports)
    assert not sdc_host.pids_with(f"incarnation={incarnation}")


def test_more_mappings_than_allowed_are_refused_with_the_reason(
    agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm
) -> None:
    agent.stop()
    agent.start(max_mappings="1")
    first = sdc_process.order(mdm)
    sdc_process.attached(mdm, first)
    second = sdc_process.order(mdm, volume_name="vol2")
    sdc_host.until(lambda: second in mdm.reports)
    assert mdm.reports[second].state == "failed"
    assert "max_mappings" in mdm.reports[second].error


def test_a_second_agent_on_the_same_folder_is_refused(
    agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm, tmp_path: Path
) -> None:
    mdm.wait_beats(1)
    found = subprocess.run(
        [sys.executable, "-m", "appliance.sdc", "--set", f"data_dir={tmp_path / 'data'}",
         "--set", f"run_dir={tmp_path / 'run2'}", "--config-dir", str(tmp_path / "none")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 4
    assert "another SDC agent works on" in found.stderr


def test_a_run_dir_too_long_for_sockets_is_said_at_the_start(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "appliance.sdc", "--set", f"run_dir=/tmp/{'x' * 90}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert "run_dir" in found.stderr
