"""A pass over two real data servers: what is compared, recorded, found and repaired."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.common import clock, errors
from appliance.domain import intents, model, sums
from appliance.protocol import codec, messages
from appliance.sds import scrubs
from appliance.sds.copier import throttle
from appliance.sds.scrubber import run, told
from tests.fakes import fake_lock_client, legs

MIB = 1 << 20
SIZE = 48 * MIB  # three regions
REGION = 16 * MIB


class Device:
    """A folder with a volume's files, served by nbdkit under their own names."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.folder = folder
        folder.mkdir()
        for name, length in (
            ("data", SIZE),
            ("sums", sums.file_length(SIZE)),
            ("intent.c1", intents.file_length(SIZE)),
        ):
            with (folder / name).open("wb") as file:
                file.truncate(length)
        self._socket = folder / "nbd.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.serve()

    def serve(self, *words: str) -> None:
        self.close()
        self._socket.unlink(missing_ok=True)
        command = ["nbdkit", "-f", "--exit-with-parent", "-U", str(self._socket), *words[:1]]
        command += ["file", f"dir={self.folder}", *words[1:]]
        self._process = subprocess.Popen(command)
        legs.until(lambda: legs._listens(self._socket))

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def leg(self) -> messages.ScrubLeg:
        where = model.Leg(self.name, "s", f"sds-{self.name}", (), 0, str(self._socket), "data", "")
        return messages.ScrubLeg(where, "sums", {"c1": "intent.c1"})

    def write(self, offset: int, data: bytes) -> None:
        with (self.folder / "data").open("r+b") as file:
            os.pwrite(file.fileno(), data, offset)

    def read(self, offset: int, length: int) -> bytes:
        with (self.folder / "data").open("rb") as file:
            return os.pread(file.fileno(), length, offset)

    def sum(self, unit: int) -> bytes:
        return (self.folder / "sums").read_bytes()[unit * 8 : unit * 8 + 8]

    def mark(self, region: int, dirty: bool) -> None:
        block = bytearray((self.folder / "intent.c1").read_bytes())
        intents.set_dirty(block, region)
        if not dirty:
            intents.clear_dirty(block, region)
        (self.folder / "intent.c1").write_bytes(block)


class Pair:
    """Devices x and y with equal random bytes in unit 1, in unit 17 and in the last one."""

    def __init__(self, folder: Path) -> None:
        self.x, self.y = Device(folder / "x"), Device(folder / "y")
        for unit in (1, 17, 47):
            data = os.urandom(MIB)
            self.x.write(unit * MIB, data)
            self.y.write(unit * MIB, data)
        self.said: list[messages.ScrubReport] = []

    def scrub(self, **changes: Any) -> messages.ScrubReport:
        """A whole pass; the last report."""
        wanted = messages.ScrubOrder(
            generation=7,
            scrub_id="p",
            legs=(self.x.leg(), self.y.leg()),
            columns=(("x", "y"),),
            repair=True,
        )
        job = scrubs.Job(replace(wanted, **changes), SIZE, MIB, 1)
        time = clock.SystemClock()
        telling = told.Told(job, time, self._say)
        run.Run(job, telling, throttle.Throttle(0, time), time).run()
        return self.said[-1]

    def _say(self, line: str) -> None:
        self.said.append(codec.from_json(messages.ScrubReport, json.loads(line)))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.x.close()
    made.y.close()


@pytest.fixture
def client() -> Iterator[fake_lock_client.FakeLockClient]:
    made = fake_lock_client.FakeLockClient()
    yield made
    made.close()


def test_equal_copies_are_recorded_on_both_and_holes_are_passed_over(pair: Pair) -> None:
    pair.x.write(17 * MIB, bytes(MIB))  # data still, and not like y's: see below
    pair.y.write(17 * MIB, bytes(MIB))
    done = pair.scrub()
    assert (done.done, done.position, done.counts.mismatches) == (True, SIZE, 0)
    assert done.counts.compared_bytes == 3 * REGION
    for unit in (1, 17, 47):
        found = sums.checksum(pair.x.read(unit * MIB, MIB))
        assert pair.x.sum(unit) == pair.y.sum(unit) == found


def test_a_region_that_is_a_hole_on_both_is_not_read(pair: Pair) -> None:
    for device in (pair.x, pair.y):
        with (device.folder / "data").open("r+b") as file:
            file.truncate(REGION)
            file.truncate(SIZE)
    done = pair.scrub()
    assert (done.done, done.counts.compared_bytes) == (True, REGION)
    assert pair.x.sum(20) == sums.NONE


def test_dirty_regions_are_skipped_and_counted(pair: Pair) -> None:
    pair.y.mark(1, dirty=True)
    pair.x.write(17 * MIB, b"in flight")
    done = pair.scrub()
    assert (done.counts.skipped, done.counts.mismatches) == (1, 0)
    assert pair.x.sum(17) == sums.NONE
    assert pair.x.sum(1) != sums.NONE


def test_rot_is_repaired_from_the_copy_that_matches_its_sum(pair: Pair) -> None:
    pair.scrub()
    good = pair.x.read(17 * MIB, MIB)
    pair.y.write(17 * MIB + 9, b"rot")
    done = pair.scrub()
    assert (done.counts.mismatches, done.counts.repaired) == (1, 1)
    (finding,) = done.findings
    assert (finding.number, finding.device_id, finding.offset) == (1, "y", 17 * MIB)
    assert pair.y.read(17 * MIB, MIB) == good
    assert pair.scrub().counts.mismatches == 0


