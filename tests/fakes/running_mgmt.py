"""A whole MGMT in this process, over an MDM's address: real database, real waitress, real loops.

``Browser`` is what a person has: cookies, forms with the page's CSRF token, and no JavaScript.
"""

import json
import re
import time
from collections.abc import Callable
from http import cookies
from pathlib import Path
from typing import Any, TypeVar
from urllib import parse

import urllib3

from appliance.common import clock as clocks
from appliance.mgmt import app, config
from appliance.mgmt.services import identity, users

T = TypeVar("T")

PASSWORD = "correct horse battery"


class RunningMgmt:
    """``token_file`` is the MDM's. ``boss`` is whom unit tests act as."""

    def __init__(
        self,
        folder: Path,
        mdm_url: str,
        token_file: Path,
        clock: clocks.Clock | None = None,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self._clock = clock
        cheap = {"password_rounds": 1, "password_memory_kib": 32}
        self._settings = {
            "poll_s": 0.1,
            "check_s": 0.1,
            "mdm_timeout_s": 10.0,
            "threads": 8,
            **cheap,
            **settings,
        }
        self.mdm_token_file = token_file
        self._mdm = {"mdm": (mdm_url,), "mdm_token_file": token_file}
        self.start()

    def start(self) -> None:
        self.mgmt = app.Mgmt(
            config.Config(
                data_dir=self.folder, host="127.0.0.1", port=0, **self._mdm, **self._settings
            ),
            self._clock,
        )
        self.url = f"http://127.0.0.1:{self.mgmt.port}"
        self.context = self.mgmt.context

    def stop(self) -> None:
        self.mgmt.close()

    @property
    def password(self) -> str:
        return (self.folder / users.PASSWORD_FILE).read_text(encoding="ascii").strip()

    @property
    def boss(self) -> identity.Identity:
        (admin,) = [u for u in users.everyone(self.context.db) if u["name"] == users.FIRST]
        return identity.Identity(admin["id"], admin["name"], admin["role"], "127.0.0.1")

    def add_user(self, name: str, role: str) -> None:
        users.create(self.context.db, self.context.hasher, self.boss, name, role, PASSWORD)

    def browser(self, name: str = users.FIRST, password: str = "") -> "Browser":
        """Logged in."""
        made = Browser(self.url)
        answer = made.login(name, password or (self.password if name == users.FIRST else PASSWORD))
        assert answer.status == 303, answer.data
        return made

    def token(self, role: str) -> str:
        boss = self.boss
        name = f"t{time.monotonic_ns()}"
        return str(self.context.sessions.create_token(boss, name, role, None)["token"])

    def api(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """(status, JSON) of one request with an API token."""
        headers = {"Authorization": f"Bearer {token or self.token('administrator')}"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        answer = urllib3.request(
            method, self.url + path, body=data, headers=headers, retries=False, timeout=30
        )
        return answer.status, json.loads(answer.data) if answer.data else None

    def until(self, ask: Callable[[], T], what: str, limit_s: float = 60.0) -> T:
        """Ask until the answer is true; fails the test after ``limit_s``."""
        deadline = time.monotonic() + limit_s
        while not (answer := ask()):
            assert time.monotonic() < deadline, f"waited {limit_s} s in vain for {what}"
            time.sleep(0.02)
        return answer


class Browser:
    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies: dict[str, str] = {}

    def login(self, name: str, password: str, **more: str) -> urllib3.BaseHTTPResponse:
        return self.post("/login", {"name": name, "password": password, **more}, csrf="")

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        return self._request("GET", path, None, headers)

    def page(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status == 200, (path, answer.status, answer.data)
        return answer.data.decode()

    def post(
        self, path: str, fields: dict[str, str], csrf: str | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """As the page's own form would; ``csrf`` "" leaves the token out."""
        wanted = self.csrf() if csrf is None else csrf
        values = {**fields, **({"csrf": wanted} if wanted else {})}
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        return self._request("POST", path, parse.urlencode(values).encode(), headers)

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.page("/account"))
        assert found is not None
        return found[1]

    def _request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        answer = urllib3.request(
            method, self.url + path, body=body, headers=headers, retries=False, redirect=False,
            timeout=30,
        )  # fmt: skip
        for line in answer.headers.getlist("Set-Cookie"):
            for name, morsel in cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return answer
