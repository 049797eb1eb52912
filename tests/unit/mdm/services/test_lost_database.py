"""A database made from devices' small files: what its rows say, and when it is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from appliance.common import errors
from appliance.disk import records
from appliance.domain import model
from appliance.mdm.db import engine, models, unit_of_work
from appliance.mdm.services import backup, lost_database, registration, tokens
from appliance.protocol import messages, record_file
from tests.fakes import hand_clock

MIB = 1 << 20
CLUSTER = "00000000000000cc"
VOLUME = "00000000000000aa"
IN_SYNC, SYNCING, STALE = (
    model.ReplicaState.IN_SYNC,
    model.ReplicaState.SYNCING,
    model.ReplicaState.STALE,
)


def device(number: int) -> str:
    return f"{number:016x}"


class Site:
    """Devices 1, 2, … of SDSs of their own; ``fault_sets`` by number, else each its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "mdm"
        self.fault_sets: dict[int, str] = {}

    def volume(
        self,
        *columns: dict[int, model.ReplicaState],
        generation: int = 7,
        without: tuple[int, ...] = (),
        ident: str = VOLUME,
        **fields: object,
    ) -> None:
        """Each column: device number → state. Written to every device but ``without``."""
        numbers = sorted({number for column in columns for number in column})
        chart = messages.Chart(
            map_version=11,
            settled=True,
            pool_id="00000000000000b0",
            shareable=True,
            wait_limit_s=7.0,
            columns=tuple(
                tuple(model.Replica(device(n), state) for n, state in column.items())
                for column in columns
            ),
            holders=tuple(messages.Holder(device(n), device(0x50 + n), f"sds{n}") for n in numbers),
        )
        for number in numbers:
            if number in without:
                continue
            own = [c for c, column in enumerate(columns) if number in column]
            described = records.VolumeFile(
                id=ident, name="music", cluster_id=CLUSTER, device_id=device(number),
                size=64 * MIB, unit=MIB, ncols=len(columns), thin=True,
                columns=tuple(messages.OwnColumn(c, columns[c][number]) for c in own),
                generation=generation, created=1, chart=chart,
            )  # fmt: skip
            described = replace(described, **fields)
            here = self.device(number) / "volumes" / ident
            here.mkdir(parents=True)
            (here / "volume.json").write_bytes(record_file.to_bytes(described))
            (here / f"intent.c{1 if ident == VOLUME else 2}").write_bytes(bytes(4096))

    def device(self, number: int) -> Path:
        path = self.folder / f"d{number}"
        if not path.exists():
            path.mkdir()
            label = records.Label(CLUSTER, device(0x50 + number), device(number))
            (path / "basalt.json").write_bytes(record_file.to_bytes(label))
            fault_set = self.fault_sets.get(number, "")
            place = messages.Place(
                path=f"/srv/disk{number}", sds=f"sds{number}", domain_id="00000000000000a0",
                domain="default", pool_id="00000000000000b0", pool="fast", media="ssd",
                fault_set_id=fault_set and f"{fault_set:0>16}", fault_set=fault_set,
                warn_percent=70, policy='{"scrub": {"rate": 5}}', limit_bytes=9,
            )  # fmt: skip
            (path / "place.json").write_bytes(record_file.to_bytes(place))
        return path

    def recover(self, *numbers: int, accept_older: bool = False) -> lost_database.Recovered:
        paths = [self.folder / f"d{n}" for n in numbers] or sorted(self.folder.glob("d?"))
        clock = hand_clock.HandClock()
        return lost_database.recover(self.data_dir, paths, accept_older, clock)

    def rows(self, cls: type[models.Base]) -> list[models.Base]:
        opened = engine.connect(engine.url_of(self.data_dir, ""), 1)
        uow = unit_of_work.UnitOfWork(opened, hand_clock.HandClock(), lambda _agents: None)
        with uow.read() as tx:
            found = list(tx.session.scalars(select(cls)))
        opened.dispose()
        return found

    def states(self) -> dict[tuple[int, int], tuple[int, str, bool]]:
        return {
            (r.column, r.slot): (int(r.device_id, 16), r.state, r.full_copy)
            for r in self.rows(models.Replica)
        }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_everything_the_devices_know_is_there_again(site):
    site.fault_sets = {1: "f1", 2: "f2"}
    site.volume({1: IN_SYNC, 2: IN_SYNC}, {2: IN_SYNC, 1: IN_SYNC})
    told = site.recover()
    assert told.aside is None
    assert "1 volumes" in told.lines[0]
    (cluster,) = site.rows(models.Cluster)
    assert (cluster.id, cluster.recovered_at is not None) == (CLUSTER, True)
    (volume,) = site.rows(models.Volume)
    assert (volume.id, volume.name, volume.size, volume.thin) == (VOLUME, "music", 64 * MIB, True)
    assert (volume.shareable, volume.wait_limit_s, volume.ncols) == (True, 7.0, 2)
    assert volume.generation > 7
    assert volume.map_version > 11
    assert volume.turn_open
    assert volume.unproved
    assert site.states() == {
        (0, 0): (1, "in_sync", False), (0, 1): (2, "in_sync", False),
        (1, 0): (2, "in_sync", False), (1, 1): (1, "in_sync", False),
    }  # fmt: skip
    (pool,) = site.rows(models.Pool)
    assert (pool.name, pool.warn_percent, pool.policy) == ("fast", 70, {"scrub": {"rate": 5}})
    assert {(s.name, s.secret_hash) for s in site.rows(models.Sds)} == {
        ("sds1", registration.UNCLAIMED), ("sds2", registration.UNCLAIMED),
    }  # fmt: skip
    assert {(d.path, d.limit_bytes) for d in site.rows(models.Device)} == {
        ("/srv/disk1", 9), ("/srv/disk2", 9),
    }  # fmt: skip
    assert {f.name for f in site.rows(models.FaultSet)} == {"f1", "f2"}
    (incarnation,) = site.rows(models.Incarnation)
    assert (incarnation.id, incarnation.state) == ("c1", "doubt")


