"""Default alerts, each made true by what it is for, in a real cluster: raised once, cleared once.

The rules' times are zero here; what times do is shown by the engine's own tests. A wrong clock is
that of one process (``tests.chaos.role``): the machine's is everybody's.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbd
import pytest

from appliance.common import errors
from appliance.mgmt.alerts import catalog
from appliance.rest import client
from tests.chaos import role
from tests.fakes import running_mgmt, small_disk
from tests.integration import local_cluster
from tests.integration.mgmt import test_default_alerts

MIB = 1024**2
SIZE = 64 * MIB


class Site:
    """A cluster of two servers with a volume mapped, and MGMT as a program sees it."""

    def __init__(self, cluster, api):
        self.cluster = cluster
        self.api = api
        for rule in api.get("/api/v1/rules")["items"]:
            self.rule(rule["id"], hold_s=0, clear_hold_s=0)
        cluster.cli("volume", "create", "music", "--size", "64MiB")
        cluster.cli("volume", "map", "music", "--sdc", "sdc1", "--backend", "none")
        self.handle = nbd.NBD()
        self.handle.connect_uri(cluster.cli("volume", "show", "music")["mappings"][0]["uri"])
        self.write()
        self.stopped = []
        self.odd = None

    def rule(self, ident, **change):
        self.api.patch(f"/api/v1/rules/{ident}", change)

    def alerts(self, rule):
        items = self.api.get("/api/v1/alerts", status="all", limit=500)["items"]
        return [one for one in items if one["rule_id"] == rule]

    def until(self, rule, reached):
        return local_cluster.wait(lambda: self.alerts(rule), reached, f"{rule} to change")

    def write(self):
        block = os.urandom(MIB)
        for offset in range(0, SIZE, MIB):
            self.handle.pwrite(block, offset)
        self.handle.flush()

    def device(self, number):
        return self.cluster.device_dirs[number - 1]


@pytest.fixture(scope="module")
def site(tmp_path_factory, running_clusters):
    cluster = local_cluster.LocalCluster(
        tmp_path_factory.mktemp("faults") / "cluster", sds=2, mgmt=True,
        options=["--device-size", "256MiB"],
    )  # fmt: skip
    running_clusters.append(cluster)
    cluster.up()
    api = client.Client([cluster.mgmt_url], token_of(cluster), timeout_s=60)
    made = Site(cluster, api)
    yield made
    made.handle.shutdown()
    api.close()
    cluster.stop()
    running_clusters.remove(cluster)
    cluster.remove()


def token_of(cluster):
    """An API token of MGMT's first administrator."""
    browser = running_mgmt.Browser(cluster.mgmt_url)
    assert browser.login("admin", cluster.mgmt_password).status == 303
    made = browser.post("/account/tokens", {"name": "faults", "role": "administrator"})
    return re.search(r'class="token">([^<]+)<', made.data.decode())[1]


def server_dies(site):
    site.cluster.kill_sds(2)
    site.write()


def server_is_rebuilt(site):
    """32 MiB at 1 MiB/s. Meanwhile nobody can make the alert go away by saying that it is over."""
    (down, *_) = site.alerts("sds_down")
    with pytest.raises(errors.Conflict, match="still so"):
        site.api.post(f"/api/v1/alerts/{down['id']}/resolve", {})
    site.rule("rebuild_slow", threshold=5.0, clear_threshold=5.0)
    limit = ("--rebuild-policy", "bandwidth", "--rebuild-bandwidth", "1MiB")
    site.cluster.cli("pool", "set", "default", *limit)
    site.cluster.start_sds(2)


def rebuild_hangs(site):
    site.rule("rebuild_stuck", threshold=1.0, clear_threshold=1.0)
    site.stopped = copiers(site)
    assert site.stopped
    for pid in site.stopped:
        os.kill(pid, signal.SIGSTOP)


def rebuild_goes_on(site):
    for pid in site.stopped:
        os.kill(pid, signal.SIGCONT)
    site.cluster.cli("pool", "set", "default", "--rebuild-policy", "unlimited")
    site.cluster.wait_healthy("music")


def both_servers_die(site):
    """With a read in flight, which waits for them."""
    site.cluster.kill_sds(1)
    site.cluster.kill_sds(2)
    site.reader = threading.Thread(target=site.handle.pread, args=(4096, 0))
    site.reader.start()


def both_servers_return(site):
    site.cluster.up()
    site.cluster.wait_healthy("music")
    site.reader.join(60)
    assert not site.reader.is_alive()


def copiers(site):
    """Processes that copy for this cluster's servers."""
    servers = {site.cluster.state.processes[name].pid for name in ("sds1", "sds2")}
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
        if b"appliance.sds.copier" in words and parent in servers:
            found.append(int(entry.name))
    return found


def pool_fills(site):
    for number in (1, 2):
        space = os.statvfs(site.device(number))
        whole, free = (n * space.f_frsize for n in (space.f_blocks, space.f_bavail))
        with (site.device(number) / "foreign").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - whole * 6 // 100)


def pool_empties(site):
    for number in (1, 2):
        (site.device(number) / "foreign").unlink()


def device_hangs(site):
    subprocess.run(["fsfreeze", "--freeze", site.device(2)], check=True)


def device_answers(site):
    subprocess.run(["fsfreeze", "--unfreeze", site.device(2)], check=True)


