"""What nbdkit's command line tells the plugin: ``key=value`` pairs, checked before it starts."""

from dataclasses import dataclass
from pathlib import Path

from appliance.common import errors, tls


@dataclass(frozen=True, slots=True)
class Params:
    """``link``: path of the Unix socket to listen on for the SDC agent. ``incarnation`` names
    this start of the plugin, and its intent files (R7)."""

    volume: str
    incarnation: str
    link: str
    read_only: bool
    data_tls: tls.DataTls = tls.NONE


def parse(pairs: dict[str, str]) -> Params:
    """Raises ValueError with a sentence for the log."""
    pairs = dict(pairs)
    missing = [key for key in ("volume", "incarnation", "link") if not pairs.get(key)]
    if missing:
        raise ValueError(f"missing parameters: {', '.join(missing)}")
    read_only = pairs.pop("read_only", "0")
    if read_only not in ("0", "1"):
        raise ValueError(f"read_only must be 0 or 1, not {read_only!r}")
    try:
        mode, folder = pairs.pop("tls", tls.OFF), pairs.pop("tls_dir", "")
        data_tls = tls.checked(mode, Path(folder), "client")
    except errors.BadConfig as exc:
        raise ValueError(str(exc)) from exc
    params = Params(
        pairs.pop("volume"), pairs.pop("incarnation"), pairs.pop("link"), read_only == "1", data_tls
    )
    if pairs:
        raise ValueError(f"unknown parameters: {', '.join(sorted(pairs))}")
    return params
