"""A pinned thread state lives as long as its connection, in a real nbdkit, and no longer."""

import contextlib
import sys
import threading
from pathlib import Path
from subprocess import Popen

import nbd
import pytest

from nbd_plugin import thread_states
from tests.fakes import legs

_ROOT = Path(__file__).resolve().parents[3]


class Counter:
    """The fake plugin in a real nbdkit."""

    def __init__(self, folder: Path, threads: int, **given: object) -> None:
        self._sock = folder / "counter.sock"
        self.log = folder / "counter.log"
        ready = folder / "counter.pid"  # written once it listens; the socket is there before
        with self.log.open("wb") as log:
            self.process = Popen(
                ["nbdkit", "-f", "-P", str(ready), "-U", str(self._sock), "-t", str(threads),
                 "python", str(_ROOT / "tests" / "fakes" / "state_counter.py"), f"path={_ROOT}",
                 *(f"{key}={value}" for key, value in given.items())],
                stderr=log,
            )  # fmt: skip
        legs.until(ready.exists)

    @contextlib.contextmanager
    def connection(self):
        handle = nbd.NBD()
        handle.connect_unix(str(self._sock))
        yield handle
        handle.shutdown()

    def count(self, handle: nbd.NBD, together: int = 1) -> int:
        """How many states there are; asked by so many threads at once."""
        buffers = [bytearray(8) for _ in range(together)]
        cookies = [handle.aio_pread(buffer, 0) for buffer in buffers]
        for cookie in cookies:
            while not handle.aio_command_completed(cookie):
                assert handle.poll(20_000)
        return max(int.from_bytes(buffer, "little") for buffer in buffers)

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def make_counter(tmp_path):
    made = []

    def make(*args, **kwargs) -> Counter:
        made.append(Counter(tmp_path, *args, **kwargs))
        return made[-1]

    yield make
    for counter in made:
        counter.process.kill()
        counter.process.wait()


def test_states_live_as_long_as_their_connection(make_counter):
    counter = make_counter(4, together=4)
    with counter.connection() as one:
        first = counter.count(one, 4)
        assert counter.count(one, 4) == first  # kept, and none is added
        with counter.connection() as two:
            assert counter.count(two, 4) == first + 4
        # A connection is closed a moment after its client is gone.
        legs.until(lambda: counter.count(one, 4) == first)
    assert counter.terminate() == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_connections_leave_no_state_behind(make_counter, threads):
    counter = make_counter(threads, together=threads)
    with counter.connection() as handle:
        first = counter.count(handle, threads)
    for _ in range(300):
        with counter.connection() as handle:
            counter.count(handle, threads)
    with counter.connection() as handle:
        legs.until(lambda: counter.count(handle, threads) == first)
    assert counter.terminate() == 0


def test_nbdkit_ends_well_with_connections_open(make_counter):
    counter = make_counter(4, together=4)
    with counter.connection() as one, counter.connection() as two:
        counter.count(one, 4)
        counter.count(two, 4)
        counter.process.terminate()
    assert counter.process.wait(20) == 0
    # nbdkit may tell of a client it could not answer any more; Python has nothing to say.
    said = counter.log.read_text()
    assert "Python" not in said, said
    assert "Traceback" not in said, said


def test_without_ctypes_nothing_is_pinned_and_all_works(make_counter):
    counter = make_counter(4, ctypes=0)
    with counter.connection() as handle:
        first = counter.count(handle)
        assert [counter.count(handle) for _ in range(20)] == [first] * 20
    assert counter.terminate() == 0


def test_what_is_missing_is_logged_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert thread_states.load() is None
    pins = thread_states.Pins(None)
    pins.pin()
    pins.pin()
    assert threading.get_ident() in pins.pinned
    pins.free()
    assert [record.message.partition(" ")[0] for record in caplog.records] == [
        "thread_states_not_pinned"
    ]


def test_a_function_that_is_missing_pins_nothing(monkeypatch, caplog):
    monkeypatch.setattr(thread_states, "_NEEDED", ("PyThreadState_Nonsense",))
    assert thread_states.load() is None
    assert "PyThreadState_Nonsense" in caplog.text


class Api:
    """Records calls; the state of thread n is 100 + n."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def PyThreadState_Get(self) -> int:  # noqa: N802 - C's name
        return 100 + threading.get_ident()

    def PyGILState_Ensure(self) -> int:  # noqa: N802 - C's name
        return 7

    def PyGILState_Release(self, ensured: int) -> None:  # noqa: N802 - C's name
        self.calls.append(("release", ensured))

    def PyThreadState_Clear(self, state: int) -> None:  # noqa: N802 - C's name
        self.calls.append(("clear", state))

    def PyThreadState_Delete(self, state: int) -> None:  # noqa: N802 - C's name
        self.calls.append(("delete", state))


def test_the_closing_threads_own_state_is_released_and_others_are_deleted():
    api = Api()
    pins = thread_states.Pins(api)
    thread = threading.Thread(target=pins.pin)
    thread.start()
    other = thread.ident
    thread.join()
    pins.pin()
    pins.free()
    pins.free()
    assert sorted(api.calls) == sorted(
        [("release", 7), ("clear", 100 + other), ("delete", 100 + other)]
    )
    assert api.calls.index(("clear", 100 + other)) < api.calls.index(("delete", 100 + other))
    assert not pins.pinned