def test_a_stale_device_that_is_missing_is_known_from_the_others(site):
    site.volume({1: IN_SYNC, 2: STALE}, without=(2,))
    site.recover(1)
    assert site.states() == {(0, 0): (1, "in_sync", False), (0, 1): (2, "stale", True)}
    missing = next(d for d in site.rows(models.Device) if d.id == device(2))
    assert (missing.state, missing.sds_id) == ("missing", device(0x52))
    assert {s.name for s in site.rows(models.Sds)} == {"sds1", "sds2"}


def test_what_may_be_older_is_refused_unless_accepted(site):
    site.volume({1: IN_SYNC, 2: IN_SYNC}, without=(2,))
    with pytest.raises(errors.Conflict, match=r"volume music: device .* may hold a newer"):
        site.recover(1)
    assert not (site.data_dir / "mdm.db").exists()
    told = site.recover(1, accept_older=True)
    assert any("may hold a newer generation" in line for line in told.lines)
    assert site.states() == {(0, 0): (1, "in_sync", False), (0, 1): (2, "stale", True)}


def test_a_syncing_copy_starts_again_from_nothing(site):
    site.volume({1: SYNCING, 2: IN_SYNC})
    site.recover()
    assert site.states() == {(0, 0): (1, "stale", True), (0, 1): (2, "in_sync", False)}


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        ({1: IN_SYNC, 2: IN_SYNC, 3: SYNCING}, [1, 2]),
        ({1: STALE, 2: IN_SYNC, 3: IN_SYNC}, [2, 3]),
        ({1: IN_SYNC, 2: IN_SYNC, 3: IN_SYNC}, [1, 2]),
        ({1: IN_SYNC, 3: IN_SYNC, 2: IN_SYNC}, [1, 2]),  # 1 and 3 are one fault set
    ],
)
def test_a_column_that_was_moving_keeps_two_copies_and_the_third_is_cleared_away(
    site, states, kept
):
    site.fault_sets = {1: "f1", 2: "f2", 3: "f1"}
    site.volume(states)
    site.recover()
    assert [number for number, state, _ in site.states().values() if state] == kept
    deleting = {int(leg.device_id, 16): leg.deleting for leg in site.rows(models.VolumeLeg)}
    assert deleting == {number: number not in kept for number in (1, 2, 3)}


def test_a_volume_of_which_a_column_is_gone_is_left_out_and_told_of(site):
    site.volume({1: IN_SYNC, 2: IN_SYNC}, {3: IN_SYNC, 4: IN_SYNC}, without=(3, 4))
    with pytest.raises(errors.Conflict, match="column 1 has no copy"):
        site.recover(1, 2)
    told = site.recover(1, 2, accept_older=True)
    assert any("left out" in line for line in told.lines)
    assert site.rows(models.Volume) == []
    assert len(site.rows(models.Device)) == 2


def test_a_name_that_two_volumes_had_is_told_apart(site):
    site.volume({1: IN_SYNC, 2: IN_SYNC})
    site.volume({1: IN_SYNC, 2: IN_SYNC}, ident="00000000000000ab", name="music~x")
    site.recover()
    assert {v.name for v in site.rows(models.Volume)} == {"music", "music-00000000000000ab"}


def test_the_database_before_is_kept_and_tokens_in_files_stay_valid(site):
    site.volume({1: IN_SYNC, 2: IN_SYNC})
    site.data_dir.mkdir()
    (site.data_dir / "mdm.db").write_bytes(b"damaged")
    (site.data_dir / "join.token").write_text("known\n")
    told = site.recover()
    assert told.aside is not None
    assert told.aside.read_bytes() == b"damaged"
    (token,) = site.rows(models.Token)
    assert (token.role, token.hash) == (tokens.JOIN, tokens.hashed("known"))


def test_a_pool_that_no_device_tells_of_is_missed(site):
    site.volume({1: IN_SYNC, 2: IN_SYNC})
    for number in (1, 2):
        (site.device(number) / "place.json").unlink()
    with pytest.raises(errors.Conflict, match="what pool 00000000000000b0"):
        site.recover()
    assert not list(site.data_dir.glob("mdm.db*"))


def test_nothing_is_done_while_an_mdm_runs(site):
    site.volume({1: IN_SYNC, 2: IN_SYNC})
    site.data_dir.mkdir()
    with backup.hold(site.data_dir), pytest.raises(errors.Conflict, match="an MDM is running"):
        site.recover()