def device_vanishes(site):
    """As its agent sees it: the folder is another one."""
    mounted = small_disk.tmpfs(site.device(2), MIB)
    mounted.__enter__()
    site.mounted = mounted


def device_returns(site):
    site.mounted.__exit__(None, None, None)


def a_byte_rots(site):
    """On one copy, of a region whose sums were never taken."""
    site.cluster.cli("volume", "create", "old", "--size", "16MiB", "--columns", "1")
    site.cluster.cli("volume", "map", "old", "--sdc", "sdc1", "--backend", "none")
    volume = site.cluster.cli("volume", "show", "old")
    handle = nbd.NBD()
    handle.connect_uri(volume["mappings"][0]["uri"])
    handle.pwrite(os.urandom(MIB), 0)
    handle.flush()
    handle.shutdown()
    site.cluster.cli("volume", "unmap", "old", "--sdc", "sdc1")
    folders = [site.device(number) / "volumes" / volume["id"] for number in (1, 2)]
    local_cluster.wait(
        lambda: [file for folder in folders for file in folder.glob("intent.*")],
        lambda left: not left, "the regions to be clean: a scrub leaves others out",
    )  # fmt: skip
    with (folders[0] / "data").open("r+b") as file:
        was = os.pread(file.fileno(), 1, 12345)[0]
        os.pwrite(file.fileno(), bytes([was ^ 0x10]), 12345)
    site.cluster.cli("scrub", "start", "old")


def somebody_looks(site):
    (alert,) = site.alerts("scrub_mismatch")
    site.api.post(f"/api/v1/alerts/{alert['id']}/resolve", {})
    site.cluster.cli("volume", "delete", "old")


def server_lives_ahead(site):
    """sds2 is another process from now on, whose clock is wrong by 30 seconds."""
    cluster = site.cluster
    words = cluster.command("sds2")
    step = cluster.directory / "step"
    step.write_bytes(role.STEP.pack(30))
    cluster.kill_sds(2)
    site.odd = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.role", str(step), *words],
        cwd=Path(role.__file__).parents[2], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def clock_is_set(site):
    site.odd.kill()
    site.odd.wait()
    site.cluster.up()
    site.cluster.wait_healthy("music")


def backup_grows_old(site):
    made = site.cluster.client().post("/api/v1/backups", {})
    long_ago = time.time() - 49 * 3600
    os.utime(made["path"], (long_ago, long_ago))


#: What is done one after the other, with the alerts that are raised by each; and what ends it all.
FAULTS = {
    "a server dies and is rebuilt": (
        [
            (server_dies, {
                "sds_down": "Storage server sds2 is down",
                "replica_stale": "copies that missed writes",
                "column_one_copy": "missing: sds2",
            }),
            (server_is_rebuilt, {"rebuild_slow": "The resync of music takes"}),
            (rebuild_hangs, {"rebuild_stuck": "The resync of music stands still"}),
        ],
        rebuild_goes_on,
    ),
    "both servers die": (
        [(both_servers_die, {
            "column_unavailable": "no readable copy of", "volume_io_waiting": "at sdc1 waits",
        })],
        both_servers_return,
    ),
    "the client's agent dies": (
        [(lambda site: site.cluster.kill("sdc1"), {"client_disconnected": "Client sdc1 is down"})],
        lambda site: site.cluster.up(),
    ),
    "a pool fills": (
        [(pool_fills, {
            "pool_used_warning": "Pool default is 94 % full",
            "pool_used_critical": "Pool default is 94 % full",
        })],
        pool_empties,
    ),
    "a disk hangs": ([(device_hangs, {"device_slow": "to become durable"})], device_answers),
    "a byte rots": ([(a_byte_rots, {"scrub_mismatch": "Copies of old differ"})], somebody_looks),
    "a server's clock is wrong": (
        [(server_lives_ahead, {"clock_skew": "The clock of sds2 is 30."})],
        clock_is_set,
    ),
    "a backup grows old": (
        [(backup_grows_old, {"mdm_backup_old": "database is 49 h old"})],
        lambda site: site.cluster.client().post("/api/v1/backups", {}),
    ),
    "a disk vanishes": ([(device_vanishes, {"device_failed": "is missing"})], device_returns),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.announces("turn_blocked|scrub_mismatch|device_lost")
def test_a_fault_is_told_of_once_and_its_end_too(site, fault):
    stages, end = FAULTS[fault]
    rules = [rule for _, of in stages for rule in of]
    known = {rule: len(site.alerts(rule)) for rule in rules}
    with contextlib.ExitStack() as ending:
        ending.callback(end, site)  # whatever fails: no disk stays frozen
        for make_true, told in stages:
            make_true(site)
            for rule, words in told.items():
                raised = site.until(rule, lambda found, rule=rule: len(found) > known[rule])
                assert words in raised[0]["message"]
    for rule in rules:
        site.until(rule, lambda found: found[0]["status"] == "resolved")
        assert len(site.alerts(rule)) == known[rule] + 1


def test_the_other_defaults_are_made_true_in_other_files():
    real = {rule for stages, _ in FAULTS.values() for _, of in stages for rule in of}
    elsewhere = {
        "mdm_unreachable": "test_cluster", "heal_failed": "test_healing",
        **dict.fromkeys(test_default_alerts.CASES, "test_default_alerts"),
        "delivery_failed": "test_default_alerts",
    }  # fmt: skip
    assert real | set(elsewhere) == set(catalog.BY_ID)
