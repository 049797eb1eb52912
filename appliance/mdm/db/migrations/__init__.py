"""Alembic's scripts: each brings a database from one release's schema to the next one's."""
