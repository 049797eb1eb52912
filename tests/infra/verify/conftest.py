"""Testinfra against any inventory: ``make verify INVENTORY=…``. One file per role; each test runs
on every host of the group of that name (``all`` for the files common and pki)."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import testinfra

_SHARED = ("common", "pki")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", required=True, help="Ansible inventory to verify")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "host" not in metafunc.fixturenames:
        return
    role = Path(str(metafunc.module.__file__)).stem.removeprefix("test_")
    inventory = _inventory(metafunc.config)
    names = sorted(inventory["_meta"]["hostvars"]) if role in _SHARED else _members(inventory, role)
    metafunc.parametrize("host", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A testinfra host over ssh; connections are shared (ControlMaster), so a test costs little."""
    name = request.param
    known = _inventory(request.config)["_meta"]["hostvars"][name]
    user = known.get("ansible_user", "root")
    address = known.get("ansible_host", name)
    lines = [f"Host {name}", f"HostName {address}", f"User {user}"]
    lines += [f"Port {known.get('ansible_port', 22)}"]
    if key := known.get("ansible_ssh_private_key_file"):
        lines += [f"IdentityFile {key}"]
    words = shlex.split(known.get("ansible_ssh_common_args", ""))
    options = (word.partition("=") for word in words if word != "-o")
    # Sharing connections is testinfra's affair here.
    lines += [f"{key} {value}" for key, _, value in options if not key.startswith("Control")]
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text("\n    ".join(lines) + "\n")
    url = f"ssh://{quote(name)}?ssh_config={config}&controlpersist=60"
    found = testinfra.get_host(url, sudo=user != "root")
    found.name = name
    found.inventory = known
    return found


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Ports as the inventory sets them, by the defaults' names."""
    hostvars = _inventory(request.config)["_meta"]["hostvars"]
    known: dict[str, Any] = next(iter(hostvars.values()), {})
    return {
        "mdm_port": known.get("cluster_mdm_port", 6611),
        "mdm_local_port": known.get("cluster_mdm_local_port", 6610),
        "sds_control_port": known.get("cluster_sds_control_port", 7072),
        "sdc_control_port": known.get("cluster_sdc_control_port", 7073),
        "mgmt_port": known.get("cluster_mgmt_port", 8443),
    }


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, settings: dict[str, Any]) -> Any:
    """Asks the MDM: ``cluster("sds", "list")`` is the CLI's JSON."""
    inventory = _inventory(request.config)
    name = _members(inventory, "mdm")[0]
    known = inventory["_meta"]["hostvars"][name]
    user, address = known.get("ansible_user", "root"), known.get("ansible_host", name)
    options = shlex.split(known.get("ansible_ssh_common_args", ""))
    if key := known.get("ansible_ssh_private_key_file"):
        options += ["-i", key]

    def _ask(*words: str) -> Any:
        command = ["basalt", "--url", f"http://127.0.0.1:{settings['mdm_local_port']}", "--json"]
        line = shlex.join([*(["sudo"] if user != "root" else []), *command, *words])
        done = subprocess.run(
            ["ssh", *options, f"{user}@{address}", line],
            check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return json.loads(done.stdout)

    return _ask


_read: dict[str, Any] = {}


def _inventory(config: pytest.Config) -> Any:
    path = str(config.getoption("--inventory"))
    if path not in _read:
        program = Path(sys.executable).with_name("ansible-inventory")
        done = subprocess.run(
            [program, "-i", path, "--list"], check=True, capture_output=True, text=True
        )
        _read[path] = json.loads(done.stdout)
    return _read[path]


def _members(inventory: Any, group: str) -> list[str]:
    return sorted(inventory.get(group, {}).get("hosts", []))
