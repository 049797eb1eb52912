"""Servers, their devices, and clients: how they are and what can be done to them."""

import falcon

from appliance.common import errors
from appliance.mgmt.pages import base, forms
from appliance.rest import client


class Servers(base.Pages):
    """/servers, /devices, /clients"""

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        current = self.ctx.view.current
        text = base.parameter(req, "q")
        items = base.searched(current.sds if current else [], text, "name", "domain", "fault_set")
        clients = base.searched(current.sdcs if current else [], text, "name")
        found = base.paged(items, req)
        self.show(req, resp, "servers.html", q=text, clients=clients[:200], **found)

    def on_show(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        one = self.ctx.mdm.get(f"/api/v1/sds/{client.quote(ref)}")
        current = self.ctx.view.current
        pools = current.pools if current else []
        paths = current.paths if current else frozenset()
        self.show(req, resp, "server.html", one=one, pools=pools, offered=paths)

    def on_maintenance(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        """Short work on its host: nothing is copied away, and it catches up afterwards."""
        self._order(req, ref, "maintenance", "It is in maintenance.")

    def on_evacuation(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        """All it holds is copied elsewhere first."""
        self._order(req, ref, "evacuation", "What it holds is being moved elsewhere; see the jobs.")

    def _order(self, req: falcon.Request, ref: str, what: str, done: str) -> None:
        form = forms.read(req)

        def body() -> str:
            if form.text("end"):
                self.mdm(req).delete("sds", ref, what)
                return "It is used again."
            form.confirm(self.ctx.mdm.get(f"/api/v1/sds/{client.quote(ref)}")["name"])
            self.mdm(req).post("sds", ref, what, body={})
            return done

        self.act(req, f"/servers/{client.quote(ref)}", body)

    def on_client(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        one = self.ctx.mdm.get(f"/api/v1/sdcs/{client.quote(ref)}")
        current = self.ctx.view.current
        told = [s for s in (current.statistics if current else []) if s["sdc"] == one["name"]]
        self.show(req, resp, "client.html", one=one, statistics=told)

    def on_add_device(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            wanted = {"sds": ref, "path": form.need("path", 4000), "pool": form.need("pool")}
            self.mdm(req).post("devices", body=wanted)
            return f"The server is asked to adopt {wanted['path']}."

        self.act(req, f"/servers/{client.quote(ref)}", body)

    def on_device(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        one = self.ctx.mdm.get(f"/api/v1/devices/{client.quote(ref)}")
        current = self.ctx.view.current
        known = [d for d in (current.devices if current else []) if d["id"] == ref]
        self.show(req, resp, "device.html", one=one | (known[0] if known else {}))

    def on_confirm_remove(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        one = self.ctx.mdm.get(f"/api/v1/devices/{client.quote(ref)}")
        self.show(
            req, resp, "confirm.html", title=f"Remove device {one['path']} of {one['sds']}?",
            words="It is refused while volumes have copies there. What is on the device stays "
            "until it is formatted, but Basalt forgets it.",
            name=one["path"], action=f"/devices/{ref}/delete", verb="Remove",
            back=f"/devices/{ref}", force=True,
        )  # fmt: skip

    def on_remove(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)
        one = self.ctx.mdm.get(f"/api/v1/devices/{client.quote(ref)}")

        def body() -> str:
            form.confirm(one["path"])
            self.mdm(req).delete("devices", ref, force=True if form.ticked("force") else None)
            return f"Device {one['path']} is being removed; see its job."

        self.act(req, "/jobs", body, f"/devices/{client.quote(ref)}/delete")

    def on_rename(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            self.mdm(req).patch("sds", ref, body={"name": form.need("name")})
            return "It has its new name."

        self.act(req, f"/servers/{client.quote(ref)}", body)

    def on_approve(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)
        approved = {"yes": True, "no": False}.get(form.text("approved"))

        def body() -> str:
            if approved is None:
                raise errors.Invalid(what="approved", why="yes or no")
            self.mdm(req).patch("sdcs", ref, body={"approved": approved})
            return "Approved." if approved else "Approval was taken away."

        self.act(req, f"/clients/{client.quote(ref)}", body)
