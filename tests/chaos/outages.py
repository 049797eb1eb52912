"""How long I/O stands still when something fails: for ``make failures``."""

import threading
import time

from tests.chaos import cluster, driver, network
from tests.chaos.probing import Prober, all_going, on_all, probed, reset, stalls
from tests.chaos.report import Row


def sds_killed(on: cluster.NetCluster, volumes: int) -> list[Row]:
    """An SDS's agent gets SIGKILL; its data servers end with it. With one volume each SDS once."""
    rows = []
    with probed(on, volumes) as probers:
        for sds in cluster.SDSS if volumes == 1 else ("sds2",):
            before = stalls(probers)
            reset(probers)
            old = _generations(on)
            began = time.monotonic()
            on.kill(sds)
            _all_turned(on, old, probers)
            all_going(probers)
            went_on_s = time.monotonic() - began
            seen = f"{stalls(probers)}; all going after {went_on_s:.2f} s (before: {before})"
            aim = "write < 1 s, read < 0.1 s" if volumes == 1 else "all going < 5 s"
            rows.append(Row(f"{sds} killed, {volumes} mapped", seen, aim))
            on.start(sds)
            for number in range(volumes):
                on.wait_healthy(f"probe-{number}", 300)
            reset(probers)
            on_all(probers, 100 if volumes == 1 else 2)
    return rows


def _all_turned(on: cluster.NetCluster, old: dict[str, int], probers: list[Prober]) -> None:
    """Wait for a turn of each volume; as soon as one had its, it is written and read again.

    Asked seldom: the list of 200 volumes costs the MDM what it needs for the turns.
    """
    left = dict(old)
    deadline = time.monotonic() + 300
    while left:
        for name, generation in _generations(on).items():
            if generation > left.get(name, generation):
                del left[name]
                for prober in probers:
                    if prober.volume == name:
                        prober.go()
        if time.monotonic() > deadline:
            raise driver.Finding(f"no turn of {', '.join(left)}")
        _pass(0.02 if len(old) == 1 else 0.25)


def _generations(on: cluster.NetCluster) -> dict[str, int]:
    found = on.call("get", "/volumes?limit=1000")["items"]
    return {volume["name"]: volume["generation"] for volume in found}


def host_gone(on: cluster.NetCluster) -> list[Row]:
    """The SDS's host falls silent: its cable is pulled at the switch."""
    with probed(on) as probers:
        reset(probers)
        on.pull_cable("sds2")
        on_all(probers, 20)
        row = Row("SDS host silently gone", stalls(probers), "< 4 s")
        on.pull_cable("sds2", False)
    return [row]


def link_cut(on: cluster.NetCluster, seconds: float) -> list[Row]:
    """Nothing passes between the client and one SDS; both have everybody else."""
    with probed(on) as probers:
        reset(probers)
        before = on.volume("probe-0")
        address = cluster.ADDRESSES["sds2"]
        network.drop(on.hosts["sdc1"], f"ip saddr {address} drop")
        network.drop_out(on.hosts["sdc1"], f"ip daddr {address} drop")
        on_all(probers, 20)
        _pass(seconds)
        after = on.volume("probe-0")
        stall = stalls(probers)
        network.drop(on.hosts["sdc1"], "")
        network.drop_out(on.hosts["sdc1"], "")
    stale = sorted({r["sds"] for r in after["replicas"] if r["state"] == "stale"})
    turns = after["generation"] - before["generation"]
    return [
        Row(
            f"one client-SDS link cut for {seconds:.0f} s",
            f"{stall}; {turns} turns, replicas of {', '.join(stale) or 'nobody'} lost",
            "one replica lost, no second turn",
        )
    ]


def mdm_down(on: cluster.NetCluster, seconds: float) -> list[Row]:
    with probed(on) as probers:
        on_all(probers, 200)
        before = stalls(probers)
        reset(probers)
        on.kill(cluster.MDM)
        _pass(seconds)
        row = Row(
            f"MDM down for {seconds:.0f} s",
            f"{stalls(probers)}, no error (before: {before})",
            "no error, no stall",
        )
        on.start(cluster.MDM)
    return [row]


def _pass(seconds: float) -> None:
    """Time that I/O shall have to go wrong in."""
    threading.Event().wait(seconds)
