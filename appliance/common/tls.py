"""TLS of data connections, by nbdkit's and libnbd's own hands: which mode, and where the files are.

The folder has the names both of them look for: ``ca-cert.pem``, and ``server-cert.pem`` and
``server-key.pem`` or ``client-cert.pem`` and ``client-key.pem``. Each side shows a certificate of
the cluster's own CA and wants one; a client also checks that the server's is of the address it
went to.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.common import errors

OFF = "off"
#: Both kinds of connection: for the time in which a running cluster is changed over.
ALLOWED = "allowed"
REQUIRED = "required"

#: Mode → libnbd's (LIBNBD_TLS_*) and nbdkit's name for it.
_LIBNBD = {OFF: 0, ALLOWED: 1, REQUIRED: 2}
_NBDKIT = {OFF: "off", ALLOWED: "on", REQUIRED: "require"}


@dataclass(frozen=True, slots=True)
class DataTls:
    """Checked values; made by ``checked``."""

    mode: str = OFF
    folder: str = ""

    @property
    def on(self) -> bool:
        return self.mode != OFF

    def prepare(self, handle: Any) -> None:
        """Set a libnbd handle up, which must then connect by host and port.

        libnbd checks the server's certificate only against a host it knows: given a connected
        socket it would take any certificate at all (1.14, lib/crypto.c).
        """
        handle.set_tls(_LIBNBD[self.mode])
        if self.on:
            handle.set_tls_certificates(self.folder)
            handle.set_tls_verify_peer(True)

    def server_arguments(self) -> list[str]:
        """Options for nbdkit."""
        if not self.on:
            return []
        return [
            f"--tls={_NBDKIT[self.mode]}",
            f"--tls-certificates={self.folder}",
            "--tls-verify-peer",
        ]


#: No TLS.
NONE = DataTls()


def checked(mode: str, folder: Path, side: str) -> DataTls:
    """``side`` is server or client. Raises errors.BadConfig for a wrong mode or missing files."""
    if mode not in _LIBNBD:
        raise errors.BadConfig(
            file="configuration", key="data_tls", why=f"'{mode}' is none of {', '.join(_LIBNBD)}"
        )
    if mode == OFF:
        return NONE
    for name in ("ca-cert.pem", f"{side}-cert.pem", f"{side}-key.pem"):
        if not os.access(folder / name, os.R_OK):
            raise errors.BadConfig(
                file="configuration",
                key="tls_dir",
                why=f"data_tls is {mode}, but {folder / name} is not there or not readable",
            )
    return DataTls(mode, str(folder))
