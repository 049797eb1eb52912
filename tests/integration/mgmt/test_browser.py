"""What a person sees and does, in a real browser over a real cluster."""

import os
import re
import time
from pathlib import Path

import nbd
import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.fakes import chromium
from tests.integration import local_cluster

#: Where screenshots go, if anywhere: of every page, and those of monitoring/screenshots.
SHOTS = os.environ.get("BASALT_SHOTS")

POSTER = (1120, 760)

PAGES = [
    "health", "volumes", "volumes/new", "servers", "topology", "jobs", "events", "alerts", "rules",
    "channels", "users", "account", "audit", "system",
]  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, running_clusters):
    made = local_cluster.LocalCluster(
        tmp_path_factory.mktemp("pages") / "cluster", sds=3, mgmt=True
    )
    running_clusters.append(made)
    made.up()
    yield made
    made.stop()
    running_clusters.remove(made)
    made.remove()


@pytest.fixture(scope="module")
def driver():
    with chromium.driver() as made:
        yield made


def login(driver, cluster):
    driver.get(f"{cluster.mgmt_url}/")
    if driver.find_elements(By.CSS_SELECTOR, ".verdict"):
        return  # by an earlier test
    driver.find_element(By.NAME, "name").send_keys("admin")
    driver.find_element(By.NAME, "password").send_keys(cluster.mgmt_password, Keys.ENTER)
    until(driver, ".verdict", "")


def until(driver, css, words, limit_s=30.0):
    """The first element of ``css`` that has ``words``."""
    began = time.monotonic()
    while True:
        for element in driver.find_elements(By.CSS_SELECTOR, css):
            try:
                if words in element.text:
                    return element
            except StaleElementReferenceException:
                continue
        if time.monotonic() > began + limit_s:
            seen = driver.execute_script("return document.querySelector('main').innerText")
            raise AssertionError(f"no {words!r} in {css}: {seen}")
        time.sleep(0.05)


def shot(driver, name):
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(f"{SHOTS}/{name}.png")


def poster(driver, name, size):
    """A small one, as the README shows it."""
    if SHOTS:
        chromium.size(driver, size)
        shot(driver, name)
        chromium.size(driver, chromium.DESK)


def test_a_person_sees_a_server_die_and_come_back(driver, cluster):
    login(driver, cluster)
    until(driver, ".verdict .word", "healthy".title())
    driver.find_element(By.LINK_TEXT, "Volumes").click()
    driver.find_element(By.LINK_TEXT, "New volume").click()
    driver.find_element(By.NAME, "name").send_keys("music")
    driver.find_element(By.NAME, "size").send_keys("64MiB", Keys.ENTER)
    until(driver, ".note.done", "Volume music was made")
    Select(driver.find_element(By.NAME, "sdc")).select_by_visible_text("sdc1")
    Select(driver.find_element(By.NAME, "backend")).select_by_value("none")
    driver.find_element(By.CSS_SELECTOR, "form[action$='/map'] button").click()
    until(driver, "td[data-label=State]", "attached")
    _write(cluster, "music", 64)
    driver.get(f"{cluster.mgmt_url}/health")
    until(driver, ".verdict .word", "Healthy")
    cluster.kill_sds(2)
    began = time.monotonic()
    until(driver, ".verdict.degraded .sentence", "2 of 3 SDSs answer")
    print(f"amber {time.monotonic() - began:.1f} s after the server was killed (aim: 5)")
    until(driver, ".alert", "Storage server sds2 is down")
    poster(driver, "dashboard", POSTER)
    poster(driver, "phone", chromium.PHONE)
    until(driver, ".alert.error button", "Acknowledge").click()
    until(driver, ".note.done", "Acknowledged")
    until(driver, ".alert.error", "acknowledged")
    _write(cluster, "music", 64)
    limit = ("--rebuild-policy", "bandwidth", "--rebuild-bandwidth", "6MiB")
    cluster.cli("pool", "set", "default", *limit)
    cluster.start_sds(2)
    _see_the_bar_move(driver)
    cluster.cli("pool", "set", "default", "--rebuild-policy", "unlimited")
    until(driver, ".verdict .word", "Healthy", 90)
    driver.get(f"{cluster.mgmt_url}/alerts?status=resolved")
    until(driver, "tbody", "Storage server sds2 is down")
    bad = [
        e for e in driver.get_log("browser") if e["level"] == "SEVERE" and "503" not in e["message"]
    ]
    assert bad == []
    cluster.cli("volume", "unmap", "music", "--sdc", "sdc1")
    cluster.cli("volume", "delete", "music")


def _write(cluster, name, mib):
    (mapping,) = cluster.cli("volume", "show", name)["mappings"]
    handle = nbd.NBD()
    handle.connect_uri(mapping["uri"])
    block = os.urandom(4 * 1024**2)
    for offset in range(0, mib * 1024**2, len(block)):
        handle.pwrite(block, offset)
    handle.flush()
    handle.shutdown()


def _see_the_bar_move(driver):
    """A job's bar at two places."""
    values = set()
    deadline = time.monotonic() + 60
    while len(values) < 2:
        for bar in driver.find_elements(By.CSS_SELECTOR, "table progress"):
            try:
                values.add(bar.get_attribute("value"))
            except StaleElementReferenceException:
                continue
        assert time.monotonic() < deadline, f"the bar of the rebuild was seen at {values} only"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def pages(cluster):
    """Every page there is: the menu's, the forms', and one of each kind of thing."""
    volume = cluster.cli("volume", "create", "film", "--size", "64MiB")["id"]
    cluster.cli("volume", "map", "film", "--sdc", "sdc1", "--backend", "none")
    _write(cluster, "film", 64)
    (mapping,) = cluster.cli("volume", "show", "film")["mappings"]
    server, device = cluster.cli("sds", "list")[0]["id"], cluster.cli("device", "list")[0]["id"]
    client = cluster.cli("sdc", "list")[0]["id"]
    yield [
        *PAGES, f"volumes/{volume}", f"volumes/{volume}/delete",
        f"volumes/{volume}/mappings/{mapping['id']}/delete", f"servers/{server}",
        f"devices/{device}", f"clients/{client}",
    ]  # fmt: skip
    cluster.cli("volume", "unmap", "film", "--sdc", "sdc1")
    cluster.cli("volume", "delete", "film")


