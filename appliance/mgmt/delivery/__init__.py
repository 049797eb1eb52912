"""How people hear of alerts: a queue in the database, and one file per kind of channel."""
