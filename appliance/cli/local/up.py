"""Bringing a single-host cluster up: devices, MDM, agents, topology, and the proof that it works.

Idempotent: what is there and alive is left alone. All or nothing: when a step fails, what this
call started is ended again.
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.cli.local import children, devices, down, processes, readiness, state
from appliance.cli.session import Session
from appliance.common import errors

_DOMAIN = "default"
_POOL = "default"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line; None and 0 mean "as it is", or the default."""

    sds: int | None = None
    devices_per_sds: int | None = None
    device_size: int = 0
    device_dir: Path | None = None
    sets: tuple[str, ...] = ()
    mgmt: bool | None = None


def up(directory: Path, wish: Wish, say: Say) -> tuple[state.Cluster, list[str]]:
    """Make the cluster of ``directory`` run, and return it with the names that were started.

    Raises errors.Unavailable (a child died, with the end of its log; or not ready in time),
    errors.Conflict (``wish`` does not fit the cluster there is).
    """
    _check_folder(directory)
    with state.locked(directory):
        cluster = _planned(directory, state.load(directory), wish)
        kids = children.Children(directory, state.save(directory, _forget_dead(cluster)))
        try:
            _bring_up(kids, say)
        except BaseException:
            # Also at Ctrl-C: half a cluster helps nobody, and its end must not be left to chance.
            _undo(kids, say)
            raise
        return kids.cluster, kids.started


def session(directory: Path, cluster: state.Cluster, as_json: bool = False) -> Session:
    """A session with the cluster's MDM, as its administrator."""
    return Session((children.url(cluster),), state.admin_token(directory), json=as_json)


def _check_folder(directory: Path) -> None:
    """``down --purge`` will delete the folder, so nothing else may be in it, nor may it be
    somebody else's, who could then read the tokens."""
    directory.mkdir(parents=True, exist_ok=True)
    if directory.stat().st_uid != os.geteuid():
        raise errors.Conflict(why=f"{directory} belongs to another user; choose another folder")
    if state.load(directory) is None and any(one.name != "lock" for one in directory.iterdir()):
        raise errors.Conflict(why=f"{directory} is not empty; choose a new folder for the cluster")


def _planned(directory: Path, found: state.Cluster | None, wish: Wish) -> state.Cluster:
    if found is None:
        base = (wish.device_dir or directory / "devices").resolve()
        found = state.new(wish.device_size, base, wish.sets, wish.mgmt is not False)
    elif wish.device_size not in (0, found.device_size):
        raise errors.Conflict(why=f"the devices in {directory} have another size already")
    elif wish.device_dir is not None and str(wish.device_dir.resolve()) != found.device_dir:
        raise errors.Conflict(why=f"the devices of {directory} lie in {found.device_dir}")
    elif wish.sets:
        found = dataclasses.replace(found, sets=wish.sets)
    if wish.mgmt is not None:
        found = dataclasses.replace(found, mgmt=wish.mgmt)
    per_sds = len(found.devices) // max(1, len(found.sds_names))
    count = max(wish.sds or len(found.sds_names) or 3, len(found.sds_names))
    planned = devices.plan(found, count, wish.devices_per_sds or per_sds or 1)
    return dataclasses.replace(found, devices=planned)


def _forget_dead(cluster: state.Cluster) -> state.Cluster:
    living = {name: one for name, one in cluster.processes.items() if processes.alive(one)}
    return dataclasses.replace(cluster, processes=living)


def _bring_up(kids: children.Children, say: Say) -> None:
    devices.make(kids.cluster)
    kids.cluster.run_dir.mkdir(mode=0o700, exist_ok=True)
    _start_server(kids, state.MDM, readiness.agent_ready, say)
    talk = session(kids.directory, kids.cluster)
    _topology(talk, kids)
    for name in [*kids.cluster.sds_names, state.SDC]:
        _start_agent(kids, name)
    if kids.cluster.mgmt:
        _start_server(kids, state.MGMT, readiness.mgmt_ready, say)
    for name in [*kids.cluster.sds_names, state.SDC]:
        _await_agent(talk, kids, name, say)
    _add_devices(talk, kids, say)
    if kids.started:
        readiness.check_byte(talk, state.SDC, kids.live)
        say("a byte was written to and read back from a mapped volume")


