"""The static files, read once: by name, their media type and content; and their common version."""

import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def _read() -> dict[str, tuple[str, bytes]]:
    return {
        str(path.relative_to(_FOLDER)): (_TYPES[path.suffix], path.read_bytes())
        for path in sorted(_FOLDER.rglob("*"))
        if path.suffix in _TYPES
    }


FILES = _read()

#: Changes with every change of any file.
VERSION = hashlib.sha256(b"".join(content for _, content in FILES.values())).hexdigest()[:12]


def url(name: str) -> str:
    """Where ``name`` is served. Raises KeyError for a file that is not there."""
    _ = FILES[name]
    return f"/static/{VERSION}/{name}"
