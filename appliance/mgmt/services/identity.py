"""Who a request is from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """``csrf`` is the session's; "" for a token, which no browser sends by itself."""

    user_id: str
    name: str
    role: str
    peer: str
    csrf: str = ""
    session_hash: str = ""
