"""How Alembic reaches the database: over the connection that ``db.database`` hands it."""

from alembic import context

from appliance.mgmt.db import models


def _run() -> None:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=models.Base.metadata,
        # SQLite cannot alter most things in place: Alembic then copies the table.
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
