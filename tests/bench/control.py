"""Latency of the MDM's REST API: one caller with few and many volumes, then many at once."""

import statistics
import threading
import time
from collections.abc import Callable

from appliance.rest import client

MIB = 1 << 20

#: Volumes there are when the second round of single calls is measured.
MANY = 1000

_CALLS = 200

#: Servers are given this long to make what was created before: it is not what is measured. Seconds.
_SETTLE_S = 20.0


def measure(connect: Callable[[], client.Client]) -> str:
    """A table of p50 and p99 in milliseconds. Leaves no volume behind."""
    api = connect()
    lines = [f"{'MDM API, ms':34}{'p50':>8}{'p99':>8}"]
    made = [_create(api, f"bench-{index}") for index in range(10)]
    lines += _single_calls(api, "10 volumes")
    made += [_create(api, f"bench-{index}") for index in range(10, MANY)]
    time.sleep(_SETTLE_S)
    lines += _single_calls(api, f"{MANY} volumes")
    lines += _many_callers(connect)
    for ident in made:
        api.delete(f"/api/v1/volumes/{ident}")
    return "\n".join(lines)


def _create(api: client.Client, name: str) -> str:
    return str(api.post("/api/v1/volumes", {"name": name, "size_bytes": 16 * MIB})["id"])


def _single_calls(api: client.Client, label: str) -> list[str]:
    created: list[str] = []
    rows = {
        "create": lambda i: created.append(_create(api, f"single-{i}")),
        "get": lambda i: api.get(f"/api/v1/volumes/{created[i % len(created)]}"),
        "rename": lambda i: api.patch(f"/api/v1/volumes/{created[i]}", {"name": f"renamed-{i}"}),
        "list 100": lambda _: api.get("/api/v1/volumes", limit=100),
        "delete": lambda i: api.delete(f"/api/v1/volumes/{created[i]}"),
    }
    return [_row(f"{name}, {label}", [_timed(call, i) for i in range(_CALLS)])
            for name, call in rows.items()]  # fmt: skip


def _many_callers(connect: Callable[[], client.Client], callers: int = 100) -> list[str]:
    """Each caller creates, reads, renames and deletes a volume of its own."""
    times: dict[str, list[float]] = {"get": [], "change": []}
    lock = threading.Lock()

    def work(number: int) -> None:
        api = connect()
        spent: dict[str, list[float]] = {"get": [], "change": []}
        ident: list[str] = []
        spent["change"].append(_timed(lambda i: ident.append(_create(api, f"many-{i}")), number))
        path = f"/api/v1/volumes/{ident[0]}"
        for _ in range(5):
            spent["get"].append(_timed(lambda _: api.get(path), number))
            name = f"many-{number}-{len(spent['change'])}"
            spent["change"].append(_timed(lambda _, n=name: api.patch(path, {"name": n}), number))
        spent["change"].append(_timed(lambda _: api.delete(path), number))
        with lock:
            for kind, values in spent.items():
                times[kind] += values

    threads = [threading.Thread(target=work, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [_row(f"{kind}, {callers} callers at once", values) for kind, values in times.items()]


def _timed(call: Callable[[int], object], index: int) -> float:
    began = time.perf_counter()
    call(index)
    return (time.perf_counter() - began) * 1000


def _row(label: str, values: list[float]) -> str:
    centiles = statistics.quantiles(values, n=100)
    return f"{label:34}{statistics.median(values):8.2f}{centiles[98]:8.2f}"
