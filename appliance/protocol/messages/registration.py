"""How an agent becomes known to the MDM."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Registration:
    """An agent's first words, sent with the join token. ``name`` is unique among its role.

    ``id`` and ``cluster_id`` are what it was given before, if it was: a recovered database knows
    no secrets, and takes it back by them.
    """

    name: str
    hosts: tuple[str, ...]
    control_port: int
    domain: str = "default"
    fault_set: str = ""
    version: str = ""
    id: str = ""
    cluster_id: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """The answer: who the agent is from now on, and the secret it keeps (0600)."""

    id: str
    secret: str
    cluster_id: str
