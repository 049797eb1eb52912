"""What is written is what is read, by any client, at any offset; and both copies are equal."""

import itertools
import json
import os
import random
import subprocess
from pathlib import Path

import hypothesis
import nbd
import pytest
from hypothesis import stateful
from hypothesis import strategies as st

from appliance.domain import layout, model
from tests.fakes import legs, rig

B = model.UNIT_BYTES
SIZE = 48 << 20  # three regions
COLUMNS = (("x", "y"), ("y", "z"), ("z", "x"))
LENGTHS = (1, 2, B - 1, B, B + 1, 2 * B - 1, 2 * B, 2 * B + 1, 5 * B - 5, 5 * B, 5 * B + 5)
OFFSETS = (0, 1, 511, 4096, B - 1, B, B + 1, 3 * B - 2, 16 * B - 3)

#: Steps of the random walk, at least.
STEPS = int(os.environ.get("BASALT_PLUGIN_STEPS", "10000"))

#: Bytes that differ from place to place, to be cut out of.
NOISE = random.Random(1).randbytes(8 << 20)  # not for secrets


def check_copies(volume: rig.Rig) -> None:
    """Every unit is the same on all devices of its column, and a hole elsewhere."""
    for index, names in enumerate(volume.columns):
        for start, length in layout.own_extents(
            frozenset([index]), len(volume.columns), volume.size
        ):
            first, *others = [volume[name].read(start, length) for name in names]
            assert all(other == first for other in others)


def allocation(handle: nbd.NBD, offset: int, length: int) -> list[tuple[int, int]]:
    """[(length, flags)] of ``[offset, offset + length)``, whole."""
    result: list[tuple[int, int]] = []
    found: list[tuple[int, int]] = []

    def told(_context: str, _at: int, entries: list[int], _error: object) -> int:
        found.extend(zip(entries[::2], entries[1::2], strict=True))
        return 0

    end = offset + length
    while offset < end:
        del found[:]
        handle.block_status(end - offset, offset, told)
        assert found
        for size, flags in found:
            if offset < end:
                result.append((min(size, end - offset), flags))
            offset += size
    return result


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory):
    made = rig.Rig(tmp_path_factory.mktemp("bytes"), COLUMNS, SIZE, life_s=300.0)
    yield made
    made.close()


