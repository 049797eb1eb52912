"""Settings of data TLS are checked before anything is served or connected."""

from pathlib import Path

import pytest

from appliance.common import errors, tls


def _files(folder: Path, side: str) -> None:
    for name in ("ca-cert.pem", f"{side}-cert.pem", f"{side}-key.pem"):
        (folder / name).write_text("pem")


def test_off_needs_no_files_and_gives_no_arguments(tmp_path: Path) -> None:
    found = tls.checked(tls.OFF, tmp_path, "server")
    assert not found.on
    assert found.server_arguments() == []


@pytest.mark.parametrize(("mode", "word"), [(tls.ALLOWED, "on"), (tls.REQUIRED, "require")])
def test_a_server_wants_the_clients_certificate_too(tmp_path: Path, mode: str, word: str) -> None:
    _files(tmp_path, "server")
    found = tls.checked(mode, tmp_path, "server")
    assert found.server_arguments() == [
        f"--tls={word}",
        f"--tls-certificates={tmp_path}",
        "--tls-verify-peer",
    ]


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("lacking", ["ca-cert.pem", "{}-cert.pem", "{}-key.pem"])
def test_a_file_that_lacks_is_named(tmp_path: Path, side: str, lacking: str) -> None:
    _files(tmp_path, side)
    lacking = lacking.format(side)
    (tmp_path / lacking).unlink()
    with pytest.raises(errors.BadConfig, match=lacking):
        tls.checked(tls.REQUIRED, tmp_path, side)


def test_an_unknown_mode_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(errors.BadConfig, match="'on' is none of off, allowed, required"):
        tls.checked("on", tmp_path, "server")
