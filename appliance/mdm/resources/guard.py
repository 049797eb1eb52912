"""Nobody passes without a token: middleware that says who asks, and whether they may.

Administrators may do all but speak for agents; configure changes volumes and mappings and sees
what monitor sees, which is all but tokens. Who serves people (MGMT) says for whom it asks, in the
headers X-Basalt-User and X-Basalt-Role, and gets no more than that role. An agent's secret opens
its own heartbeat and a few things that anyone in the cluster may know; the join token opens
registration only.
"""

from typing import Any

import falcon

from appliance.common import errors
from appliance.mdm.services import auth, tokens

#: Answers without a token: probes have none.
_OPEN = "/health"

_REGISTER = {"/api/v1/agents/sds", "/api/v1/agents/sdc"}
_HEARTBEAT = {
    "/api/v1/agents/sds/{ident}/heartbeat": auth.SDS,
    "/api/v1/agents/sdc/{ident}/heartbeat": auth.SDC,
}

_VOLUMES = "/api/v1/volumes"
_SECRETS = "/api/v1/tokens"
_RECOVERY = "/api/v1/volumes/{ref}/recovery"

#: What agents may read.
_COMMON = {"/", "/api/v1/cluster", "/api/v1/openapi.json"}


class Guard:
    """Falcon middleware. ``req.context.identity`` is set for resources."""

    def __init__(self, authenticator: auth.Authenticator) -> None:
        self._authenticator = authenticator

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        # Before routing: without a token one does not even learn which paths there are.
        if req.path == _OPEN:
            return
        identity = self._authenticator.identify(req.get_header("Authorization"))
        person = req.get_header("X-Basalt-User")
        if person is not None:
            identity = identity.acting_for(person, req.get_header("X-Basalt-Role") or "")
        req.context.identity = identity

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, _resource: Any, params: dict[str, Any]
    ) -> None:
        if req.path == _OPEN:
            return
        identity: auth.Identity = req.context.identity
        if not _may(identity, req.method, req.uri_template or "", params.get("ident", "")):
            raise errors.Forbidden(
                why=f"it is one of role '{identity.role}', and {req.method} {req.path} needs "
                f"{_needed(req.method, req.uri_template or '')}"
            )


def _may(identity: auth.Identity, method: str, template: str, ident: str) -> bool:
    if template in _HEARTBEAT:
        return identity.role == _HEARTBEAT[template] and identity.id == ident
    if identity.role in tokens.PEOPLE:
        needed = role_needed(method, template)
        return tokens.PEOPLE.index(identity.role) >= tokens.PEOPLE.index(needed)
    if identity.role == tokens.JOIN:
        return template in _REGISTER
    return method == "GET" and template in _COMMON


def role_needed(method: str, template: str) -> str:
    """The least of people's roles for one method of one path."""
    if template.startswith(_SECRETS) or template in _REGISTER:
        return tokens.ADMINISTRATOR
    if method in ("GET", "HEAD", "OPTIONS"):
        return tokens.PEOPLE[0]
    if template == _RECOVERY:
        return tokens.ADMINISTRATOR  # it may give acknowledged writes up
    return tokens.CONFIGURE if template.startswith(_VOLUMES) else tokens.ADMINISTRATOR


def _needed(method: str, template: str) -> str:
    if template in _HEARTBEAT:
        return "that very agent's own secret"
    if template in _REGISTER:
        return "the join token"
    return f"a token of role '{role_needed(method, template)}'"
