"""A network of the lab's own: a namespace with a bridge in it, and no way out of it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

BRIDGE = "br-lab"
PREFIX = "10.77.0."
MASK = 24


class Network:
    """``with Network(name)``: made, and gone afterwards with whatever still runs in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns", name)

    def __enter__(self) -> "Network":
        _ip("netns", "add", self.name)
        for words in (
            ("link", "set", "lo", "up"),
            ("link", "add", BRIDGE, "type", "bridge", "forward_delay", "0"),
            ("addr", "add", f"{PREFIX}1/{MASK}", "dev", BRIDGE),
            ("link", "set", BRIDGE, "up"),
        ):
            _ip("-n", self.name, *words)
        return self

    def __exit__(self, *_exc: object) -> None:
        _ip("netns", "delete", self.name)

    def inside(self, argv: Sequence[str]) -> list[str]:
        """``argv`` as a command that runs in this network; /sys and mounts stay the caller's."""
        return ["nsenter", f"--net={self.path}", *argv]

    def tap(self, name: str) -> None:
        """A port of the bridge for a virtual machine."""
        _ip("-n", self.name, "tuntap", "add", name, "mode", "tap")
        _ip("-n", self.name, "link", "set", name, "master", BRIDGE, "up")

    def plug(self, name: str, plugged: bool) -> None:
        """The cable of a container: in or out."""
        _ip("-n", self.name, "link", "set", f"vb-{name}", "up" if plugged else "down")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)
