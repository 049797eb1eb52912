"""A volume's folder: whole after a crash at any step, nothing left behind, nothing foreign lost."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.domain import intents, model
from appliance.protocol import messages
from appliance.sds import replica_store

MIB = 1 << 20
IN_SYNC = model.ReplicaState.IN_SYNC

VOLUME = replica_store.VolumeFile(
    id="aa",
    name="v",
    cluster_id="cc",
    device_id="dd",
    size=4 * MIB,
    unit=MIB,
    ncols=2,
    thin=True,
    columns=(messages.OwnColumn(1, IN_SYNC),),
    generation=3,
    created=3,
)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    path = tmp_path / "volumes"
    path.mkdir()
    return path


@pytest.fixture
def replica(volumes: Path) -> replica_store.Replica:
    made = replica_store.Replica(volumes, "aa")
    made.create(VOLUME, ["c1", "c2"])
    return made


def crash_points(action: Callable[[], None]):
    """Run ``action`` in children that die in its first, second, … call of the system."""
    for number in range(1, 1000):
        pid = os.fork()
        if pid == 0:
            left = number

            def _count(_frame, event, function):
                nonlocal left
                if event == "c_call" and function.__module__ in ("posix", "_io"):
                    left -= 1
                    if left == 0:
                        os._exit(77)

            sys.setprofile(_count)
            try:
                action()
            except BaseException:  # noqa: BLE001
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        yield number
        if status == 0:
            return
        assert status == 77, status
    raise AssertionError("it never ends")


def test_created_folder_is_whole(replica: replica_store.Replica) -> None:
    assert replica.read() == VOLUME
    assert replica.data.stat().st_size == 4 * MIB
    assert replica.data.stat().st_blocks == 0
    assert replica.intents() == ["c1", "c2"]
    assert replica.intent("c1").read_bytes() == bytes(4096)
    assert replica.lock.exists()


def test_crash_while_creating_leaves_all_or_nothing(volumes: Path) -> None:
    replica = replica_store.Replica(volumes, "aa")
    crashes = 0
    for _ in crash_points(lambda: replica.create(VOLUME, ["c1"])):
        crashes += 1
        found = replica.read()
        if found is not None:
            assert found == VOLUME
            assert replica.intents() == ["c1"]
            assert replica.data.stat().st_size == 4 * MIB
            replica.delete()
        # Without cleaning up: creating again must bear what is there.
    replica.create(VOLUME, ["c1"])
    assert replica.read() == VOLUME
    assert crashes > 10


def test_crash_while_deleting_leaves_all_or_what_clean_removes(volumes: Path) -> None:
    replica = replica_store.Replica(volumes, "aa")
    replica.create(VOLUME, ["c1"])
    for _ in crash_points(replica.delete):
        found = replica.read()
        assert found in (VOLUME, None)
        replica_store.clean(volumes)
        if found is None:
            assert list(volumes.iterdir()) == []
            replica.create(VOLUME, ["c1"])
        assert replica.intents() == ["c1"]


def test_crash_while_writing_leaves_the_old_or_the_new(replica: replica_store.Replica) -> None:
    newer = replace(VOLUME, generation=4)
    for _ in crash_points(lambda: replica.write(newer)):
        assert replica.read() in (VOLUME, newer)
        replica.write(VOLUME)


def test_folder_without_volume_json_is_damaged(replica: replica_store.Replica) -> None:
    (replica.folder / "volume.json").unlink()
    with pytest.raises(errors.Damaged, match="left as it is"):
        replica.read()


def test_clean_takes_only_our_leftovers(volumes: Path, replica: replica_store.Replica) -> None:
    for name in (".new-bb", ".deleted-bb-12345678", ".other", "stranger"):
        (volumes / name).mkdir()
    (volumes / ".new-file").touch()
    replica_store.clean(volumes)
    left = sorted(entry.name for entry in volumes.iterdir())
    assert left == [".new-file", ".other", "aa", "stranger"]
    assert sorted(replica_store.scan(volumes)) == ["aa", "stranger"]


def test_data_never_gets_shorter(replica: replica_store.Replica) -> None:
    replica.grow(8 * MIB)
    replica.grow(MIB)
    assert replica.data.stat().st_size == 8 * MIB


def test_intents_grow_with_their_marks_kept(replica: replica_store.Replica) -> None:
    replica.intent("c1").write_bytes(b"\1" + bytes(4095))
    (replica.folder / "intent.join").write_bytes(b"\2" + bytes(4095))
    replica.add_intents([], (16384 * 16 + 1) * MIB)
    assert replica.intent("c1").read_bytes() == b"\1" + bytes(8191)
    assert (replica.folder / "intent.join").read_bytes() == b"\2" + bytes(8191)
    assert replica.intents() == ["c1", "c2"]


def test_half_made_files_are_no_incarnations(replica: replica_store.Replica) -> None:
    (replica.folder / "intent.join").touch()
    (replica.folder / "intent.join.tmp").touch()
    assert replica.intents() == ["c1", "c2"]
    replica.remove_intents(["c1", "gone"])
    assert replica.intents() == ["c2"]
    assert (replica.folder / "intent.join").exists()


@pytest.mark.parametrize("ident", ["", ".", "..", "a/b", "join", ".new-a", "a b", "a" * 65, "-a"])
def test_ids_that_may_not_name_a_file(volumes: Path, ident: str) -> None:
    with pytest.raises(errors.Invalid):
        replica_store.Replica(volumes, ident)


def test_own_units_and_no_others_are_allocated(replica: replica_store.Replica) -> None:
    fd = os.open(replica.data, os.O_RDWR)
    replica.allocate(fd, VOLUME)
    used = os.fstat(fd).st_blocks * 512
    assert 2 * MIB <= used < 2 * MIB + 65536
    # Unwritten blocks read as a hole; writing the other units is what shows where they are.
    os.pwrite(fd, b"x" * MIB, MIB)
    os.pwrite(fd, b"x" * MIB, 3 * MIB)
    os.fsync(fd)
    assert os.fstat(fd).st_blocks * 512 == used
    os.close(fd)


def test_states_tell_which_columns(replica: replica_store.Replica) -> None:
    mixed = replace(
        VOLUME,
        columns=(
            messages.OwnColumn(0, model.ReplicaState.SYNCING),
            messages.OwnColumn(1, IN_SYNC),
        ),
    )
    assert mixed.own == {0, 1}
    assert replica_store.in_state(mixed, model.ReplicaState.SYNCING) == {0}


def test_the_space_of_a_column_that_left_is_given_back_in_steps_and_no_other(
    replica: replica_store.Replica,
) -> None:
    both = replace(VOLUME, size=8 * MIB, columns=(messages.OwnColumn(0, IN_SYNC), *VOLUME.columns))
    replica.grow(both.size)
    replica.data.write_bytes(b"x" * both.size)
    left = replica_store.described(both, replace(both, columns=VOLUME.columns, generation=4))
    assert (left.leaving, left.own) == ((0,), frozenset({1}))
    fd = os.open(replica.data, os.O_RDWR)
    at, steps = 0, 0
    while at < left.size:
        at, steps = replica.give_back(fd, left, at, runs=3), steps + 1
    os.close(fd)
    assert steps == 2
    data = replica.data.read_bytes()
    for unit in range(8):
        wanted = b"x" if unit % 2 else b"\0"
        assert data[unit * MIB : (unit + 1) * MIB] == wanted * MIB
    assert replica.data.stat().st_blocks * 512 == 4 * MIB


def test_a_column_that_comes_back_before_its_space_was_given_back_keeps_it() -> None:
    both = replace(VOLUME, columns=(messages.OwnColumn(0, IN_SYNC), *VOLUME.columns))
    left = replica_store.described(both, VOLUME)
    again = replica_store.described(left, both)
    assert (again.leaving, again.allocated_bytes) == ((), 0)
    assert replica_store.described(left, VOLUME).leaving == (0,)


def recorded(replica: replica_store.Replica) -> set[int]:
    content = replica.sums.read_bytes()
    return {u for u in range(len(content) // 8) if content[u * 8 : u * 8 + 8] != bytes(8)}


def test_sums_grow_with_the_volume_and_keep_what_they_hold(replica: replica_store.Replica) -> None:
    assert replica.sums.stat().st_size == 4 * 8
    replica.sums.write_bytes(b"12345678" * 4)
    replica.grow(40 * MIB)
    assert replica.sums.stat().st_size == 40 * 8
    assert recorded(replica) == {0, 1, 2, 3}


def test_an_intent_file_that_goes_voids_the_sums_of_what_it_touched(
    replica: replica_store.Replica,
) -> None:
    replica.grow(80 * MIB)
    replica.sums.write_bytes(b"12345678" * 80)
    block = bytearray(replica.intent("c1").read_bytes())
    for region in (1, 3):
        intents.set_dirty(block, region)
    intents.clear_dirty(block, 3)  # equal again, and touched still
    replica.intent("c1").write_bytes(block)
    replica.remove_intents(["c2"])
    assert recorded(replica) == set(range(80))
    replica.remove_intents(["c1"])
    assert recorded(replica) == set(range(16)) | set(range(32, 48)) | set(range(64, 80))


def test_no_crash_leaves_a_sum_without_the_mark_that_voids_it(
    replica: replica_store.Replica,
) -> None:
    block = bytearray(4096)
    intents.set_dirty(block, 0)
    for _ in crash_points(lambda: replica.remove_intents(["c1"])):
        assert replica.intent("c1").exists() or not recorded(replica)
        replica.intent("c1").write_bytes(block)
        replica.sums.write_bytes(b"12345678" * 4)
