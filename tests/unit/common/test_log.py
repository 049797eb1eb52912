import logging
import re
import threading

import pytest

from appliance.common import log


@pytest.fixture
def root(monkeypatch):
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_there_is_no_request_until_one_is_in_hand():
    assert log.request_id() == "-"
    with log.request("r1") as given:
        assert given == "r1"
        with log.request("r2"):
            assert log.request_id() == "r2"
        assert log.request_id() == "r1"
    assert log.request_id() == "-"


def test_the_request_ends_with_an_exception_too():
    with pytest.raises(KeyError), log.request("r1"):
        raise KeyError
    assert log.request_id() == "-"


def test_another_thread_has_its_own_request():
    seen = []
    with log.request("mine"):
        thread = threading.Thread(target=lambda: seen.append(log.request_id()))
        thread.start()
        thread.join()
    assert seen == ["-"]


def test_new_ids_differ_and_are_acceptable_as_headers():
    ids = {log.new_request_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[0-9a-f]{16}", ident) for ident in ids)


def test_a_line_says_level_role_logger_event_and_request(root, capsys, monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    log.setup("sds", "info")
    with log.request("r-5"):
        logging.getLogger("appliance.sds.x").info("device_added path=%s", "/d")
    logging.getLogger("x").debug("not shown")
    err = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
        r"INFO sds appliance\.sds\.x device_added path=/d request_id=r-5\n",
        err,
    )


def test_under_the_journal_the_line_has_no_time_of_its_own(root, capsys, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    log.setup("mdm")
    logging.getLogger("x").warning("hm")
    assert capsys.readouterr().err == "WARNING mdm x hm request_id=-\n"


def test_setting_it_up_again_does_not_double_the_lines(root, capsys):
    log.setup("mdm")
    log.setup("mdm", "DEBUG")
    logging.getLogger("x").debug("once")
    assert capsys.readouterr().err.count("once") == 1


def test_an_unknown_level_is_refused(root):
    with pytest.raises(ValueError, match="LOUD"):
        log.setup("mdm", "loud")
