"""The state file of a single-host cluster."""

import tempfile
from pathlib import Path

import pytest

from appliance.cli.local import children, devices, state, up
from appliance.common import errors

_PROCESS = state.Process(7, 8, "boot")


def _cluster(tmp_path: Path, sds: int = 3) -> state.Cluster:
    made = state.new(0, tmp_path / "devices", ("sds.poll_s=0.5",))
    return state.Cluster(
        made.id, 0, made.device_dir, devices.plan(made, sds, 1), {"mdm": 99}, sets=made.sets
    )


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    cluster = state.with_process(_cluster(tmp_path), "sds1", _PROCESS)
    state.save(tmp_path, cluster)
    assert state.load(tmp_path) == cluster
    assert state.need(tmp_path).names == ["mdm", "sds1", "sds2", "sds3", "sdc1", "mgmt"]


def test_a_process_is_forgotten(tmp_path: Path) -> None:
    cluster = state.with_process(_cluster(tmp_path), "sds1", _PROCESS)
    assert state.with_process(cluster, "sds1", None).processes == {}


def test_no_cluster_is_said_with_what_to_do(tmp_path: Path) -> None:
    assert state.load(tmp_path / "none") is None
    with pytest.raises(errors.NotFound, match="no single-host cluster in") as raised:
        state.need(tmp_path)
    assert raised.value.facts["next"] == f"basalt local up --dir {tmp_path}"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 3}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    state.file(tmp_path).write_text(text, encoding="utf-8")
    with pytest.raises(errors.Damaged, match=r"cluster\.json is damaged"):
        state.load(tmp_path)


def test_only_one_command_at_a_time(tmp_path: Path) -> None:
    with state.locked(tmp_path), pytest.raises(errors.Conflict), state.locked(tmp_path):
        pass
    with state.locked(tmp_path):
        pass


def test_two_clusters_have_different_run_folders_short_enough_for_sockets(tmp_path: Path) -> None:
    one, two = _cluster(tmp_path), _cluster(tmp_path)
    assert one.run_dir != two.run_dir
    assert len(str(one.run_dir)) <= len(tempfile.gettempdir()) + 20


def test_devices_are_planned_and_those_there_stay(tmp_path: Path) -> None:
    made = _cluster(tmp_path, sds=2)
    more = devices.plan(made, 3, 2)
    assert [(one.sds, Path(one.path).name) for one in more] == [
        ("sds1", "sds1"), ("sds2", "sds2"), ("sds1", "sds1-2"), ("sds2", "sds2-2"),
        ("sds3", "sds3"), ("sds3", "sds3-2"),
    ]  # fmt: skip
    assert more[:2] == made.devices


@pytest.mark.parametrize(
    ("name", "role"), [("mdm", "mdm"), ("sds12", "sds"), ("sdc1", "sdc"), ("sds", "sds")]
)
def test_role_of_a_process(name: str, role: str) -> None:
    assert children.role_of(name) == role


def test_up_refuses_a_folder_with_other_things_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(errors.Conflict, match="is not empty"):
        up.up(tmp_path, up.Wish(), print)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "wish", [up.Wish(device_size=2**30), up.Wish(device_dir=Path("/somewhere/else"))]
)
def test_up_refuses_to_change_the_devices_of_a_cluster(tmp_path: Path, wish: up.Wish) -> None:
    state.save(tmp_path, _cluster(tmp_path))
    with pytest.raises(errors.Conflict):
        up.up(tmp_path, wish, print)


def test_without_mgmt_there_is_no_such_process(tmp_path: Path) -> None:
    assert state.new(0, tmp_path, (), mgmt=False).names == ["mdm", "sdc1"]
