"""Users: the first one, the last administrator, and what ends with a change."""

import pytest

from appliance.common import errors
from appliance.mgmt import config
from appliance.mgmt.services import identity, sessions, users

PASSWORD = "correct horse battery"


def of(db, name):
    (found,) = [one for one in users.everyone(db) if one["name"] == name]
    return found


def test_the_first_administrator_s_password_is_in_a_file_only_the_owner_reads(
    db, hasher, tmp_path, clock
):
    users.ensure_first(db, hasher, tmp_path)
    path = tmp_path / users.PASSWORD_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    known = sessions.Sessions(db, hasher, config.Config(), clock)
    assert known.login("admin", path.read_text().strip(), "p")
    path.unlink()
    users.ensure_first(db, hasher, tmp_path)
    assert not path.exists()


def test_the_last_administrator_stays(db, hasher, boss):
    users.create(db, hasher, boss, "alice", "configure", PASSWORD)
    alice = identity.Identity(of(db, "alice")["id"], "alice", "administrator", "p")
    with pytest.raises(errors.InUse, match="last administrator"):
        users.change_role(db, boss, boss.user_id, "monitor")
    with pytest.raises(errors.InUse, match="last administrator"):
        users.delete(db, alice, boss.user_id)


def test_nobody_deletes_oneself(db, boss):
    with pytest.raises(errors.InUse, match="you are logged in"):
        users.delete(db, boss, boss.user_id)


@pytest.mark.parametrize(
    "change",
    [
        lambda db, _hasher, boss, ident: users.change_role(db, boss, ident, "monitor"),
        lambda db, hasher, boss, ident: users.reset_password(
            db, hasher, boss, ident, "another good one"
        ),
        lambda db, _hasher, boss, ident: users.delete(db, boss, ident),
    ],
)
def test_sessions_and_tokens_end_with_a_change_of_the_user(db, hasher, boss, clock, change):
    users.create(db, hasher, boss, "alice", "configure", PASSWORD)
    known = sessions.Sessions(db, hasher, config.Config(), clock)
    value = known.login("alice", PASSWORD, "p")
    change(db, hasher, boss, of(db, "alice")["id"])
    assert known.of_cookie(value, "p") is None


def test_one_s_own_new_password_keeps_this_session_and_ends_the_others(db, hasher, boss, clock):
    users.create(db, hasher, boss, "alice", "configure", PASSWORD)
    known = sessions.Sessions(db, hasher, config.Config(), clock)
    this, other = (known.login("alice", PASSWORD, "p") for _ in range(2))
    with pytest.raises(errors.Invalid, match="not the present one"):
        users.change_password(db, hasher, known.of_cookie(this, "p"), "wrong", "another good one")
    users.change_password(db, hasher, known.of_cookie(this, "p"), PASSWORD, "another good one")
    assert known.of_cookie(this, "p") is not None
    assert known.of_cookie(other, "p") is None


@pytest.mark.parametrize("name", ["", "Alice", "a b", "<b>", "x" * 32, "-a", "a/b"])
def test_names_are_plain(db, hasher, boss, name):
    with pytest.raises(errors.Invalid):
        users.create(db, hasher, boss, name, "monitor", PASSWORD)


def test_a_name_is_taken_once(db, hasher, boss):
    users.create(db, hasher, boss, "alice", "monitor", PASSWORD)
    with pytest.raises(errors.AlreadyExists):
        users.create(db, hasher, boss, "alice", "monitor", PASSWORD)
