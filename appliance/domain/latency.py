"""Histograms of durations: one set of buckets for all roles, so that counts can be added up.

Counts are kept per bucket, not cumulated; the last one has no upper bound.
"""

import bisect
from collections.abc import Iterable, Sequence

#: Upper bounds in seconds, from a cached read to a request that waits for a turn.
BOUNDS_S = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0, 60.0,
)  # fmt: skip

#: Buckets of a histogram.
BUCKETS = len(BOUNDS_S) + 1


def bucket(duration_s: float) -> int:
    """The bucket ``duration_s`` falls into; a bound belongs to the bucket below it."""
    return bisect.bisect_left(BOUNDS_S, duration_s)


def total(histograms: Iterable[Sequence[int]]) -> list[int]:
    """The sum, bucket by bucket. Shorter ones are taken as ending in zeroes."""
    found = [0] * BUCKETS
    for counts in histograms:
        for index, count in enumerate(counts[:BUCKETS]):
            found[index] += count
    return found


def since(newer: Sequence[int], older: Sequence[int]) -> list[int]:
    """What came in between; everything in ``newer`` if counting began anew."""
    before = list(older) + [0] * (len(newer) - len(older))
    found = [count - old for count, old in zip(newer, before, strict=False)]
    return list(newer) if any(count < 0 for count in found) else found


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Seconds that ``share`` (0 to 1) of all durations do not exceed; None if there are none.

    Within a bucket durations are taken as evenly spread, as Prometheus does. What lies beyond
    the last bound is told as that bound.
    """
    wanted = share * sum(counts)
    if not sum(counts):
        return None
    seen = 0.0
    for index, count in enumerate(counts):
        if count and seen + count >= wanted:
            if index >= len(BOUNDS_S):
                return BOUNDS_S[-1]
            lower = BOUNDS_S[index - 1] if index else 0.0
            return lower + (BOUNDS_S[index] - lower) * max(0.0, wanted - seen) / count
        seen += count
    return BOUNDS_S[-1]
