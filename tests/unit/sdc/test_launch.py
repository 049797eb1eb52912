"""Arguments handed to systemd arrive as they are, or not at all."""

import os
import subprocess
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.sdc import config, launch, plugin_process, records

_SYSTEMCTL = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$2" in
    restart)
        . {folder}/m1/volume.env
        sleep 600 $ARGUMENTS >/dev/null 2>&1 &
        echo $! > {folder}/pid ;;
    show) cat {folder}/pid ;;
esac
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl whose units are ``sleep 600``; the folder of what it was called with."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "systemctl"
    program.write_text(_SYSTEMCTL.format(folder=tmp_path))
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def test_a_unit_is_started_with_its_arguments_and_found(systemctl: Path) -> None:
    units = launch.Units(systemctl, 10.0)
    process = units.start(launch.VOLUME, "m1", ["nbdkit", "1"], None)
    try:
        assert process.alive
        assert (systemctl / "m1" / "volume.env").read_text() == 'ARGUMENTS="1"\n'
        assert (systemctl / "calls").read_text().splitlines() == [
            "--no-ask-password restart basalt-volume@m1.service",
            "--no-ask-password show --property=MainPID --value basalt-volume@m1.service",
        ]
    finally:
        process.stop(5.0)
        process.close()


def test_a_unit_without_a_process_is_an_error_that_names_its_journal(systemctl: Path) -> None:
    (systemctl / "bin" / "systemctl").write_text("#!/bin/sh\n[ $2 != show ] || echo 0\n")
    with pytest.raises(errors.Unavailable, match=r"journalctl -u basalt-volume@m1\.service"):
        launch.Units(systemctl, 10.0).start(launch.VOLUME, "m1", ["nbdkit"], None)


@pytest.mark.parametrize("word", ["a b", 'a"b', "a'b", "$HOME", "100%", "a\\b", "a\nb", ""])
def test_what_systemd_would_change_is_refused(word: str) -> None:
    with pytest.raises(errors.Invalid, match="systemd"):
        launch.environment(["nbdkit", word])


def test_the_real_command_line_can_be_handed_over(tmp_path: Path) -> None:
    record = records.Record("m1", "v1", "vol", False, "boot", incarnation="i1")
    folder = records.Folder(Path("/run/basalt/sdc"), "m1")
    argv = plugin_process.command(config.Config(), folder, record)
    file = tmp_path / "volume.env"
    file.write_text(launch.environment(argv))
    # EnvironmentFile= and the split of $ARGUMENTS are those of a shell for such plain words.
    shell = subprocess.run(
        ["sh", "-c", '. "$1"; printf "%s\\n" $ARGUMENTS', "sh", str(file)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert shell.stdout.splitlines() == argv[1:]
