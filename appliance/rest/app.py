"""An empty Falcon application with what every role's HTTP side has in common.

Called by the composition root of each role, which adds its routes (``openapi.register``) and
its own middleware, for instance the check of tokens.
"""

from collections.abc import Collection, Sequence
from typing import Any

import falcon

from appliance.rest import errors, middleware


def create(extra: Sequence[Any] = (), quiet: Collection[str] = ()) -> falcon.App[Any, Any]:
    """An application with request ids, the request log and JSON errors.

    ``extra`` is further Falcon middleware, run after these; ``quiet`` are route templates whose
    successful requests are logged at DEBUG only.
    """
    app = falcon.App(
        middleware=[middleware.RequestId(), middleware.RequestLine(quiet), *extra],
        independent_middleware=True,
    )
    app.req_options.strip_url_path_trailing_slash = False
    errors.install(app)
    return app
