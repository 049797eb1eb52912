"""What is urgent does not wait for what came before it."""

import threading
import time

from appliance.rest import server


def _queued(made: server.Server, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(made._waitress.task_dispatcher.queue) < count:
        assert time.monotonic() < deadline, "the requests never came"
        time.sleep(0.01)


def test_an_urgent_request_is_handled_before_those_that_wait(application, things, connect):
    application.add_route("/agents/things", things)
    made = server.serve(application, "127.0.0.1", 0, threads=1, urgent=("/agents/",))
    asking = [threading.Thread(target=connect(made.port).get, args=("/slow",))]
    asking[0].start()
    assert things.entered.wait(10)  # the only thread is taken
    for waiting, path in enumerate(["/things", "/things", "/agents/things"], start=1):
        words = {"name": f"{path} {waiting}"}
        asking.append(threading.Thread(target=connect(made.port).post, args=(path, words)))
        asking[-1].start()
        _queued(made, waiting)
    things.leave.set()
    for each in asking:
        each.join(20)
    made.close(timeout_s=1)
    assert things.posted == ["/agents/things 3", "/things 1", "/things 2"]
