"""Starts coverage in the Python that nbdkit embeds; `make test` puts this folder on PYTHONPATH.

That Python knows nothing of .venv, and nbdkit calls the plugin on threads that Python did not
start, which no tracer reaches. So coverage is taken from .venv, and each callback of the plugin
starts a tracer of its own. Python itself (3.11) imports this file; other processes are left alone.
"""

import os
import sys
from collections import deque
from pathlib import Path
from types import FunctionType


def _start():
    packages = next(Path(__file__).parents[2].glob(".venv/lib/python3*/site-packages"))
    sys.path.append(str(packages))
    import coverage

    # The plugin must go on seeing only what an installed one sees.
    sys.path.remove(str(packages))
    # With an activated .venv this Python finds it by PATH, and coverage has started itself.
    measurement = coverage.process_startup() or coverage.Coverage.current()
    if measurement is not None:
        _wrap_callbacks(measurement._collector)


def _wrap_callbacks(collector):
    """Wait for the end of the plugin's script, then wrap its functions."""

    def on_event(frame, event, _arg):
        if event == "return" and frame.f_code.co_name == "<module>":
            namespace = frame.f_globals
            if namespace.get("__name__") == "__main__":
                sys.setprofile(None)
                for name, value in list(namespace.items()):
                    if isinstance(value, FunctionType) and value.__globals__ is namespace:
                        namespace[name] = _measured(value, collector)

    sys.setprofile(on_event)


_idle = deque()


def _measured(function, collector):
    def call(*args, **kwargs):
        if sys.gettrace() is not None:  # a thread that is traced already
            return function(*args, **kwargs)
        try:
            tracer = _idle.pop()
            tracer.start()
        except IndexError:
            collector._start_tracer()
            tracer = collector.tracers[-1]
        try:
            return function(*args, **kwargs)
        finally:
            sys.settrace(None)
            _idle.append(tracer)

    return call


if "COVERAGE_PROCESS_START" in os.environ and Path("/proc/self/exe").readlink().name == "nbdkit":
    _start()
