import json
import logging

import falcon
import pytest
from falcon import testing

from appliance.common import errors
from appliance.rest import app


class Raises:
    def __init__(self, error):
        self.error = error

    def on_get(self, req, resp):
        resp.text = "half an answer"
        raise self.error


def answer_to(error, **kwargs):
    made = app.create()
    made.add_route("/it", Raises(error))
    return testing.TestClient(made).simulate_get("/it", **kwargs)


@pytest.mark.parametrize(
    ("error", "http", "code", "title", "words"),
    [
        (errors.Invalid(what="size", why="no"), 400, "invalid", "Invalid", "size: no"),
        (errors.NotFound(kind="volume", key="v"), 404, "not_found", "Not found", "no volume 'v'"),
        (errors.NoCapacity(why="12 of 10"), 409, "no_capacity", "No capacity", "12 of 10"),
        (errors.Forbidden(why="read-only"), 403, "forbidden", "Forbidden", "read-only"),
        (errors.Damaged(path="/a", why="sum"), 500, "damaged", "Damaged", "/a is damaged: sum"),
    ],
)
def test_an_error_of_ours_is_told_in_its_own_words(error, http, code, title, words):
    result = answer_to(error, headers={"X-Request-Id": "abc-1"})
    assert result.status_code == http
    assert result.headers["content-type"] == "application/json"
    assert result.json["code"] == code
    assert result.json["title"] == title
    assert words in result.json["description"]
    assert result.json["request_id"] == "abc-1"
    assert set(result.json) == {"title", "description", "code", "request_id"}


def test_without_a_token_the_answer_says_which_scheme_to_use():
    assert answer_to(errors.Unauthenticated(why="none")).headers["www-authenticate"] == "Bearer"


def test_not_now_says_when_to_try_again_and_is_no_error_in_the_log(caplog):
    result = answer_to(errors.Unavailable(why="the disk is full"))
    assert result.status_code == 503
    assert result.headers["retry-after"] == "1"
    assert [r.levelno for r in caplog.records if "disk is full" in r.message] == [logging.WARNING]


def test_damage_is_an_error_in_the_log_without_a_traceback(caplog):
    answer_to(errors.Damaged(path="/a", why="sum"))
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "code=damaged" in record.message
    assert record.exc_info is None


@pytest.mark.parametrize("error", [KeyError("k"), errors.BasaltError(detail="what?"), OSError(5)])
def test_an_unforeseen_exception_is_a_500_that_hides_it_and_a_traceback_in_the_log(caplog, error):
    result = answer_to(error, headers={"X-Request-Id": "find-me"})
    assert result.status_code == 500
    assert result.json["code"] == "internal"
    assert "find-me" in result.json["description"]
    assert str(error) not in result.text
    (record,) = [r for r in caplog.records if "request_crashed" in r.message]
    assert record.levelno == logging.ERROR
    assert record.exc_info[1] is error


def test_nothing_of_a_half_made_answer_is_sent():
    result = answer_to(errors.Invalid(what="a", why="b"))
    assert json.loads(result.text)["code"] == "invalid"
    assert "half" not in result.text


def test_falcons_own_errors_look_the_same():
    client = testing.TestClient(app.create())
    nothing = client.simulate_get("/nowhere")
    assert (nothing.status_code, nothing.json["code"]) == (404, "not_found")
    assert "openapi.json" in nothing.json["description"]

    made = app.create()
    made.add_route("/it", Raises(ValueError()))
    wrong = testing.TestClient(made).simulate_delete("/it")
    assert (wrong.status_code, wrong.json["code"]) == (405, "invalid")
    assert "GET" in wrong.headers["allow"]

    media = answer_to(falcon.HTTPUnsupportedMediaType(description="send application/json"))
    assert (media.status_code, media.json["code"]) == (415, "invalid")
    assert media.json["description"] == "send application/json"
