"""A cluster's CA and certificates, made by openssl as the Ansible role ``pki`` makes them."""

import subprocess
from pathlib import Path

_REQUEST = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)


def make(folder: Path, names: str = "DNS:localhost,IP:127.0.0.1", authority: str = "") -> Path:
    """A folder for ``tls_dir`` with a new CA, and a certificate of it for ``names``.

    ``authority``: the certificate's CA is this folder's instead, and stays unknown to the new one.
    """
    folder.mkdir(parents=True)
    key, cert = folder / "ca-key.pem", folder / "ca-cert.pem"
    _openssl("req", "-x509", *_REQUEST, "-keyout", key, "-out", cert, "-subj", "/CN=cluster")
    sign(folder, Path(authority) if authority else folder, names)
    return folder


def sign(folder: Path, ca: Path, names: str) -> None:
    """Put a certificate of the CA in ``ca`` for ``names`` into ``folder``."""
    request, extensions = folder / "request.pem", folder / "extensions"
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
    key, cert = folder / "server-key.pem", folder / "server-cert.pem"
    _openssl("req", *_REQUEST, "-keyout", key, "-out", request, "-subj", "/CN=host")
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca / "ca-cert.pem", "-CAkey", ca / "ca-key.pem",
        "-CAcreateserial", "-out", cert, "-extfile", extensions,
    )  # fmt: skip
    for made in (key, cert):
        (folder / made.name.replace("server", "client")).write_bytes(made.read_bytes())
