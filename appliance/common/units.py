"""Sizes in words and back. Called by the CLI, configuration and messages; binary units only."""

import re

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

#: Largest size anything in Basalt may have: ext4's file limit, hence a volume's (16 TiB).
MAX_VOLUME_BYTES = 16 * TIB

_FACTORS = {
    "": 1,
    "b": 1,
    "k": KIB,
    "kib": KIB,
    "m": MIB,
    "mib": MIB,
    "g": GIB,
    "gib": GIB,
    "t": TIB,
    "tib": TIB,
}
_SIZE = re.compile(r"\s*(\d{1,20})(?:\.(\d{1,6}))?\s*([A-Za-z]*)\s*", re.ASCII)


def parse_size(text: str) -> int:
    """Bytes meant by ``text``: ``"512"``, ``"8G"``, ``"1.5 TiB"``. Units are powers of 1024.

    Raises ValueError with a sentence for a person if the text is no size or no whole
    number of bytes.
    """
    match = _SIZE.fullmatch(text)
    factor = _FACTORS.get(match.group(3).lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size; write it like 512MiB, 8GiB or 2TiB")
    whole, fraction, _ = match.groups()
    size = int(whole) * factor
    if fraction:
        part, rest = divmod(int(fraction) * factor, 10 ** len(fraction))
        if rest:
            raise ValueError(f"{text!r} is not a whole number of bytes")
        size += part
    return size


def format_size(size: int) -> str:
    """``size`` bytes for a person: exact when it is a round number, else one decimal."""
    for name, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(size) >= factor:
            if size % factor == 0:
                return f"{size // factor} {name}"
            return f"{size / factor:.1f} {name}"
    return f"{size} B"
