"""``basalt status``: at a glance, what is wrong and what to do."""

from collections.abc import Callable
from typing import Any

import click.testing

from tests.fakes import fake_mdm_api

Basalt = Callable[..., click.testing.Result]


def test_first_the_health_in_a_sentence_then_what_to_do(basalt: Basalt) -> None:
    lines = basalt("status").stdout.splitlines()
    assert lines[0].startswith("The cluster is degraded: 2 of 3 SDSs answer")
    whole = " ".join(line.strip() for line in lines)
    assert "warning: SDS sds2 is down: not heard from for 14 s" in whole
    assert "-> start basalt-sds on its host, or see its log" in whole
    assert whole.index("sds2") < whole.index("Capacity")


def test_capacity_roles_volumes_and_jobs(basalt: Basalt) -> None:
    shown = basalt("status").stdout
    assert "30 GiB of 300 GiB used (10 %)" in shown
    assert "2 of 3 SDS up" in shown
    assert "2: 1 healthy, 1 degraded" in shown
    assert "3: 2 ok, 1 not reachable (sds2 is down)" in shown
    assert "resync" in shown
    assert "43 %" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_a_quiet_cluster_is_short(basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi) -> None:
    mdm.status |= {"health": "healthy", "summary": "all is well", "problems": [], "jobs": []}
    shown = basalt("status").stdout
    assert shown.startswith("all is well\n")
    assert "none running" in shown


def test_json_is_the_answer_of_the_api(
    ask: Callable[..., Any], mdm: fake_mdm_api.FakeMdmApi
) -> None:
    assert ask("status") == mdm.status


def test_json_may_stand_before_the_noun(basalt: Basalt) -> None:
    assert basalt("--json", "status").stdout.startswith("{")
