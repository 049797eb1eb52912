"""What breaks for good: a disk, and the MDM's database."""

from collections.abc import Iterator

import pytest

from tests.chaos import cluster, damage, driver

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def on() -> Iterator[cluster.NetCluster]:
    with cluster.NetCluster(fragile=("sds2",)) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_disk_that_answers_eio_fails_and_is_replaced_while_io_goes_on(
    on: cluster.NetCluster,
) -> None:
    run = driver.Run(on, "broken disk", units=24)
    done = run.round(1, 0, [damage.break_disk])
    print(done.line())
    run.finish()
    assert not done.remaps
    assert not done.refused
    events = {event["kind"] for event in on.call("get", "/events")["items"]}
    assert "device_failed" in events, events


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_damaged_database_is_refused_and_a_backup_goes_on(on: cluster.NetCluster) -> None:
    run = driver.Run(on, "damaged database", units=24)
    before = on.log(cluster.MDM).stat().st_size
    done = run.round(1, 0, [damage.damage_database])
    print(done.line())
    run.finish()
    assert not done.remaps
    assert not done.refused
    said = on.log(cluster.MDM).read_text(encoding="utf-8")[before:]
    assert "mdm.db is damaged" in said, said
