"""Configuration of an SDS: every key with its default, meaning and unit."""

from dataclasses import dataclass
from pathlib import Path

from appliance.common import units


@dataclass(frozen=True, slots=True)
class Config:
    """Read once at start by ``__main__``; durations are in seconds."""

    # Keeps who this SDS is, its secret, the devices it adopted and the MDM's term.
    data_dir: Path = Path("/var/lib/basalt/sds")
    # Sockets and export folders of the data servers; emptied at every start. At most 80 bytes
    # long, for a socket's path must fit into 107.
    run_dir: Path = Path("/run/basalt/sds")
    # Unique among the SDSs of the cluster; empty means the host's name.
    name: str = ""
    # Addresses of the MDM, tried in turn.
    mdm: tuple[str, ...] = ("http://127.0.0.1:6611",)
    # File with the token that lets a newcomer register.
    join_token_file: Path = Path("/etc/basalt/join.token")
    # Address to listen at, for control and data.
    host: str = "0.0.0.0"
    # Addresses told to clients, best first; empty means the address of the host's name.
    hosts: tuple[str, ...] = ()
    # Port of health and poke; 0 means any free one.
    control_port: int = 7072
    # Ports of the data servers, one per volume and device; 0 for both means any free one.
    data_port_first: int = 7200
    data_port_last: int = 9199
    # TLS on data connections with the cluster's certificates: off, allowed (for the time of a
    # change) or required; and the folder that has them.
    data_tls: str = "off"
    tls_dir: Path = Path("/etc/basalt/tls")
    # File with the CA of an MDM whose address is https; empty means the host's own CAs.
    mdm_ca_file: str = ""
    # Protection domain and fault set to register in; an empty fault set: this SDS is one.
    domain: str = "default"
    fault_set: str = ""
    # How often to ask the MDM for orders.
    poll_s: float = 1.0
    # Space kept on every device so that metadata can be written when it is full, in bytes.
    ballast_bytes: int = 64 * units.MIB
    # How long a killed process may take to be gone before a seal is given up and tried again.
    death_limit_s: float = 10.0
    # How often the space in use of a served volume is looked up.
    usage_s: float = 5.0
    # File whose content changes at each boot of the host.
    boot_id_file: Path = Path("/proc/sys/kernel/random/boot_id")
    log_level: str = "INFO"