@pytest.mark.parametrize("offset", OFFSETS)
def test_every_corner_is_read_back_and_nothing_beside_it_changed(volume, offset):
    handle = volume.connect()
    handle.zero(SIZE, 0)
    wanted = bytearray(SIZE)
    for index, length in enumerate(LENGTHS):
        data = NOISE[index : index + length]
        handle.pwrite(data, offset)
        wanted[offset : offset + length] = data
        begin, end = max(offset - 7, 0), offset + length + 7
        assert handle.pread(end - begin, begin) == wanted[begin:end]
        hole = offset + length // 3, max(length // 3, 1)
        change = handle.trim if index % 2 else handle.zero
        change(hole[1], hole[0])
        wanted[hole[0] : sum(hole)] = bytes(hole[1])
        assert handle.pread(end - begin, begin) == wanted[begin:end]
    assert handle.pread(SIZE // 2, 0) + handle.pread(SIZE // 2, SIZE // 2) == wanted
    check_copies(volume)


class Walk(stateful.RuleBasedStateMachine):
    """Random requests on two connections against a plain bytearray."""

    volume: rig.Rig
    handles: list[nbd.NBD]
    steps = 0

    offsets = st.builds(
        lambda unit, away: min(max(unit * B + away, 0), SIZE - 1),
        st.integers(0, SIZE // B),
        st.sampled_from((-4097, -4096, -2, -1, 0, 1, 511, 512, 4096, B // 2)),
    )
    lengths = st.one_of(st.integers(1, 8192), st.sampled_from((4096, 65_536, B - 1, B, 2 * B + 1)))
    flags = st.sampled_from((0, 0, 0, nbd.CMD_FLAG_FUA))

    @stateful.initialize()
    def begin(self) -> None:
        self.handles[0].zero(SIZE, 0)
        self.wanted = bytearray(SIZE)

    def _next(self) -> nbd.NBD:
        type(self).steps += 1
        return self.handles[self.steps % len(self.handles)]

    @stateful.rule(offset=offsets, length=lengths, flags=flags, seed=st.integers(0, 1 << 20))
    def write(self, offset: int, length: int, flags: int, seed: int) -> None:
        data = NOISE[seed : seed + min(length, SIZE - offset)]
        self._next().pwrite(data, offset, flags=flags)
        self.wanted[offset : offset + len(data)] = data

    @stateful.rule(offset=offsets, length=lengths)
    def read(self, offset: int, length: int) -> None:
        length = min(length, SIZE - offset)
        assert self._next().pread(length, offset) == self.wanted[offset : offset + length]

    @stateful.rule(offset=offsets, length=lengths, flags=flags)
    def trim(self, offset: int, length: int, flags: int) -> None:
        length = min(length, SIZE - offset)
        self._next().trim(length, offset, flags=flags)
        self.wanted[offset : offset + length] = bytes(length)

    @stateful.rule(offset=offsets, length=lengths, flags=st.sampled_from((0, nbd.CMD_FLAG_NO_HOLE)))
    def zero(self, offset: int, length: int, flags: int) -> None:
        length = min(length, SIZE - offset)
        self._next().zero(length, offset, flags=flags)
        self.wanted[offset : offset + length] = bytes(length)

    @stateful.rule()
    def flush(self) -> None:
        self._next().flush()

    @stateful.rule(offset=offsets, length=lengths)
    def extents(self, offset: int, length: int) -> None:
        """What is said to read as zeroes does."""
        for size, flags in allocation(self._next(), offset, min(length, SIZE - offset)):
            if flags & nbd.STATE_ZERO:
                assert not any(self.wanted[offset : offset + size])
            offset += size


@pytest.mark.timeout(600)
def test_a_random_walk_agrees_with_a_plain_bytearray(volume):
    Walk.volume = volume
    Walk.handles = [volume.connect(), volume.connect()]
    settings = hypothesis.settings(
        max_examples=20,
        stateful_step_count=100,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    while Walk.steps < STEPS:
        stateful.run_state_machine_as_test(Walk, settings=settings)
        check_copies(volume)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def uri(volume: rig.Rig) -> str:
    return f"nbd+unix:///?socket={volume.plugin.socket}"


def test_nbdinfo_shows_what_the_volume_can_do(volume):
    export = json.loads(run("nbdinfo", "--json", "--no-content", uri(volume)))["exports"][0]
    assert export["export-size"] == SIZE
    for ability in ("can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn"):
        assert export[ability] is True, ability
    assert export["is_read_only"] is False
    assert export["block_size_preferred"] == 4096


def test_an_image_goes_in_and_out_and_every_tool_agrees(volume, tmp_path: Path):
    volume.connect().zero(SIZE, 0)
    image, back = tmp_path / "image", tmp_path / "back"
    with image.open("wb") as file:
        file.truncate(SIZE)
        for place in (0, 3 * B - 100, 20 * B + 5, SIZE - 3 * B):
            file.seek(place)
            file.write(NOISE[place % 1000 :][: 2 * B])
    run("nbdcopy", "--flush", str(image), uri(volume))
    run("nbdcopy", uri(volume), str(back))
    assert back.read_bytes() == image.read_bytes()
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", str(image), uri(volume))
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", uri(volume), str(back))
    assert back.read_bytes() == image.read_bytes()
    check_copies(volume)


def test_qemu_io_writes_patterns_that_others_read(volume):
    run(
        "qemu-io", "-f", "raw",
        "-c", f"write -P 0x5a {B - 512} 1024", "-c", f"write -z {7 * B} 1M",
        "-c", f"discard {9 * B} 1M", "-c", "flush",
        "-c", f"read -P 0x5a {B - 512} 1024", "-c", f"read -P 0 {7 * B} 1M",
        uri(volume),
    )  # fmt: skip
    handle = volume.connect()
    assert handle.pread(1024, B - 512) == b"\x5a" * 1024
    assert handle.pread(B, 7 * B) == bytes(B)
    check_copies(volume)


def test_holes_and_data_are_told_column_by_column(volume):
    """Each device is asked about its own units; what is a hole there only is not one here."""
    handle = volume.connect()
    handle.trim(SIZE, 0)
    for unit in (1, 5, 6):
        handle.pwrite(NOISE[:B], unit * B)
    told = allocation(handle, 0, 10 * B)
    joined = [
        (sum(size for size, _ in runs), flags)
        for flags, runs in (
            (flags, list(group)) for flags, group in itertools.groupby(told, lambda run: run[1])
        )
    ]
    assert joined == [(B, 3), (B, 0), (3 * B, 3), (2 * B, 0), (3 * B, 3)]


def test_legs_are_reached_over_tcp_too(make_rig):
    made = make_rig(serve={"x": {"tcp": True}, "y": {"tcp": True}})
    handle = made.connect()
    handle.pwrite(NOISE[: 3 * B], 5)
    assert handle.pread(3 * B, 5) == NOISE[: 3 * B]
    check_copies(made)
    made["x"].kill()
    write = legs.Doing(handle.pwrite, NOISE[:B], 0)
    made.plugin.status(left=1, suspects=["x"])
    made.turn({"x": rig.STALE})
    write.result()
