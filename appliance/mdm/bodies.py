"""What people send to the MDM: one class per request, exact types, no unknown fields.

Read by resources through ``rest.body``; services get these values and check them against what
is there. The OpenAPI document is made from them.
"""

import posixpath
import re
from typing import Annotated, Literal

import pydantic
from pydantic import AfterValidator, Field, WithJsonSchema

from appliance.common import units
from appliance.domain import model, policy
from appliance.rest import body

_ID = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")

#: Directories of the system, which are no place for data.
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr")
_STILL_ALLOWED = ("/dev/shm", "/run/media")  # noqa: S108 - named, not used

#: A limit in seconds that nobody reaches: a year.
_YEAR_S = 365 * 86400


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def name(text: str) -> str:
    """``text`` if it may be a name. Raises ValueError with a sentence for a person."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{text[:80]!r} is no name: it begins with a letter or digit and goes on with up to "
            "62 letters, digits, '.', '_' or '-'"
        )
    if is_id(text):
        raise ValueError(f"{text!r} looks like an id; choose another name")
    return text


def path(text: str) -> str:
    """``text`` if a device may lie there. Raises ValueError with a sentence for a person."""
    if not text.startswith("/") or text.startswith("//"):
        raise ValueError(f"{text[:80]!r} is not absolute; give the path from '/' on")
    if posixpath.normpath(text) != text or not _PRINTABLE.fullmatch(text):
        raise ValueError("write it without '..', '.', doubled or trailing '/' or control signs")
    inside = [top for top in _SYSTEM if text == top or text.startswith(top + "/")]
    if text == "/" or (inside and not text.startswith(tuple(p + "/" for p in _STILL_ALLOWED))):
        raise ValueError(f"{text[:80]!r} belongs to the system; give a directory made for data")
    return text


def whole_units(size: int) -> int:
    """``size`` if a volume may have it. Raises ValueError with a sentence for a person."""
    if size % units.MIB:
        above = units.format_size((size // units.MIB + 1) * units.MIB)
        raise ValueError(f"{size} bytes is no multiple of 1 MiB; the next one is {above}")
    return size


Name = Annotated[
    str,
    AfterValidator(name),
    WithJsonSchema({"type": "string", "pattern": f"^(?!{_ID.pattern}$){_NAME.pattern}$"}),
]
Ref = Annotated[str, Field(min_length=1, max_length=63, description="an id or a name")]
Path = Annotated[str, Field(min_length=1, max_length=4095), AfterValidator(path)]
Size = Annotated[
    int,
    Field(ge=units.MIB, le=units.MAX_VOLUME_BYTES, multiple_of=1),
    AfterValidator(whole_units),
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": units.MIB,
            "maximum": units.MAX_VOLUME_BYTES,
            "multipleOf": units.MIB,
        }
    ),
]
Percent = Annotated[int, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(ge=0, le=_YEAR_S)]
Media = Literal["hdd", "ssd"]
CopyPolicy = Literal["unlimited", "copies", "bandwidth", "favour_application"]
Copies = Annotated[int, Field(ge=0, le=policy.MOST_COPIES)]
Bandwidth = Annotated[int, Field(ge=0, le=2**60)]
Backend = Literal["auto", "nbd", "fuse", "none"]


class Change(body.Body):
    """Base of PATCH bodies: what is absent or null stays as it is."""

    @pydantic.model_validator(mode="after")
    def _something(self) -> "Change":
        if not self.wanted():
            known = ", ".join(type(self).model_fields)
            raise ValueError(f"nothing to change is given; give some of: {known}")
        return self

    def wanted(self) -> dict[str, object]:
        """The fields to change and their new values."""
        return self.model_dump(exclude_none=True)


class NewDomain(body.Body):
    name: Name


class Rename(Change):
    name: Name | None = None


class DomainChange(Change):
    """``rebuild_delay_s``: how long a device may stay away before its replicas are made
    elsewhere."""

    name: Name | None = None
    rebuild_delay_s: Seconds | None = None


class NewFaultSet(body.Body):
    name: Name
    domain: Ref


class NewPool(body.Body):
    """``rebuild_copies`` and ``rebuild_bandwidth`` (bytes a second) are limits of each device, 0:
    what the policy has by itself. ``rebalance``: even the pool out when devices come."""

    name: Name
    domain: Ref = "default"
    media: Media = "ssd"
    spare_percent: Percent = 0
    warn_percent: Percent = 80
    critical_percent: Percent = 90
    rebuild_policy: CopyPolicy = "favour_application"
    rebuild_copies: Copies = 0
    rebuild_bandwidth: Bandwidth = 0
    rebalance: bool = True


class ScrubChange(Change):
    """``rate``: bytes a second read from each device, 0 for no limit."""

    enabled: bool | None = None
    rate: Annotated[int, Field(ge=0, le=2**40)] | None = None
    repair: bool | None = None
    interval_days: Annotated[int, Field(ge=1, le=3650)] | None = None


class PoolChange(Change):
    name: Name | None = None
    spare_percent: Percent | None = None
    warn_percent: Percent | None = None
    critical_percent: Percent | None = None
    rebuild_policy: CopyPolicy | None = None
    rebuild_copies: Copies | None = None
    rebuild_bandwidth: Bandwidth | None = None
    rebalance: bool | None = None
    scrub: ScrubChange | None = None


class NewDevice(body.Body):
    """``limit_bytes``: use no more of the file system than this; 0 for all of it."""

    sds: Ref
    path: Path
    pool: Ref
    media: Media | None = None
    limit_bytes: Annotated[int, Field(ge=0, le=2**60)] = 0


class SdcChange(Change):
    name: Name | None = None
    approved: bool | None = None


class NewVolume(body.Body):
    """``pool`` may be left out where there is one only. ``wait_limit_s`` 0 means for ever."""

    name: Name
    size_bytes: Size
    pool: Ref | None = None
    thin: bool = True
    columns: Annotated[int, Field(ge=1, le=model.MAX_COLUMNS)] | None = None
    shareable: bool = False
    wait_limit_s: Seconds = 60.0


class VolumeChange(Change):
    name: Name | None = None
    size_bytes: Size | None = None
    shareable: bool | None = None
    wait_limit_s: Seconds | None = None


class Recover(body.Body):
    """``accept_loss`` must be said: acknowledged writes that were not flushed may be gone."""

    accept_loss: Literal[True]


class ScrubAction(body.Body):
    """``stop`` ends the pass; the next one begins from the front."""

    action: Literal["start", "pause", "resume", "stop"]


class NewMapping(body.Body):
    sdc: Ref
    read_only: bool = False
    backend: Backend = "auto"


class NewToken(body.Body):
    name: Name
    role: Literal["monitor", "configure", "administrator", "join"]


class NewBackup(body.Body):
    pass


class Page(body.Query):
    """Which part of a list. ``after`` is the ``next`` of the part before."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 1000
    after: Annotated[str, Field(max_length=4200)] | None = None


class VolumePage(Page):
    """``replicas``: show every volume's replicas too, which makes a long list slow."""

    replicas: bool = False


class JobPage(Page):
    state: Literal["running", "done", "failed", "cancelled"] | None = None


class EventPage(body.Query):
    """Events between the numbers ``after`` and ``before``, without these. ``order``: asc begins
    with the oldest, and ``next`` goes on as ``after``; desc with the newest, and ``next`` goes on
    as ``before``. ``subject`` is an id or a name."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 1000
    order: Literal["asc", "desc"] = "asc"
    after: Annotated[int, Field(ge=0, le=2**62)] = 0
    before: Annotated[int, Field(ge=1, le=2**62)] | None = None
    subject: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    kind: Annotated[str, Field(min_length=1, max_length=63)] | None = None


class SdsRemoval(body.Query):
    """``evacuate``: move what it holds elsewhere first, though it answers."""

    evacuate: bool = False


class Nothing(body.Body):
    """An order that needs no more than its path."""


class Force(body.Query):
    """``force``: do not wait for an agent that may be gone for good."""

    force: bool = False
