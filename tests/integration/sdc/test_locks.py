"""Range locks over the client's control port, as a copier asks for them (R8)."""

from typing import Any

import nbd
import pytest

from appliance.common import errors, units
from appliance.protocol import codec, messages
from appliance.sds.copier import lock_line
from tests.fakes import sdc_mdm, sdc_process


@pytest.fixture
def report(agent: sdc_process.AgentProcess, mdm: sdc_mdm.SdcMdm) -> messages.MappingReport:
    return sdc_process.attached(mdm, sdc_process.order(mdm))


def _body(report: messages.MappingReport, **more: Any) -> Any:
    values: dict[str, Any] = {
        "incarnation": report.incarnation,
        "token": "lock-token",
        "generation": 1,
        "offset": 0,
        "length": units.MIB,
        "limit_s": 20.0,
    }
    return codec.to_json(messages.LockRequest(**(values | more)))


def test_a_lock_is_granted_and_given_back(
    agent: sdc_process.AgentProcess, report: messages.MappingReport
) -> None:
    call = agent.call("lock-token")
    answer = call.post("/locks", _body(report))
    assert answer["limit_s"] == 20.0
    handle = sdc_process.connect(report)
    cookie = handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(512)), 0)
    handle.poll(50)
    assert not handle.aio_command_completed(cookie)
    assert call.delete(f"/locks/{answer['id']}") is None
    while not handle.aio_command_completed(cookie):
        assert handle.poll(10_000) == 1
    assert call.delete(f"/locks/{answer['id']}") is None


def test_a_long_lock_is_cut(
    agent: sdc_process.AgentProcess, report: messages.MappingReport
) -> None:
    answer = agent.call("lock-token").post("/locks", _body(report, limit_s=1e6))
    assert answer["limit_s"] == 30.0


@pytest.mark.parametrize(
    ("token", "changes", "error"),
    [
        ("another", {}, errors.Unauthenticated),
        (None, {"token": ""}, errors.Unauthenticated),
        ("lock-token", {"incarnation": "f" * 16}, errors.NotFound),
        ("lock-token", {"generation": 7}, errors.Unavailable),
        ("lock-token", {"limit_s": 0.0}, errors.Invalid),
        ("lock-token", {"length": -1}, errors.Invalid),
    ],
)
def test_a_wrong_request_is_refused(
    agent: sdc_process.AgentProcess,
    report: messages.MappingReport,
    token: str | None,
    changes: dict[str, Any],
    error: type[errors.BasaltError],
) -> None:
    with pytest.raises(error):
        agent.call(token).post("/locks", _body(report, **changes))


def test_a_lock_instead_of_another_gives_that_back_first(
    agent: sdc_process.AgentProcess, report: messages.MappingReport
) -> None:
    call = agent.call("lock-token")
    first = call.post("/locks", _body(report))
    # The same range: granted only because the first is given back before.
    second = call.post("/locks", _body(report, instead_of=first["id"], limit_s=5.0))
    assert second["instead_of"] == first["id"]
    with pytest.raises(errors.Unavailable):  # and so even if this one is refused
        call.post("/locks", _body(report, instead_of=second["id"], generation=7))
    handle = sdc_process.connect(report)
    handle.pwrite(bytes(512), 0)


def _line(
    agent: sdc_process.AgentProcess, report: messages.MappingReport, **changes: Any
) -> lock_line.Line | None:
    values = {
        "incarnation": report.incarnation,
        "hosts": ("127.0.0.1",),
        "port": agent.port(),
        "token": "lock-token",
    }
    generation = changes.pop("generation", 1)
    to = messages.LockClient(**(values | changes))
    return lock_line.connect(to, generation, timeout_s=20.0, answer_s=20.0)


def test_a_lock_line_goes_to_the_plugin_and_outlives_the_agent(
    agent: sdc_process.AgentProcess, report: messages.MappingReport
) -> None:
    line = _line(agent, report)
    assert line is not None
    assert line.ask(0, units.MIB, 20.0) == messages.StepAnswer(limit_s=20.0)
    handle = sdc_process.connect(report)
    handle.pwrite(bytes(512), units.MIB)
    cookie = handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(512)), 0)
    handle.poll(50)
    assert not handle.aio_command_completed(cookie)
    agent.kill()
    assert line.ask(units.MIB, units.MIB, 1000.0) == messages.StepAnswer(limit_s=30.0)
    while not handle.aio_command_completed(cookie):
        assert handle.poll(10_000) == 1
    line.give_back()
    handle.pwrite(bytes(512), units.MIB)
    line.close()


@pytest.mark.parametrize(
    "changes", [{"token": "another"}, {"incarnation": "f" * 16}, {"generation": 0}]
)
def test_no_lock_line_is_had_without_the_right_words(
    agent: sdc_process.AgentProcess, report: messages.MappingReport, changes: dict[str, Any]
) -> None:
    assert _line(agent, report, **changes) is None
    with pytest.raises(errors.Invalid, match="Upgrade: basalt-locks"):
        agent.call("lock-token").get("/lock-line", incarnation=report.incarnation, generation=1)
