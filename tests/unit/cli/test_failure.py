"""How commands fail: what, why, what next, on stderr; exit codes of protocol.status."""

import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from appliance.common import errors
from appliance.protocol import status
from tests.fakes import fake_mdm_api

Basalt = Callable[..., click.testing.Result]

REFUSALS = [
    errors.Invalid(what="size_bytes", why="is no multiple of 1 MiB"),
    errors.AlreadyExists(kind="volume", key="v1"),
    errors.NoCapacity(why="pool 'default' has 3 GiB free, 8 GiB are needed"),
    errors.InUse(kind="volume", key="v1", why="it is mapped to sdc1"),
    errors.Forbidden(why="a join token only registers agents"),
    errors.Unavailable(why="the MDM's disk is full"),
    errors.Damaged(path="mdm.db", why="malformed"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda one: one.code)
def test_a_refusal_has_its_exit_code_and_the_servers_words(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi, refusal: errors.BasaltError
) -> None:
    mdm.refusal = refusal
    done = basalt("volume", "create", "v1", "--size", "8G")
    assert done.exit_code == status.meaning(refusal).exit
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: basalt volume create: {refusal}\n")
    assert f"code {refusal.code}, request id" in done.stderr


def test_json_errors_are_json_on_stderr_and_nothing_on_stdout(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    mdm.refusal = errors.NoCapacity(why="full")
    done = basalt("volume", "create", "v1", "--size", "8G", "--json")
    assert done.stdout == ""
    said = json.loads(done.stderr)
    assert (said["code"], said["description"]) == ("no_capacity", "full")
    assert said["request_id"] == mdm.request_ids[-1]


def test_an_unknown_name_says_where_to_look(basalt: Basalt) -> None:
    done = basalt("volume", "show", "nosuch")
    assert done.exit_code == 3
    assert "next:  basalt volume list shows what there is" in done.stderr


def test_nobody_answers(basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi) -> None:
    mdm.close()
    done = basalt("status")
    assert done.exit_code == 5
    assert mdm.url in done.stderr
    assert "see that the MDM runs" in done.stderr


def test_a_wrong_token(basalt: Basalt, environ: dict[str, str]) -> None:
    Path(environ["BASALT_TOKEN_FILE"]).write_text("wrong", encoding="ascii")
    done = basalt("status")
    assert done.exit_code == 6
    assert "BASALT_TOKEN_FILE" in done.stderr


def test_a_token_file_that_is_not_there(basalt: Basalt, tmp_path: Path) -> None:
    done = basalt("--token-file", str(tmp_path / "none"), "status")
    assert done.exit_code == 2
    assert f"there is no file {tmp_path / 'none'}" in done.stderr


@pytest.mark.parametrize("url", ["localhost:6611", "ftp://host", "http://"])
def test_an_address_that_is_none(basalt: Basalt, url: str) -> None:
    assert basalt("--url", url, "status").exit_code == 2


def test_a_second_address_is_tried(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi, unused_url: str
) -> None:
    assert basalt("--url", f"{unused_url},{mdm.url}", "status").exit_code == 0


@pytest.fixture
def unused_url() -> str:
    """Where nobody answers: a server that was closed."""
    gone = fake_mdm_api.FakeMdmApi()
    gone.close()
    return gone.url


@pytest.mark.parametrize(
    "words", [["volume", "create"], ["nonsense"], ["volume", "map", "v", "--backend", "iscsi"]]
)
def test_wrong_usage_is_2(basalt: Basalt, words: list[str]) -> None:
    assert basalt(*words).exit_code == 2


def test_a_bug_is_1_and_asks_for_a_report(basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi) -> None:
    del mdm.status["health"]
    done = basalt("status")
    assert done.exit_code == 1
    assert "KeyError" in done.stderr
    assert "this is a bug in basalt" in done.stderr


def test_every_request_of_one_command_has_one_request_id(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    basalt("volume", "map", "data")
    assert len(mdm.request_ids) > 2
    assert len(set(mdm.request_ids)) == 1
