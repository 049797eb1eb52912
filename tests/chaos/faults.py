"""What the adversary does to a cluster, and how each of it is put right again.

A fault is made from a seeded generator, begins, and heals; what goes on at once is the driver's
affair.
"""

import random
import signal

from tests.chaos import cluster, damage, network, shortages
from tests.chaos.fault import Fault, Maker, nothing, only


def kill_server(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    sds = chance.choice(cluster.SDSS)
    return Fault(f"data servers of {sds} killed", only(sds), lambda: on.kill_servers(sds), nothing)


def kill_sds(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    sds = chance.choice(cluster.SDSS)
    return Fault(f"agent of {sds} killed", only(sds), lambda: on.kill(sds), lambda: on.start(sds))


def kill_two_sds(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    """Both copies of a column are away for a while: I/O waits, nothing is lost."""
    two = chance.sample(cluster.SDSS, 2)

    def _begin() -> None:
        for sds in two:
            on.kill(sds)

    def _heal() -> None:
        for sds in two:
            on.start(sds)

    return Fault(f"agents of {' and '.join(two)} killed", frozenset(two), _begin, _heal)


def kill_mdm(on: cluster.NetCluster, _chance: random.Random, _sdc: str) -> Fault:
    return Fault(
        "MDM killed", only(cluster.MDM), lambda: on.kill(cluster.MDM), lambda: on.start(cluster.MDM)
    )


def kill_sdc(on: cluster.NetCluster, _chance: random.Random, sdc: str) -> Fault:
    return Fault(f"agent of {sdc} killed", only(sdc), lambda: on.kill(sdc), lambda: on.start(sdc))


def kill_plugin(on: cluster.NetCluster, _chance: random.Random, sdc: str) -> Fault:
    return Fault(f"plugin of {sdc} killed", only(sdc), lambda: on.kill_plugins(sdc), nothing, True)


def reboot_sds(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    sds = chance.choice(cluster.SDSS)
    return Fault(
        f"power of {sds} cut",
        only(sds),
        lambda: on.power_cut(sds),
        lambda: on.power_on(sds),
        cuts=frozenset({sds}),
    )


def reboot_sdc(on: cluster.NetCluster, _chance: random.Random, sdc: str) -> Fault:
    return Fault(
        f"power of {sdc} cut", only(sdc), lambda: on.power_off(sdc), lambda: on.power_on(sdc), True
    )


def freeze(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    """A host that stops in the middle of everything, for longer than most limits, and goes on."""
    name = chance.choice((*cluster.SDSS, cluster.MDM))
    return Fault(
        f"{name} frozen",
        only(name),
        lambda: on.hosts[name].signal_all(signal.SIGSTOP),
        lambda: on.hosts[name].signal_all(signal.SIGCONT),
    )


def freeze_client(on: cluster.NetCluster, _chance: random.Random, sdc: str) -> Fault:
    return Fault(
        f"{sdc} frozen",
        only(sdc),
        lambda: on.hosts[sdc].signal_all(signal.SIGSTOP),
        lambda: on.hosts[sdc].signal_all(signal.SIGCONT),
    )


def freeze_servers(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    sds = chance.choice(cluster.SDSS)
    words = ["nbdkit", "exportname-list"]
    return Fault(
        f"data servers of {sds} frozen",
        only(sds),
        lambda: on.hosts[sds].signal_matching(words, signal.SIGSTOP),
        lambda: on.hosts[sds].signal_matching(words, signal.SIGCONT),
    )


def pull_cable(on: cluster.NetCluster, chance: random.Random, sdc: str) -> Fault:
    name = chance.choice((*cluster.SDSS, cluster.MDM, sdc))
    return Fault(
        f"cable of {name} pulled",
        only(name),
        lambda: on.pull_cable(name, True),
        lambda: on.pull_cable(name, False),
    )


def partition(on: cluster.NetCluster, chance: random.Random, sdc: str) -> Fault:
    """Between two hosts, in one direction or in both."""
    one, two = chance.choice(
        [(sdc, sds) for sds in cluster.SDSS]
        + [(cluster.MDM, name) for name in (*cluster.SDSS, sdc)]
        + [("sds1", "sds2"), ("sds2", "sds3"), ("sds3", "sds1")]
    )
    way = chance.choice(("->", "<-", "<->"))
    if way == "<-":
        one, two = two, one
    both = way == "<->"

    def _begin() -> None:
        network.drop(on.hosts[two], f"ip saddr {cluster.ADDRESSES[one]} drop")
        if both:
            network.drop_out(on.hosts[two], f"ip daddr {cluster.ADDRESSES[one]} drop")

    def _heal() -> None:
        network.drop(on.hosts[two], "")
        network.drop_out(on.hosts[two], "")

    return Fault(f"nothing passes {one} {'<->' if both else '->'} {two}", only(two), _begin, _heal)


def lose_packets(on: cluster.NetCluster, chance: random.Random, sdc: str) -> Fault:
    name = chance.choice((*cluster.SDSS, sdc))
    percent = chance.choice((1, 5, 20))
    return Fault(
        f"{percent} % of packets to {name} lost",
        only(name),
        lambda: network.drop(on.hosts[name], f"numgen random mod 100 < {percent} drop"),
        lambda: network.drop(on.hosts[name], ""),
    )


def slow_link(on: cluster.NetCluster, chance: random.Random, sdc: str) -> Fault:
    name = chance.choice((*cluster.SDSS, sdc))
    rate = chance.choice(("1mbit", "8mbit"))
    return Fault(
        f"{name} sends {rate} only",
        only(name),
        lambda: network.slow(on.hosts[name], rate),
        lambda: network.slow(on.hosts[name], ""),
    )


def hang_disk(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    """Every write and flush to the device waits; reads of what is in memory are answered."""
    sds = chance.choice(cluster.SDSS)
    return Fault(
        f"disk of {sds} hangs",
        only(sds),
        lambda: on.freeze_disk(sds, True),
        lambda: on.freeze_disk(sds, False),
    )


def fill_disk(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    sds = chance.choice(cluster.SDSS)
    return Fault(
        f"disk of {sds} full",
        only(sds),
        lambda: on.fill_disk(sds),
        lambda: on.empty_disk(sds),
        fills=True,
    )


def kill_everything(on: cluster.NetCluster, _chance: random.Random, _sdc: str) -> Fault:
    """The power of the whole room goes, and comes back."""

    def _begin() -> None:
        for name in cluster.SDSS:
            on.power_cut(name)
        for name in (cluster.MDM, *cluster.SDCS):
            on.power_off(name)

    def _heal() -> None:
        for name in cluster.HOSTS:
            on.power_on(name)

    return Fault(
        "power of every host cut",
        frozenset(cluster.HOSTS),
        _begin,
        _heal,
        True,
        frozenset(cluster.SDSS),
    )


#: How often each is chosen, against the others.
WEIGHTS: dict[Maker, int] = {
    kill_server: 3,
    kill_sds: 3,
    kill_two_sds: 2,
    kill_mdm: 3,
    kill_sdc: 2,
    kill_plugin: 3,
    reboot_sds: 4,
    reboot_sdc: 2,
    freeze: 3,
    freeze_client: 2,
    freeze_servers: 2,
    pull_cable: 3,
    partition: 5,
    lose_packets: 2,
    slow_link: 2,
    hang_disk: 2,
    fill_disk: 1,
    kill_everything: 1,
    shortages.hog_processor: 2,
    shortages.squeeze_memory: 2,
    shortages.few_descriptors: 2,
    shortages.step_clock: 2,
    shortages.lock_database: 2,
    shortages.fill_database: 1,
    damage.damage_database: 1,
    damage.break_disk: 1,
}


def choose(on: cluster.NetCluster, chance: random.Random, sdc: str) -> Fault:
    """The next fault of a seeded run."""
    makers = [maker for maker in WEIGHTS if on.disks or maker is not damage.break_disk]
    (maker,) = chance.choices(makers, [WEIGHTS[maker] for maker in makers])
    return maker(on, chance, sdc)
