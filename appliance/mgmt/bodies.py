"""What programs send to MGMT's own resources; what is for the MDM is checked there."""

from typing import Annotated, Any, Literal

from pydantic import Field

from appliance.rest import body

Text = Annotated[str, Field(max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=60)]
Role = Literal["monitor", "configure", "administrator"]
Severity = Literal["info", "warning", "error", "critical"]
Number = Annotated[float, Field(ge=-1e18, le=1e18)]


class NewUser(body.Body):
    name: Name
    role: Role
    password: Annotated[str, Field(max_length=200)]


class UserChange(body.Body):
    role: Role | None = None
    password: Annotated[str, Field(max_length=200)] | None = None


class NewToken(body.Body):
    """``days``: how long it is good for; null for ever."""

    name: Name
    role: Role
    days: Annotated[int, Field(ge=1, le=3650)] | None = None


class Suppress(body.Body):
    """``until``: Unix seconds."""

    until: Number
    reason: Text


class RuleChange(body.Body):
    threshold: Number | None = None
    clear_threshold: Number | None = None
    hold_s: Number | None = None
    clear_hold_s: Number | None = None
    severity: Severity | None = None
    enabled: bool | None = None


class NewChannel(body.Body):
    name: Name
    kind: Literal["webhook", "smtp", "snmp"]
    min_severity: Severity = "warning"
    settings: dict[str, Any]


class ChannelChange(body.Body):
    enabled: bool


class Nothing(body.Body):
    """No values."""


class AlertPage(body.Query):
    """``status``: one of them, open (not resolved) or all. ``q`` is looked for in the words."""

    status: Literal["open", "all", "active", "acknowledged", "suppressed", "resolved"] = "open"
    q: Annotated[str, Field(max_length=100)] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    after: Annotated[str, Field(max_length=100)] | None = None


class AuditPage(body.Query):
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    before: Annotated[int, Field(ge=0, le=2**62)] | None = None


class HistoryPage(body.Query):
    """``volume``: an id; none for the whole cluster."""

    volume: Annotated[str, Field(max_length=63)] = ""
