"""A whole MDM in this process: real database, real waitress on a free port, fake agents."""

from pathlib import Path
from typing import Any

import urllib3

from appliance.mdm import app, config
from appliance.rest import client
from tests.fakes import fake_agents

GIB = 1024**3
MIB = 1024**2


class RunningMdm:
    """``api`` speaks with the administrator's token; ``sds`` and ``sdcs`` are by name."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self._settings = {"heartbeat_limit_s": 3600.0, "threads": 8, **settings}
        self.sds: dict[str, fake_agents.FakeSds] = {}
        self.sdcs: dict[str, fake_agents.FakeSdc] = {}
        self._port = 0
        self.control = fake_agents.ControlPort()
        self.start()

    def start(self) -> None:
        self.mdm = app.Mdm(
            config.Config(data_dir=self.folder, host="127.0.0.1", port=self._port, **self._settings)
        )
        self._port = self.mdm.port  # the same one when it is started again
        self.url = f"http://127.0.0.1:{self._port}"
        self.admin_token = (self.folder / "admin.token").read_text(encoding="ascii").strip()
        self.join_token = (self.folder / "join.token").read_text(encoding="ascii").strip()
        self.api = client.Client([self.url], self.admin_token)

    def stop(self) -> None:
        """End the MDM; ``start`` begins a new one on the same folder."""
        self.api.close()
        self.mdm.close()

    def close(self) -> None:
        for agent in [*self.sds.values(), *self.sdcs.values()]:
            agent.close()
        self.stop()
        self.control.close()

    def build(self, servers: int = 3, capacity: int = 100 * GIB) -> None:
        """A pool ``p`` over a device on each of some SDSs, each its own fault set; one SDC."""
        self.api.post("/api/v1/pools", {"name": "p"})
        for number in range(1, servers + 1):
            self.add_sds(f"sds{number}", f"fs{number}", capacity)
        self.add_sdc("sdc1")
        self.beat(3)

    def add_sds(self, name: str, fault_set: str, capacity: int) -> None:
        self.sds[name] = fake_agents.FakeSds(
            self.url, self.join_token, name, self.control.port, fault_set, capacity
        )
        self.api.post("/api/v1/devices", {"sds": name, "path": "/srv/basalt", "pool": "p"})

    def add_sdc(self, name: str) -> None:
        self.sdcs[name] = fake_agents.FakeSdc(self.url, self.join_token, name, self.control.port)

    def beat(self, rounds: int = 1) -> None:
        """All agents report and obey, some times."""
        for _ in range(rounds):
            for agent in [*self.sds.values(), *self.sdcs.values()]:
                agent.beat()

    def volume(self, name: str, **values: Any) -> Any:
        body = {"name": name, "size_bytes": GIB, **values}
        return self.api.post("/api/v1/volumes", body)

    def raw(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        token: str | None = None,
        **headers: str,
    ) -> urllib3.BaseHTTPResponse:
        """One request just as it is given; ``token`` "" sends none."""
        token = self.admin_token if token is None else token
        auth = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        return urllib3.request(
            method, self.url + path, body=body, headers=auth | headers, retries=False, timeout=30
        )
