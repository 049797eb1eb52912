"""What MGMT measures by itself: whether the MDM answers, certificates, its own health."""

import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography import x509

from appliance.mgmt.alerts import engine

Reading = engine.Reading

_DAY_S = 86400.0


def mdm(silent_s: float, why: str) -> Iterator[Reading]:
    """``silent_s``: since when the MDM has given no whole answer, 0 while it does."""
    if silent_s:
        text = f"The MDM has not answered for {silent_s:.0f} s: {why}"
        yield Reading("mdm_unreachable", "mdm", "mdm", "MDM", silent_s, text)


def certificates(files: Iterable[str], now: float) -> Iterator[Reading]:
    """Days until each certificate of each PEM file ends; a file that cannot be read counts 0."""
    for name in files:
        try:
            found = x509.load_pem_x509_certificates(Path(name).read_bytes())
            ends = min(one.not_valid_after_utc for one in found)
        except (OSError, ValueError) as exc:
            text = f"Certificate {name} cannot be read: {exc}"
            yield Reading("certificate_expiring", "certificate", name, name, 0.0, text)
            continue
        days = (ends.timestamp() - now) / _DAY_S
        day = ends.astimezone(datetime.UTC).date().isoformat()
        text = f"Certificate {name} ends in {days:.0f} days, on {day}"
        if days < 0:
            text = f"Certificate {name} ended {-days:.0f} days ago, on {day}"
        yield Reading("certificate_expiring", "certificate", name, name, days, text)


def undelivered(failed: dict[str, tuple[int, str]]) -> Iterator[Reading]:
    """Messages given up, by channel name: how many, and the last error."""
    for channel, (count, error) in failed.items():
        text = f"{count} messages could not be delivered over {channel}: {error}"
        yield Reading("delivery_failed", "channel", channel, channel, count, text)


def unhealed(given_up: dict[str, tuple[int, str]]) -> Iterator[Reading]:
    """Parts whose healing reached its limit: attempts and the last error, by name."""
    for part, (attempts, error) in given_up.items():
        text = f"{part} could not be healed in {attempts} attempts: {error}"
        yield Reading("heal_failed", "part", part, part, attempts, text)
