"""Configuration of MGMT; drop-ins lie in /etc/basalt/mgmt.d. See ``common.config``."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    #: Where the database and the first administrator's password are kept.
    data_dir: Path = Path("/var/lib/basalt/mgmt")

    #: Address to listen at. Put a TLS proxy in front before opening it to a network.
    host: str = "127.0.0.1"

    #: TCP port to listen at; 0 takes any free one.
    port: int = 8443

    #: File to write the port to once it is bound; "" for none. For starters that use port 0.
    port_file: str = ""

    #: Requests served at once. Each costs a thread and a database connection.
    threads: int = 16

    #: SQLAlchemy URL of the database; "" is the SQLite file mgmt.db in data_dir.
    database_url: str = ""

    #: Addresses of the MDM, tried in turn.
    mdm: tuple[str, ...] = ("http://127.0.0.1:6611",)

    #: File with the CA of an MDM whose address is https; "" means the host's own CAs.
    mdm_ca_file: str = ""

    #: File with an administrator's token of the MDM. Every request made for a person carries
    #: that person's name and role too, and the MDM grants no more than that role.
    mdm_token_file: Path = Path("/var/lib/basalt/mdm/admin.token")

    #: How often the MDM is asked. Where an answer takes long, it is asked less often.
    poll_s: float = 0.5

    #: How often MGMT looks at its own parts, and heals what can be healed.
    check_s: float = 1.0

    #: Longest wait for one answer of the MDM.
    mdm_timeout_s: float = 5.0

    #: The pages are reached over TLS (a proxy in front): cookies are sent over TLS only.
    behind_tls: bool = False

    #: A session nobody used for so long ends; and every session ends after session_limit_s.
    session_idle_s: float = 3600.0
    session_limit_s: float = 43200.0

    #: Cost of a password's hash (argon2id): passes over so much memory. Less is easier to guess
    #: from a stolen database; a login brings an older hash to the present cost.
    password_rounds: int = 3
    password_memory_kib: int = 65536

    #: Certificates (PEM) whose end is watched. MGMT must be able to read them.
    certificates: tuple[str, ...] = ()

    #: Resolved alerts, deliveries, audit and samples older than this are deleted. Days.
    keep_days: int = 90

    #: DEBUG, INFO, WARNING or ERROR.
    log_level: str = "INFO"
