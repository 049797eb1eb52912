"""``python -m appliance.sds.scrubber``: one pass, told on stdin, told about on stdout.

Ends at once when stdin ends, for then its agent is dead.
"""

import json
import os
import sys
import threading

from appliance.common import clock, errors, log
from appliance.protocol import codec
from appliance.sds import scrubs
from appliance.sds.copier import throttle
from appliance.sds.scrubber import run, told


def main() -> int:
    """0 when the pass is over, else 1 with the reason told."""
    log.setup("sds-scrubber")
    job = codec.from_json(scrubs.Job, json.loads(sys.stdin.readline()))
    time = clock.SystemClock()
    pace = throttle.Throttle(job.order.bandwidth, time)
    threading.Thread(target=_listen, args=(pace,), name="scrub-agent", daemon=True).start()
    telling = told.Told(job, time, _say)
    try:
        run.Run(job, telling, pace, time).run()
    except errors.BasaltError as exc:
        telling.failed(str(exc))
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