@pytest.mark.timeout(300)
def test_no_page_has_a_serious_fault_of_accessibility(driver, cluster, pages):
    """Each page is loaded once: what is looked at again, dark and narrow, is what differs there."""
    login(driver, cluster)
    driver.get(f"{cluster.mgmt_url}/alerts?status=all")
    (alert, *_) = driver.find_elements(By.CSS_SELECTOR, "tbody th a")
    found = []
    chromium.dark(driver, False)
    for page in [*pages, alert.get_attribute("href").partition(f"{cluster.mgmt_url}/")[2]]:
        driver.get(f"{cluster.mgmt_url}/{page}")
        found += chromium.violations(driver)
        shot(driver, _named(page, "light"))
        chromium.dark(driver, True)
        found += chromium.violations(driver, "color-contrast")
        shot(driver, _named(page, "dark"))
        if page == pages[len(PAGES)]:
            poster(driver, "volume", POSTER)
        chromium.dark(driver, False)
        chromium.size(driver, chromium.PHONE)
        wide = driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= chromium.PHONE[0], page
        found += chromium.violations(driver)
        shot(driver, _named(page, "phone"))
        chromium.size(driver, chromium.DESK)
    assert found == []


def _named(page, look):
    kind = re.sub(r"/[0-9a-f]{16}", "-one", page).replace("/", "-")
    return f"{kind}-{look}"


def test_the_keyboard_alone_is_enough(driver, cluster):
    login(driver, cluster)
    driver.get(f"{cluster.mgmt_url}/health")
    body = driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    focused = driver.switch_to.active_element
    assert focused.text == "Skip to the content"
    focused.send_keys(Keys.ENTER)
    assert driver.switch_to.active_element.get_attribute("id") == "main"
    driver.get(f"{cluster.mgmt_url}/volumes/new")
    driver.find_element(By.NAME, "name").send_keys("typed", Keys.TAB, "32MiB", Keys.ENTER)
    until(driver, "h1", "typed")


def test_a_destructive_act_asks_for_the_name(driver, cluster):
    driver.find_element(By.PARTIAL_LINK_TEXT, "Delete").click()
    driver.find_element(By.NAME, "confirm").send_keys("something else", Keys.ENTER)
    until(driver, ".note.failed", "type the name 'typed' to go on")
    driver.find_element(By.NAME, "confirm").send_keys("typed", Keys.ENTER)
    until(driver, ".note.done", "Volume typed is being deleted")


def test_a_server_goes_into_maintenance_and_is_emptied_and_each_is_taken_back(driver, cluster):
    login(driver, cluster)
    cluster.cli("volume", "create", "moved", "--size", "64MiB")
    (server,) = [one["id"] for one in cluster.cli("sds", "list") if one["name"] == "sds3"]
    driver.get(f"{cluster.mgmt_url}/servers/{server}")
    for what, state in (("maintenance", "maintenance"), ("evacuation", "evacuating")):
        _order(driver, what, "sds2")
        until(driver, ".note.failed", "type the name 'sds3' to go on")
        _order(driver, what, "sds3")
        until(driver, ".note.done", "")
        until(driver, "dl.counts", state)
        other = "evacuation" if what == "maintenance" else "maintenance"
        assert "Not while" in driver.find_element(By.CSS_SELECTOR, f"form[action$='/{other}']").text
        shot(driver, f"server-{state}")
        if what == "evacuation":
            driver.get(f"{cluster.mgmt_url}/jobs")
            until(driver, "tbody tr:first-child", "done")
            held = cluster.cli("volume", "show", "moved")["replicas"]
            assert {one["sds"] for one in held} == {"sds1", "sds2"}
            driver.get(f"{cluster.mgmt_url}/servers/{server}")
        driver.find_element(By.CSS_SELECTOR, f"form[action$='/{what}'] button").click()
        until(driver, ".note.done", "It is used again")
        until(driver, "dl.counts", "normal")
        cluster.wait_healthy("moved")
    cluster.cli("volume", "delete", "moved")


def _order(driver, what, name):
    form = driver.find_element(By.CSS_SELECTOR, f"form[action$='/{what}']")
    form.find_element(By.NAME, "confirm").send_keys(name)
    form.find_element(By.TAG_NAME, "button").click()


def test_it_can_be_read_without_javascript(driver, cluster):
    driver.delete_all_cookies()
    with chromium.without_javascript(driver):
        login(driver, cluster)
        for page in PAGES:
            driver.get(f"{cluster.mgmt_url}/{page}")
            assert driver.find_element(By.TAG_NAME, "h1").get_attribute("textContent")
        driver.get(f"{cluster.mgmt_url}/health")
        assert "SDSs answer" in driver.find_element(By.CSS_SELECTOR, ".sentence").text
        driver.get(f"{cluster.mgmt_url}/events")
        assert driver.find_elements(By.CSS_SELECTOR, "time")
        assert driver.find_elements(By.CSS_SELECTOR, "time[data-done]") == []  # no script ran
