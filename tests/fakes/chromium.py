"""Debian's Chromium, driven by Selenium, as a person would use it."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_core_python
from selenium import webdriver
from selenium.webdriver.chrome.webdriver import WebDriver

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip

_AXE = Path(axe_core_python.__file__).parent / "axe.min.js"

DESK, PHONE = (1280, 900), (390, 844)


@contextlib.contextmanager
def driver() -> Iterator[WebDriver]:
    """A browser with a fresh profile; its page may not be slower than half a minute."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        made = webdriver.Chrome(
            options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")
        )
        made.set_page_load_timeout(30)
        try:
            size(made, DESK)
            yield made
        finally:
            made.quit()


def size(of: WebDriver, wanted: tuple[int, int]) -> None:
    metrics = {"width": wanted[0], "height": wanted[1], "deviceScaleFactor": 1, "mobile": False}
    of.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def dark(of: WebDriver, wanted: bool) -> None:
    """Without a slow change of colours, which would be looked at half-way."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    of.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})


@contextlib.contextmanager
def without_javascript(of: WebDriver) -> Iterator[None]:
    """Pages loaded meanwhile run no script."""
    of.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        yield
    finally:
        of.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def violations(of: WebDriver, *rules: str) -> list[str]:
    """What axe-core (or only its ``rules``) finds serious or worse on the present page, each as
    one line."""
    # The page's policy lets no script in but its own; the debugger is outside of it.
    if not _evaluated(of, "typeof axe == 'object'"):
        _evaluated(of, _AXE.read_text(encoding="utf-8") + "; true")
    wanted = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    run = f"axe.run(document, {json.dumps(wanted)}).then(r => JSON.stringify(r.violations))"
    return [
        f"{of.current_url}: {one['id']}: {one['help']}: {node['html'][:200]}"
        for one in json.loads(_evaluated(of, run))
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def _evaluated(of: WebDriver, expression: str) -> Any:
    wanted = {"expression": expression, "awaitPromise": True, "returnByValue": True}
    answer = of.execute_cdp_cmd("Runtime.evaluate", wanted)
    assert "exceptionDetails" not in answer, answer
    return answer["result"]["value"]
