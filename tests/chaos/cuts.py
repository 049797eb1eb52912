"""Power cuts of SDSs in a round: may what all copies of a column had in memory be gone?"""

import sys

from appliance.common import errors
from tests.chaos import cluster


class Cuts:
    """Of the volume ``name``."""

    def __init__(self, on: cluster.NetCluster, name: str) -> None:
        self._on = on
        self._name = name
        #: SDSs cut, and the volume's generation then
        self._cut: dict[str, int] = {}

    def forget(self) -> None:
        """Every copy is equal and flushed."""
        self._cut = {}

    def one_more(self, cuts: frozenset[str]) -> bool:
        """These are about to be cut; whether that can cost no write that was acknowledged."""
        harmless = len(cuts) == 1 and self.spared(cuts) and not self._owed(cuts)
        self._cut |= dict.fromkeys(cuts, self._generation())
        return harmless

    def spared(self, cuts: frozenset[str]) -> bool:
        """Whether every replica elsewhere is in sync, for all the MDM knows."""
        try:
            replicas = self._on.volume(self._name)["replicas"]
        except errors.BasaltError:
            return False
        return all(r["state"] == "in_sync" for r in replicas if r["sds"] not in cuts)

    def _owed(self, cuts: frozenset[str]) -> bool:
        """Whether what an SDS cut before had in memory is not known to be made good.

        The MDM learns of a host that went silently only in the next turn.
        """
        before = {sds: generation for sds, generation in self._cut.items() if sds not in cuts}
        if not before:
            return False
        try:
            volume = self._on.volume(self._name)
        except errors.BasaltError:
            return True
        behind = {r["sds"] for r in volume["replicas"] if r["state"] != "in_sync"}
        return any(
            sds in behind or volume["turn_open"] or volume["generation"] <= generation
            for sds, generation in before.items()
        )

    def _generation(self) -> int:
        """The volume's; more than it can have now if the MDM does not say."""
        try:
            return int(self._on.volume(self._name)["generation"])
        except errors.BasaltError:
            return sys.maxsize
