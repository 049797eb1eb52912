"""Alembic's scripts for MGMT's database."""
