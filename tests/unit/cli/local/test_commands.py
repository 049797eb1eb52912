"""``basalt local`` where there is no cluster, or one that does not run."""

import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from appliance.cli import main
from appliance.cli.local import devices, state

Basalt = Callable[..., click.testing.Result]


@pytest.fixture
def basalt() -> Basalt:
    def run(*words: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(main.cli, ["local", *words])

    return run


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a cluster whose processes are all stopped or gone."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = state.new(0, folder / "devices", ())
    cluster = state.Cluster(
        made.id, 0, made.device_dir, devices.plan(made, 2, 1), {"mdm": 6611},
        {"sds1": state.Process(2**22 + 1, 1, "a former boot")},
    )  # fmt: skip
    devices.make(cluster)
    state.save(folder, cluster)
    return folder


@pytest.mark.parametrize("verb", ["status", "env"])
def test_no_cluster_is_exit_code_3(basalt: Basalt, tmp_path: Path, verb: str) -> None:
    done = basalt(verb, "--dir", str(tmp_path))
    assert done.exit_code == 3
    assert f"basalt local up --dir {tmp_path}" in done.stderr


def test_down_of_no_cluster_changes_nothing(basalt: Basalt, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = basalt("down", "--dir", str(tmp_path), "--purge")
    assert done.exit_code == 0
    assert (tmp_path / "mine").exists()


def test_status_tells_dead_from_stopped_and_is_exit_code_5(basalt: Basalt, stopped: Path) -> None:
    done = basalt("status", "--dir", str(stopped), "--json")
    assert done.exit_code == 5
    states = {one["name"]: one["state"] for one in json.loads(done.stdout)["processes"]}
    assert states == {
        "mdm": "stopped",
        "sds1": "dead",
        "sds2": "stopped",
        "sdc1": "stopped",
        "mgmt": "stopped",
    }
    assert "dead" in basalt("status", "--dir", str(stopped)).stdout


def test_env_is_for_the_shell_to_evaluate(basalt: Basalt, stopped: Path) -> None:
    lines = basalt("env", "--dir", str(stopped)).stdout.splitlines()
    assert "export BASALT_URL=http://127.0.0.1:6611" in lines
    assert f"export BASALT_TOKEN_FILE={stopped}/mdm/admin.token" in lines
    assert all(line.startswith("export ") for line in lines)


def test_down_keeps_the_data_and_purge_deletes_it(basalt: Basalt, stopped: Path) -> None:
    assert basalt("down", "--dir", str(stopped)).stdout == "down\n"
    assert state.need(stopped).processes == {}
    assert (stopped / "devices" / "sds1").is_dir()
    assert basalt("down", "--dir", str(stopped), "--purge").exit_code == 0
    assert not stopped.exists()


@pytest.mark.parametrize(
    "words", [["--sds", "1"], ["--device-size", "1M"], ["--set", "poll_s=1"], ["--set", "mgm.x=1"]]
)
def test_up_refuses_wrong_words(basalt: Basalt, tmp_path: Path, words: list[str]) -> None:
    assert basalt("up", "--dir", str(tmp_path / "new"), *words).exit_code == 2
    assert not (tmp_path / "new").exists()
