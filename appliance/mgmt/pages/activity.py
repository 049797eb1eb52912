"""What goes on and what happened: jobs and events, and events as files."""

import csv
import io
import json
from typing import Any

import falcon

from appliance.mgmt.pages import base

#: Events in one exported file at most.
_EXPORTED = 10_000


class Activity(base.Pages):
    """/jobs, /events"""

    def on_jobs(self, req: falcon.Request, resp: falcon.Response) -> None:
        after = base.parameter(req, "after") or None
        page = self.ctx.mdm.get("/api/v1/jobs", limit=base.PAGE_SIZE, after=after)
        self.show(req, resp, "jobs.html", jobs=page["items"], next=page["next"])

    def on_events(self, req: falcon.Request, resp: falcon.Response) -> None:
        subject, kind = base.parameter(req, "subject"), base.parameter(req, "kind")
        after = base.parameter(req, "after")
        page = self._page(subject, kind, int(after) if after.isdecimal() else 0, base.PAGE_SIZE)
        self.show(req, resp, "events.html", subject=subject, kind=kind, names=self._names(), **page)

    def on_csv(self, req: falcon.Request, resp: falcon.Response) -> None:
        out = io.StringIO(newline="")
        writer = csv.writer(out)
        columns = ("seq", "at", "who", "kind", "subject_kind", "subject", "request_id", "detail")
        writer.writerow(columns)
        for event in self._wanted(req):
            row = event | {"detail": json.dumps(event["detail"], sort_keys=True)}
            writer.writerow([_cell(row[column]) for column in columns])
        _file(resp, "text/csv; charset=utf-8", "events.csv", out.getvalue())

    def on_json(self, req: falcon.Request, resp: falcon.Response) -> None:
        _file(resp, falcon.MEDIA_JSON, "events.json", json.dumps(self._wanted(req), indent=1))

    def _names(self) -> dict[str, str]:
        """What people call those that events name by their ids."""
        current = self.ctx.view.current
        return {one["id"]: one["name"] for one in (*current.sds, *current.sdcs)} if current else {}

    def _wanted(self, req: falcon.Request) -> list[dict[str, Any]]:
        subject, kind = base.parameter(req, "subject"), base.parameter(req, "kind")
        return self._newest(subject, kind)

    def _newest(self, subject: str, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = 0
        while len(found) < _EXPORTED:
            page = self._page(subject, kind, after, min(1000, _EXPORTED - len(found)))
            found += page["items"]
            if page["next"] is None:
                break
            after = int(page["next"])
        return found

    def _page(self, subject: str, kind: str, before: int, limit: int) -> dict[str, Any]:
        """``limit`` events older than number ``before`` (0: all), newest first."""
        wanted = {"subject": subject or None, "kind": kind or None, "before": before or None}
        page: dict[str, Any] = self.ctx.mdm.get(
            "/api/v1/events", order="desc", limit=limit, **wanted
        )
        return page


def _cell(value: Any) -> Any:
    """A spreadsheet takes a text that begins so for a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _file(resp: falcon.Response, kind: str, name: str, text: str) -> None:
    resp.content_type, resp.text = kind, text
    resp.set_header("Content-Disposition", f'attachment; filename="{name}"')