def _start_server(
    kids: children.Children, name: str, ready: Callable[[int], bool], say: Say
) -> None:
    """MDM and MGMT choose a port themselves the first time, and tell it by a file."""
    if kids.alive(name):
        return
    port_file = state.port_file(kids.directory, name)
    port_file.unlink(missing_ok=True)
    kids.start(name)
    port = readiness.wait(
        kids.live, lambda: readiness.port_in(port_file), bool, _wait_for(kids, name)
    )
    kids.update(_with_port(kids.cluster, name, port))
    readiness.wait(kids.live, lambda: ready(port), bool, _wait_for(kids, name))
    say(_ready_line(kids, name))


def _topology(talk: Session, kids: children.Children) -> None:
    """The domain, a fault set for each SDS, and the pool."""
    _ensure(talk, "domains", {"name": _DOMAIN})
    there = {item["name"] for item in talk.items("fault-sets")}
    for name in map(children.fault_set, kids.cluster.sds_names):
        if name not in there:
            talk.post("fault-sets", body={"name": name, "domain": _DOMAIN})
    _ensure(talk, "pools", {"name": _POOL, "domain": _DOMAIN})


def _ensure(talk: Session, collection: str, body: dict[str, Any]) -> None:
    if body["name"] not in {item["name"] for item in talk.items(collection)}:
        talk.post(collection, body=body)


def _start_agent(kids: children.Children, name: str) -> None:
    if not kids.alive(name):
        kids.start(name)


def _await_agent(talk: Session, kids: children.Children, name: str, say: Say) -> None:
    collection = "sdcs" if name == state.SDC else "sds"
    known = readiness.wait(
        kids.live,
        lambda: readiness.named(talk, collection, name),
        lambda item: item is not None and readiness.agent_ready(item["control_port"]),
        _wait_for(kids, name),
    )
    assert known is not None, "the wait above ends with an answer only"
    kids.update(_with_port(kids.cluster, name, known["control_port"]))
    if name in kids.started:
        say(_ready_line(kids, name))


def _add_devices(talk: Session, kids: children.Children, say: Say) -> None:
    """All are asked for before any is waited for: each SDS takes its own meanwhile."""
    known = {(item["sds"], item["path"]): item["id"] for item in talk.items("devices")}
    new = [one for one in kids.cluster.devices if (one.sds, one.path) not in known]
    made = {
        one: talk.post("devices", body={"sds": one.sds, "path": one.path, "pool": _POOL})["id"]
        for one in new
    }
    for device in kids.cluster.devices:
        if device in made:
            _await_device(talk, kids, device, made[device], ("adding",))
            say(f"{device.sds} gives {device.path}")
        else:
            # Its state may still be from the time when its SDS was away.
            ident = known[device.sds, device.path]
            _await_device(talk, kids, device, ident, ("adding", "missing"))


def _await_device(
    talk: Session,
    kids: children.Children,
    device: state.Device,
    ident: str,
    passing: tuple[str, ...],
) -> None:
    seen = readiness.wait(
        kids.live,
        lambda: talk.get("devices", ident),
        lambda item: item["state"] not in passing,
        f"device {device.path} to be taken by {device.sds}",
    )
    if seen["state"] != "ok":
        raise errors.Unavailable(
            why=f"device {device.path} of {device.sds} is {seen['state']}: {seen['reason']}"
        )


def _undo(kids: children.Children, say: Say) -> None:
    if not kids.started:
        return
    say(f"stopping again what was started: {', '.join(kids.started)}")
    kids.stop(kids.started)
    if not any(kids.alive(name) for name in kids.cluster.names):
        down.clean(kids.cluster)


def _with_port(cluster: state.Cluster, name: str, port: int) -> state.Cluster:
    return dataclasses.replace(cluster, ports={**cluster.ports, name: port})


def _wait_for(kids: children.Children, name: str) -> str:
    return f"{name} to be ready (log: {state.log_file(kids.directory, name)})"


def _ready_line(kids: children.Children, name: str) -> str:
    pid = kids.cluster.processes[name].pid
    return f"{name} is ready (pid {pid}, port {kids.cluster.ports[name]})"
