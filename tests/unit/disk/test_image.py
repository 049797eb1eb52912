"""An image from folders: the right units of the right files, sparse, and nothing overwritten."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.disk import choice, image, records, survey
from appliance.domain import intents, model
from appliance.protocol import messages, record_file
from tests.fakes import small_disk

MIB = 1 << 20
SIZE = 36 * MIB
IN_SYNC = model.ReplicaState.IN_SYNC


@pytest.fixture
def devices(tmp_path):
    """Column 0 on x and y, column 1 on y and z; units 0, 1, 17 and 35 are written."""
    content = {0: b"a", 1: b"b", 17: b"c", 35: b"d"}
    columns = [("x", "y"), ("y", "z")]
    chart = messages.Chart(
        map_version=3,
        settled=True,
        columns=tuple(tuple(model.Replica(d, IN_SYNC) for d in pair) for pair in columns),
        holders=tuple(messages.Holder(d, f"s{d}", f"sds-{d}") for d in "xyz"),
    )
    for name in "xyz":
        folder = tmp_path / name / "volumes" / "v"
        folder.mkdir(parents=True)
        own = [c for c, pair in enumerate(columns) if name in pair]
        volume = records.VolumeFile(
            id="v", name="music", cluster_id="c", device_id=name, size=SIZE, unit=MIB, ncols=2,
            thin=True, columns=tuple(messages.OwnColumn(c, IN_SYNC) for c in own), generation=4,
            created=1, chart=chart,
        )  # fmt: skip
        write(tmp_path / name / "basalt.json", records.Label("c", f"s{name}", name))
        write(folder / "volume.json", volume)
        (folder / "lock").touch()
        (folder / "intent.c1").write_bytes(bytes(intents.file_length(SIZE)))
        with (folder / "data").open("wb") as data:
            data.truncate(SIZE)
            for unit, byte in content.items():
                if unit % 2 in own:
                    os.pwrite(data.fileno(), byte * MIB, unit * MIB)
    return [tmp_path / name for name in "xyz"]


EXPECTED = b"".join(
    {0: b"a", 1: b"b", 17: b"c", 35: b"d"}.get(unit, b"\0") * MIB for unit in range(36)
)


def write(path: Path, record) -> None:
    path.write_bytes(record_file.to_bytes(record))


def made(*folders):
    (copies,) = survey.look(folders).volumes().values()
    return image.Image(choice.choose(copies))


def test_the_image_is_the_volume_and_stays_sparse(devices, tmp_path):
    out = tmp_path / "out.img"
    done = []
    whole = made(*devices)
    whole.write(out, done.append)
    assert out.read_bytes() == EXPECTED
    assert out.stat().st_blocks * 512 <= 5 * MIB
    assert sum(done) == whole.data_bytes() == 4 * MIB
    assert whole.compare(lambda _: None) == []


def test_one_device_that_holds_everything_is_enough(devices, tmp_path):
    out = tmp_path / "out.img"
    made(devices[1]).write(out, lambda _: None)
    assert out.read_bytes() == EXPECTED


def test_a_column_without_a_copy_is_refused(devices):
    with pytest.raises(errors.Conflict, match="column 1"):
        made(devices[0])


def test_nothing_is_overwritten_and_nothing_half_made_is_left(devices, tmp_path):
    out = tmp_path / "out.img"
    out.write_text("mine")
    with pytest.raises(errors.AlreadyExists):
        made(*devices).write(out, lambda _: None)
    assert out.read_text() == "mine"
    with pytest.raises(KeyboardInterrupt):
        made(*devices).write(tmp_path / "second.img", interrupt)
    assert not (tmp_path / "second.img").exists()


def interrupt(_count):
    raise KeyboardInterrupt


def test_too_little_room_is_said_before_anything_is_written(devices, tmp_path):
    with small_disk.tmpfs(tmp_path / "small", MIB) as small:
        with pytest.raises(errors.NoCapacity, match=r"needs 4 MiB, and .* has 1 MiB free"):
            made(*devices).write(small / "out.img", lambda _: None)
        assert list(small.iterdir()) == []


def test_differences_are_told_apart_by_the_marks(devices):
    for unit in (0, 17):
        with (devices[1] / "volumes/v/data").open("r+b") as data:
            os.pwrite(data.fileno(), b"!", unit * MIB + 7)
    marks = bytearray(intents.file_length(SIZE))
    intents.set_dirty(marks, 1)
    (devices[2] / "volumes/v/intent.c1").write_bytes(marks)
    found = made(*devices).compare(lambda _: None)
    assert [(d.column, d.region, d.marked) for d in found] == [(0, 0, False), (1, 1, True)]


def test_a_copy_that_was_cut_short_is_refused(devices):
    os.truncate(devices[0] / "volumes/v/data", 5 * MIB)
    with pytest.raises(errors.Damaged, match="was it copied to the end"):
        made(*devices)


def test_a_served_volume_is_noticed(devices):
    copies = survey.look(devices).copies
    assert image.in_use(copies) == []
    with (devices[2] / "volumes/v/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert [c.device_id for c in image.in_use(copies)] == ["z"]


def test_folders_of_two_clusters_and_one_device_twice_are_refused(devices):
    with pytest.raises(errors.Conflict, match="same device"):
        survey.look([devices[0], devices[0]])
    write(devices[0] / "basalt.json", records.Label("other", "sx", "x"))
    with pytest.raises(errors.Conflict, match="of one cluster only"):
        survey.look(devices)
    with pytest.raises(errors.NotFound, match=r"no basalt\.json"):
        survey.look([devices[0].parent])


def test_what_cannot_be_read_is_told_and_left_out(devices):
    (devices[0] / "volumes/v/volume.json").write_text("{")
    (devices[1] / "volumes/v/volume.json").unlink()
    third = devices[2] / "volumes/v/volume.json"
    write(third, replace(record_file.read(third, records.VolumeFile), device_id="x"))
    found = survey.look(devices)
    assert found.copies == ()
    assert len(found.damaged) == 3
