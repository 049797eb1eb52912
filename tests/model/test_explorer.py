"""The rules hold wherever the explorer walks; without one of them it finds the way to lose data.

``make model SECONDS=600`` walks for longer, from another place with ``SEED=…``.
"""

import os
from dataclasses import replace

import pytest

from appliance.domain import generations, model
from tests.model import explorer, small_mdm, small_world

#: CPU seconds of walking over the rules as they are, and until a planted bug must be found.
SECONDS = float(os.environ.get("MODEL_SECONDS") or 8)
FOUND_WITHIN_S = 60.0

#: Ways are numbered; longer walks begin elsewhere.
SEED = int(os.environ.get("MODEL_SEED") or 0)


@pytest.mark.slow
@pytest.mark.timeout(600 + 20 * SECONDS)
def test_no_way_leads_to_a_broken_promise():
    ways = explorer.explore(small_world.World, SECONDS, SEED * 1_000_000)
    print(f"{ways} ways of {explorer.STEPS} steps in {SECONDS:g} s of CPU from seed {SEED}")
    assert ways > 20 * SECONDS


class AcksAddUp(small_world.World):
    """R2"""

    def resend(self, write, used):
        write.generation = used.generation


class NoPulse(small_world.World):
    """R6"""

    def may_read(self, client, used, device):
        return True


class ClearedOnAcks(small_world.World):
    """R3"""

    def may_clear(self, client, used, region):
        return len(used.readable) == len(self.sds)


class ClearedWhileStale(small_world.World):
    """R3"""

    def may_clear(self, client, used, region):
        return region not in client.unflushed


class JoinsInPassing(small_mdm.Mdm):
    """R8"""

    def join(self, joiners, now, gone):
        self._set(dict.fromkeys(joiners, model.ReplicaState.SYNCING))


class EffectiveAtOnce(small_mdm.Mdm):
    """R6"""

    def effective(self, turn, now):
        return True


class AnyKeeper(small_mdm.Mdm):
    """R7: one that lost its cache is as good as any"""

    def decide(self, turn, now):
        return generations.decide(replace(turn, seals=dict.fromkeys(turn.seals, False)), now)


class NoDoubt(small_mdm.Mdm):
    """R7"""

    def decide(self, turn, now):
        return generations.decide(replace(turn, doubt=False), now)


def _world(mdm: type[small_mdm.Mdm]) -> type[small_world.World]:
    return type(mdm.__name__, (small_world.World,), {"new_mdm": mdm})


@pytest.mark.parametrize(
    "planted",
    [
        AcksAddUp,
        NoPulse,
        ClearedOnAcks,
        ClearedWhileStale,
        _world(JoinsInPassing),
        _world(EffectiveAtOnce),
        _world(AnyKeeper),
        _world(NoDoubt),
    ],
    ids=lambda planted: planted.__name__,
)
@pytest.mark.timeout(600)
def test_a_planted_bug_is_found(planted):
    with pytest.raises(small_world.Violation) as caught:
        explorer.explore(planted, FOUND_WITHIN_S)
    print(str(caught.value)[:120])
    explorer.way(small_world.World, _seed(caught.value))  # that way is well without the bug


def _seed(violation: small_world.Violation) -> int:
    return int(str(violation).split()[1].rstrip(":"))


def test_a_way_is_repeated_by_its_seed():
    with pytest.raises(small_world.Violation, match="seed ") as first:
        explorer.explore(AcksAddUp, FOUND_WITHIN_S)
    with pytest.raises(small_world.Violation) as again:
        explorer.way(AcksAddUp, _seed(first.value))
    assert str(again.value) == str(first.value)
