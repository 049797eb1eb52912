"""Child processes: started by one thread that lives as long as the agent, watched by another.

The data servers end with the thread that started them (PR_SET_PDEATHSIG is per thread, R4),
hence the one starter. A process's end is seen at once, through its pidfd; nobody polls.
"""

import contextlib
import fcntl
import logging
import os
import queue
import select
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures

logger = logging.getLogger(__name__)

#: Lowest number of the copies made of descriptors to pass, above any number they go to.
_FIRST_COPY = 100


class Process:
    """A running child. ``on_exit`` is called once, from the watcher's thread, after its end."""

    def __init__(self, pid: int, on_exit: Callable[[], None]) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.status = 0
        self._on_exit = on_exit
        self._ended = threading.Event()
        self._mutex = threading.Lock()  # no signal to a pidfd that was closed and used again

    @property
    def alive(self) -> bool:
        return not self._ended.is_set()

    def kill(self) -> None:
        """Send SIGKILL, which a stopped process cannot put off. Does not wait."""
        with self._mutex:
            if self.alive:
                with contextlib.suppress(ProcessLookupError):  # it was reaped just now
                    signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within ``timeout_s``."""
        return self._ended.wait(timeout_s)

    def ended(self, status: int) -> None:
        """Called by the watcher when the process was reaped."""
        with self._mutex:
            self.status = status
            self._ended.set()
            os.close(self.pidfd)
        self._on_exit()


class Starter:
    """Starts processes in its own thread and reaps them in another; ``start`` may be called
    from any thread and blocks for a few milliseconds."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._watched: dict[int, Process] = {}
        self._epoll = select.epoll()
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._starting = threading.Thread(target=self._run, name="sds-starter", daemon=True)
        self._watching = threading.Thread(target=self._watch, name="sds-watcher", daemon=True)
        self._starting.start()
        self._watching.start()

    def start(
        self,
        argv: Sequence[str],
        fds: Mapping[int, int],
        env: Mapping[str, str],
        on_exit: Callable[[], None],
    ) -> Process:
        """Start ``argv`` (an absolute path first) with descriptor ``fds[n]`` as its ``n``.

        0 and 1 are /dev/null unless given, 2 is the agent's own; nothing else is inherited.
        Raises OSError.
        """
        done: futures.Future[Process] = futures.Future()

        def _request() -> None:
            try:
                done.set_result(self._spawn(argv, fds, env, on_exit))
            except Exception as exc:  # noqa: BLE001 - raised again in the caller's thread
                done.set_exception(exc)

        self._requests.put(_request)
        return done.result()

    def close(self) -> None:
        """End the starter, and with it every data server still running."""
        self._requests.put(None)
        self._starting.join()

    def _run(self) -> None:
        # The end of this thread would be the end of every data server.
        while (request := self._requests.get()) is not None:
            request()

    def _spawn(
        self,
        argv: Sequence[str],
        fds: Mapping[int, int],
        env: Mapping[str, str],
        on_exit: Callable[[], None],
    ) -> Process:
        wanted = {0: self._null, 1: self._null, **fds}
        # Copies, so that no dup2 can land on a descriptor that a later one is made from.
        copies = {
            number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_COPY)
            for number, fd in wanted.items()
        }
        try:
            pid = os.posix_spawn(
                argv[0],
                list(argv),
                dict(env),
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in copies.items()],
                setsigmask=(),
                setsigdef=(signal.SIGPIPE,),
            )
        finally:
            for fd in copies.values():
                os.close(fd)
        process = Process(pid, on_exit)
        self._watched[process.pidfd] = process
        self._epoll.register(process.pidfd, select.EPOLLIN)
        return process

    def _watch(self) -> None:
        while True:
            for pidfd, _events in self._epoll.poll():
                process = self._watched.pop(pidfd)
                self._epoll.unregister(pidfd)
                _pid, status = os.waitpid(process.pid, 0)
                try:
                    process.ended(os.waitstatus_to_exitcode(status))
                except Exception:  # whoever is told must not end the watcher
                    logger.exception("exit_callback_failed pid=%d", process.pid)
