"""Configuration of a client host: every key with its default, meaning and unit."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """Read once at start by ``__main__``; durations are in seconds."""

    # Keeps who this client is, its secret and the MDM's term.
    data_dir: Path = Path("/var/lib/basalt/sdc")
    # A folder per mapping with its sockets and what a restarted agent must know. At most 70
    # bytes long, for a socket's path must fit into 107. Should be empty after a boot.
    run_dir: Path = Path("/run/basalt/sdc")
    # Unique among the clients of the cluster; empty means the host's name.
    name: str = ""
    # Addresses of the MDM, tried in turn.
    mdm: tuple[str, ...] = ("http://127.0.0.1:6611",)
    # File with the token that lets a newcomer register.
    join_token_file: Path = Path("/etc/basalt/join.token")
    # Address to listen at, for health, poke and the range locks of copies.
    host: str = "0.0.0.0"
    # Addresses told to the cluster, best first; empty means the address of the host's name.
    hosts: tuple[str, ...] = ()
    # Port of health, poke and locks; 0 means any free one.
    control_port: int = 7073
    # Threads of that port; a lock occupies one while writes in flight are drained.
    control_threads: int = 16
    # Folder of the stable links to the block devices, one per volume name.
    link_dir: Path = Path("/dev/basalt")
    # TLS on data connections with the cluster's certificates: off, allowed (for the time of a
    # change) or required; and the folder that has them.
    data_tls: str = "off"
    tls_dir: Path = Path("/etc/basalt/tls")
    # File with the CA of an MDM whose address is https; empty means the host's own CAs.
    mdm_ca_file: str = ""
    # What shows a volume as a block device: auto, nbd, fuse or none; a mapping may say otherwise.
    backend: str = "auto"
    # How often to ask the MDM for orders.
    poll_s: float = 1.0
    # Mappings at most; each has a process, two threads and two sockets.
    max_mappings: int = 512
    # nbdkit's threads per connection, and connections per block device (the kernel's NBD needs
    # two at least). Their product is how many requests of a device are worked on at once.
    plugin_threads: int = 4
    connections: int = 2
    # nbdkit's plugin script; empty means the one beside this package.
    plugin: str = ""
    # Whether plugins are started by systemd, as units basalt-volume@ and basalt-fuse@.
    systemd_units: bool = False
    # Folder of one log file per mapping; empty means the agent's own standard error.
    plugin_log_dir: str = ""
    # How long a volume's last flush may take when it is unmapped; afterwards its end is unclean.
    end_timeout_s: float = 60.0
    # How long a process may take to end after SIGTERM before it gets SIGKILL.
    stop_timeout_s: float = 5.0
    # A device's tools (nbdfuse, losetup, umount, modprobe) may take this long.
    tool_timeout_s: float = 15.0
    # Longest range lock granted to a copy.
    lock_limit_s: float = 30.0
    # Kernel NBD: a request unanswered for so long is sent again on another connection.
    nbd_timeout_s: int = 30
    # Kernel NBD: how long requests wait for a new plugin before they fail.
    nbd_dead_timeout_s: int = 600
    # File whose content changes at each boot of the host.
    boot_id_file: Path = Path("/proc/sys/kernel/random/boot_id")
    log_level: str = "INFO"