def test_by_policy_rot_is_only_told_of(pair: Pair) -> None:
    pair.scrub()
    pair.x.write(MIB, b"rot")
    done = pair.scrub(repair=False)
    assert (done.findings[0].device_id, done.counts.repaired) == ("x", 0)
    assert pair.x.read(MIB, 3) == b"rot"


@pytest.mark.parametrize("marked", ["x", "y"])
def test_without_a_sum_that_holds_nobody_is_convicted(pair: Pair, marked: str) -> None:
    pair.scrub()
    getattr(pair, marked).mark(0, dirty=False)
    pair.x.write(MIB, b"who")
    done = pair.scrub()
    assert (done.findings[0].device_id, done.counts.repaired) == ("", 0)
    assert "written since" in done.findings[0].why
    assert pair.x.read(MIB, 3) == b"who"


def test_a_writing_client_is_locked_watched_and_told(pair: Pair, client: Any) -> None:
    pair.y.mark(0, dirty=False)
    pair.scrub(clients=(client.to_order("c1"),))
    assert len(client.asked) == 48
    assert not client.held
    steps = [(one.step, one.offset, one.length, one.generation) for one in client.scrubs]
    assert steps == [
        ("watch", 0, REGION, 7),
        ("scrubbed", 0, REGION, 7),
        ("watch", REGION, REGION, 7),
        ("watch", 2 * REGION, REGION, 7),
    ]


def test_sums_are_recorded_before_the_mark_is_taken_away(pair: Pair, client: Any) -> None:
    pair.y.mark(0, dirty=False)
    seen = []
    client.on_scrub = lambda words: seen.append((words.step, pair.x.sum(1), pair.y.sum(1)))
    pair.scrub(clients=(client.to_order("c1"),))
    found = sums.checksum(pair.x.read(MIB, MIB))
    assert seen[:2] == [("watch", sums.NONE, sums.NONE), ("scrubbed", found, found)]


def test_a_writing_client_repairs_itself(pair: Pair, client: Any) -> None:
    pair.scrub()
    pair.y.write(MIB, b"rot")
    done = pair.scrub(clients=(client.to_order("c1"),))
    assert done.counts.repaired == 1
    (asked,) = [one for one in client.scrubs if one.step == "rewrite"]
    assert (asked.offset, asked.length, asked.device_id) == (MIB, MIB, "x")
    assert pair.y.read(MIB, 3) == b"rot"  # nobody but the client wrote


def test_a_client_that_refuses_leaves_the_finding_unrepaired(pair: Pair, client: Any) -> None:
    pair.scrub()
    pair.y.write(MIB, b"rot")

    def refuse(words: messages.ScrubRequest) -> None:
        if words.step != "watch":
            raise errors.Unavailable(why="not now")

    client.on_scrub = refuse
    done = pair.scrub(clients=(client.to_order("c1"),))
    assert (done.done, done.counts.repaired) == (True, 0)
    assert "the repair failed: not now" in done.findings[0].why


def test_two_writing_clients_are_never_written_past(pair: Pair, client: Any) -> None:
    pair.scrub()
    pair.y.write(MIB, b"rot")
    other = fake_lock_client.FakeLockClient()
    done = pair.scrub(clients=(client.to_order("c1"), other.to_order("c2")))
    other.close()
    assert (done.counts.mismatches, done.counts.repaired) == (1, 0)
    assert "several clients" in done.findings[0].why
    assert pair.y.read(MIB, 3) == b"rot"


def test_a_step_whose_lock_ran_out_is_done_again(pair: Pair, client: Any) -> None:
    client.limit_s, client.late = 0.3, 1
    done = pair.scrub(clients=(client.to_order("c1"),))
    assert (done.done, done.counts.mismatches) == (True, 0)
    assert len(client.asked) == 49


def test_what_is_in_flight_outside_of_the_lock_is_no_mismatch(pair: Pair, client: Any) -> None:
    grant, give_back = client.lock, client.unlock

    def drained(words: messages.LockRequest) -> dict[str, object]:
        pair.y.write(words.offset, pair.x.read(words.offset, 512))
        return dict(grant(words))

    def in_flight(ident: str) -> None:
        pair.y.write(client.held[ident].offset, b"not everywhere yet")
        give_back(ident)

    client.lock, client.unlock = drained, in_flight
    for unit in range(48):
        pair.y.write(unit * MIB, b"not everywhere yet")
    done = pair.scrub(clients=(client.to_order("c1"),))
    assert (done.done, done.counts.mismatches) == (True, 0)


def test_a_pass_goes_on_where_it_was(pair: Pair) -> None:
    counts = messages.ScrubCounts(5, 1, 2, 1)
    done = pair.scrub(start=REGION + 3 * MIB, counts=counts)
    assert pair.said[0].position == REGION + 3 * MIB
    assert pair.x.sum(1) == sums.NONE
    assert pair.x.sum(17) != sums.NONE
    assert done.counts.compared_bytes == 5 + 2 * REGION
    assert (done.counts.skipped, done.counts.mismatches) == (1, 2)


def test_a_device_that_cannot_read_is_named(pair: Pair) -> None:
    pair.y.serve("--filter=error", "error-pread=EIO", "error-pread-rate=100%")
    with pytest.raises(errors.DeviceFailed, match="y of SDS sds-y"):
        pair.scrub()
    assert pair.said[-1].failed == ("y",)
    assert not pair.said[-1].done
