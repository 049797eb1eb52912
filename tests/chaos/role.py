"""Runs a role whose wall clock differs from the machine's by what a file says, at any time.

    python -m tests.chaos.role FILE MODULE ARGUMENT…

The machine's clock is everybody's and stays as it is; other clocks of the role are the kernel's.
(libfaketime 0.9.10 breaks sleeping by CLOCK_MONOTONIC while it leaves that clock alone.)
"""

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

#: Seconds, in FILE.
STEP = struct.Struct("<q")


def main() -> None:
    # Mapped, so that it can be read when the role has no descriptor left.
    with Path(sys.argv[1]).open("rb") as file:
        step = mmap.mmap(file.fileno(), STEP.size, prot=mmap.PROT_READ)
    true_time = time.time

    def _time() -> float:
        return true_time() + float(STEP.unpack_from(step)[0])

    time.time = _time
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
