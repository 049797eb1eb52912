"""The process's options, and what it says when it cannot start."""

import logging
import signal

import pytest

from appliance.mdm import __main__ as process


@pytest.fixture(autouse=True)
def _as_before():
    """A process sets up signals and logging for good; this one has more tests to run."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for number, handler in signals.items():
        signal.signal(number, handler)


def test_the_configuration_in_force_is_shown(tmp_path, capsys):
    (tmp_path / "10-site.conf").write_text("port = 7000\n", encoding="utf-8")
    words = ["--config-dir", str(tmp_path), "--set", "threads=3", "--show-config"]
    assert process.main(words) == 0
    shown = capsys.readouterr().out
    assert "port = 7000\n" in shown
    assert "threads = 3\n" in shown


@pytest.mark.parametrize(
    ("setting", "exit_code", "words"),
    [
        ("colour=red", 2, "unknown key"),
        ("port=x", 2, "not of type int"),
        ("data_dir=/proc/none", 2, "data_dir"),
        ("host=192.0.2.77", 5, "cannot start"),
    ],
)
def test_a_start_that_fails_says_why(tmp_path, capsys, setting, exit_code, words):
    options = ["--config-dir", str(tmp_path), "--set", f"data_dir={tmp_path}/d", "--set", "port=0"]
    assert process.main([*options, "--set", setting]) == exit_code
    assert words in capsys.readouterr().err


def test_restore_says_what_it_did_not_find(tmp_path, capsys):
    options = ["restore", "--data-dir", str(tmp_path / "none"), "--from", str(tmp_path / "x")]
    assert process.main(options) == 3
    assert "there is no data folder" in capsys.readouterr().err
