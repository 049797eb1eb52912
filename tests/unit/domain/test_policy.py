"""Copies keep to what the policy allows at each device, and none waits without need."""

import hypothesis
from hypothesis import strategies as st

from appliance.common import units
from appliance.domain import policy

MIB = units.MIB


def copy(number: int, *devices: str, running: bool = False, rank: int = 0) -> policy.Copy:
    return policy.Copy((f"v{number}", devices[0]), frozenset(devices), running, rank)


@st.composite
def copies(draw):
    devices = [f"d{n}" for n in range(draw(st.integers(2, 6)))]
    ends = st.sets(st.sampled_from(devices), min_size=2)
    return [
        copy(n, *sorted(draw(ends)), rank=draw(st.integers(0, 1)))
        for n in range(draw(st.integers(0, 12)))
    ]


@hypothesis.given(copies(), st.integers(1, 8), st.integers(0, 100 * MIB))
def test_no_device_has_more_copies_or_bytes_than_allowed_and_none_is_idle(wanted, most, bandwidth):
    granted = policy.grant(wanted, policy.Allowance(most, bandwidth))
    by_device = {}
    for one in wanted:
        if one.key in granted:
            for device in one.devices:
                by_device.setdefault(device, []).append(granted[one.key])
    assert all(len(paces) <= most for paces in by_device.values())
    if bandwidth > 8:
        assert all(0 < sum(paces) <= bandwidth for paces in by_device.values())
    else:
        assert bandwidth or set(granted.values()) <= {0}
    for one in wanted:
        if one.key not in granted:
            assert any(len(by_device.get(device, [])) == most for device in one.devices)


@hypothesis.given(copies(), st.integers(1, 8), st.randoms())
def test_one_that_runs_goes_on_whatever_comes(wanted, most, chance):
    allowed = policy.Allowance(most, 0)
    first = policy.grant(wanted[::2], allowed)
    later = [policy.Copy(one.key, one.devices, one.key in first, one.rank) for one in wanted]
    chance.shuffle(later)
    assert set(first) <= set(policy.grant(later, allowed))


def test_what_has_one_copy_only_goes_first():
    waiting = [copy(1, "a", "b", rank=1), copy(2, "a", "b", rank=0)]
    assert list(policy.grant(waiting, policy.Allowance(1, 0))) == [("v2", "a")]


def test_each_mode_allows_what_it_says():
    def allowed(mode, busy, **limits):
        found = policy.allowance(policy.Policy(mode, **limits), busy)
        return found.copies, found.bandwidth

    mode = policy.Mode
    assert allowed(mode.UNLIMITED, True, copies=1, bandwidth=5) == (8, 0)
    assert allowed(mode.COPIES, True, copies=3) == (3, 0)
    assert allowed(mode.COPIES, False) == (1, 0)
    assert allowed(mode.BANDWIDTH, False, bandwidth=MIB) == (2, MIB)
    assert allowed(mode.FAVOUR_APPLICATION, True) == (2, 10 * MIB)
    assert allowed(mode.FAVOUR_APPLICATION, True, bandwidth=MIB) == (2, MIB)
    assert allowed(mode.FAVOUR_APPLICATION, False, bandwidth=MIB) == (2, 0)
