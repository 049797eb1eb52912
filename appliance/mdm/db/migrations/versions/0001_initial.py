"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cluster",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("recovered_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cluster")),
    )
    op.create_table(
        "domains",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rebuild_delay_s", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domains")),
        sa.UniqueConstraint("name", name=op.f("uq_domains_name")),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("subject_name", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_events_kind"), ["kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_events_subject_id"), ["subject_id"], unique=False)

    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("subject_name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("done_bytes", sa.BigInteger(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("moved_bytes", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.Column("rate_at", sa.Double(), nullable=False),
        sa.Column("rate_bytes", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_subject_id"), ["subject_id"], unique=False)

    op.create_table(
        "sdcs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hosts", sa.JSON(), nullable=False),
        sa.Column("control_port", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sdcs")),
        sa.UniqueConstraint("name", name=op.f("uq_sdcs_name")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_tokens_hash")),
        sa.UniqueConstraint("name", name=op.f("uq_tokens_name")),
    )
    op.create_table(
        "fault_sets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("domain_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domains.id"], name=op.f("fk_fault_sets_domain_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fault_sets")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_fault_sets_domain_id_name")),
    )
    with op.batch_alter_table("fault_sets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_fault_sets_domain_id"), ["domain_id"], unique=False)

    op.create_table(
        "pools",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("domain_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("media", sa.String(), nullable=False),
        sa.Column("spare_percent", sa.Integer(), nullable=False),
        sa.Column("warn_percent", sa.Integer(), nullable=False),
        sa.Column("critical_percent", sa.Integer(), nullable=False),
        sa.Column("rebuild_policy", sa.String(), nullable=False),
        sa.Column("rebuild_copies", sa.Integer(), nullable=False),
        sa.Column("rebuild_bandwidth", sa.BigInteger(), nullable=False),
        sa.Column("rebalance", sa.Boolean(), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_pools_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pools")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_pools_domain_id_name")),
    )
    with op.batch_alter_table("pools", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pools_domain_id"), ["domain_id"], unique=False)

    op.create_table(
        "sds",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("domain_id", sa.String(), nullable=False),
        sa.Column("fault_set_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("hosts", sa.JSON(), nullable=False),
        sa.Column("control_port", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_sds_domain_id")),
        sa.ForeignKeyConstraint(
            ["fault_set_id"], ["fault_sets.id"], name=op.f("fk_sds_fault_set_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sds")),
        sa.UniqueConstraint("name", name=op.f("uq_sds_name")),
    )
    with op.batch_alter_table("sds", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sds_domain_id"), ["domain_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_sds_fault_set_id"), ["fault_set_id"], unique=False)

    op.create_table(
        "volumes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("pool_id", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("thin", sa.Boolean(), nullable=False),
        sa.Column("shareable", sa.Boolean(), nullable=False),
        sa.Column("ncols", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("wait_limit_s", sa.Double(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("map_version", sa.BigInteger(), nullable=False),
        sa.Column("turn_open", sa.Boolean(), nullable=False),
        sa.Column("lost_generation", sa.BigInteger(), nullable=False),
        sa.Column("stuck", sa.String(), nullable=False),
        sa.Column("unproved", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_volumes_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volumes")),
        sa.UniqueConstraint("name", name=op.f("uq_volumes_name")),
    )
    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_volumes_pool_id"), ["pool_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_volumes_turn_open"), ["turn_open"], unique=False)

    op.create_table(
        "devices",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sds_id", sa.String(), nullable=False),
        sa.Column("pool_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("media", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("limit_bytes", sa.BigInteger(), nullable=False),
        sa.Column("capacity_bytes", sa.BigInteger(), nullable=False),
        sa.Column("free_bytes", sa.BigInteger(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("absent_since", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_devices_pool_id")),
        sa.ForeignKeyConstraint(["sds_id"], ["sds.id"], name=op.f("fk_devices_sds_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("sds_id", "path", name=op.f("uq_devices_sds_id_path")),
    )
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_devices_pool_id"), ["pool_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_devices_sds_id"), ["sds_id"], unique=False)

    op.create_table(
        "incarnations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("mapping_id", sa.String(), nullable=False),
        sa.Column("sdc_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("lock_token", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["volume_id"], ["volumes.id"], name=op.f("fk_incarnations_volume_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incarnations")),
    )
    with op.batch_alter_table("incarnations", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_incarnations_mapping_id"), ["mapping_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_incarnations_volume_id"), ["volume_id"], unique=False)

    op.create_table(
        "mappings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("sdc_id", sa.String(), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("backend", sa.String(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("used_backend", sa.String(), nullable=False),
        sa.Column("backend_reason", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("device_size", sa.BigInteger(), nullable=False),
        sa.Column("link", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("cut_off", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["sdc_id"], ["sdcs.id"], name=op.f("fk_mappings_sdc_id")),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"], name=op.f("fk_mappings_volume_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mappings")),
        sa.UniqueConstraint("volume_id", "sdc_id", name=op.f("uq_mappings_volume_id_sdc_id")),
    )
    with op.batch_alter_table("mappings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_mappings_sdc_id"), ["sdc_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_mappings_volume_id"), ["volume_id"], unique=False)

    op.create_table(
        "legs",
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("cache_id", sa.String(), nullable=False),
        sa.Column("serving", sa.Boolean(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("socket", sa.String(), nullable=False),
        sa.Column("data_export", sa.String(), nullable=False),
        sa.Column("sums_export", sa.String(), nullable=False),
        sa.Column("intents", sa.JSON(), nullable=False),
        sa.Column("synced", sa.JSON(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("allocated", sa.Boolean(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reserved_bytes", sa.BigInteger(), nullable=False),
        sa.Column("pace", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_legs_device_id")),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"], name=op.f("fk_legs_volume_id")),
        sa.PrimaryKeyConstraint("volume_id", "device_id", name=op.f("pk_legs")),
    )
    with op.batch_alter_table("legs", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_legs_device_id_revision"), ["device_id", "revision"], unique=False
        )
        batch_op.create_index(
            "ix_legs_reserved",
            ["device_id", "reserved_bytes", "allocated"],
            unique=False,
            sqlite_where=sa.text("reserved_bytes > 0"),
            postgresql_where=sa.text("reserved_bytes > 0"),
        )
        batch_op.create_index(batch_op.f("ix_legs_revision"), ["revision"], unique=False)

    op.create_table(
        "scrubs",
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("pass_id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("compared_bytes", sa.BigInteger(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("mismatches", sa.Integer(), nullable=False),
        sa.Column("repaired", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("total_mismatches", sa.Integer(), nullable=False),
        sa.Column("total_repaired", sa.Integer(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"], name=op.f("fk_scrubs_volume_id")),
        sa.PrimaryKeyConstraint("volume_id", name=op.f("pk_scrubs")),
    )
    with op.batch_alter_table("scrubs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_scrubs_state"), ["state"], unique=False)

    op.create_table(
        "replicas",
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("column", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("full_copy", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_replicas_device_id")),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"], name=op.f("fk_replicas_volume_id")),
        sa.PrimaryKeyConstraint("volume_id", "column", "slot", name=op.f("pk_replicas")),
    )
    with op.batch_alter_table("replicas", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_replicas_device_id"), ["device_id"], unique=False)

    op.create_table(
        "moves",
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("column", sa.Integer(), nullable=False),
        sa.Column("from_device_id", sa.String(), nullable=False),
        sa.Column("to_device_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("done_bytes", sa.BigInteger(), nullable=False),
        sa.Column("expected_bytes", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["from_device_id"], ["devices.id"], name=op.f("fk_moves_from_device_id")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_moves_job_id")),
        sa.ForeignKeyConstraint(
            ["to_device_id"], ["devices.id"], name=op.f("fk_moves_to_device_id")
        ),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"], name=op.f("fk_moves_volume_id")),
        sa.PrimaryKeyConstraint("volume_id", "column", name=op.f("pk_moves")),
    )
    with op.batch_alter_table("moves", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_moves_from_device_id"), ["from_device_id"])
        batch_op.create_index(batch_op.f("ix_moves_job_id"), ["job_id"])
        batch_op.create_index(batch_op.f("ix_moves_to_device_id"), ["to_device_id"])


def downgrade() -> None:
    with op.batch_alter_table("moves", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_moves_to_device_id"))
        batch_op.drop_index(batch_op.f("ix_moves_job_id"))
        batch_op.drop_index(batch_op.f("ix_moves_from_device_id"))

    op.drop_table("moves")
    with op.batch_alter_table("replicas", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_replicas_device_id"))

    op.drop_table("replicas")
    with op.batch_alter_table("scrubs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_scrubs_state"))

    op.drop_table("scrubs")
    with op.batch_alter_table("legs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_legs_revision"))
        batch_op.drop_index(
            "ix_legs_reserved",
            sqlite_where=sa.text("reserved_bytes > 0"),
            postgresql_where=sa.text("reserved_bytes > 0"),
        )
        batch_op.drop_index(batch_op.f("ix_legs_device_id_revision"))

    op.drop_table("legs")
    with op.batch_alter_table("mappings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_mappings_volume_id"))
        batch_op.drop_index(batch_op.f("ix_mappings_sdc_id"))

    op.drop_table("mappings")
    with op.batch_alter_table("incarnations", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_incarnations_volume_id"))
        batch_op.drop_index(batch_op.f("ix_incarnations_mapping_id"))

    op.drop_table("incarnations")
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_devices_sds_id"))
        batch_op.drop_index(batch_op.f("ix_devices_pool_id"))

    op.drop_table("devices")
    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_volumes_turn_open"))
        batch_op.drop_index(batch_op.f("ix_volumes_pool_id"))

    op.drop_table("volumes")
    with op.batch_alter_table("sds", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sds_fault_set_id"))
        batch_op.drop_index(batch_op.f("ix_sds_domain_id"))

    op.drop_table("sds")
    with op.batch_alter_table("pools", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pools_domain_id"))

    op.drop_table("pools")
    with op.batch_alter_table("fault_sets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_fault_sets_domain_id"))

    op.drop_table("fault_sets")
    op.drop_table("tokens")
    op.drop_table("sdcs")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_subject_id"))
        batch_op.drop_index(batch_op.f("ix_jobs_state"))

    op.drop_table("jobs")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_events_subject_id"))
        batch_op.drop_index(batch_op.f("ix_events_kind"))
        batch_op.drop_index(batch_op.f("ix_events_at"))

    op.drop_table("events")
    op.drop_table("domains")
    op.drop_table("cluster")
