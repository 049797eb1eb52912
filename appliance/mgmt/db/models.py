"""Tables of MGMT. Rows never leave the services; times are Unix seconds."""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON}


class User(Base):
    """``role``: monitor, configure, administrator. ``locked_until``: no login before it."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    password_hash: Mapped[str]
    failed_logins: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[float]
    last_login_at: Mapped[float | None]


class Session(Base):
    """``hash`` is of the cookie's value, which is kept nowhere. ``csrf`` goes into every form."""

    __tablename__ = "sessions"
    hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    csrf: Mapped[str]
    peer: Mapped[str]
    created_at: Mapped[float]
    seen_at: Mapped[float]


class ApiToken(Base):
    """A program's way in, with a role no higher than its owner's."""

    __tablename__ = "api_tokens"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    role: Mapped[str]
    hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]
    expires_at: Mapped[float | None]


class Audit(Base):
    """Who did what, when, from where, under which request, and what came of it."""

    __tablename__ = "audit"
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(index=True)
    who: Mapped[str]
    what: Mapped[str] = mapped_column(index=True)
    subject: Mapped[str]
    peer: Mapped[str]
    request_id: Mapped[str]
    outcome: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    __table_args__ = {"sqlite_autoincrement": True}


class Rule(Base):
    """When an alert is raised and cleared. ``id`` names a measure of ``alerts.catalog``."""

    __tablename__ = "rules"
    id: Mapped[str] = mapped_column(primary_key=True)
    severity: Mapped[str]
    threshold: Mapped[float]
    clear_threshold: Mapped[float]
    hold_s: Mapped[float]
    clear_hold_s: Mapped[float]
    enabled: Mapped[bool] = mapped_column(default=True)


class Alert(Base):
    """``status``: active, acknowledged, resolved, suppressed. One open row per rule and component.

    ``open_key`` is ``rule_id/component_id`` while the alert is open, else the alert's own id: its
    uniqueness is what makes an alert be raised once.
    """

    __tablename__ = "alerts"
    id: Mapped[str] = mapped_column(primary_key=True)
    open_key: Mapped[str] = mapped_column(unique=True)
    rule_id: Mapped[str] = mapped_column(index=True)
    component_id: Mapped[str] = mapped_column(index=True)
    component_type: Mapped[str]
    component_name: Mapped[str]
    status: Mapped[str] = mapped_column(index=True)
    severity: Mapped[str]
    message: Mapped[str]
    metric_value: Mapped[float]
    threshold_value: Mapped[float]
    fired_at: Mapped[float]
    acknowledged_at: Mapped[float | None]
    acknowledged_by_user_id: Mapped[str | None]
    resolved_at: Mapped[float | None]
    details_json: Mapped[dict[str, Any]] = mapped_column(default=dict)
    __table_args__ = (Index(None, "status", "fired_at"), Index(None, "fired_at"))


class Suppression(Base):
    """Alerts of a rule (and of one component, or of all) are kept quiet until ``until``."""

    __tablename__ = "suppressions"
    id: Mapped[str] = mapped_column(primary_key=True)
    rule_id: Mapped[str] = mapped_column(index=True)
    component_id: Mapped[str | None]
    until: Mapped[float]
    reason: Mapped[str]
    by: Mapped[str]
    created_at: Mapped[float]


class Channel(Base):
    """A way to tell people. ``kind``: webhook, smtp, snmp. ``settings`` may hold secrets, which
    are never shown."""

    __tablename__ = "channels"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    settings: Mapped[dict[str, Any]]
    min_severity: Mapped[str] = mapped_column(default="warning")
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[float]


class Delivery(Base):
    """One message to one channel, sent as it is. ``state``: waiting, sent, failed."""

    __tablename__ = "deliveries"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    channel_id: Mapped[str] = mapped_column(index=True)
    alert_id: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(default="waiting", index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[float]
    error: Mapped[str] = mapped_column(default="")
    message: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    sent_at: Mapped[float | None]


class Sample(Base):
    """Used and whole capacity of a pool at a time, for the forecast. ``pool_id`` "" is all."""

    __tablename__ = "samples"
    at: Mapped[float] = mapped_column(primary_key=True)
    pool_id: Mapped[str] = mapped_column(primary_key=True)
    used_bytes: Mapped[int] = mapped_column(BigInteger)
    capacity_bytes: Mapped[int] = mapped_column(BigInteger)
