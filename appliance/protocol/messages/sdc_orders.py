"""What the MDM wants of an SDC: mappings, and probes of lost replicas."""

from dataclasses import dataclass

from appliance.domain import model

#: Export of a volume's plugin for connections that outlive a growth of the volume (the kernel's),
#: and the size they are told: above any volume's, below what NBD can say.
GROWING_EXPORT = "growing"
GROWING_EXPORT_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class Probe:
    """A lost replica, which comes back only when its clients reach it: where to try.

    ``data``: a data server of ``generation`` listens there; else it is the SDS's control port.
    """

    device_id: str
    generation: int
    hosts: tuple[str, ...]
    port: int
    socket: str = ""
    data: bool = False


@dataclass(frozen=True, slots=True)
class MappingOrder:
    """``wanted`` false means detach (with ``force``: fail I/O in flight).

    ``open_generation`` is that of a turn going on, 0 if none: the client leaves every older
    one. ``map`` is there once it is effective and names the ``incarnation`` it is for.
    ``cut_off``: an incarnation that was shut out, all I/O of which is to fail (R7).
    """

    mapping_id: str
    volume_id: str
    volume_name: str
    size: int
    read_only: bool
    backend: str
    wanted: bool = True
    force: bool = False
    open_generation: int = 0
    incarnation: str = ""
    lock_token: str = ""
    map: model.VolumeMap | None = None
    request_id: str = ""
    probes: tuple[Probe, ...] = ()
    cut_off: str = ""


@dataclass(frozen=True, slots=True)
class SdcOrders:
    """Always all mappings of the client."""

    cluster_id: str
    term: int
    mappings: tuple[MappingOrder, ...] = ()
