"""Who may do what: every page and resource by every role, and what tries to get around it."""

import html
import json
import re

import pytest
import urllib3

from appliance.common import errors
from appliance.mgmt import routes
from appliance.mgmt.pages import base, guard
from appliance.mgmt.services import roles
from appliance.protocol import status
from appliance.rest import client
from tests.fakes import running_mgmt

WHO = ("nobody", *roles.ORDER)


@pytest.fixture(scope="module")
def entries(mgmt):
    site = base.Site(mgmt.context, None, None)
    return [*routes.pages(site), *routes.resources(mgmt.context)]


@pytest.fixture(scope="module")
def browsers(mgmt):
    return {role: mgmt.browser(role) for role in roles.ORDER}


def path_of(entry):
    return re.sub(r"{\w+}", "0123456789abcdef", entry.path)


def test_nobody_gets_anything_but_the_login_and_whether_it_lives(mgmt, entries):
    public = {(entry.method, entry.path) for entry in entries if not entry.role}
    assert public == {("GET", "/login"), ("POST", "/login"), ("GET", "/health/live")}
    for entry in entries:
        if not entry.role:
            continue
        answer = urllib3.request(
            entry.method, mgmt.url + path_of(entry), retries=False, redirect=False, timeout=10
        )
        told = (entry.method, entry.path, answer.status)
        if answer.status == 303:
            assert answer.headers["Location"].startswith("/login?next="), told
            assert entry.method == "GET", told
        else:
            assert answer.status == 401, told


def test_a_path_that_is_not_there_tells_nobody_so(mgmt):
    for path in ("/nothing", "/api/v1/nothing", "/volumes/../../etc/passwd"):
        answer = urllib3.request("GET", mgmt.url + path, retries=False, redirect=False)
        assert answer.status in (303, 401), path


def test_every_role_may_do_what_its_table_says_and_nothing_more(mgmt, entries, browsers):
    """What a role may is answered with anything but 403: most subjects do not exist here."""
    tokens = {role: mgmt.token(role) for role in roles.ORDER}
    for entry in entries:
        if not entry.role or entry.path == "/logout":
            continue
        for role in roles.ORDER:
            allowed = roles.at_least(role, entry.role)
            if entry.route is not None:
                answer = urllib3.request(
                    entry.method, mgmt.url + path_of(entry), retries=False, timeout=30,
                    headers={"Authorization": f"Bearer {tokens[role]}"},
                    body=b"" if entry.method == "GET" else b'{"nothing": 1}',
                )  # fmt: skip
            elif entry.method == "GET":
                answer = browsers[role].get(path_of(entry))
            else:
                answer = browsers[role].post(path_of(entry), {})
            told = (role, entry.method, entry.path, answer.status, answer.data[:200])
            assert (answer.status == 403) == (not allowed), told
            assert answer.status < 500, told


def test_a_program_s_rights_are_enforced_by_the_mdm_too(mgmt, mdm):
    """The MDM takes the role it is told, whatever MGMT's own table says."""
    for role, may_make, may_make_pool in (
        ("monitor", False, False), ("configure", True, False), ("administrator", True, True),
    ):  # fmt: skip
        asking = client.Client(
            [mdm.url], mdm.admin_token,
            headers={"X-Basalt-User": "somebody", "X-Basalt-Role": role},
        )  # fmt: skip
        for path, body, allowed in (
            ("/api/v1/volumes", {"name": f"by-{role}", "size_bytes": 2**20}, may_make),
            ("/api/v1/pools", {"name": f"by-{role}"}, may_make_pool),
        ):
            status = _status(asking, path, body)
            assert status == (201 if allowed else 403), (role, path)
        asking.close()


def _status(asking, path, body):
    try:
        asking.post(path, body)
    except errors.BasaltError as exc:
        return status.meaning(exc).http
    return 201


def test_a_change_without_the_session_s_csrf_token_is_refused(mgmt, browsers):
    browser = browsers["administrator"]
    other = browsers["configure"].csrf()
    for csrf in ("", "wrong", other):
        answer = browser.post("/users", {"name": "x"}, csrf=csrf)
        assert answer.status == 403
    answer = browser.post("/users", {"name": "x"}, Origin="http://evil.example")
    assert answer.status == 403
    answer = browser.post("/users", {"name": "x"}, Sec_Fetch_Site="cross-site")
    assert answer.status == 403
    answer = browser._request(
        "POST", "/api/v1/channels", b"{}", {"Content-Type": "application/json"}
    )
    assert answer.status == 403


def test_a_login_from_another_site_is_refused(mgmt):
    browser = running_mgmt.Browser(mgmt.url)
    answer = browser.login("admin", mgmt.password)
    assert answer.status == 303
    answer = browser.post(
        "/login", {"name": "admin", "password": mgmt.password}, csrf="", Sec_Fetch_Site="cross-site"
    )
    assert answer.status == 403


