"""Basalt: software-defined block storage. Each sub-package is one role or one layer."""
