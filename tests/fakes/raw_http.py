"""HTTP by hand, over a plain socket."""

import http.client
import json
import socket


def answer(sock: socket.socket) -> tuple[int, http.client.HTTPResponse, dict]:
    response = http.client.HTTPResponse(sock)
    response.begin()
    return response.status, response, json.loads(response.read())


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()