def test_a_session_that_somebody_prepared_is_not_taken_over(mgmt):
    browser = mgmt.browser("monitor")
    planted = browser.cookies[guard.COOKIE]
    browser.post("/logout", {})
    browser.cookies[guard.COOKIE] = planted
    assert browser.login("monitor", "correct horse battery").status == 303
    assert browser.cookies[guard.COOKIE] != planted
    thief = type(browser)(mgmt.url)
    thief.cookies[guard.COOKIE] = planted
    assert thief.get("/health").status == 303


def test_the_cookie_is_for_this_site_and_not_for_scripts(mgmt):
    answer = running_mgmt.Browser(mgmt.url).login("admin", mgmt.password)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/" in cookie


def test_every_answer_says_what_a_browser_may_do_with_it(mgmt, browsers, entries):
    paths = [e.path for e in entries if e.method == "GET" and "{" not in e.path]
    for path in [*paths, "/nothing"]:
        headers = browsers["administrator"].get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"


def test_no_page_has_script_or_style_in_itself(mgmt, browsers, entries):
    for entry in entries:
        if entry.route is None and entry.method == "GET" and "{" not in entry.path:
            text = browsers["administrator"].get(entry.path).data.decode()
            assert not re.search(r"<script(?![^>]*\bsrc=)", text), entry.path
            assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", text), entry.path


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def test_markup_in_any_text_field_stays_text(mgmt, browsers, mdm):
    """Every field that keeps what people type: it is refused, or shown escaped."""
    boss = browsers["administrator"]
    tries = [
        ("/volumes", {"name": EVIL, "size": "1GiB"}),
        ("/volumes", {"name": "fine", "size": EVIL}),
        ("/users", {"name": EVIL, "role": "monitor", "password": "a long password 1"}),
        ("/channels", {"name": EVIL[:60], "kind": "webhook", "min_severity": "info",
                       "url": "http://192.0.2.1/" + EVIL}),
        ("/account/tokens", {"name": EVIL[:60], "role": "monitor"}),
        ("/login", {"name": EVIL[:60], "password": EVIL, "next": EVIL}),
    ]  # fmt: skip
    for path, fields in tries:
        answer = boss.post(path, fields)
        assert b"<script>alert" not in answer.data, path
        assert b"<img src=x" not in answer.data, path
    sds = mdm.sds["sds1"].identity.id
    for path, fields in (
        (f"/servers/{sds}/rename", {"name": EVIL}),
        (f"/servers/{sds}/devices", {"path": "/srv/" + EVIL.replace("/", ""), "pool": "p"}),
    ):
        boss.post(path, fields)
    script = "%3Cscript%3Ealert(1)%3C/script%3E"
    query = f"?q={script}&subject={script}&kind={script}"
    nouns = "volumes servers alerts events users channels account audit topology health jobs system"
    for path in (*(f"/{noun}" for noun in nouns.split()), f"/servers/{sds}"):
        text = boss.get(path + query).data.decode()
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path
    assert html.escape("<script>") in boss.page("/channels")


def test_secrets_are_not_in_the_log(mgmt, caplog):
    browser = running_mgmt.Browser(mgmt.url)
    with caplog.at_level("DEBUG"):
        browser.login("admin", mgmt.password)
        token = mgmt.token("monitor")
        mgmt.api("GET", "/api/v1/me", token=token)
    for secret in (
        mgmt.password,
        token,
        browser.cookies[guard.COOKIE],
        mgmt._mdm["mdm_token_file"].read_text().strip(),
    ):
        assert secret not in caplog.text


def test_only_paths_of_this_site_are_gone_to_after_the_login(mgmt):
    for evil in ("//evil.example", "http://evil.example", "/\\evil.example", "javascript:x"):
        browser = running_mgmt.Browser(mgmt.url)
        answer = browser.login("admin", mgmt.password, next=evil)
        assert answer.headers["Location"] == "/health", evil
    answer = browser.login("admin", mgmt.password, next="/volumes?q=x")
    assert answer.headers["Location"] == "/volumes?q=x"


def test_the_openapi_document_names_every_resource(mgmt, entries):
    status, document = mgmt.api("GET", "/api/v1/openapi.json")
    assert status == 200
    described = {(method.upper(), path) for path, of in document["paths"].items() for method in of}
    assert described == {(e.method, e.path) for e in entries if e.route is not None}
    assert json.dumps(document).count("operationId") == len(described)


def test_guessing_a_password_is_slowed_down(mgmt):
    mgmt.add_user("victim", "monitor")
    browser = running_mgmt.Browser(mgmt.url)
    statuses = [browser.login("victim", f"guess {n}").status for n in range(8)]
    assert statuses[:5] == [401] * 5
    assert 429 in statuses
    assert browser.login("victim", "correct horse battery").status == 429
