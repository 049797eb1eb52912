"""The network of the chaos cluster: a bridge in a host of its own, a veth pair to each host.

Faults are made where they would be: packets dropped by nftables on a host, a link's rate bounded
by tbf, a cable pulled at the switch. ``within`` runs any code in a host's network.
"""

import ctypes
import itertools
import os
import subprocess
import threading
from collections.abc import Callable
from typing import TypeVar

import pyroute2

from tests.chaos import host

T = TypeVar("T")

_NEWNET = 0x40000000
_PREFIX = 24
_TABLE = "inet chaos"


def within(pid: int, work: Callable[[], T]) -> T:
    """What ``work`` returns, run by a thread in the network of process ``pid``."""
    results: list[T] = []
    raised: list[BaseException] = []

    def _run() -> None:
        try:
            enter(pid)
            results.append(work())
        except BaseException as exc:  # noqa: BLE001 - raised again below
            raised.append(exc)

    thread = threading.Thread(target=_run, name="within")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return results[0]


def enter(pid: int) -> None:
    """Put the calling thread, for the rest of its life, into the network of process ``pid``."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


class Network:
    """``switch`` gets the bridge, with ``address`` for whoever enters it."""

    def __init__(self, switch: host.Host, address: str) -> None:
        self._switch = switch
        self._ports: dict[str, str] = {}
        self._numbers = itertools.count(1)
        within(switch.pid, lambda: _make_bridge(address))

    def plug(self, one: host.Host, address: str) -> None:
        """Connect a host that was just switched on."""
        # A new name each time: the port of a host switched off goes some time after it.
        port = self._ports[one.name] = f"port{next(self._numbers)}"
        with pyroute2.IPRoute() as ip:
            ip.link(
                "add", ifname=port, kind="veth", net_ns_pid=self._switch.pid,
                peer={"ifname": "eth0", "net_ns_pid": one.pid},
            )  # fmt: skip
        within(self._switch.pid, lambda: _join_bridge(port))
        within(one.pid, lambda: _address(address))

    def unplug(self, name: str) -> None:
        """Take a host that is switched off away for good.

        Connections it had keep its network alive, and answering, until they time out: without
        this a dead host would go on saying that its address is its own.
        """
        port = self._ports.pop(name, None)
        if port is not None:
            within(self._switch.pid, lambda: _delete_link(port))

    def pull(self, name: str, out: bool) -> None:
        """Pull the host's cable out at the switch, or put it back: nobody is told anything."""
        state = "down" if out else "up"
        within(self._switch.pid, lambda: _set_link(self._ports[name], state=state))


def drop(one: host.Host, rules: str) -> None:
    """Have only these nftables ``rules`` for packets that arrive at the host, e.g.
    ``ip saddr 10.0.0.1 drop``; empty for none."""
    _nft(one, "input", rules)


def drop_out(one: host.Host, rules: str) -> None:
    """As ``drop``, for packets that leave."""
    _nft(one, "output", rules)


def slow(one: host.Host, rate: str) -> None:
    """Bound what the host sends, in tbf's words ("2mbit"); empty for no bound."""
    within(one.pid, lambda: _tbf(rate))


def _nft(one: host.Host, hook: str, rules: str) -> None:
    script = f"table {_TABLE}_{hook}\ndelete table {_TABLE}_{hook}\n"
    if rules:
        script += (
            f"table {_TABLE}_{hook} {{\n chain c {{\n  type filter hook {hook} priority 0;"
            f" policy accept;\n  {rules}\n }}\n}}\n"
        )

    def _load() -> None:
        subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True, timeout=30)

    within(one.pid, _load)


def _make_bridge(address: str) -> None:
    with pyroute2.IPRoute() as ip:
        ip.link("add", ifname="bridge", kind="bridge")
        index = ip.link_lookup(ifname="bridge")[0]
        ip.addr("add", index=index, address=address, prefixlen=_PREFIX)
        ip.link("set", index=index, state="up")
        ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up")


def _join_bridge(port: str) -> None:
    with pyroute2.IPRoute() as ip:
        bridge = ip.link_lookup(ifname="bridge")[0]
        ip.link("set", index=ip.link_lookup(ifname=port)[0], master=bridge, state="up")


def _address(address: str) -> None:
    with pyroute2.IPRoute() as ip:
        index = ip.link_lookup(ifname="eth0")[0]
        ip.addr("add", index=index, address=address, prefixlen=_PREFIX)
        ip.link("set", index=index, state="up")
        ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up")


def _delete_link(name: str) -> None:
    with pyroute2.IPRoute() as ip:
        for index in ip.link_lookup(ifname=name):
            ip.link("del", index=index)


def _set_link(name: str, **what: str) -> None:
    with pyroute2.IPRoute() as ip:
        ip.link("set", index=ip.link_lookup(ifname=name)[0], **what)


def _tbf(rate: str) -> None:
    with pyroute2.IPRoute() as ip:
        index = ip.link_lookup(ifname="eth0")[0]
        if any(disc.get_attr("TCA_KIND") == "tbf" for disc in ip.get_qdiscs(index=index)):
            ip.tc("del", index=index, parent=0xFFFFFFFF)
        if rate:
            ip.tc("add", "tbf", index, rate=rate, burst=32768, latency="500ms")
