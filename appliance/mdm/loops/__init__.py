"""What the MDM does by itself, again and again, each in a ``common.daemon.Loop``."""
