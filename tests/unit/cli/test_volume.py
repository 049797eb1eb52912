"""``basalt volume``: create, show, status, map, unmap."""

from collections.abc import Callable
from typing import Any

import click.testing
import pytest

from tests.fakes import fake_mdm_api

Basalt = Callable[..., click.testing.Result]
Ask = Callable[..., Any]
MIB = 1024**2


def test_create_is_thin_and_leaves_defaults_to_the_mdm(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    done = basalt("volume", "create", "v1", "--size", "512MiB")
    assert done.stdout == "made volume v1: 512 MiB thin, 3 columns x 2 copies\n"
    body = {"name": "v1", "size_bytes": 512 * MIB, "thin": True}
    assert mdm.requests == [("POST", "volumes", body)]


def test_create_thick_waits_until_its_space_is_there(ask: Ask) -> None:
    made = ask("volume", "create", "v1", "--size", "1G", "--thick", "--columns", "1",
               "--shareable", "--wait-limit", "0", "--pool", "default")  # fmt: skip
    assert made["state"] == "ready"
    assert (made["columns"], made["shareable"], made["wait_limit_s"]) == (1, True, 0)


@pytest.mark.parametrize("size", ["8 apples", "-1G", "1.3", ""])
def test_a_size_that_is_none_is_refused_before_anything_is_asked(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi, size: str
) -> None:
    done = basalt("volume", "create", "v1", f"--size={size}")
    assert done.exit_code == 2
    assert mdm.requests == []


def test_grow(basalt: Basalt) -> None:
    assert basalt("volume", "grow", "data", "--size", "9G").stdout == (
        "volume data is now 9 GiB thin\n"
    )


def test_a_device_that_keeps_its_old_size_is_told_of_with_what_to_do(
    basalt: Basalt, ask: Ask
) -> None:
    ask("volume", "map", "data")
    assert "still shows" not in basalt("volume", "show", "data").stdout
    done = basalt("volume", "grow", "data", "--size", "9G")
    assert done.stdout == "volume data is now 9 GiB thin\n"
    assert done.stderr.splitlines() == [
        "/dev/loop7 on sdc1 still shows 8 GiB until it is unmapped and mapped again:",
        "basalt volume unmap data --sdc sdc1 && basalt volume map data --sdc sdc1",
    ]
    shown = " ".join(basalt("volume", "show", "data").stdout.split())
    assert "Device /dev/loop7 still shows 8 GiB until it is unmapped and mapped again" in shown


def test_a_socket_alone_has_no_size_to_keep(basalt: Basalt, ask: Ask) -> None:
    ask("volume", "map", "data", "--backend", "none")
    assert basalt("volume", "grow", "data", "--size", "9G").stderr == ""


def test_show_says_where_each_copy_lies_and_where_it_is_mapped(basalt: Basalt) -> None:
    assert basalt("volume", "map", "data").exit_code == 0
    shown = basalt("volume", "show", "data").stdout
    for text in ("degraded: sds2 is down", "/dev/loop7", "nbd+unix:", "/srv/basalt/disk2", "stale"):
        assert text in shown


def test_show_json_has_device_link_and_uri_of_the_mapping(basalt: Basalt, ask: Ask) -> None:
    basalt("volume", "map", "data", "--sdc", "sdc1")
    (mapping,) = ask("volume", "show", "data")["mappings"]
    assert mapping["device"] == "/dev/loop7"
    assert mapping["link"] == "/dev/basalt/data"
    assert mapping["uri"].startswith("nbd+unix:")


def test_why_a_copy_is_refused_is_shown(
    basalt: Basalt, ask: Ask, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    why = "the SDS has generation 9, this MDM's database knows 2: the database is an old copy"
    for replica in mdm.one("volumes", "data")["replicas"]:
        if replica["sds"] == "sds3":
            replica["error"] = why
    for verb in ("status", "show"):
        whole = " ".join(basalt("volume", verb, "data").stdout.split())
        assert f"sds3 /srv/basalt/disk3: {why}" in whole, verb
        assert whole.count(why) == 1
    assert ask("volume", "status", "data")["refused"] == [
        {"where": "sds3 /srv/basalt/disk3", "why": why}
    ]


def test_status_counts_copies_and_shows_jobs(basalt: Basalt, ask: Ask) -> None:
    done = basalt("volume", "status", "data")
    assert "4 in_sync, 2 stale" in done.stdout
    assert "resync 43 %" in done.stdout
    assert ask("volume", "status", "data")["copies"] == {"in_sync": 4, "stale": 2}


def test_map_waits_and_prints_the_device_with_the_backend_and_why(basalt: Basalt) -> None:
    done = basalt("volume", "map", "data", "--sdc", "sdc1")
    assert done.stdout.splitlines()[0] == "volume data is /dev/loop7 on sdc1"
    assert "fuse: this kernel has no nbd module" in done.stdout


def test_map_with_backend_none_prints_the_uri(basalt: Basalt) -> None:
    done = basalt("volume", "map", "data", "--backend", "none")
    assert done.stdout.startswith("volume data is nbd+unix:///?socket=")


def test_map_without_waiting(ask: Ask) -> None:
    assert ask("volume", "map", "data", "--no-wait")["state"] == "attaching"


def test_map_that_fails_says_why_and_what_next(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    mdm.attach_error = "no loop device is free"
    done = basalt("volume", "map", "data")
    assert done.exit_code == 5
    assert "sdc1 could not attach volume data: no loop device is free" in done.stderr
    assert "basalt volume unmap data --sdc sdc1" in done.stderr


def test_map_asks_which_host_where_there_are_two(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    mdm.objects["sdcs"].append(mdm.objects["sdcs"][0] | {"id": "2" * 16, "name": "sdc2"})
    done = basalt("volume", "map", "data")
    assert done.exit_code == 2
    assert "there are: sdc1, sdc2" in done.stderr


def test_unmap_waits_until_it_is_gone(basalt: Basalt, ask: Ask) -> None:
    basalt("volume", "map", "data")
    assert basalt("volume", "unmap", "data").stdout == "volume data is no longer on sdc1\n"
    assert ask("volume", "show", "data")["mappings"] == []


def test_unmap_of_a_mounted_device_says_so(basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi) -> None:
    basalt("volume", "map", "data")
    mdm.busy_error = "/dev/loop7 is mounted at /mnt; unmount it first"
    done = basalt("volume", "unmap", "data")
    assert done.exit_code == 4
    assert "/dev/loop7 is mounted at /mnt" in done.stderr
    assert basalt("volume", "unmap", "data", "--force").exit_code == 0


def test_unmap_of_what_is_not_mapped(basalt: Basalt) -> None:
    done = basalt("volume", "unmap", "data")
    assert done.exit_code == 3
    assert "there is no mapping of volume 'data'" in done.stderr


def test_unmap_asks_which_host_where_there_are_two(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    mdm.objects["sdcs"].append(mdm.objects["sdcs"][0] | {"id": "2" * 16, "name": "sdc2"})
    basalt("volume", "map", "data", "--sdc", "sdc1")
    basalt("volume", "map", "data", "--sdc", "sdc2")
    assert basalt("volume", "unmap", "data").exit_code == 2
    assert basalt("volume", "unmap", "data", "--sdc", "sdc2").exit_code == 0


def test_recover_says_what_is_missing_and_changes_nothing(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    done = basalt("volume", "recover", "data")
    assert done.stdout == "volume 'data' waits for sds1:/srv/basalt/disk1\n"
    assert {method for method, _, _ in mdm.requests} == {"GET"}


def test_recover_goes_on_only_when_the_loss_is_accepted(
    basalt: Basalt, ask: Ask, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    done = basalt("volume", "recover", "data", "--accept-loss", "--yes")
    assert "waits for sds1:/srv/basalt/disk1." in done.stdout
    assert "volume data goes on with sds2:/srv/basalt/disk2" in done.stdout
    assert ("POST", "volumes/data/recovery", {"accept_loss": True}) in mdm.requests
    assert ask("volume", "recover", "data", "--accept-loss")["keep"] == ["sds2:/srv/basalt/disk2"]


def test_recover_of_what_is_not_blocked_is_refused(
    basalt: Basalt, mdm: fake_mdm_api.FakeMdmApi
) -> None:
    mdm.recovery |= {"possible": False, "blocked": False, "explanation": "it is not blocked"}
    done = basalt("volume", "recover", "data", "--accept-loss")
    assert done.exit_code == 4
    assert "it is not blocked" in done.stderr
