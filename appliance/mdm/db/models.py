"""Tables of the MDM. Rows never leave the services; times are Unix seconds, sizes bytes.

Only what must survive a restart is here. Heartbeat times, open turns' reports and statistics
live in memory (``services.liveness``, ``services.turns``): after a restart they are asked for anew.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, MetaData, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON, dict[str, str]: JSON}


class Cluster(Base):
    """One row. ``term`` is raised at every start of an MDM (R10); ``revision`` at every order.

    ``recovered_at``: when this database was made again from the devices, else None
    (``services.lost_database``). Agents unknown to it may then come back under the ids they have.
    """

    __tablename__ = "cluster"
    key: Mapped[int] = mapped_column(primary_key=True, default=1)
    id: Mapped[str]
    term: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
    recovered_at: Mapped[float | None]


class Domain(Base):
    """``rebuild_delay_s``: replicas on devices that stay away for longer are made elsewhere."""

    __tablename__ = "domains"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    rebuild_delay_s: Mapped[float] = mapped_column(default=600.0)
    created_at: Mapped[float]


class FaultSet(Base):
    __tablename__ = "fault_sets"
    id: Mapped[str] = mapped_column(primary_key=True)
    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), index=True)
    name: Mapped[str]
    __table_args__ = (UniqueConstraint("domain_id", "name"),)


class Sds(Base):
    """``state``: normal, maintenance, evacuating, removing. Without a fault set an SDS is one by
    itself."""

    __tablename__ = "sds"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), index=True)
    fault_set_id: Mapped[str | None] = mapped_column(ForeignKey("fault_sets.id"), index=True)
    state: Mapped[str] = mapped_column(default="normal")
    hosts: Mapped[list[str]]
    control_port: Mapped[int]
    secret_hash: Mapped[str]
    boot_id: Mapped[str] = mapped_column(default="")
    version: Mapped[str] = mapped_column(default="")
    created_at: Mapped[float]


class Pool(Base):
    """``media``: hdd or ssd; a pool takes devices of its own media type only.

    ``rebuild_…`` is its domain.policy.Policy; ``rebalance``: even it out when devices come.
    """

    __tablename__ = "pools"
    id: Mapped[str] = mapped_column(primary_key=True)
    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), index=True)
    name: Mapped[str]
    media: Mapped[str] = mapped_column(default="ssd")
    spare_percent: Mapped[int] = mapped_column(default=0)
    warn_percent: Mapped[int] = mapped_column(default=80)
    critical_percent: Mapped[int] = mapped_column(default=90)
    rebuild_policy: Mapped[str] = mapped_column(default="favour_application")
    rebuild_copies: Mapped[int] = mapped_column(default=0)
    rebuild_bandwidth: Mapped[int] = mapped_column(BigInteger, default=0)
    rebalance: Mapped[bool] = mapped_column(default=True)
    policy: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[float]
    __table_args__ = (UniqueConstraint("domain_id", "name"),)


class Device(Base):
    """``state``: adding, ok, failed, missing, refused, removing. ``draining``: its replicas move
    away, after which it is removed. ``absent_since``: since when it is not to be had."""

    __tablename__ = "devices"
    id: Mapped[str] = mapped_column(primary_key=True)
    sds_id: Mapped[str] = mapped_column(ForeignKey("sds.id"), index=True)
    pool_id: Mapped[str] = mapped_column(ForeignKey("pools.id"), index=True)
    path: Mapped[str]
    media: Mapped[str] = mapped_column(default="ssd")
    state: Mapped[str] = mapped_column(default="adding")
    reason: Mapped[str] = mapped_column(default="")
    limit_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    capacity_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    free_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    draining: Mapped[bool] = mapped_column(default=False)
    absent_since: Mapped[float | None]
    created_at: Mapped[float]
    sds: Mapped[Sds] = relationship()
    __table_args__ = (UniqueConstraint("sds_id", "path"),)


class Sdc(Base):
    __tablename__ = "sdcs"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    hosts: Mapped[list[str]]
    control_port: Mapped[int]
    secret_hash: Mapped[str]
    approved: Mapped[bool] = mapped_column(default=True)
    boot_id: Mapped[str] = mapped_column(default="")
    version: Mapped[str] = mapped_column(default="")
    created_at: Mapped[float]


class Volume(Base):
    """``state``: allocating (thick, not yet reserved), ready, deleting.

    ``turn_open`` is committed before any agent hears of ``generation``, so that an MDM that
    restarts knows to begin the turn anew (R4). ``stuck`` says why a replica that should move or be
    made anew has nowhere to go. ``unproved``: the database was put back from a
    backup, and no turn begins before every SDS with a part of the volume was heard (R10).
    """

    __tablename__ = "volumes"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    pool_id: Mapped[str] = mapped_column(ForeignKey("pools.id"), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    thin: Mapped[bool]
    shareable: Mapped[bool] = mapped_column(default=False)
    ncols: Mapped[int]
    unit: Mapped[int]
    wait_limit_s: Mapped[float]
    state: Mapped[str]
    generation: Mapped[int] = mapped_column(BigInteger, default=1)
    map_version: Mapped[int] = mapped_column(BigInteger, default=1)
    turn_open: Mapped[bool] = mapped_column(default=False, index=True)
    lost_generation: Mapped[int] = mapped_column(BigInteger, default=0)
    stuck: Mapped[str] = mapped_column(default="")
    unproved: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float]
    replicas: Mapped[list["Replica"]] = relationship(
        order_by="Replica.column, Replica.slot", cascade="all, delete-orphan"
    )
    legs: Mapped[list["VolumeLeg"]] = relationship(cascade="all, delete-orphan")
    mappings: Mapped[list["Mapping"]] = relationship(cascade="all, delete-orphan")
    incarnations: Mapped[list["Incarnation"]] = relationship(cascade="all, delete-orphan")
    moves: Mapped[list["Move"]] = relationship(order_by="Move.column", cascade="all, delete-orphan")
    pool: Mapped[Pool] = relationship()
    scrub: Mapped["Scrub | None"] = relationship(cascade="all, delete-orphan")


class Replica(Base):
    """One of ``ncols * 2`` entries of a volume's map; a column that moves has a third.

    ``state`` is a domain.model.ReplicaState.
    ``full_copy``: the next copy takes everything, not the marked regions only (R8).
    """

    __tablename__ = "replicas"
    volume_id: Mapped[str] = mapped_column(ForeignKey("volumes.id"), primary_key=True)
    column: Mapped[int] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    state: Mapped[str]
    full_copy: Mapped[bool] = mapped_column(default=False)


class Move(Base):
    """A column's replica on its way from one device to another, by way of a third copy.

    The one on ``to_device_id`` leaves again if ``cancelled``; else the one on ``from_device_id``
    does, once that is in sync. ``job_id`` is the job whose ``total_bytes`` it has part of.
    """

    __tablename__ = "moves"
    volume_id: Mapped[str] = mapped_column(ForeignKey("volumes.id"), primary_key=True)
    column: Mapped[int] = mapped_column(primary_key=True)
    from_device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    to_device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    total_bytes: Mapped[int] = mapped_column(BigInteger)
    done_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    expected_bytes: Mapped[int] = mapped_column(BigInteger)
    cancelled: Mapped[bool] = mapped_column(default=False)


class VolumeLeg(Base):
    """One (volume, device): what it last reported, and what it is ordered to be.

    ``generation``, ``cache_id``, ``port``, ``socket``, ``data_export`` and ``intents`` are of
    its newest seal. ``created``: the generation that made its files; a later one means that they
    were lost. ``reserved_bytes`` is what a thick volume's columns keep here, 0 if thin.
    ``pace``: bytes a second that a copy to it may take, 0 for no limit, -1 while it has to wait.
    ``revision`` is the cluster's revision at which its order last changed, ``request_id`` the
    request that changed it.
    A row with ``deleting`` is a tombstone: it goes when the agent said that nothing is left.
    """

    __tablename__ = "legs"
    volume_id: Mapped[str] = mapped_column(ForeignKey("volumes.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    created: Mapped[int] = mapped_column(BigInteger, default=0)
    cache_id: Mapped[str] = mapped_column(default="")
    serving: Mapped[bool] = mapped_column(default=False)
    port: Mapped[int] = mapped_column(default=0)
    socket: Mapped[str] = mapped_column(default="")
    data_export: Mapped[str] = mapped_column(default="")
    sums_export: Mapped[str] = mapped_column(default="")
    intents: Mapped[dict[str, str]] = mapped_column(default=dict)
    synced: Mapped[list[str]] = mapped_column(default=list)
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    allocated: Mapped[bool] = mapped_column(default=False)
    used_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    reserved_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    pace: Mapped[int] = mapped_column(BigInteger, default=-1)
    error: Mapped[str] = mapped_column(default="")
    revision: Mapped[int] = mapped_column(BigInteger, default=0, index=True)
    request_id: Mapped[str] = mapped_column(default="")
    deleting: Mapped[bool] = mapped_column(default=False)
    __table_args__ = (
        Index(None, "device_id", "revision"),
        # Reservations are added up at every placement; thin volumes cost that nothing.
        Index(
            "ix_legs_reserved",
            "device_id",
            "reserved_bytes",
            "allocated",
            sqlite_where=text("reserved_bytes > 0"),
            postgresql_where=text("reserved_bytes > 0"),
        ),
    )


class Mapping(Base):
    """``state``: attaching, attached, detaching, failed. ``wanted`` false: to be detached.

    ``request_id``: the newest request of a person about it. ``cut_off``: the incarnation that was
    shut out without its client's word, and must not come back under its id (R7).
    """

    __tablename__ = "mappings"
    id: Mapped[str] = mapped_column(primary_key=True)
    volume_id: Mapped[str] = mapped_column(ForeignKey("volumes.id"), index=True)
    sdc_id: Mapped[str] = mapped_column(ForeignKey("sdcs.id"), index=True)
    read_only: Mapped[bool] = mapped_column(default=False)
    backend: Mapped[str] = mapped_column(default="auto")
    wanted: Mapped[bool] = mapped_column(default=True)
    force: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(default="attaching")
    used_backend: Mapped[str] = mapped_column(default="")
    backend_reason: Mapped[str] = mapped_column(default="")
    device: Mapped[str] = mapped_column(default="")
    device_size: Mapped[int] = mapped_column(BigInteger, default=0)
    link: Mapped[str] = mapped_column(default="")
    uri: Mapped[str] = mapped_column(default="")
    error: Mapped[str] = mapped_column(default="")
    request_id: Mapped[str] = mapped_column(default="")
    cut_off: Mapped[str] = mapped_column(default="")
    created_at: Mapped[float]
    __table_args__ = (UniqueConstraint("volume_id", "sdc_id"),)


class Incarnation(Base):
    """One start of a plugin. ``state``: live, clean (ended cleanly), doubt (R7), retiring.

    The row, and with it the intent files, stays until the copies are equal and fdatasynced (R3).
    """

    __tablename__ = "incarnations"
    id: Mapped[str] = mapped_column(primary_key=True)
    volume_id: Mapped[str] = mapped_column(ForeignKey("volumes.id"), index=True)
    mapping_id: Mapped[str] = mapped_column(index=True)
    sdc_id: Mapped[str]
    state: Mapped[str] = mapped_column(default="live")
    lock_token: Mapped[str]
    created_at: Mapped[float]


class Scrub(Base):
    """The pass over a volume that goes on, or the last one. ``state``: idle, queued, running,
    paused. ``position``: bytes looked at. ``told``: number of the newest finding in the events.
    ``finished_at``: when a pass was last done to the end.
    """

    __tablename__ = "scrubs"
    volume_id: Mapped[str] = mapped_column(ForeignKey("volumes.id"), primary_key=True)
    state: Mapped[str] = mapped_column(index=True)
    pass_id: Mapped[str]
    position: Mapped[int] = mapped_column(BigInteger)
    compared_bytes: Mapped[int] = mapped_column(BigInteger)
    skipped: Mapped[int]
    mismatches: Mapped[int]
    repaired: Mapped[int]
    told: Mapped[int]
    total_mismatches: Mapped[int]
    total_repaired: Mapped[int]
    detail: Mapped[str]
    started_at: Mapped[float]
    finished_at: Mapped[float | None]


class Job(Base):
    """Long work with progress. ``state``: running, done, failed, cancelled.

    ``moved_bytes`` are of the moves that are over; ``rate`` is in bytes a second, measured since
    ``rate_at``, when ``rate_bytes`` were done.
    """

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject_kind: Mapped[str]
    subject_id: Mapped[str] = mapped_column(index=True)
    subject_name: Mapped[str]
    state: Mapped[str] = mapped_column(default="running", index=True)
    done_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    total_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    moved_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    rate: Mapped[float] = mapped_column(default=0.0)
    rate_at: Mapped[float] = mapped_column(default=0.0)
    rate_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    detail: Mapped[str] = mapped_column(default="")
    request_id: Mapped[str]
    started_at: Mapped[float]
    updated_at: Mapped[float]
    finished_at: Mapped[float | None]


class Event(Base):
    """Every change: who, what, when, under which request."""

    __tablename__ = "events"
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(index=True)
    who: Mapped[str]
    request_id: Mapped[str]
    kind: Mapped[str] = mapped_column(index=True)
    subject_kind: Mapped[str]
    subject_id: Mapped[str] = mapped_column(index=True)
    subject_name: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # A number is never given twice, even if all events were pruned: readers go on "after" one.
    __table_args__ = {"sqlite_autoincrement": True}


class Token(Base):
    """People's and programs' tokens; only the hash is kept. ``role``: one of people's
    (``services.tokens``), or join."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]
