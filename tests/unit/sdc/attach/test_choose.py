import pytest

from appliance.common import errors
from appliance.sdc.attach import choose


def _probes(nbd: str = "", fuse: str = "") -> choose.Probes:
    return choose.Probes(nbd=lambda: nbd, fuse=lambda: fuse)


@pytest.mark.parametrize(
    ("wanted", "nbd", "fuse", "name", "reason"),
    [
        ("auto", "", "", "nbd", "the kernel has nbd"),
        ("auto", "no nbd", "", "fuse", "nbdfuse and a loop device, because no nbd"),
        ("auto", "no nbd", "no fuse", "none", "the NBD socket only, because no nbd, and no fuse"),
        ("nbd", "", "no fuse", "nbd", "asked for"),
        ("fuse", "", "", "fuse", "asked for"),
        ("none", "", "", "none", "asked for: the NBD socket only"),
    ],
)
def test_the_best_there_is_is_chosen_with_its_reason(
    wanted: str, nbd: str, fuse: str, name: str, reason: str
) -> None:
    assert choose.choose(wanted, _probes(nbd, fuse)) == (name, reason)


@pytest.mark.parametrize("wanted", ["nbd", "fuse"])
def test_what_was_asked_for_by_name_is_not_replaced(wanted: str) -> None:
    with pytest.raises(errors.Unavailable, match=f"backend '{wanted}' cannot be used here: gone"):
        choose.choose(wanted, _probes("gone", "gone"))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(errors.Invalid, match="iscsi"):
        choose.choose("iscsi", _probes())
