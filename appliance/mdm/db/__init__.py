"""The MDM's database: tables, engine, migrations."""
