"""``python -m appliance.sdc.io_flusher PROGRAM ARGUMENT...``: becomes PROGRAM, as an I/O flusher.

Started by systemd for what stands in the path of the kernel's own write-back (basalt-volume@ and
basalt-fuse@). The capability this takes is given up before PROGRAM begins.
"""

import ctypes
import os
import sys
from collections.abc import Sequence

# include/uapi/linux/prctl.h, capability.h
_PR_SET_IO_FLUSHER = 57
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_LOWER = 3
_CAP_SYS_RESOURCE = 24


def main(argv: Sequence[str]) -> int:
    """Never returns when all is well; 2 for wrong usage, 1 for a program that cannot be run."""
    if not argv:
        print("usage: python -m appliance.sdc.io_flusher PROGRAM ARGUMENT...", file=sys.stderr)
        return 2
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    if libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0):
        why = os.strerror(ctypes.get_errno())
        # A container may have nobody who could; then memory pressure is the only danger.
        print(f"io_flusher: not one: {why}; that takes CAP_SYS_RESOURCE", file=sys.stderr)
    # An exec keeps ambient capabilities only; of root's it keeps all, which is root's affair.
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_LOWER, _CAP_SYS_RESOURCE, 0, 0)
    try:
        os.execvp(argv[0], list(argv))
    except OSError as exc:
        print(f"io_flusher: {argv[0]}: {exc.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
