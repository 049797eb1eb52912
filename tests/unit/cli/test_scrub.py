"""basalt scrub, and what pool and volume say of scrubs."""

import pytest

from tests.fakes import mdm_objects


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("start", "the scrub of volume data is running"),
        ("pause", "the scrub of volume data rests at 25.0 %"),
        ("resume", "the scrub of volume data is running from 25.0 % on"),
        ("stop", "the scrub of volume data was ended"),
    ],
)
def test_verbs_ask_for_the_action(basalt, mdm, verb, said):
    done = basalt("scrub", verb, "data")
    assert (done.exit_code, done.stdout.strip()) == (0, said)
    assert mdm.requests[-1] == ("POST", "volumes/data/scrub", {"action": verb})


@pytest.mark.parametrize(
    ("verb", "volumes"), [("start", ["71"]), ("pause", ["70"]), ("resume", [])]
)
def test_all_means_every_volume_it_can_be_done_to(ask, mdm, verb, volumes):
    ask("scrub", verb, "--all")
    posted = [path for method, path, _ in mdm.requests if method == "POST"]
    assert posted == [f"volumes/00000000000000{ident}/scrub" for ident in volumes]


def test_neither_a_volume_nor_all_is_wrong_usage(basalt):
    assert basalt("scrub", "start").exit_code == 2
    assert basalt("scrub", "start", "data", "--all").exit_code == 2


def test_status_shows_what_was_found(basalt, ask):
    done = basalt("scrub", "status")
    assert "running  25.0 %" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert ask("scrub", "status", "data") == mdm_objects.OBJECTS["scrubs"]
    assert ask("scrub", "status", "idle") == []


def test_volume_show_says_when_it_was_scrubbed(basalt, mdm):
    shown = " ".join(basalt("volume", "show", "data").stdout.split())
    assert "running at 25.0 %: 1 difference, 1 repaired, 3 regions skipped as in use" in shown
    mdm.one("volumes", "data")["scrub"] |= {"state": "idle", "skipped_regions": 0}
    shown = " ".join(basalt("volume", "show", "data").stdout.split())
    assert "last done 20" in shown
    mdm.one("volumes", "data")["scrub"] = None
    assert "never" in basalt("volume", "show", "data").stdout


def test_pool_set_sends_only_what_was_given(basalt, mdm):
    assert basalt("pool", "set", "default").exit_code == 2
    basalt("pool", "set", "default", "--scrub-rate", "1MiB", "--scrub-policy", "report")
    asked = {"scrub": {"rate": 1 << 20, "repair": False}}
    assert mdm.requests[-1] == ("PATCH", "pools/default", asked)


def test_pool_set_changes_limits_too(basalt, mdm):
    basalt("pool", "set", "default", "--warn", "70")
    assert mdm.requests[-1] == ("PATCH", "pools/default", {"warn_percent": 70})


def test_pool_show_says_how_it_scrubs(basalt, mdm):
    shown = basalt("pool", "show", "default").stdout
    assert "every 30 days, 3 MiB/s a device; rot is repaired" in shown
    mdm.one("pools", "default")["scrub"] |= {"rate": 0, "repair": False}
    assert "as fast as it goes; rot is reported" in basalt("pool", "show", "default").stdout
    mdm.one("pools", "default")["scrub"]["enabled"] = False
    assert "Scrub      off" in basalt("pool", "show", "default").stdout
