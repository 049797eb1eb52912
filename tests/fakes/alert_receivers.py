"""Where alerts arrive: a real web server and a real mail server, on free ports of this host."""

import socket

import falcon
from aiosmtpd import controller

from appliance.rest import app as rest_app
from appliance.rest import server


class Hook:
    """``taken`` are headers and body of what came while ``status`` was 200."""

    def __init__(self):
        self.taken = []
        self.status = 200
        application = rest_app.create()
        application.add_route("/hook", self)
        self._server = server.serve(application, "127.0.0.1", 0, 2)
        self.url = f"http://127.0.0.1:{self._server.port}/hook"

    def on_post(self, req, resp):
        resp.status = falcon.code_to_http_status(self.status)
        if self.status == 200:
            self.taken.append((dict(req.headers), req.bounded_stream.read()))

    def close(self):
        self._server.close()


class Mailbox:
    """``taken`` are the envelopes. ``port`` 0 takes any free one."""

    def __init__(self, port=0):
        self.taken = []
        self._served = _Controller(self, socket.create_server(("127.0.0.1", port)))
        self._served.start()
        self.port = self._served.port

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        self.taken.append(envelope)
        return "250 OK"

    def close(self):
        self._served.stop()


class _Controller(controller.Controller):
    """The library binds the port itself; here that was done before."""

    def __init__(self, handler, bound):
        self._bound = bound
        super().__init__(handler, "127.0.0.1", bound.getsockname()[1])

    def _create_server(self):
        return self.loop.create_server(self._factory_invoker, sock=self._bound)
