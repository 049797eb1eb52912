"""What an SDS remembers of itself, and that it does so alone."""

from pathlib import Path

import pytest

from appliance.agent import identity
from appliance.common import errors
from appliance.sds import registry


def test_everything_comes_back_after_a_restart(tmp_path: Path) -> None:
    first = registry.Registry(tmp_path / "data")
    assert (first.identity, first.term, first.devices()) == (None, 0, {})
    me = identity.Identity("i", "s", "c")
    device = registry.KnownDevice("/d", failed="EIO")
    first.save_identity(me)
    first.save_term(7)
    first.save_device("dd", device)
    first.save_device("de", registry.KnownDevice("/e"))
    first.forget_device("de")
    first.forget_device("never known")
    first.close()
    second = registry.Registry(tmp_path / "data")
    assert (second.identity, second.term, second.devices()) == (me, 7, {"dd": device})
    assert (tmp_path / "data" / "identity.json").stat().st_mode & 0o777 == 0o600
    second.close()


def test_second_one_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = registry.Registry(tmp_path)
    with pytest.raises(errors.Conflict, match="another SDS agent"):
        registry.Registry(tmp_path)
    first.close()
    registry.Registry(tmp_path).close()


@pytest.mark.parametrize("name", ["identity.json", "devices.json", "term"])
def test_damaged_file_stops_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("?")
    with pytest.raises(errors.Damaged, match=name):
        registry.Registry(tmp_path)
