"""What the three roles of people may do, in rising order. The MDM knows the same words."""

from appliance.common import errors

MONITOR = "monitor"
CONFIGURE = "configure"
ADMINISTRATOR = "administrator"

#: Each may do what those before it may.
ORDER = (MONITOR, CONFIGURE, ADMINISTRATOR)


def at_least(have: str, needed: str) -> bool:
    """Whether role ``have`` may do what ``needed`` is needed for; an unknown role may nothing."""
    return have in ORDER and ORDER.index(have) >= ORDER.index(needed)


def lesser(one: str, other: str) -> str:
    """The one of two roles that may do less."""
    return min(one, other, key=ORDER.index)


def check(have: str, needed: str, who: str) -> None:
    """Raises errors.Forbidden."""
    if not at_least(have, needed):
        raise errors.Forbidden(why=f"{who} has role '{have}', and this needs '{needed}'")
