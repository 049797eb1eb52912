"""fio with verification on a host of the lab, while something happens to it."""

import json
import time

from tests.infra.lab import site as labs

#: Each thirty-two writes are read back and compared before it goes on.
_FIO = (
    "fio --name={name} --directory={folder} --size=48m --rw=randwrite --bs=4k --iodepth=4 "
    "--ioengine=libaio --direct=1 --verify=crc32c --verify_backlog=32 --verify_fatal=1 --fsync=64 "
    "--rate_iops=200 --time_based --runtime=3600 --output-format=json --output=/root/{name}.json"
)
_LIMIT_S = 240.0


class Load:
    """Runs from now on as a unit of its own; ``end`` waits for its word."""

    def __init__(self, site: labs.Site, host: str, folder: str, name: str) -> None:
        self._site, self._host, self._name, self._folder = site, host, name, folder
        command = _FIO.format(name=name, folder=folder)
        site.ssh(host, f"systemd-run --unit={name} --collect {command}")
        self.wait_for_more()

    def wait_for_more(self) -> None:
        """Until it wrote something after this call."""
        before = self._written()
        deadline = time.monotonic() + _LIMIT_S
        while self._written() <= before:
            assert time.monotonic() < deadline, f"{self._name} stands still"
            time.sleep(0.5)

    def end(self) -> float:
        """Stop it; its longest stall, of whatever kind of I/O, in seconds. Fails on any error."""
        # SIGINT: fio ends in good order.
        self._site.ssh(
            self._host,
            f"systemctl kill --signal=INT --kill-whom=main {self._name}; "
            f"timeout 200 sh -c 'while systemctl -q is-active {self._name}; do sleep .2; done'",
            timeout_s=_LIMIT_S,
        )
        text = self._site.ssh(self._host, f"cat /root/{self._name}.json").stdout
        [job] = json.loads(text[text.index("{") :])["jobs"]
        assert job["error"] == 0, job["error"]
        assert job["write"]["total_ios"] > 0
        assert job["read"]["total_ios"] > 0  # verified
        waited = (job["write"]["clat_ns"], job["read"]["clat_ns"], job["sync"]["lat_ns"])
        return max(float(each["max"]) for each in waited) / 1e9

    def _written(self) -> int:
        """Writes that the volume's device completed."""
        device = f"$(basename $(readlink -f $(findmnt -no SOURCE {self._folder})))"
        return int(
            self._site.ssh(self._host, f"cat /sys/class/block/{device}/stat").stdout.split()[4]
        )
