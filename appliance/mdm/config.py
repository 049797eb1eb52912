"""Configuration of the MDM; drop-ins lie in /etc/basalt/mdm.d. See ``common.config``."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    #: Where the database, its backups and the first tokens are kept.
    data_dir: Path = Path("/var/lib/basalt/mdm")

    #: Address to listen at; "0.0.0.0" is every IPv4 address of this host.
    host: str = "0.0.0.0"

    #: TCP port to listen at; 0 takes any free one.
    port: int = 6611

    #: File to write the port to once it is bound; "" for none. For starters that use port 0.
    port_file: str = ""

    #: Requests served at once. Each costs a thread and a database connection.
    threads: int = 16

    #: SQLAlchemy URL of the database; "" is the SQLite file mdm.db in data_dir.
    database_url: str = ""

    #: Events and finished jobs older than this are deleted. Days.
    event_keep_days: int = 90

    #: An agent that was silent for longer counts as down. Seconds.
    heartbeat_limit_s: float = 3.0

    #: DEBUG, INFO, WARNING or ERROR.
    log_level: str = "INFO"
