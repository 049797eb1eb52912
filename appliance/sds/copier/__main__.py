"""``python -m appliance.sds.copier``: one copy, told on stdin, told about on stdout.

Ends at once when stdin ends, for then its agent is dead.
"""

import json
import os
import sys
import threading

from appliance.common import clock, errors, log
from appliance.protocol import codec
from appliance.sds import copy_job
from appliance.sds.copier import progress, run, throttle


def main() -> int:
    """0 when the copy is done; copy_job.EXIT_DEVICE_FAILED for a broken device; else 1."""
    log.setup("sds-copier")
    job = codec.from_json(copy_job.Job, json.loads(sys.stdin.readline()))
    time = clock.SystemClock()
    pace = throttle.Throttle(job.order.bandwidth, time)
    threading.Thread(target=_listen, args=(pace,), name="copy-agent", daemon=True).start()
    told = progress.Progress(job.order.generation, time, _say)
    try:
        with log.request(job.request_id or "-"):
            run.Run(job, told, pace, time).run()
    except OSError as exc:
        told.failed(str(exc))
        return copy_job.EXIT_DEVICE_FAILED if exc.errno in copy_job.BROKEN else 1
    except errors.BasaltError as exc:
        told.failed(str(exc))
        return 1
    return 0


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os._exit(1)


def _listen(pace: throttle.Throttle) -> None:
    for line in sys.stdin:
        pace.set(int(json.loads(line)["bandwidth"]))
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
