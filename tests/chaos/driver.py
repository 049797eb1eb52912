"""One chaos run: a cluster, a volume, threads that use it, and faults, round after round.

Everything random comes from the seed. A round makes faults while I/O goes on, puts all of it
right, waits until the volume is healthy, reads and judges every block, and compares the copies of
every column on disk.
"""

import random
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbd

from appliance.common import errors
from tests.chaos import cluster, cuts, faults, history, workload
from tests.chaos.fault import Fault, Maker, nothing
from tests.chaos.rounds import Finding, Round, quiet

MIB = 1 << 20

_COLUMNS = 3
_WORKERS = 4

#: An operation that was not answered for so long, with everything well, never will be.
STUCK_S = 120.0

#: Operations to see answered before the first fault and after the last.
_PROGRESS = 50


#: Up to the next line that a role stamped; nbdkit indents what a callback raised.
_TRACEBACK = re.compile(r"^Traceback .*?(?=^\S+ \S+ [A-Z]+ |\Z)", re.MULTILINE | re.DOTALL)


class Run:
    """``on`` is up. Each volume has a name of its own, so that several runs may follow."""

    def __init__(
        self,
        on: cluster.NetCluster,
        seed: str,
        units: int = 48,
        tell: Callable[[str], None] = quiet,
    ) -> None:
        self._on = on
        self._seed = seed
        self._tell = tell
        self._chance = random.Random(seed)
        self.name = f"v-{secrets.token_hex(3)}"
        self._record = history.History(units * MIB // history.BLOCK)
        self._workers: list[workload.Worker] = []
        self._tally = workload.Tally()
        self.sdc = "sdc1"
        self._generation_of_workers = 0
        self._may_end = self._may_lose = self._filled = False
        self._excuses: set[str] = set()
        self._cuts = cuts.Cuts(on, self.name)
        on.create(self.name, units * MIB, columns=_COLUMNS, wait_limit_s=0)
        on.map(self.name, self.sdc)
        self.use(self.sdc)

    def round(self, number: int, seconds: float, makers: list[Maker] | None = None) -> Round:
        """Faults for ``seconds``: ``makers``, or chosen by the seed. Raises Finding."""
        done = Round(number)
        self.begin()
        try:
            self._suffer(done, seconds, makers)
            began = time.monotonic()
            self._stop_workers(done)
            self.await_well(done)
            done.healed_s = time.monotonic() - began
            self.verify()
        finally:
            for worker in self._workers:
                worker.stop()
        done.operations = self._tally.operations
        done.longest_write_s = self._tally.longest_write_s
        done.longest_read_s = self._tally.longest_read_s
        done.refused = len(self._tally.refused)
        self._check_refusals()
        self._check_logs()
        return done

    def begin(self) -> None:
        """Start the threads, and count from nothing."""
        self._tally = workload.Tally()
        self._may_end = self._may_lose = self._filled = False
        self._excuses = set()
        self._cuts.forget()
        self._start_workers()

    @property
    def operations(self) -> int:
        """How many were answered in this round so far."""
        return self._tally.operations

    def use(self, sdc: str, limit_s: float = STUCK_S) -> None:
        """The volume is mapped to ``sdc`` from now on."""
        self.sdc = sdc
        self.path = self._on.socket(self.name, sdc, limit_s)

    def finish(self) -> None:
        """Unmap and delete the volume."""
        self._on.unmap(self.name, self.sdc)
        cluster.wait(
            lambda: self._on.volume(self.name)["mappings"], lambda left: left == [], "unmapped"
        )
        self._on.call("delete", f"/volumes/{self.name}")

    # --- faults --------------------------------------------------------------------------

    def _suffer(self, done: Round, seconds: float, makers: list[Maker] | None) -> None:
        """One or two faults at a time, each for a while, until the time is over; all healed."""
        self._await_progress(done)
        ends_s = time.monotonic() + seconds
        open_faults: list[tuple[float, Fault]] = []
        left = list(makers) if makers is not None else None
        next_s = time.monotonic() + self._chance.uniform(0.3, 1.0)
        try:
            while True:
                now = time.monotonic()
                for due, fault in [one for one in open_faults if one[0] <= now]:
                    open_faults.remove((due, fault))
                    self._heal(fault)
                over = now >= ends_s if left is None else not left
                if over and not open_faults:
                    break
                idle = all(worker.ended for worker in self._workers)
                if not over and now >= next_s and len(open_faults) < 2 and not idle:
                    fault = self._make(left, [f for _, f in open_faults])
                    if fault is not None:
                        done.faults.append(fault.name)
                        self._begin(fault)
                        lasts_s = self._chance.choice((0.5, 4.0, 8.0))
                        if fault.heal is not nothing:
                            open_faults.append((now + lasts_s, fault))
                    next_s = time.monotonic() + self._chance.uniform(0.5, 4.0)
                self._look_after_workers(done, [f for _, f in open_faults])
                time.sleep(0.05)
        finally:
            for _, fault in open_faults:
                self._heal(fault)
        self._await_progress(done)

    def _await_progress(self, done: Round) -> None:
        """With everything well I/O goes on, however slow the machine is. Raises Finding."""
        wanted = self._tally.operations + _PROGRESS
        deadline = time.monotonic() + STUCK_S
        while self._tally.operations < wanted:
            if time.monotonic() > deadline:
                raise Finding(
                    f"I/O does not go on in {STUCK_S:.0f} s, though everything is well: "
                    f"{self._explain()}"
                )
            self._look_after_workers(done, [])
            time.sleep(0.05)

    def _make(self, left: list[Maker] | None, going_on: list[Fault]) -> Fault | None:
        if left is not None:
            return None if going_on else left.pop(0)(self._on, self._chance, self.sdc)
        fault = faults.choose(self._on, self._chance, self.sdc)
        taken = {name for other in going_on for name in other.hosts}
        return None if taken & fault.hosts else fault

    def _begin(self, fault: Fault) -> None:
        self._may_end = self._may_end or fault.ends_mapping
        self._filled = self._filled or fault.fills
        self._excuses |= {fault.excuses} - {""}
        self._tell(f"    {_stamp()} {fault.name}")
        if not fault.cuts:
            fault.begin()
            return
        doubled = not self._cuts.one_more(fault.cuts)
        fault.begin()
        if doubled or not self._cuts.spared(fault.cuts):
            # All that a column had may have been in the memory that is gone now.
            self._may_end = self._may_lose = True

    def _heal(self, fault: Fault) -> None:
        self._tell(f"    {_stamp()} healed: {fault.name}")
        fault.heal()

    # --- workers -------------------------------------------------------------------------

    def _start_workers(self) -> None:
        self._generation_of_workers += 1
        self._workers = [
            workload.Worker(
                f"worker-{number}",
                self.path,
                self._record,
                f"{self._seed}/{self._generation_of_workers}/{number}",
                self._tally,
            )
            for number in range(_WORKERS)
        ]
        for worker in self._workers:
            worker.start()

    def _look_after_workers(self, done: Round, going_on: list[Fault]) -> None:
        """Once the mapping ended, as it may, map the volume again and go on."""
        self._raise_problems()
        if not all(worker.ended for worker in self._workers):
            return
        if not self._may_end:
            whys = {worker.ended for worker in self._workers}
            raise Finding(f"the mapping ended though no client was hit: {whys}")
        if not going_on:  # else there may be no way to a new map yet
            self._map_again(done)

    def _map_again(self, done: Round) -> None:
        self.abandon_workers()
        if self._may_lose:
            self._record.lose_unsaved()
        self._remap()
        self._start_workers()
        done.remaps += 1

    def abandon_workers(self) -> None:
        """Their client is gone: what they had in flight may have happened or not."""
        for worker in self._workers:
            worker.join(STUCK_S)
        self._raise_problems()
        self._record.abandon()

    def _remap(self) -> None:
        """At home where the agent has begun a new incarnation itself, else anew, anywhere."""
        found = cluster.wait(
            self._mapping_state,
            lambda state: state in ("serves", "failed"),
            "the mapping to serve again, or to be failed",
            STUCK_S,
        )
        if found == "failed" or self._chance.random() < 0.3:
            self._on.unmap(self.name, self.sdc, force=self._chance.random() < 0.5)
            cluster.wait(
                lambda: self._on.volume(self.name)["mappings"],
                lambda left: left == [],
                "the volume to be unmapped",
                STUCK_S,
            )
            self.sdc = self._chance.choice(cluster.SDCS)
            self._on.map(self.name, self.sdc)
        self.use(self.sdc)

    def _mapping_state(self) -> str:
        """What the MDM says; ``serves`` if a client can really connect, for what the MDM heard
        last may be from before the end."""
        state = "".join(m["state"] for m in self._on.volume(self.name)["mappings"])
        if state != "attached":
            return state
        try:
            self.use(self.sdc, 1.0)
            workload.connect(self.path, limit_s=0.0).shutdown()
        except (workload.Ended, TimeoutError):
            return "attached"  # a moment ago; the next look tells
        return "serves"

    def _stop_workers(self, done: Round) -> None:
        """With everything healed each operation in flight is answered, or its mapping ended."""
        deadline = time.monotonic() + STUCK_S
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(max(0.1, deadline - time.monotonic()))
            if worker.is_alive():
                raise Finding(
                    f"an operation of {worker.name} was not answered in {STUCK_S:.0f} s, though "
                    f"everything is well again: {self._explain()}"
                )
        self._raise_problems()
        if any(worker.ended for worker in self._workers):
            if not self._may_end:
                raise Finding(
                    "the mapping ended though no client was hit: "
                    + ", ".join({w.ended for w in self._workers if w.ended})
                )
            self._map_again(done)
            self._stop_workers(done)

    def _raise_problems(self) -> None:
        for worker in self._workers:
            if isinstance(worker.problem, history.Violation):
                raise Finding(str(worker.problem)) from worker.problem
            if worker.problem is not None:
                raise worker.problem

    # --- the end of a round --------------------------------------------------------------

    def await_well(self, done: Round) -> None:
        """Healthy, and proved: a flush that every device answered, in the generation shown."""
        deadline = time.monotonic() + 3 * STUCK_S
        while True:
            before = self._on.wait_healthy(self.name, max(1.0, deadline - time.monotonic()))
            self._with_handle(self._saved)
            after = self._on.volume(self.name)
            if (before["generation"], "healthy") == (after["generation"], after["health"]):
                done.generation = after["generation"]
                return
            if time.monotonic() > deadline:
                raise Finding(f"the volume did not get well: {self._explain()}")

    def _saved(self, handle: nbd.NBD) -> None:
        start = self._record.now()
        handle.flush()
        self._record.end_flush(start)

    def verify(self) -> None:
        """Read and judge every block, and compare both copies of each with what was read."""
        volume = self._on.volume(self.name)
        copies: dict[int, list[Path]] = {}
        for replica in volume["replicas"]:
            if replica["state"] != "in_sync":
                raise Finding(f"a healthy volume has a replica that is not in sync: {replica}")
            copies.setdefault(replica["column"], []).append(self._on.data_file(volume, replica))

        def _all(handle: nbd.NBD) -> None:
            for unit in range(volume["size_bytes"] // MIB):
                start = self._record.now()
                data = bytes(handle.pread(MIB, unit * MIB))
                try:
                    self._record.check_read(start, unit * MIB // history.BLOCK, data)
                except history.Violation as exc:
                    raise Finding(f"with everything well: {exc}") from exc
                for path in copies[unit % volume["columns"]]:
                    _compare(path, unit, data)
                self._record.settle(unit * MIB // history.BLOCK, data)

        self._with_handle(_all)

    def _with_handle(self, work: Callable[[nbd.NBD], None]) -> None:
        handle = workload.connect(self.path)
        work(handle)
        handle.shutdown()

    def _check_refusals(self) -> None:
        allowed = self._filled
        if self._tally.refused and not allowed:
            raise Finding(f"I/O errors that nothing explains: {set(self._tally.refused)}")

    def _check_logs(self) -> None:
        for name, text in self._on.new_logs().items():
            for found in _TRACEBACK.finditer(text):
                if not any(re.search(excuse, found.group(0)) for excuse in self._excuses):
                    raise Finding(f"{name} logged:\n{found.group(0)[:3000]}")

    def _explain(self) -> Any:
        try:
            volume = self._on.volume(self.name)
        except errors.BasaltError as exc:
            return exc
        return {
            "health": volume["health"],
            "generation": volume["generation"],
            "reasons": volume.get("reasons"),
            "replicas": [(r["column"], r["sds"], r["state"]) for r in volume["replicas"]],
            "mappings": volume["mappings"],
        }


def _stamp() -> str:
    """As the logs of the roles have it."""
    return time.strftime("%H:%M:%S")


def _compare(path: Path, unit: int, expected: bytes) -> None:
    with path.open("rb") as file:
        file.seek(unit * MIB)
        found = file.read(MIB)
    if found == expected:
        return
    bad = [
        block
        for block in range(MIB // history.BLOCK)
        if found[block * history.BLOCK : (block + 1) * history.BLOCK]
        != expected[block * history.BLOCK : (block + 1) * history.BLOCK]
    ]
    raise Finding(
        f"the copies differ: unit {unit}, blocks {bad[:8]} ({len(bad)} in all) in {path} are not "
        "what was read through the volume"
    )
