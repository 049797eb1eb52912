"""Which release this is. Read when a process starts: later no descriptor may be left for it."""

import importlib.metadata

#: Of the installed package. A tree that was never installed stops here.
VERSION = importlib.metadata.version("basalt")
