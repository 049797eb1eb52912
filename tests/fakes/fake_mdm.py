"""An MDM as one SDS agent sees it: registration and heartbeats over real HTTP, orders by hand."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import falcon

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.rest import app as rest_app
from appliance.rest import server

JOIN_TOKEN = "join-token-of-the-fake"
CLUSTER = "00000000000000cc"

Key = tuple[str, str]


class FakeMdm:
    """Orders are kept as the real one keeps them: each with the revision of its last change."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.term = 1
        self.cluster_id = CLUSTER
        self.down = False
        self.refuses_secrets = False
        self.loses_answers = False
        self.report_all = False
        self.witness: Callable[[messages.SdsHeartbeat], None] = lambda _beat: None
        self.registrations: list[messages.Registration] = []
        self.heartbeats: list[messages.SdsHeartbeat] = []
        self.reports: dict[Key, messages.LegReport] = {}
        self.devices: dict[str, messages.DeviceOrder] = {}
        self._secrets: dict[str, str] = {}
        self._give_back = ""
        self._legs: dict[Key, tuple[int, messages.LegOrder]] = {}
        self._revision = 0
        application = rest_app.create()
        application.add_route("/api/v1/agents/sds", _Register(self))
        application.add_route("/api/v1/agents/sds/{ident}/heartbeat", _Heartbeat(self))
        self._server = server.serve(application, "127.0.0.1", 0, 4)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def close(self) -> None:
        self._server.close()

    # --- what a test does ---------------------------------------------------------------

    def order(self, leg: messages.LegOrder) -> None:
        with self.changed:
            self._revision += 1
            self._legs[(leg.volume_id, leg.device_id)] = (self._revision, leg)

    def add_device(self, device_id: str, path: object) -> None:
        with self.changed:
            self.devices[device_id] = messages.DeviceOrder(device_id, str(path))

    def give_back(self, device_id: str) -> None:
        with self.changed:
            self.devices[device_id] = replace(self.devices[device_id], wanted=False)

    def restart(self, term: int, revision: int) -> None:
        """Another MDM process, with its own term and its own count of revisions."""
        with self.changed:
            self.term = term
            self._revision = revision
            self._legs = {key: (revision, leg) for key, (_, leg) in self._legs.items()}

    def forget(self, give_back: str = "") -> None:
        """Know no agent's secret any more; the next one to register may be ``give_back`` again."""
        with self.changed:
            self._secrets.clear()
            self._give_back = give_back

    def wait(self, reached: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        """What ``reached`` gives once it is true, looked at after each heartbeat."""
        with self.changed:
            found = self.changed.wait_for(reached, timeout_s)
            seen = f"last heartbeat: {self.heartbeats[-1:]}, {list(self.reports.values())[:5]}"
            assert found, f"not reached; {seen}"
            return found

    def wait_leg(
        self,
        volume_id: str,
        device_id: str,
        reached: Callable[[messages.LegReport], Any],
        timeout_s: float = 20.0,
    ) -> messages.LegReport:
        """The first report of the leg for which ``reached`` is true."""

        def _found() -> messages.LegReport | None:
            report = self.reports.get((volume_id, device_id))
            return report if report is not None and reached(report) else None

        found: messages.LegReport = self.wait(_found, timeout_s)
        return found

    def wait_device(self, device_id: str, state: str) -> messages.DeviceReport:
        def _found() -> messages.DeviceReport | None:
            for device in self.heartbeats[-1].devices if self.heartbeats else ():
                if device.device_id == device_id and device.state == state:
                    return device
            return None

        found: messages.DeviceReport = self.wait(_found)
        return found

    def wait_heartbeats(self, count: int = 2) -> None:
        """``count`` more heartbeats: whatever was ordered before is known to the agent."""
        seen = len(self.heartbeats)
        self.wait(lambda: len(self.heartbeats) >= seen + count)

    # --- what an agent does ---------------------------------------------------------------

    def register(self, token: str, secret: str, words: messages.Registration) -> Any:
        with self.changed:
            if token != JOIN_TOKEN:
                raise errors.Unauthenticated(why="wrong join token")
            self.registrations.append(words)
            ident = self._secrets.get(secret, "")
            if not ident:
                ident = self._give_back or f"{len(self.registrations):016x}"
                self._secrets[secret] = ident
            self.changed.notify_all()
            if self.loses_answers:
                raise errors.Unavailable(why="the answer was lost")
            return codec.to_json(messages.Registered(ident, secret, self.cluster_id))

    def heartbeat(self, token: str, ident: str, beat: messages.SdsHeartbeat) -> Any:
        with self.changed:
            if self.down:
                raise errors.Unavailable(why="the fake is down")
            if self.refuses_secrets or self._secrets.get(token) != ident:
                raise errors.Unauthenticated(why="wrong secret")
            self.witness(beat)
            self.heartbeats.append(beat)
            if beat.full:
                self.reports.clear()
            for leg in beat.legs:
                self.reports[(leg.volume_id, leg.device_id)] = leg
            legs = [leg for revision, leg in self._legs.values() if revision > beat.revision]
            orders = messages.SdsOrders(
                cluster_id=self.cluster_id,
                term=self.term,
                revision=self._revision,
                devices=tuple(self.devices.values()),
                legs=tuple(legs),
                report_all=self.report_all,
            )
            self.report_all = False
            self.changed.notify_all()
            return codec.to_json(orders)


def _token(req: falcon.Request) -> str:
    return (req.get_header("Authorization") or "").removeprefix("Bearer ")


class _Register:
    def __init__(self, mdm: FakeMdm) -> None:
        self._mdm = mdm

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        words = codec.from_json(messages.Registration, json.load(req.bounded_stream))
        secret = req.get_header("X-Basalt-Secret") or ""
        resp.media = self._mdm.register(_token(req), secret, words)
        resp.status = falcon.HTTP_201


class _Heartbeat:
    def __init__(self, mdm: FakeMdm) -> None:
        self._mdm = mdm

    def on_post(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        beat = codec.from_json(messages.SdsHeartbeat, json.load(req.bounded_stream))
        resp.media = self._mdm.heartbeat(_token(req), ident, beat)
