"""An MDM for tests of the CLI: the real HTTP layer over a few objects in memory.

What it answers has the shapes of ``appliance.mdm.shapes`` (tests/unit/cli/test_fake_mdm_api.py).
"""

import copy
import json
import secrets
from typing import Any

import falcon

from appliance.common import errors
from appliance.rest import app as rest_app
from appliance.rest import server
from tests.fakes import mdm_objects

TOKEN = "token-for-tests"


class FakeMdmApi:
    """Serves until ``close``. ``objects`` may be changed at any time; ``requests`` are those seen.

    ``refusal``: raised at the next request that changes something. A mapping is ``attaching`` when
    made and attached when it is next looked at; one unmapped is gone when it is next looked at.
    """

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = copy.deepcopy(mdm_objects.OBJECTS)
        self.status: dict[str, Any] = copy.deepcopy(mdm_objects.STATUS)
        self.recovery: dict[str, Any] = copy.deepcopy(mdm_objects.RECOVERY)
        self.requests: list[tuple[str, str, Any]] = []
        self.request_ids: list[str] = []
        self.refusal: errors.BasaltError | None = None
        self.page = 2  # so that most lists are more than one page
        self.attach_error = ""
        self.busy_error = ""
        application = rest_app.create()
        application.add_sink(self._answer, "/api/v1")
        self._server = server.serve(application, "127.0.0.1", 0, 4)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def close(self) -> None:
        self._server.close()

    def one(self, collection: str, ref: str) -> dict[str, Any]:
        for item in self.objects[collection]:
            if ref in (item.get("id"), item.get("name")):
                return item
        raise errors.NotFound(kind=collection.removesuffix("s"), key=ref)

    def _answer(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.auth != f"Bearer {TOKEN}":
            raise errors.Unauthenticated(why="the token is not known")
        raw = req.bounded_stream.read()
        body = json.loads(raw) if raw else None
        parts = req.path.removeprefix("/api/v1/").split("/")
        self.requests.append((req.method, "/".join(parts), body))
        self.request_ids.append(req.get_header("X-Request-Id") or "")
        if req.method != "GET" and self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            raise refusal
        method = getattr(self, f"_{req.method.lower()}")
        answer = method(parts, body, req.params)
        if answer is None:
            resp.status = 204
        else:
            resp.status = 201 if req.method == "POST" else 200
            resp.media = answer

    def _get(self, parts: list[str], _body: Any, params: dict[str, Any]) -> Any:
        if parts == ["status"]:
            return self.status
        if len(parts) == 1:
            return self._page(self._filtered(parts[0], params), params)
        item = self.one(parts[0], parts[1])
        if parts[2:] == ["mappings"]:
            return self._page(item["mappings"], params)
        if parts[2:] == ["recovery"]:
            return self.recovery
        if parts[2:3] == ["mappings"]:
            return self._look_at_mapping(item, parts[3])
        if parts[0] == "devices" and item["state"] == "adding":
            item["state"] = "refused" if "foreign" in item["path"] else "ok"
            item["reason"] = "it is not empty" if item["state"] == "refused" else ""
        if parts[0] == "jobs" and item["state"] == "running":
            item["done_bytes"] = item["total_bytes"]
            item["state"] = "done"
            return item | {"state": "running"}
        if parts[0] == "volumes" and item["state"] == "allocating":
            item["state"] = "ready"
        return item

    def _post(self, parts: list[str], body: dict[str, Any], _params: Any) -> Any:
        if parts[2:] == ["recovery"]:
            if not self.recovery["possible"]:
                raise errors.Conflict(why=self.recovery["explanation"])
            return self.recovery
        if parts[2:] == ["mappings"]:
            volume = self.one("volumes", parts[1])
            sdc = self.one("sdcs", body["sdc"])
            made = mdm_objects.mapping(volume, sdc, body)
            volume["mappings"].append(made)
            return copy.deepcopy(made)
        if parts[2:] in (["rebalance"], ["evacuation"]):
            return {"job": self.objects["jobs"][0]["id"]}
        if parts[2:] == ["maintenance"]:
            return self.one(parts[0], parts[1])
        if parts[2:] == ["scrub"]:
            state = {"start": "running", "pause": "paused", "resume": "running", "stop": "idle"}
            seen = {**mdm_objects.OBJECTS["scrubs"][0], "state": state[body["action"]]}
            return seen | {"volume": self.one("volumes", parts[1])["name"]}
        if "name" in body and body["name"] in [one["name"] for one in self.objects[parts[0]]]:
            raise errors.AlreadyExists(kind=parts[0].removesuffix("s"), key=body["name"])
        made = {**mdm_objects.DEFAULTS[parts[0]], **body, "id": secrets.token_hex(8)}
        if parts[0] == "volumes" and not body.get("thin", True):
            made["state"] = "allocating"
        self.objects[parts[0]].append(made)
        if parts[0] == "tokens":
            return made | {"token": "shown-once"}
        return made

    def _patch(self, parts: list[str], body: dict[str, Any], _params: Any) -> Any:
        item = self.one(parts[0], parts[1])
        item.update(body)
        return item

    def _delete(self, parts: list[str], _body: Any, params: dict[str, Any]) -> Any:
        item = self.one(parts[0], parts[1])
        if parts[2:3] == ["mappings"]:
            mapping = self._mapping(item, parts[3])
            mapping["state"] = "detaching"
            mapping["error"] = "" if params.get("force") else self.busy_error
            return mapping
        if parts[2:] in (["evacuation"], ["maintenance"]):
            return item
        self.objects[parts[0]].remove(item)
        return None

    def _look_at_mapping(self, volume: dict[str, Any], ref: str) -> dict[str, Any]:
        found = self._mapping(volume, ref)
        if found["state"] == "detaching" and not found["error"]:
            volume["mappings"].remove(found)
            raise errors.NotFound(kind="mapping", key=ref)
        if found["state"] == "attaching":
            attached = mdm_objects.attached(found)
            failed = {"state": "failed", "error": self.attach_error}
            found.update(failed if self.attach_error else attached)
        return found

    def _mapping(self, volume: dict[str, Any], ref: str) -> dict[str, Any]:
        for found in volume["mappings"]:
            if ref in (found["id"], found["sdc"]):
                chosen: dict[str, Any] = found
                return chosen
        raise errors.NotFound(kind="mapping", key=ref)

    def _filtered(self, collection: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        items = self.objects[collection]
        if collection == "events":
            items = [item for item in items if item["seq"] > int(params.get("after", 0))]
        for key in ("state", "kind", "subject"):
            if key in params:
                items = [item for item in items if item[key] == params[key]]
        return items[::-1] if params.get("order") == "desc" else items

    def _page(self, items: list[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
        start = 0 if items and "seq" in items[0] else int(params.get("after", 0))
        page = items[start : start + int(params.get("limit", self.page))]
        if len(page) == len(items[start:]):
            return {"items": page, "next": None}
        return {"items": page, "next": str(page[-1].get("seq", start + self.page))}
