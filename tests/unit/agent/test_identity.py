from pathlib import Path

import pytest

from appliance.agent import identity
from appliance.common import errors


def test_identity_and_term_are_kept(tmp_path: Path) -> None:
    store = identity.Store(tmp_path / "data", "sdc")
    assert (store.identity, store.term) == (None, 0)
    me = identity.Identity("id", "secret", "cluster")
    store.save_identity(me)
    store.save_term(7)
    store.close()
    again = identity.Store(tmp_path / "data", "sdc")
    assert (again.identity, again.term) == (me, 7)
    again.close()
    assert (tmp_path / "data" / "identity.json").stat().st_mode & 0o777 == 0o600


def test_a_secret_is_offered_until_there_is_an_identity(tmp_path: Path) -> None:
    offered = []
    for _ in range(2):
        store = identity.Store(tmp_path, "sdc")
        offered.append(store.secret_to_offer())
        store.close()
    assert offered[0] == offered[1]
    assert len(offered[0]) == 43
    assert (tmp_path / "secret-offered").stat().st_mode & 0o777 == 0o600
    store = identity.Store(tmp_path, "sdc")
    store.save_identity(identity.Identity("id", offered[0], "cluster"))
    assert not (tmp_path / "secret-offered").exists()
    store.close()


def test_a_folder_has_one_agent(tmp_path: Path) -> None:
    store = identity.Store(tmp_path, "sds")
    with pytest.raises(errors.Conflict, match="another SDS agent"):
        identity.Store(tmp_path, "sds")
    store.close()
    identity.Store(tmp_path, "sds").close()


@pytest.mark.parametrize(("name", "text"), [("identity.json", "{"), ("identity.json", '{"id":1}'),
                                            ("term", "many")])  # fmt: skip
def test_damaged_files_are_said_and_not_overwritten(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(errors.Damaged, match=name):
        identity.Store(tmp_path, "sds")
    assert (tmp_path / name).read_text() == text
