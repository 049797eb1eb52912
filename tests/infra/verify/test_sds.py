"""A storage server: running, registered, its devices mounted, its own, and taken."""


def test_the_unit_is_active_and_enabled(host) -> None:
    service = host.service("basalt-sds")
    assert service.is_running
    assert service.is_enabled


def test_it_listens_at_its_control_port(host, settings) -> None:
    assert host.socket(f"tcp://0.0.0.0:{settings['sds_control_port']}").is_listening


def test_its_devices_are_file_systems_of_their_own(host) -> None:
    for device in host.inventory.get("sds_devices", []):
        mount = host.mount_point(device["path"])
        assert mount.exists
        assert mount.filesystem == "xfs"
        folder = host.file(device["path"])
        assert (folder.user, folder.mode) == ("basalt-sds", 0o700)
        assert host.file(f"{device['path']}/basalt.json").exists
        assert "reflink=1" in host.check_output(f"xfs_info {device['path']}")


def test_it_is_registered_and_its_devices_are_taken(host, cluster) -> None:
    mine = [item for item in cluster("sds", "list") if item["name"] == host.name]
    assert [item["health"] for item in mine] == ["healthy"]
    paths = {item["path"]: item["state"] for item in cluster("device", "list")
             if item["sds"] == host.name}  # fmt: skip
    assert paths == {device["path"]: "ok" for device in host.inventory.get("sds_devices", [])}


def test_dirty_pages_are_bounded(host) -> None:
    assert "vm.dirty_bytes" in host.file("/etc/sysctl.d/60-basalt.conf").content_string
    if host.run("systemd-detect-virt --container --quiet").rc != 0:
        assert int(host.check_output("sysctl -n vm.dirty_bytes")) > 0


def test_it_has_no_capability(host) -> None:
    pid = host.check_output("systemctl show -p MainPID --value basalt-sds")
    status = host.check_output(f"cat /proc/{pid}/status")
    assert "CapEff:\t0000000000000000" in status
