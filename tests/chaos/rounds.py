"""What a round of chaos did, and what it may find."""

from dataclasses import dataclass, field


class Finding(Exception):
    """The product did what it must not do."""


@dataclass
class Round:
    """What one round did, for its line of output."""

    number: int
    faults: list[str] = field(default_factory=list)
    operations: int = 0
    remaps: int = 0
    longest_write_s: float = 0.0
    longest_read_s: float = 0.0
    refused: int = 0
    healed_s: float = 0.0
    generation: int = 0

    def line(self) -> str:
        return (
            f"round {self.number}: {self.operations} ops, {self.remaps} new maps, longest write "
            f"{self.longest_write_s:.2f} s, read {self.longest_read_s:.2f} s, {self.refused} "
            f"refused, healthy after {self.healed_s:.1f} s, generation {self.generation}: "
            + "; ".join(self.faults)
        )


def quiet(_line: str) -> None:
    """Nobody wants to know."""
