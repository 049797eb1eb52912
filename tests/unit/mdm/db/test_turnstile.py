"""Who waits for the database's writers goes in the order of coming, the urgent first."""

import threading
import time

from appliance.mdm.db import turnstile


class Line:
    """Threads that wait for a turnstile, one after the other, and the order they came through."""

    def __init__(self) -> None:
        self.turnstile = turnstile.Turnstile()
        self.through: list[str] = []
        self._threads: list[threading.Thread] = []

    def join(self, name: str, urgent: bool = False) -> None:
        """``name`` waits behind those that wait already, when this returns."""
        before = self._waiting()
        thread = threading.Thread(target=self._pass, args=(name, urgent))
        thread.start()
        self._threads.append(thread)
        deadline = time.monotonic() + 10
        while self._waiting() == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def _waiting(self) -> int:
        return len(self.turnstile._urgent) + len(self.turnstile._others)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _pass(self, name: str, urgent: bool) -> None:
        assert self.turnstile.acquire(10, urgent)
        self.through.append(name)
        self.turnstile.release()


def test_they_go_in_the_order_they_came_and_the_urgent_first() -> None:
    line = Line()
    assert line.turnstile.acquire(0)
    for name in ("a", "b", "c"):
        line.join(name)
    for name in ("u", "v"):
        line.join(name, urgent=True)
    line.turnstile.release()
    line.end()
    assert line.through == ["u", "v", "a", "b", "c"]


def test_who_gave_up_is_passed_over() -> None:
    line = Line()
    assert line.turnstile.acquire(0)
    assert not line.turnstile.acquire(0.01)
    assert not line.turnstile.acquire(0.01, urgent=True)
    line.join("a")
    line.turnstile.release()
    line.end()
    assert line.through == ["a"]
    assert line.turnstile.acquire(0), "free again"


def test_only_one_is_through_at_a_time() -> None:
    gate, inside, most = turnstile.Turnstile(), 0, 0

    def work(urgent: bool) -> None:
        nonlocal inside, most
        for _ in range(300):
            if not gate.acquire(0.0005, urgent):  # some of them give up, at any moment
                continue
            inside += 1
            most = max(most, inside)
            inside -= 1
            gate.release()

    threads = [threading.Thread(target=work, args=(n % 2 == 0,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1
    assert gate.acquire(0), "nobody kept it"
