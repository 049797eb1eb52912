"""Volumes: the list, one with its copies and live numbers, and what can be done to it."""

from typing import Any

import falcon

from appliance.common import errors, units
from appliance.mgmt.pages import base, forms
from appliance.rest import client


class Volumes(base.Pages):
    """/volumes"""

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        current = self.ctx.view.current
        text, health = base.parameter(req, "q"), base.parameter(req, "health")
        items = base.searched(current.volumes if current else [], text, "name", "pool", "id")
        if health:
            items = [one for one in items if one["health"] == health]
        found = base.paged(items, req)
        points = {one["id"]: self.ctx.history.newest(one["id"]) for one in found["items"]}
        self.show(req, resp, "volumes.html", q=text, health=health, points=points, **found)

    def on_new(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._form(req, resp, {}, "")

    def on_create(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = forms.read(req)
        try:
            body: dict[str, Any] = {
                "name": form.need("name"),
                "size_bytes": form.size("size"),
                "thin": not form.ticked("thick"),
                "shareable": form.ticked("shareable"),
            }
            if form.text("pool"):
                body["pool"] = form.text("pool")
            if form.text("columns"):
                body["columns"] = form.whole("columns")
            made = self.mdm(req).post("volumes", body=body)
        except (errors.RequestError, errors.Unavailable, errors.Unreachable) as exc:
            resp.status = falcon.HTTP_400
            self._form(req, resp, form.all(), str(exc))
            return
        text = f"Volume {made['name']} was made ({units.format_size(made['size_bytes'])})."
        self.act(req, f"/volumes/{made['id']}", lambda: text)

    def on_show(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        volume = self.ctx.mdm.get(f"/api/v1/volumes/{client.quote(ref)}")
        current = self.ctx.view.current
        told = [one for one in (current.statistics if current else []) if one["volume_id"] == ref]
        jobs = [one for one in (current.jobs if current else []) if one["subject_id"] == ref]
        self.show(
            req, resp, "volume.html",
            volume=volume, columns=_columns(volume), statistics=told, jobs=jobs,
            point=self.ctx.history.newest(ref), sdcs=current.sdcs if current else [],
        )  # fmt: skip

    def on_map(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            wanted = {"sdc": form.need("sdc"), "read_only": form.ticked("read_only")}
            if form.text("backend"):
                wanted["backend"] = form.text("backend")
            made = self.mdm(req).post("volumes", ref, "mappings", body=wanted)
            return f"It is being mapped to {made['sdc']}; its device shows here in a moment."

        self.act(req, f"/volumes/{client.quote(ref)}", body)

    def on_grow(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            found = self.mdm(req).patch("volumes", ref, body={"size_bytes": form.size("size")})
            size = units.format_size(found["size_bytes"])
            return f"It grows to {size}. Grow the file system on it too (resize2fs, xfs_growfs)."

        self.act(req, f"/volumes/{client.quote(ref)}", body)

    def on_confirm_unmap(
        self, req: falcon.Request, resp: falcon.Response, ref: str, mapping: str
    ) -> None:
        volume = self.ctx.mdm.get(f"/api/v1/volumes/{client.quote(ref)}")
        of = [one for one in volume["mappings"] if one["id"] == mapping]
        if not of:
            raise errors.NotFound(kind="mapping", key=mapping[:40])
        self.show(
            req, resp, "confirm.html", title=f"Unmap {volume['name']} from {of[0]['sdc']}?",
            words="Its block device goes away there. Unmount its file system first; with force, "
            "I/O in flight is failed.",
            name=volume["name"], action=f"/volumes/{ref}/mappings/{mapping}/delete",
            verb="Unmap", back=f"/volumes/{ref}", force=True,
        )  # fmt: skip

    def on_unmap(self, req: falcon.Request, _resp: falcon.Response, ref: str, mapping: str) -> None:
        form = forms.read(req)

        def body() -> str:
            form.confirm(self._name(ref))
            force = True if form.ticked("force") else None
            self.mdm(req).delete("volumes", ref, "mappings", mapping, force=force)
            return "It is being unmapped."

        url = f"/volumes/{client.quote(ref)}"
        self.act(req, url, body, f"{url}/mappings/{client.quote(mapping)}/delete")

    def on_confirm_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        volume = self.ctx.mdm.get(f"/api/v1/volumes/{client.quote(ref)}")
        size = units.format_size(volume["size_bytes"])
        self.show(
            req, resp, "confirm.html", title=f"Delete volume {volume['name']}?",
            words=f"All data on it ({size}) is gone for ever. There is no way back.",
            name=volume["name"], action=f"/volumes/{ref}/delete", verb="Delete for ever",
            back=f"/volumes/{ref}", force=False,
        )  # fmt: skip

    def on_delete(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            name = self._name(ref)
            form.confirm(name)
            self.mdm(req).delete("volumes", ref)
            return f"Volume {name} is being deleted."

        self.act(req, "/volumes", body, f"/volumes/{client.quote(ref)}/delete")

    def _form(
        self, req: falcon.Request, resp: falcon.Response, values: dict[str, str], why: str
    ) -> None:
        current = self.ctx.view.current
        pools = current.pools if current else []
        self.show(req, resp, "volume_new.html", pools=pools, values=values, why=why)

    def _name(self, ref: str) -> str:
        return str(self.ctx.mdm.get(f"/api/v1/volumes/{client.quote(ref)}")["name"])


def _columns(volume: dict[str, Any]) -> list[list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for replica in volume["replicas"]:
        found.setdefault(replica["column"], []).append(replica)
    return [found[column] for column in sorted(found)]
