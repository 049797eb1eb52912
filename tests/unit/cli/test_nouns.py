"""Every noun lists, shows and changes; for people in 80 columns, for programs in JSON."""

from collections.abc import Callable
from typing import Any

import click.testing
import pytest

from tests.fakes import fake_mdm_api

Basalt = Callable[..., click.testing.Result]
Ask = Callable[..., Any]

LISTS = ["domain", "fault-set", "pool", "sds", "device", "sdc", "volume", "job", "event", "token"]
SHOWN = {
    "domain": "default",
    "fault-set": "fs1",
    "pool": "default",
    "sds": "sds2",
    "device": f"{0xD1:016x}",
    "sdc": "sdc1",
    "volume": "data",
    "job": f"{0x10:016x}",
}
_COLLECTION = {"fault-set": "fault-sets", "sds": "sds"}


def _collection(noun: str) -> str:
    return _COLLECTION.get(noun, noun + "s")


@pytest.mark.parametrize("noun", LISTS)
def test_list_prints_every_object_of_every_page_as_json(
    ask: Ask, mdm: fake_mdm_api.FakeMdmApi, noun: str
) -> None:
    assert ask(noun, "list") == mdm.objects[_collection(noun)]


@pytest.mark.parametrize("noun", LISTS)
def test_list_prints_a_table_within_80_columns(basalt: Basalt, noun: str) -> None:
    done = basalt(noun, "list")
    assert done.exit_code == 0, done.output
    assert max(len(line) for line in done.stdout.splitlines()) <= 80 or noun == "event"
    assert done.stdout.isascii()


@pytest.mark.parametrize(("noun", "ref"), SHOWN.items())
def test_show_prints_the_object_as_json(
    ask: Ask, mdm: fake_mdm_api.FakeMdmApi, noun: str, ref: str
) -> None:
    assert ask(noun, "show", ref)["id"] == mdm.one(_collection(noun), ref)["id"]


@pytest.mark.parametrize(("noun", "ref"), SHOWN.items())
def test_show_prints_words_within_80_columns(basalt: Basalt, noun: str, ref: str) -> None:
    done = basalt(noun, "show", ref)
    assert done.exit_code == 0, done.output
    assert ref in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


@pytest.mark.parametrize("noun", ["domain", "fault-set", "pool", "sds", "sdc", "volume"])
def test_rename_patches_the_name(ask: Ask, mdm: fake_mdm_api.FakeMdmApi, noun: str) -> None:
    assert ask(noun, "rename", SHOWN[noun], "other")["name"] == "other"
    assert mdm.requests[-1] == ("PATCH", f"{_collection(noun)}/{SHOWN[noun]}", {"name": "other"})


@pytest.mark.parametrize(
    ("noun", "verb"),
    [("domain", "delete"), ("fault-set", "delete"), ("pool", "delete"), ("sds", "remove"),
     ("device", "remove"), ("sdc", "remove"), ("volume", "delete")],
)  # fmt: skip
def test_delete_deletes_without_asking_where_there_is_no_terminal(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi, noun: str, verb: str
) -> None:
    before = len(mdm.objects[_collection(noun)])
    done = basalt(noun, verb, SHOWN[noun])
    assert done.exit_code == 0, done.output
    assert len(mdm.objects[_collection(noun)]) == before - 1


def test_names_are_quoted_in_the_path(basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi) -> None:
    assert basalt("volume", "show", "../status?x").exit_code == 3
    assert mdm.requests[-1][1] in ("volumes/../status?x", "volumes/..%2Fstatus%3Fx")


def test_domain_and_fault_set_create(ask: Ask, mdm: fake_mdm_api.FakeMdmApi) -> None:
    ask("domain", "create", "east")
    ask("fault-set", "create", "rack7", "--domain", "east")
    assert mdm.requests[0] == ("POST", "domains", {"name": "east"})
    assert mdm.requests[1] == ("POST", "fault-sets", {"name": "rack7", "domain": "east"})


def test_pool_create_sends_only_what_was_said(ask: Ask, mdm: fake_mdm_api.FakeMdmApi) -> None:
    ask("pool", "create", "fast", "--media", "ssd", "--warn", "70")
    body = {"name": "fast", "domain": "default", "media": "ssd", "warn_percent": 70}
    assert mdm.requests[-1] == ("POST", "pools", body)


def test_device_add_waits_until_it_is_taken(ask: Ask, mdm: fake_mdm_api.FakeMdmApi) -> None:
    made = ask("device", "add", "--sds", "sds1", "--path", "/srv/new", "--pool", "default",
               "--limit", "10G")  # fmt: skip
    assert made["state"] == "ok"
    assert mdm.requests[0][2]["limit_bytes"] == 10 * 1024**3


