"""R3, R4 and R10 where an SDS keeps them: durable files, proved deaths, one server a generation."""

import contextlib
import os
import signal
from pathlib import Path

import nbd

from appliance.common import durable
from appliance.protocol import messages
from appliance.sds import copies, fence, following, leg, leg_state, sealing
from tests.fakes import sds_agent
from tests.fakes.sds_agent import CLIENT, MIB, SYNCING, order
from tests.rules.clauses import clause

K = 4096


@clause(
    "R3 the intent file is durable before the map is handed out",
    without="the power takes the file's name, and its marks with it",
)
def test_a_new_intent_file_s_name_is_on_disk_before_the_report(sds, broken, monkeypatch):
    sds.obey(order(1))
    synced: list[set[str]] = []
    real = durable.sync_dir

    def noted(folder: Path) -> None:
        real(folder)
        if folder == sds.folder:
            synced.append({entry.name for entry in folder.iterdir()})

    monkeypatch.setattr(durable, "sync_dir", noted)
    broken.setattr(durable, "sync_dir", lambda folder: None)
    report = sds.obey(order(2, incarnations=(CLIENT, "new")))
    assert report.generation == 2
    assert "new" in report.intents
    found = any("intent.new" in names for names in synced)
    assert found, "the power takes the file's name, and its marks with it"


@clause("R4 death is proved", without="the old server applied a write after the seal")
def test_what_a_killed_agent_left_running_is_dead_before_the_seal(sds, broken):
    old = sds_agent.connect(sds.obey(order(1)))
    old.pwrite(b"1" * K, 0)
    broken.setattr(fence, "kill_holders", lambda paths: [])
    broken.setattr(fence, "_take", lambda fd, path, limit_s: None)
    sds.dead_agent()
    report = sds.obey(order(2))
    assert (report.generation, report.error) == (2, "")
    with contextlib.suppress(nbd.Error):
        old.pwrite(b"2" * K, 0)
    applied = (sds.folder / "data").read_bytes()[:K] == b"2" * K
    assert not applied, "the old server applied a write after the seal"


@clause(
    "R4 a server is started once per generation",
    without="it is served again, and C never learns what X lost",
)
def test_a_server_that_died_is_not_started_in_its_generation(sds, broken):
    report = sds.obey(order(1))
    real = following.follow

    def served_again(site, state, wanted, failed):
        state = real(site, state, wanted, failed)
        if state.export is not None and not state.serving:
            with fence.Fence(site.replica.lock, 5.0) as held:
                export = sealing._serve(site, wanted, held)
            state = leg_state.State(**{**_fields(state), "export": export})
        return state

    broken.setattr(following, "follow", served_again)
    sds.legs._legs[(report.volume_id, report.device_id)].kill()  # as its host's reboot does
    sds_agent.until(lambda: not sds.report().serving)
    for _ in range(3):
        report = sds.obey(order(1))
    assert not report.serving, "it is served again, and C never learns what X lost"
    assert sds.obey(order(2)).serving


def _fields(state: leg_state.State) -> dict[str, object]:
    return {name: getattr(state, name) for name in leg_state.State.__dataclass_fields__}


@clause("R4 copy processes are sealed too", without="a frozen copier of generation 1 lives on")
def test_a_frozen_copier_is_dead_before_the_seal(sds, broken, monkeypatch):
    report = sds.obey(order(1))
    started: list[copies.Copy] = []

    class Noted(copies.Copy):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            started.append(self)

    monkeypatch.setattr(copies, "Copy", Noted)

    def servers_only(state, tools):
        if state.export is not None:
            tools.exports.close(state.export, tools.death_limit_s)

    @contextlib.contextmanager
    def nothing(path):
        fd = os.open("/dev/null", os.O_RDONLY)
        yield fd
        os.close(fd)

    broken.setattr(leg_state, "end_processes", servers_only)
    broken.setattr(fence, "shared", nothing)
    syncing = (messages.OwnColumn(0, SYNCING),)
    nobody = messages.LockClient("c", ("127.0.0.1",), 1, "token")
    source = messages.ColumnCopy(0, True, sds_agent.leg_of(report))
    sds.obey(order(1, columns=syncing, copy=messages.CopyOrder(1, (source,), (nobody,))))
    (copy,) = started
    pid = copy._worker._process.pid
    sds_agent.until(lambda: copy.report.total_bytes == 8 * MIB)  # it runs
    os.kill(pid, signal.SIGSTOP)
    assert sds.obey(order(2, columns=syncing)).generation == 2
    alive = copy._worker._process.alive
    if alive:
        copy._worker._process.kill()
    assert not alive, "a frozen copier of generation 1 lives on"


@clause("R10 a lower generation is refused", without="the good replica obeyed a database of old")
def test_an_order_of_a_lower_generation_changes_nothing(sds, broken):
    sds.obey(order(2))
    real = leg.Leg._applied

    def any_generation(self, wanted):
        self._floor = 0
        if wanted.generation < self._state.generation:
            older = leg_state.State(**_fields(self._state))
            volume = older.volume
            made = type(volume)(
                **{
                    name: getattr(volume, name) for name in type(volume).__dataclass_fields__
                } | {"generation": wanted.generation - 1}
            )  # fmt: skip
            self._state = leg_state.State(**{**_fields(older), "volume": made})
        return real(self, wanted)

    broken.setattr(leg.Leg, "_applied", any_generation)
    report = sds.obey(order(1, incarnations=()))
    assert report.generation == 2, "the good replica obeyed a database of old"
    assert "generation 1 is older than 2" in report.error
    assert report.serving
