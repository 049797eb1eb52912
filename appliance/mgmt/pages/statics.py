"""Files of the pages: style, script, and the vendored parts. Nothing else of the disk is served."""

import falcon

from appliance.common import errors
from appliance.mgmt.pages import assets

PATH = "/static/{version}/{name:path}"


class Statics:
    """``version`` is part of every address, so that a new release is loaded at once."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response, version: str, name: str) -> None:
        found = assets.FILES.get(name)
        if found is None or version != assets.VERSION:
            raise errors.NotFound(kind="file", key=name[:80])
        resp.content_type, resp.data = found
        resp.cache_control = ["public", "max-age=31536000", "immutable"]
