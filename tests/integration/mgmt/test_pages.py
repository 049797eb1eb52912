"""What pages show and change over a real MDM: filters, exports, pagers, and refusals in words."""

import csv
import io
import json
import sqlite3
import subprocess

MIB = 1024**2


def test_events_come_newest_first_page_by_page_and_as_files(mgmt, mdm):
    browser = mgmt.browser("monitor")
    for number in range(60):
        mdm.api.post("/api/v1/fault-sets", {"name": f"shelf{number}", "domain": "default"})
    text = browser.page("/events?kind=fault_set_created")
    assert text.index("shelf59") < text.index("shelf58")
    assert "shelf5<" not in text.replace(" shelf5<", " <")
    older = text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert "shelf0" in browser.page(older)
    rows = list(csv.DictReader(io.StringIO(browser.page("/events.csv?kind=fault_set_created"))))
    assert rows[0]["subject"] == "shelf59"
    assert len(rows) >= 60
    found = json.loads(browser.page("/events.json?subject=shelf7"))
    assert [event["subject"] for event in found] == ["shelf7"]


def test_a_text_that_a_spreadsheet_would_take_for_a_formula_is_made_harmless():
    from appliance.mgmt.pages import activity

    assert activity._cell("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert activity._cell("@x") == "'@x"
    assert activity._cell(17) == 17


def test_what_the_mdm_refuses_is_told_in_its_words_and_what_was_typed_stays(mgmt):
    browser = mgmt.browser("configure")
    answer = browser.post("/volumes", {"name": "bad name", "size": "1GiB"})
    assert answer.status == 400
    text = answer.data.decode()
    assert "is no name" in text
    assert 'value="bad name"' in text
    answer = browser.post("/volumes", {"name": "fine", "size": "a lot"})
    assert "is not a size" in answer.data.decode()


def test_a_volume_is_made_grown_found_and_deleted_by_its_name(mgmt, mdm):
    browser = mgmt.browser("configure")
    answer = browser.post("/volumes", {"name": "films", "size": "64MiB"})
    url = answer.headers["Location"]
    assert "Volume films was made (64 MiB)." in browser.page(url)
    assert "was made" not in browser.page(url)  # said once
    browser.post(f"{url}/grow", {"size": "128MiB"})
    assert mdm.api.get("/api/v1/volumes/films")["size_bytes"] == 128 * MIB
    mgmt.until(lambda: "films" in browser.page("/volumes?q=film"), "it to be listed")
    assert "films" not in browser.page("/volumes?q=music")
    answer = browser.post(f"{url}/delete", {"confirm": "wrong"})
    assert answer.headers["Location"] == f"{url}/delete"
    assert "type the name" in browser.page(f"{url}/delete")
    browser.post(f"{url}/delete", {"confirm": "films"})
    (left,) = mdm.api.get("/api/v1/volumes")["items"]
    assert left["state"] == "deleting"
    (event,) = mdm.api.get("/api/v1/events", subject="films", kind="volume_created")["items"]
    assert event["who"].startswith("configure (")


def test_what_is_not_there_is_a_page_that_says_so(mgmt):
    answer = mgmt.browser("monitor").get("/volumes/0123456789abcdef")
    assert answer.status == 404
    assert "there is no volume" in answer.data.decode().lower()


def test_every_change_made_here_is_in_the_audit_with_who_and_where(mgmt):
    boss = mgmt.browser("administrator")
    boss.post("/users", {"name": "newcomer", "role": "monitor", "password": "a long password 1"})
    text = boss.page("/audit")
    assert "user_created" in text
    assert "127.0.0.1" in text
    assert "a long password" not in text


def test_while_another_program_locks_mgmt_s_database_every_page_says_so_and_then_no_more(mgmt):
    browser = mgmt.browser("administrator")
    other = sqlite3.connect(mgmt.folder / "mgmt.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    fields = {"name": "late", "role": "monitor", "password": "a long password 1"}
    browser.post("/users", fields)
    words = "is locked by another program, so nothing can be kept now; end what holds it"
    assert words in browser.page("/users")  # why the change was refused
    for path in ("/health", "/volumes", "/system"):
        assert words in browser.page(path)
    mgmt.until(lambda: _database(mgmt)["state"] == "unhealthy", "the part to say so")
    other.execute("ROLLBACK")
    other.close()
    mgmt.until(lambda: words not in browser.page("/health"), "the page to be without it")
    mgmt.until(lambda: _database(mgmt)["state"] == "healthy", "the part to be well")
    browser.post("/users", fields)
    assert "User late was made." in browser.page("/users")


def _database(mgmt):
    (found,) = [one for one in mgmt.context.checks.report() if one["part"] == "database"]
    return found


def test_mgmt_s_own_metrics_keep_prometheus_s_conventions(mgmt):
    text = mgmt.browser("monitor").page("/metrics")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text.encode(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr + done.stdout) == (0, b"")
    assert "basalt_mgmt_snapshot_age_seconds" in text
