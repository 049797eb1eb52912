"""Walks through the small world at random, many short ways, each with troubles of its own.

A way draws at the start which steps happen at all in it, and how often ("swarm testing"): a walk in
which everything may happen hardly ever does one thing often enough.
"""

import random
import time
from collections.abc import Callable

from tests.model import small_world
from tests.model.small_world import BLOCKS, Violation, World

#: Steps of one way.
STEPS = 70


def _device(world: World, chance: random.Random) -> str:
    return chance.choice(list(world.sds))


def _client(world: World, chance: random.Random) -> small_world.Client:
    return chance.choice(world.clients)


def _ticks(world: World, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 1, 3, 5))):
        world.now += 0.5


def _calm(world: World, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 6))):
        world.now += 0.1
        world.calm()


def _whole_write(world: World, chance: random.Random) -> None:
    """What mostly happens: a write that lands everywhere."""
    world.write(_client(world, chance), chance.choice(BLOCKS))
    for device in world.sds:
        while world.sds[device].held and world.sds[device].server:
            world.land(device, 0)


def _heals(world: World, chance: random.Random) -> None:
    for sds in world.sds.values():
        sds.hears_mdm = True
    for client in world.clients:
        client.hears_mdm = True
        client.cut.clear()
        world.start_plugin(client)


def _mdm_cut(world: World, chance: random.Random) -> None:
    sds = world.sds[_device(world, chance)]
    sds.hears_mdm = not sds.hears_mdm


def _client_cut(world: World, chance: random.Random) -> None:
    client = _client(world, chance)
    client.hears_mdm = not client.hears_mdm


def _partition(world: World, chance: random.Random) -> None:
    """One SDS and one client on the wrong side: they hear each other, and not the MDM."""
    for sds in world.sds.values():
        sds.hears_mdm = True
    for client in world.clients:
        client.hears_mdm = True
    world.sds[_device(world, chance)].hears_mdm = False
    _client(world, chance).hears_mdm = False


def _turn_passes(world: World, chance: random.Random) -> None:
    """Time goes on until a turn is over, and no longer: what is possible just then?"""
    before = world.mdm.generation
    for _ in range(16):
        world.now += 0.4
        world.calm()
        if world.mdm.generation > before and not world.mdm.turn_open:
            break
    for client in world.clients:
        world.talk_client(client)


def _wrong_side(world: World, chance: random.Random) -> None:
    _partition(world, chance)
    _turn_passes(world, chance)


def _resync(world: World, chance: random.Random) -> None:
    """Copies come to their end, where nothing holds them up."""
    for device in world.sds:
        for _ in range(len(BLOCKS) + 1):
            world.copy(device)
        world.talk(device)


def _settles(world: World, chance: random.Random) -> None:
    """What a quiet client does by itself."""
    flushes = chance.random() < 0.5
    for client in world.clients:
        if flushes:
            world.flush(client)
        for region in BLOCKS:
            world.clear(client, region)


def _read_all(world: World, chance: random.Random) -> None:
    for client in chance.sample(world.clients, 2):
        for block in BLOCKS:
            for device in world.sds:
                world.read(client, block, device)


#: What always happens, with its weight.
_USUAL: dict[str, tuple[int, Callable[[World, random.Random], None]]] = {
    "calm": (6, _calm),
    "ticks": (3, _ticks),
    "talk": (4, lambda w, c: w.talk(_device(w, c))),
    "talk_client": (4, lambda w, c: w.talk_client(_client(w, c))),
    "look": (3, lambda w, c: w.look()),
    "ping": (2, lambda w, c: w.ping(_client(w, c))),
    "write": (3, lambda w, c: w.write(_client(w, c), c.choice(BLOCKS))),
    "whole_write": (3, _whole_write),
    "land": (5, lambda w, c: w.land(_device(w, c), c.randrange(8))),
    "watch": (2, lambda w, c: w.watch(_client(w, c))),
    "read": (2, lambda w, c: w.read(_client(w, c), c.choice(BLOCKS), _device(w, c))),
    "read_all": (3, _read_all),
    "copy": (3, lambda w, c: w.copy(_device(w, c))),
    "resync": (2, _resync),
}

#: Of these a way takes some.
_SOME: dict[str, tuple[int, Callable[[World, random.Random], None]]] = {
    "flush": (2, lambda w, c: w.flush(_client(w, c))),
    "clear": (3, lambda w, c: w.clear(_client(w, c), c.choice(BLOCKS))),
    "settles": (2, _settles),
    "report": (2, lambda w, c: w.report(_device(w, c))),
    "report_client": (2, lambda w, c: w.report_client(_client(w, c))),
    "mdm_cut": (2, _mdm_cut),
    "client_cut": (2, _client_cut),
    "link_cut": (2, lambda w, c: _client(w, c).cut.add(_device(w, c))),
    "partition": (2, _partition),
    "turn_passes": (3, _turn_passes),
    "wrong_side": (2, _wrong_side),
    "heals": (2, _heals),
    "crash_plugin": (1, lambda w, c: w.crash_plugin(_client(w, c))),
    "start_plugin": (2, lambda w, c: w.start_plugin(_client(w, c))),
    "reboot": (2, lambda w, c: w.reboot(_device(w, c))),
    "kill_server": (2, lambda w, c: w.kill_server(_device(w, c))),
    "page_written": (1, lambda w, c: w.sds[_device(w, c)].sync()),
    "mdm_restart": (1, lambda w, c: w.mdm.restart()),
}


def way(new_world: type[World], seed: int, steps: int = STEPS) -> None:
    """One walk. Raises Violation, with the seed and the steps that led there."""
    chance = random.Random(seed)
    chosen = dict(_USUAL)
    for name, step in _SOME.items():
        if chance.random() < 0.55:
            chosen[name] = step
    names = list(chosen)
    weights = [chosen[name][0] * chance.choice((1, 1, 2, 4)) for name in names]
    world = new_world(devices=chance.choice((2, 2, 3)))
    taken = []
    try:
        for name in chance.choices(names, weights, k=steps):
            taken.append(name)
            chosen[name][1](world, chance)
            world.check()
    except Violation as exc:
        raise Violation(f"seed {seed}: {exc}; after {' '.join(taken)}") from exc


def explore(new_world: type[World], cpu_s: float, first_seed: int = 0) -> int:
    """Walk until so much CPU time is used; how many ways that were. Raises Violation."""
    end = time.process_time() + cpu_s
    seed = first_seed
    while time.process_time() < end:
        way(new_world, seed)
        seed += 1
    return seed - first_seed
