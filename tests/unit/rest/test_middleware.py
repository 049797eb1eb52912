import logging
import re

import pytest
from falcon import testing

from appliance.common import log
from appliance.rest import app, middleware


class Notes:
    def __init__(self):
        self.seen = []

    def on_get(self, req, resp):
        self.seen.append(log.request_id())
        logging.getLogger("notes").info("noted id=%s", log.request_id())


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def client(notes):
    made = app.create(quiet=("/notes", "/gone"))
    made.add_route("/notes", notes)
    made.add_route("/loud", notes)
    return testing.TestClient(made)


@pytest.mark.parametrize("given", ["a", "A-9", "f" * 64])
def test_a_good_request_id_is_kept_inside_and_in_the_answer(client, notes, given):
    result = client.simulate_get("/notes", headers={"X-Request-Id": given})
    assert result.headers["x-request-id"] == given
    assert notes.seen == [given]


@pytest.mark.parametrize("given", ["", "f" * 65, "a b", "a\tb", "ä", "a;rm", "../x", "a_b"])
def test_a_bad_request_id_is_replaced(client, notes, given):
    result = client.simulate_get("/notes", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{16}", result.headers["x-request-id"])
    assert notes.seen == [result.headers["x-request-id"]]


def test_a_newline_cannot_end_a_request_id():
    assert middleware.accepted_request_id("abc\n") != "abc\n"


def test_each_request_without_an_id_gets_another(client, notes):
    client.simulate_get("/notes")
    client.simulate_get("/notes")
    assert len(set(notes.seen)) == 2


def test_the_thread_forgets_the_id_after_the_request_even_after_a_failure(client):
    client.simulate_get("/notes", headers={"X-Request-Id": "gone-1"})
    assert log.request_id() == "-"
    client.simulate_get("/nowhere", headers={"X-Request-Id": "gone-2"})
    assert log.request_id() == "-"


def lines(caplog):
    return [r for r in caplog.records if r.message.startswith("request method=")]


def test_every_request_has_one_line(client, caplog):
    caplog.set_level(logging.INFO)
    client.simulate_get("/loud")
    (line,) = lines(caplog)
    assert line.levelno == logging.INFO
    assert re.search(r"method=GET path=/loud status=200 ms=\d+\.\d peer=\S+$", line.message)


def test_a_quiet_route_is_told_at_debug_and_its_failures_at_info(client, caplog):
    caplog.set_level(logging.DEBUG)
    client.simulate_get("/notes")
    client.simulate_post("/notes")
    assert [(r.levelno, "status=405" in r.message) for r in lines(caplog)] == [
        (logging.DEBUG, False),
        (logging.INFO, True),
    ]


def test_a_path_with_line_ends_stays_on_one_line(client, caplog):
    caplog.set_level(logging.INFO)
    client.simulate_get("/a%0Ab ERROR forged")
    (line,) = lines(caplog)
    assert "\n" not in line.message
    assert " ERROR" not in line.message
