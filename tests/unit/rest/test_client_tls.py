"""A server at an https address must be of the CA the client was given."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.rest import client
from tests.fakes import certificates


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'"hello"')

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return certificates.make(tmp_path / "tls", "IP:127.0.0.1")


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server-cert.pem", folder / "server-key.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(10)


def _get(base: str, ca_file: Path | str) -> object:
    caller = client.Client([base], ca_file=str(ca_file))
    try:
        return caller.get("/")
    finally:
        caller.close()


def test_one_of_the_given_ca_is_talked_to(port: int, folder: Path) -> None:
    assert _get(f"https://127.0.0.1:{port}", folder / "ca-cert.pem") == "hello"


def test_others_are_not(port: int, folder: Path, tmp_path: Path) -> None:
    other = certificates.make(tmp_path / "other")
    for ca_file in ("", other / "ca-cert.pem"):
        with pytest.raises(errors.Unreachable, match=r"(?i)certificate"):
            _get(f"https://127.0.0.1:{port}", ca_file)
    with pytest.raises(errors.Unreachable, match=r"(?i)certificate"):
        _get(f"https://localhost:{port}", folder / "ca-cert.pem")
