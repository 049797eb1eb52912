"""Which two devices hold each column of a volume. Pure; called when a volume is made.

Weighted rendezvous hashing (Thaler & Ravishankar 1998; weights after Schindelhauer & Schomaker
2005) gives every (column, device) pair a score that depends on nothing else, so that a device
more or less moves about its own share. Quotas on top keep each single volume even.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.common import errors, units
from appliance.domain import model

_SCORE_BYTES = 8
_SCORES_PER_DIGEST = hashlib.blake2b.MAX_DIGEST_SIZE // _SCORE_BYTES


@dataclass(frozen=True, slots=True)
class Target:
    """A device that may take replicas.

    ``fault_set`` is the id of the SDS's fault set, or the SDS's own id if it has none: two
    replicas of a column never share one. ``weight`` is its capacity in bytes. ``room`` is how
    many bytes may still be reserved on it; None where nothing is reserved (thin volumes).
    """

    device_id: str
    fault_set: str
    weight: int
    room: int | None = None


def place(
    key: str, ncols: int, column_bytes: int, targets: Sequence[Target]
) -> tuple[tuple[str, ...], ...]:
    """Device ids of the replicas of each of ``ncols`` columns of ``column_bytes`` bytes each.

    ``key`` (the volume's id) decides, with the devices' ids, where columns go. Raises
    errors.NoCapacity with the numbers if the devices cannot take them.
    """
    targets = sorted(targets, key=lambda target: target.device_id)
    limits = _limits(ncols, column_bytes, targets)
    quotas = _quotas(key, ncols, targets, limits)
    needed = ncols * model.REPLICAS
    if sum(quotas.values()) < needed:
        raise errors.NoCapacity(why=_shortage(ncols, column_bytes, targets, sum(quotas.values())))
    return _assign(key, ncols, targets, quotas)


def shares(key: str, ncols: int, targets: Sequence[Target]) -> dict[str, int]:
    """How many columns of a volume each device should hold, room apart; fewer than all of them if
    there are too few fault sets. What ``place`` keeps to and moves even out."""
    targets = sorted(targets, key=lambda target: target.device_id)
    limits = {target.device_id: ncols for target in targets}
    return _quotas(key, ncols, targets, limits)


def score(key: str, column: int, target: Target) -> float:
    """How much a column is drawn to a device; depends on nothing else."""
    first = column // _SCORES_PER_DIGEST * _SCORES_PER_DIGEST
    digest = _digest(key, target.device_id, first)
    return _score(digest, column - first, max(1, target.weight))


def _limits(ncols: int, column_bytes: int, targets: Sequence[Target]) -> dict[str, int]:
    """How many columns each device could take at most."""
    fault_sets = {target.fault_set for target in targets}
    if len(fault_sets) < model.REPLICAS:
        raise errors.NoCapacity(
            why=f"{model.REPLICAS} copies need usable devices in {model.REPLICAS} fault sets; "
            f"there are {len(targets)} usable devices in {len(fault_sets)}"
        )
    return {
        target.device_id: ncols
        if target.room is None
        else min(ncols, max(0, target.room) // max(1, column_bytes))
        for target in targets
    }


def _shortage(ncols: int, column_bytes: int, targets: Sequence[Target], placed: int) -> str:
    needed = ncols * model.REPLICAS * column_bytes
    room = sum(max(0, target.room or 0) for target in targets)
    return (
        f"{units.format_size(needed)} must be reserved ({model.REPLICAS} copies of {ncols} columns "
        f"of {units.format_size(column_bytes)}), but {len(targets)} devices with "
        f"{units.format_size(room)} free take only {placed} of {ncols * model.REPLICAS} of them"
    )


def _quotas(
    key: str, ncols: int, targets: Sequence[Target], limits: Mapping[str, int]
) -> dict[str, int]:
    """How many columns each device takes: proportional to weight, within limits.

    A fault set takes no column twice. Shares are filled like water: what one over its limit
    cannot take is spread over the others. Fractions go by hash, differently for each ``key``.
    """
    members: dict[str, list[Target]] = {}
    for target in targets:
        members.setdefault(target.fault_set, []).append(target)
    set_limits = {
        name: min(ncols, sum(limits[t.device_id] for t in group)) for name, group in members.items()
    }
    set_weights = {
        name: sum(max(1, t.weight) for t in group if limits[t.device_id])
        for name, group in members.items()
    }
    per_set = _apportion(key, ncols * model.REPLICAS, set_weights, set_limits)
    quotas: dict[str, int] = {}
    for name, group in members.items():
        weights = {t.device_id: max(1, t.weight) for t in group}
        own_limits = {t.device_id: limits[t.device_id] for t in group}
        quotas |= _apportion(key, per_set[name], weights, own_limits)
    return quotas


def _apportion(
    key: str, total: int, weights: Mapping[str, int], limits: Mapping[str, int]
) -> dict[str, int]:
    """``total`` items over ``weights``' names, none over its limit; fewer if all are full."""
    shares: dict[str, float] = {}
    open_names = {name for name in weights if limits[name] > 0}
    rest = float(total)
    while open_names:
        per_weight = rest / sum(weights[name] for name in open_names)
        full = {n for n in open_names if weights[n] * per_weight >= limits[n]}
        if not full:
            shares |= {name: weights[name] * per_weight for name in open_names}
            break
        shares |= {name: float(limits[name]) for name in full}
        rest = max(0.0, rest - sum(limits[name] for name in full))
        open_names -= full
    counts = {name: int(shares.get(name, 0.0)) for name in weights}
    missing = min(total, sum(limits.values())) - sum(counts.values())
    by_fraction = sorted(
        (name for name in weights if counts[name] < limits[name]),
        # A fraction f wins its extra item with a chance that grows with f.
        key=lambda name: _score(_digest(key, name, -1), 0, shares[name] - counts[name] + 1e-9),
        reverse=True,
    )
    for name in by_fraction[: max(0, missing)]:
        counts[name] += 1
    return counts


def _assign(
    key: str, ncols: int, targets: Sequence[Target], quotas: dict[str, int]
) -> tuple[tuple[str, ...], ...]:
    """Best scores first, as far as quotas and fault sets allow; what is stuck is swapped in."""
    fault_set = {target.device_id: target.fault_set for target in targets}
    columns: list[list[str]] = [[] for _ in range(ncols)]
    left = dict(quotas)
    for _, column, device in _ranking(key, ncols, targets):
        chosen = columns[column]
        if len(chosen) == model.REPLICAS or not left[device]:
            continue
        if all(fault_set[other] != fault_set[device] for other in chosen):
            chosen.append(device)
            left[device] -= 1
    for column in range(ncols):
        while len(columns[column]) < model.REPLICAS:
            _swap_in(column, columns, left, fault_set)
    return tuple(tuple(chosen) for chosen in columns)


def _ranking(key: str, ncols: int, targets: Sequence[Target]) -> list[tuple[float, int, str]]:
    """(-score, column, device), best first."""
    ranking = []
    for target in targets:
        for first in range(0, ncols, _SCORES_PER_DIGEST):
            digest = _digest(key, target.device_id, first)
            for index in range(min(_SCORES_PER_DIGEST, ncols - first)):
                score = _score(digest, index, max(1, target.weight))
                ranking.append((-score, first + index, target.device_id))
    ranking.sort()
    return ranking


def _digest(key: str, name: str, first: int) -> bytes:
    return hashlib.blake2b(f"{key}/{name}/{first}".encode()).digest()


def _score(digest: bytes, index: int, weight: float) -> float:
    part = digest[index * _SCORE_BYTES : (index + 1) * _SCORE_BYTES]
    uniform = (int.from_bytes(part, "little") + 0.5) / 2.0 ** (8 * _SCORE_BYTES)
    return -weight / math.log(uniform)


def _swap_in(
    column: int,
    columns: list[list[str]],
    left: dict[str, int],
    fault_set: Mapping[str, str],
) -> None:
    """Give ``column`` one more replica: from another column, which takes one with quota left."""
    taken = {fault_set[device] for device in columns[column]}
    spare = next(device for device, count in left.items() if count)
    for other in columns:
        if any(fault_set[device] == fault_set[spare] for device in other):
            continue
        for index, device in enumerate(other):
            if fault_set[device] not in taken:
                other[index] = spare
                left[spare] -= 1
                columns[column].append(device)
                return
    raise AssertionError(f"no swap frees a place for column {column}")
