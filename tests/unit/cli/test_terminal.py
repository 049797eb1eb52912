"""What a pipe, a C locale, a narrow or a real terminal gets; through a process of its own."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli import output
from tests.fakes import fake_mdm_api

_BASALT = [sys.executable, "-m", "appliance.cli"]


def _run(environ: dict[str, str], *words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    given = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    given.pop("COLUMNS", None)
    environ = {key: value for key, value in environ.items() if key != "COLUMNS"}
    return subprocess.run(
        [*_BASALT, *words], env=given | environ | more, capture_output=True, check=False
    )


@pytest.mark.parametrize("locale", [{"LANG": "C"}, {"LC_ALL": "POSIX"}, {}])
def test_a_c_locale_gets_ascii(
    environ: dict[str, str], mdm: fake_mdm_api.FakeMdmApi, locale: dict[str, str]
) -> None:
    mdm.objects["devices"][0]["path"] = "/srv/blöcke"
    done = _run(environ, "device", "list", **locale)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert rb"/srv/bl\xf6cke" in done.stdout.replace(b"\n", b"")


def test_a_utf8_locale_gets_what_there_is(
    environ: dict[str, str], mdm: fake_mdm_api.FakeMdmApi
) -> None:
    mdm.objects["devices"][0]["path"] = "/blöcke"
    assert "/blöcke".encode() in _run(environ, "device", "list", LANG="C.UTF-8").stdout


@pytest.mark.parametrize(
    "words",
    [["status"], ["volume", "list"], ["volume", "show", "data"], ["sds", "list"], ["pool", "list"],
     ["device", "list"], ["job", "list"], ["--help"], ["volume", "--help"],
     ["volume", "create", "--help"]],
    ids=" ".join,
)  # fmt: skip
def test_piped_it_has_no_colour_and_fits_80_columns(
    environ: dict[str, str], words: list[str]
) -> None:
    done = _run(environ, *words, LANG="C")
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_waiting_is_silent_when_piped(environ: dict[str, str]) -> None:
    done = _run(environ, "volume", "map", "data")
    assert done.stderr == b""


def test_a_reader_that_has_enough_is_no_error(
    environ: dict[str, str], mdm: fake_mdm_api.FakeMdmApi
) -> None:
    mdm.page = 1000
    mdm.objects["events"] *= 1000
    with subprocess.Popen(
        [*_BASALT, "event", "list", "--limit", "1000"],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 141


def test_a_terminal_is_asked_before_anything_is_destroyed(
    environ: dict[str, str], mdm: fake_mdm_api.FakeMdmApi
) -> None:
    code, shown = _on_terminal(environ, ["volume", "delete", "idle"], b"n\n")
    assert code == 130
    assert b"Delete volume idle and all its data?" in shown
    assert len(mdm.objects["volumes"]) == 2
    code, _ = _on_terminal(environ, ["volume", "delete", "idle"], b"y\n")
    assert code == 0
    assert len(mdm.objects["volumes"]) == 1
    code, _ = _on_terminal(environ, ["volume", "delete", "data", "--yes"], b"")
    assert code == 0


def test_a_terminal_gets_colours(environ: dict[str, str]) -> None:
    code, shown = _on_terminal(environ, ["status"], b"")
    assert code == 0
    assert b"\x1b[1;33mThe cluster is degraded" in shown


def _on_terminal(environ: dict[str, str], words: list[str], typed: bytes) -> tuple[int, bytes]:
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*_BASALT, *words],
        env={**os.environ, **environ, "TERM": "xterm", "LANG": "C"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as child:
        os.close(slave)
        os.write(master, typed)
        shown = b""
        while select.select([master], [], [], 30)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:  # EIO: the other end is closed, the child is through
                break
        code = child.wait(30)
    os.close(master)
    return code, shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_names_the_command(
    environ: dict[str, str], shell: str
) -> None:
    done = _run(environ, "completion", shell)
    assert done.returncode == 0, done.stderr
    assert b"_BASALT_COMPLETE" in done.stdout


def _completed(environ: dict[str, str], *words: str) -> list[str]:
    asked = {
        "_BASALT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["basalt", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = _run(environ, **asked)
    assert done.stderr == b""
    return [line.partition(",")[2] for line in done.stdout.decode().split()]


def test_completion_knows_nouns_verbs_and_the_names_there_are(
    environ: dict[str, str], tmp_path: Path
) -> None:
    assert "volume" in _completed(environ, "vol")
    assert "unmap" in _completed(environ, "volume", "u")
    assert _completed(environ, "volume", "show", "da") == ["data"]
    without = environ | {"BASALT_TOKEN_FILE": str(tmp_path / "none")}
    assert _completed(without, "volume", "show", "da") == []


@pytest.mark.parametrize(
    ("environ_", "utf8"),
    [
        ({}, False),
        ({"LANG": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LANG": "de_DE.UTF-8"}, True),
        ({"LANG": "en_GB.utf8", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, False),
        ({"LANG": "de_DE@euro"}, False),
    ],
)
def test_utf8_locale(environ_: dict[str, str], utf8: bool) -> None:
    assert output.utf8_locale(environ_) is utf8


def test_times_and_parts_for_people() -> None:
    assert [output.ago(s) for s in (None, 0.4, 119, 600, 7200, 259200)] == [
        "never", "0 s ago", "119 s ago", "10 min ago", "2 h ago", "3 d ago"
    ]  # fmt: skip
    assert output.percent(1, 0) == "-"
    assert output.size(None) == "-"
