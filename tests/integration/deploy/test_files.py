"""What is deployed with, looked at by the tools that know it, before any lab: playbooks, units, the
Vagrantfile."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.lab import able

REPOSITORY = Path(__file__).resolve().parents[3]


def _run(argv: list[str], cwd: Path, **env: str) -> str:
    done = subprocess.run(
        argv, cwd=cwd, env=os.environ | env, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_playbooks_and_roles_pass_ansible_lints_production_profile(tmp_path: Path) -> None:
    folder = REPOSITORY / "ansible"
    playbooks = sorted(path.name for path in folder.glob("*.yml"))
    linter = Path(sys.executable).with_name("ansible-lint")
    # Its roles and its settings (.ansible-lint) are found from the folder it is run in.
    said = _run(
        [str(linter), "--nocolor", *playbooks], folder, ANSIBLE_HOME=str(tmp_path / "ansible"),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )  # fmt: skip
    assert "Profile 'production' was required, and it passed" in said
    assert int(re.findall(r"in (\d+) files processed", said)[0]) >= 100


def test_the_vagrantfile_is_valid_for_libvirt(tmp_path: Path) -> None:
    said = _run(
        ["vagrant", "validate"], REPOSITORY, VAGRANT_DEFAULT_PROVIDER="libvirt",
        VAGRANT_HOME=str(tmp_path / "home"), VAGRANT_DOTFILE_PATH=str(tmp_path / "dot"),
        VAGRANT_CHECKPOINT_DISABLE="1",
    )  # fmt: skip
    assert "Vagrantfile validated successfully" in said


def test_the_readme_has_the_units_exposure_as_systemd_reckons_it() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    units = sorted((REPOSITORY / "systemd").glob("*.service"))
    assert len(units) >= 7
    for unit in units:
        said = _run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)], REPOSITORY
        )
        [level] = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
        [row] = [line for line in readme.splitlines() if f"`{unit.stem}`" in line and "| " in line
                 and re.search(r"\| [0-9.]+ \|", line)]  # fmt: skip
        assert f"| {level} |" in row, (unit.name, level)


def test_a_machine_that_cannot_run_the_lab_is_told_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")  # losetup is elsewhere
    with pytest.raises(AssertionError, match=r"it needs .* losetup is not there\. Run it as root"):
        able.check()
