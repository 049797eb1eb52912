"""Many volumes, many callers: nothing is orphaned, nothing is lost, nothing answers 5xx."""

import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import pytest

from appliance.common import errors
from tests.integration import copies, local_cluster
from tests.integration.conftest import MakeCluster

MIB = 1 << 20
VOLUMES = 200
CALLERS = 100

#: Requests on their way at once, of the one who makes the 200.
HANDS = 4


def in_threads(count: int, work: Any) -> list[BaseException]:
    """Run ``work(n)`` for n in range(count) at once; what was raised."""
    raised: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever waits
            raised.append(exc)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return raised


@pytest.mark.timeout(600)
def test_200_volumes_live_and_die_across_a_restart_of_the_mdm(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(measured=False)
    api = cluster.client()

    def make(number: int) -> str:
        body = {"name": f"v{number}", "size_bytes": 16 * MIB, "columns": 1}
        return str(insist(lambda: api.post("/api/v1/volumes", body))["id"])

    def map_(ident: str) -> None:
        body = {"sdc": "sdc1", "backend": "none"}
        insist(lambda: api.post(f"/api/v1/volumes/{ident}/mappings", body))

    def unmap(ident: str) -> None:
        insist(lambda: api.delete(f"/api/v1/volumes/{ident}/mappings/sdc1"))

    def delete(ident: str) -> None:
        insist(lambda: api.delete(f"/api/v1/volumes/{ident}"))

    with futures.ThreadPoolExecutor(HANDS) as hands:
        ids = list(hands.map(make, range(VOLUMES)))
        list(hands.map(map_, ids[: VOLUMES // 2]))
        cluster.kill("mdm")
        cluster.up()
        api = cluster.client()
        list(hands.map(map_, ids[VOLUMES // 2 :]))

        def states() -> list[str]:
            items = api.get("/api/v1/volumes")["items"]
            return [m["state"] for v in items for m in v["mappings"]]

        wait_for_many(states, ["attached"] * VOLUMES, "all attached")
        list(hands.map(unmap, ids))
        wait_for_many(states, [], "all detached")
        list(hands.map(delete, ids))
    local_cluster.wait(
        lambda: [ident for ident in ids if copies.folders(cluster, ident)],
        lambda left: left == [], "nothing left on any device", 120,
    )  # fmt: skip
    local_cluster.wait(
        lambda: api.get("/api/v1/volumes")["items"], lambda left: left == [], "no row left"
    )


def insist(call: Callable[[], Any]) -> Any:
    """Ask again while the MDM says "try again in a moment": a busy machine is no failure.

    Such a refusal changed nothing (errors.Unavailable; an answer that was lost is Unreachable).
    """
    deadline = time.monotonic() + 120
    while True:
        try:
            return call()
        except errors.Unavailable:
            assert time.monotonic() < deadline, "refused for two minutes"


def wait_for_many(look: Callable[[], list[str]], wanted: list[str], what: str) -> None:
    """A look at all of them costs as much as several are changed for: not too often."""
    local_cluster.wait(look, lambda found: found == wanted, what, 240, every_s=0.5)


def test_100_callers_at_once_lose_no_update(cluster: local_cluster.LocalCluster) -> None:
    def work(number: int) -> None:
        api = cluster.client()
        made = api.post("/api/v1/volumes", {"name": f"c{number}", "size_bytes": 16 * MIB})
        path = f"/api/v1/volumes/{made['id']}"
        api.get("/api/v1/volumes", limit=10)
        api.patch(path, {"wait_limit_s": number + 1})
        api.patch(path, {"name": f"caller-{number}"})
        got = api.get(path)
        assert (got["name"], got["wait_limit_s"]) == (f"caller-{number}", number + 1)

    assert in_threads(CALLERS, work) == []
    api = cluster.client()
    found = {v["name"]: v for v in api.get("/api/v1/volumes")["items"]}
    for number in range(CALLERS):
        assert found[f"caller-{number}"]["wait_limit_s"] == number + 1
        api.delete(f"/api/v1/volumes/caller-{number}")


def test_of_100_callers_who_want_one_name_one_gets_it(
    cluster: local_cluster.LocalCluster,
) -> None:
    def work(_number: int) -> None:
        cluster.client().post("/api/v1/volumes", {"name": "the-one", "size_bytes": 16 * MIB})

    raised = in_threads(CALLERS, work)
    assert len(raised) == CALLERS - 1
    assert all(isinstance(exc, errors.AlreadyExists) for exc in raised)
    cluster.client().delete("/api/v1/volumes/the-one")
