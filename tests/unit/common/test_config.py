from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.common import config, errors


@dataclass(frozen=True, slots=True)
class Settings:
    data_dir: Path = Path("/var/lib/x")
    port: int = 6611
    poll_s: float = 1.0
    verbose: bool = False
    name: str = ""
    mdm: tuple[str, ...] = ("http://localhost:6611",)


@dataclass(frozen=True, slots=True)
class NeedsName:
    name: str
    port: int = field(default=1)


def test_without_anything_the_defaults_hold(tmp_path):
    assert config.load(Settings, None) == Settings()
    assert config.load(Settings, tmp_path / "missing") == Settings()
    assert config.load(Settings, tmp_path) == Settings()


def test_files_are_read_in_the_order_of_their_names_and_pairs_come_last(tmp_path):
    (tmp_path / "20-b.conf").write_text("port = 2\nname = 'b'")
    (tmp_path / "10-a.conf").write_text("port = 1\nname = 'a'\nverbose = true")
    (tmp_path / "30-c.txt").write_text("port = 3")
    loaded = config.load(Settings, tmp_path, ["name=pair", "name=last"])
    assert loaded == Settings(port=2, name="last", verbose=True)


def test_the_last_name_wins_among_many_files(tmp_path):
    for last in range(10, 40):
        (tmp_path / f"{last}.conf").write_text(f"port = {last}")
        assert config.load(Settings, tmp_path).port == last


def test_every_type_can_be_written_in_a_file(tmp_path):
    (tmp_path / "all.conf").write_text(
        "data_dir = '/d'\nport = 7\npoll_s = 2\nverbose = true\nname = 'n'\nmdm = ['a', 'b']\n"
    )
    loaded = config.load(Settings, tmp_path)
    assert loaded == Settings(Path("/d"), 7, 2.0, True, "n", ("a", "b"))
    assert isinstance(loaded.poll_s, float)


@pytest.mark.parametrize(
    ("pair", "wanted"),
    [
        ("port=7", Settings(port=7)),
        ("poll_s=0.5", Settings(poll_s=0.5)),
        ("poll_s=2", Settings(poll_s=2.0)),
        ("verbose=true", Settings(verbose=True)),
        ("name=7", Settings(name="7")),
        ("name=a=b", Settings(name="a=b")),
        ("name=", Settings()),
        ("data_dir=/x y", Settings(data_dir=Path("/x y"))),
        ('mdm=["a","b"]', Settings(mdm=("a", "b"))),
        ("mdm=[]", Settings(mdm=())),
    ],
)
def test_every_type_can_be_written_as_a_pair(pair, wanted):
    assert config.load(Settings, None, [pair]) == wanted


@pytest.mark.parametrize(
    ("line", "key", "why"),
    [
        ("prot = 1", "prot", "unknown key; known are data_dir, mdm, name, poll_s, port, verbose"),
        ("port = '7'", "port", "'7' is not of type int"),
        ("port = 1.0", "port", "1.0 is not of type int"),
        ("port = true", "port", "True is not of type int"),
        ("verbose = 1", "verbose", "1 is not of type bool"),
        ("poll_s = 'x'", "poll_s", "'x' is not of type float"),
        ("poll_s = true", "poll_s", "True is not of type float"),
        ("name = 1", "name", "1 is not of type str"),
        ("data_dir = 1", "data_dir", "1 is not of type Path"),
        ("mdm = 'a'", "mdm", "'a' is not of type tuple"),
        ("mdm = ['a', 1]", "mdm", "['a', 1] is not of type tuple"),
    ],
)
def test_a_wrong_line_names_file_and_key(tmp_path, line, key, why):
    file = tmp_path / "x.conf"
    file.write_text(line)
    with pytest.raises(errors.BadConfig) as caught:
        config.load(Settings, tmp_path)
    assert caught.value.facts == {"file": str(file), "key": key, "why": why}
    assert str(caught.value) == f"{file}: {key}: {why}"


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ("port", "write it as key=value"),
        ("port=seven", "'seven' is not of type int"),
        ("nope=1", "unknown key"),
        ("mdm=a", "'a' is not of type tuple"),
    ],
)
def test_a_wrong_pair_is_refused(pair, why):
    with pytest.raises(errors.BadConfig, match=why) as caught:
        config.load(Settings, None, [pair])
    assert caught.value.facts["file"] == "--set"


@pytest.mark.parametrize("content", [b"port = ", b"\xff = 1", b"[[["])
def test_a_file_that_is_no_toml_is_named(tmp_path, content):
    (tmp_path / "x.conf").write_bytes(content)
    with pytest.raises(errors.BadConfig, match=r"x\.conf: \(whole file\)"):
        config.load(Settings, tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "x.conf").mkdir()
    with pytest.raises(errors.BadConfig, match="directory"):
        config.load(Settings, tmp_path)


def test_a_key_without_default_must_be_given(tmp_path):
    assert config.load(NeedsName, None, ["name=n"]) == NeedsName("n")
    with pytest.raises(errors.BadConfig, match="name"):
        config.load(NeedsName, tmp_path)


def test_what_is_shown_can_be_read_back(tmp_path):
    settings = Settings(
        Path('/a "b"\\c'), 7, 0.25, True, 'quote " back \\', ("http://a:1", "http://b:2")
    )
    shown = config.show(settings)
    assert shown.splitlines() == sorted(shown.splitlines())
    (tmp_path / "x.conf").write_text(shown)
    assert config.load(Settings, tmp_path) == settings


@pytest.mark.parametrize("text", ["two\nlines", "tab\tbell\a", "ä€𝄞", "\x7f", "a\r\nb"])
def test_every_character_can_be_shown_and_read_back(tmp_path, text):
    (tmp_path / "x.conf").write_text(config.show(Settings(name=text)), newline="")
    assert config.load(Settings, tmp_path).name == text