def test_device_add_says_why_it_was_refused_and_what_to_do(basalt: Basalt) -> None:
    done = basalt("device", "add", "--sds", "sds1", "--path", "/srv/foreign", "--pool", "default")
    assert done.exit_code == 4
    assert "is refused: it is not empty" in done.stderr
    assert "basalt device remove" in done.stderr


def test_a_device_whose_server_is_down_is_not_called_ok(basalt: Basalt) -> None:
    lines = basalt("device", "list").stdout.splitlines()
    assert [line.split()[1] for line in lines if "sds down" in line] == ["sds2"]
    assert "State     sds down\n" in basalt("device", "show", f"{0xD2:016x}").stdout


def test_device_list_of_one_server(ask: Ask) -> None:
    assert [item["sds"] for item in ask("device", "list", "--sds", "sds3")] == ["sds3"]


def test_sdc_approve_and_take_back(ask: Ask) -> None:
    assert ask("sdc", "approve", "sdc1", "--no")["approved"] is False
    assert ask("sdc", "approve", "sdc1")["approved"] is True


def test_token_create_prints_the_token_alone_on_stdout(basalt: Basalt) -> None:
    done = basalt("token", "create", "ci", "--role", "join")
    assert done.stdout == "shown-once\n"
    assert "join token ci" in done.stderr


def test_token_delete(basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi) -> None:
    assert basalt("token", "delete", "admin").exit_code == 0
    assert mdm.objects["tokens"] == []


def test_mdm_backup_names_the_file(basalt: Basalt, ask: Ask) -> None:
    assert "/var/lib/basalt/mdm/backups/a.db" in basalt("mdm", "backup").stdout
    assert len(ask("mdm", "backups")) == 2
    assert "96 KiB" in basalt("mdm", "backups").stdout


def test_event_list_shows_the_newest_last_and_no_more_than_asked(ask: Ask) -> None:
    assert [item["seq"] for item in ask("event", "list", "--limit", "2")] == [4, 5]
    assert [item["seq"] for item in ask("event", "list", "--after", "3")] == [4, 5]
    assert [item["seq"] for item in ask("event", "list", "--kind", "volume.created")] == [1, 4]


def test_event_list_asks_once_for_the_newest_and_page_by_page_for_all(
    ask: Ask, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    one = mdm.objects["events"][0]
    mdm.objects["events"] = [one | {"seq": seq} for seq in range(1, 120)]
    assert [item["seq"] for item in ask("event", "list")] == list(range(70, 120))
    assert len(mdm.requests) == 1
    assert [item["seq"] for item in ask("event", "list", "--all")] == list(range(1, 120))
    assert [item["seq"] for item in ask("event", "list", "--all", "--after", "117")] == [118, 119]


def test_job_wait_returns_when_it_is_done(basalt: Basalt) -> None:
    done = basalt("job", "wait", SHOWN["job"])
    assert done.exit_code == 0
    assert "100 GiB of 100 GiB (100 %)" in done.stdout


def test_job_wait_fails_with_the_job(basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi) -> None:
    mdm.objects["jobs"][0] |= {"state": "failed", "detail": "the source is gone"}
    done = basalt("job", "wait", SHOWN["job"])
    assert done.exit_code == 4
    assert "the source is gone" in done.stderr


def test_domain_set_changes_the_rebuild_delay(ask: Ask, mdm: fake_mdm_api.FakeMdmApi) -> None:
    ask("domain", "set", "default", "--rebuild-delay", "90")
    assert mdm.requests[-1] == ("PATCH", "domains/default", {"rebuild_delay_s": 90.0})


def test_pool_set_sends_only_what_was_said(ask: Ask, mdm: fake_mdm_api.FakeMdmApi) -> None:
    words = ["--rebuild-policy", "favour-application", "--rebuild-bandwidth", "5M"]
    ask("pool", "set", "default", *words, "--no-rebalance")
    body = {"rebuild_policy": "favour_application", "rebuild_bandwidth": 5 << 20}
    assert mdm.requests[-1] == ("PATCH", "pools/default", body | {"rebalance": False})


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["pool", "rebalance", "default"], ("POST", "pools/default/rebalance", {})),
        (["sds", "evacuate", "sds1"], ("POST", "sds/sds1/evacuation", {})),
        (["sds", "evacuate", "sds1", "--undo"], ("DELETE", "sds/sds1/evacuation", None)),
        (["sds", "maintenance", "enter", "sds1"], ("POST", "sds/sds1/maintenance", {})),
        (["sds", "maintenance", "exit", "sds1"], ("DELETE", "sds/sds1/maintenance", None)),
        (["job", "cancel", f"{0x10:016x}"], ("DELETE", f"jobs/{0x10:016x}", None)),
    ],
)
def test_orders_go_where_they_belong(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi, words: list[str], request_: object
) -> None:
    done = basalt(*words)
    assert done.exit_code == 0, done.output
    assert mdm.requests[-1] == request_
