"""The command ``basalt``: people's side of the REST API, and the single-host cluster."""
