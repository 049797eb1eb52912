"""The MDM: the one place that decides. Never in the data path."""
