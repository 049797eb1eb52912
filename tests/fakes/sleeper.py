"""A daemon for tests: prints its arguments and waits; `--set stubborn=1`: ignores SIGTERM."""

import signal
import sys


def main() -> None:
    if "stubborn=1" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("started", *sys.argv[1:], flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
