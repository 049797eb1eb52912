"""MGMT's own database: users, sessions, alerts, history. Nothing about storage is decided here."""
