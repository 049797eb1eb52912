"""The command line of the plugin."""

import pytest

from nbd_plugin import params

GIVEN = {"volume": "v", "incarnation": "i", "link": "/run/l"}


def test_read_only_is_off_unless_told():
    assert params.parse(GIVEN) == params.Params("v", "i", "/run/l", False)
    assert params.parse({**GIVEN, "read_only": "0"}).read_only is False
    assert params.parse({**GIVEN, "read_only": "1"}).read_only is True


@pytest.mark.parametrize("key", sorted(GIVEN))
def test_what_is_missing_is_named(key):
    with pytest.raises(ValueError, match=f"missing parameters: {key}"):
        params.parse({**GIVEN, key: ""})


def test_what_is_unknown_or_wrong_is_named():
    with pytest.raises(ValueError, match="unknown parameters: a, b"):
        params.parse({**GIVEN, "b": "1", "a": "2"})
    with pytest.raises(ValueError, match="read_only must be 0 or 1, not 'yes'"):
        params.parse({**GIVEN, "read_only": "yes"})


def test_what_was_given_is_left_as_it_was():
    pairs = dict(GIVEN)
    params.parse(pairs)
    assert pairs == GIVEN


def test_tls_is_checked_before_anything_is_served(tmp_path):
    with pytest.raises(ValueError, match=r"ca-cert\.pem is not there"):
        params.parse({**GIVEN, "tls": "required", "tls_dir": str(tmp_path)})
    for name in ("ca-cert.pem", "client-cert.pem", "client-key.pem"):
        (tmp_path / name).write_text("pem")
    told = params.parse({**GIVEN, "tls": "required", "tls_dir": str(tmp_path)})
    assert (told.data_tls.mode, told.data_tls.folder) == ("required", str(tmp_path))
