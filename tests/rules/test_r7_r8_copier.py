"""R7 and R8 where the copier keeps them: marks joined, steps done again, bytes on disk first."""

import json
import os
from pathlib import Path

from appliance.domain import intents
from appliance.sds.copier import locks, marks, plan, target
from tests.rules.clauses import clause
from tests.rules.copier_rig import REGION


@clause(
    "R7 running copies start over in doubted regions",
    without="region 3 differs and was never compared again",
)
def test_what_was_copied_before_a_client_died_is_copied_again(copying, broken):
    real, done = plan.steps, set()

    def new_ones(job, dirty, start, end):
        for step in real(job, dirty, start, end):
            if step.offset not in done:
                done.add(step.offset)
                yield step

    broken.setattr(plan, "steps", new_ones)
    copying.source.overwrite(3 * REGION, b"1")
    copying.mark(3)
    copying.run(generation=1)
    assert copying.target(3) == ord("1")
    copying.source.overwrite(3 * REGION, b"2")  # C's last write reached the source alone
    copying.run(generation=2)
    assert copying.target(3) == ord("2"), "region 3 differs and was never compared again"


@clause(
    "R8 the source's marks are joined",
    without="the source is gone, and nothing here says what differs from the third",
)
def test_what_was_marked_on_the_source_is_known_here(copying, broken):
    real = marks.join
    broken.setattr(marks, "join", lambda job, read: real(job, lambda index, name: bytearray()))
    copying.mark(2)
    copying.run(keep_join=True)
    joined = (copying.folder / "intent.join").read_bytes()
    copying.source.kill()
    known = set(intents.dirty_regions(joined))
    assert known == {2}, "the source is gone, and nothing here says what differs from the third"


@clause(
    "R8 a step is redone when its lock ran out", without="the old bytes were left on the target"
)
def test_a_step_whose_lock_ran_out_is_done_again(copying, broken):
    broken.setattr(locks.Held, "expired", property(lambda self: False))
    client = copying.client(limit_s=0.2, late=1)
    copying.source.overwrite(0, b"1")
    copying.mark(0)
    real, written = target.Target.write, []

    def overtaken(self, offset, data):
        real(self, offset, data)
        if offset == 0 and not written:
            written.append(bytes(data[:1]))
            # The lock had run out: the client wrote to both, before the copier's old bytes came.
            copying.source.overwrite(0, b"2")

    target.Target.write = overtaken
    try:
        copying.run()
    finally:
        target.Target.write = real
    assert client.asked
    assert copying.target(0) == ord("2"), "the old bytes were left on the target"


@clause(
    "R8 the target fdatasyncs before done",
    without="reported done while the copy was in the page cache only",
)
def test_what_is_reported_done_is_on_disk(copying, broken, monkeypatch):
    copying.source.overwrite(REGION, b"1" * 4096)
    copying.mark(1)
    real, synced = os.fdatasync, []

    def noted(fd):
        real(fd)
        if Path(f"/proc/self/fd/{fd}").readlink().name == "data":
            synced.append(any(json.loads(line)["done"] for line in copying.said))

    broken.setattr(target.Target, "sync", lambda self: None)
    monkeypatch.setattr(os, "fdatasync", noted)
    copying.run()
    assert json.loads(copying.said[-1])["done"]
    assert synced[-1:] == [False], "reported done while the copy was in the page cache only"
