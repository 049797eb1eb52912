"""A client host: running, registered, and its mapped volumes are block devices in its own units."""


def test_the_unit_is_active_and_enabled(host) -> None:
    service = host.service("basalt-sdc")
    assert service.is_running
    assert service.is_enabled


def test_it_listens_at_its_control_port(host, settings) -> None:
    assert host.socket(f"tcp://0.0.0.0:{settings['sdc_control_port']}").is_listening


def test_it_is_registered(host, cluster) -> None:
    mine = [item for item in cluster("sdc", "list") if item["name"] == host.name]
    assert [item["health"] for item in mine] == ["healthy"]


def test_each_mapped_volume_is_a_device_with_a_unit_of_its_own(host, cluster) -> None:
    mapped = {
        mapping["id"]: volume["name"]
        for volume in cluster("volume", "list")
        for mapping in cluster("volume", "show", volume["name"]).get("mappings", [])
        if mapping["sdc"] == host.name
    }
    for ident, name in mapped.items():
        assert host.service(f"basalt-volume@{ident}").is_running
        assert host.run(f"test -b /dev/basalt/{name}").rc == 0
        pid = host.check_output(f"systemctl show -p MainPID --value basalt-volume@{ident}")
        assert host.check_output(f"ps -o user= -p {pid}").strip() == "basalt-sdc"
        assert "CapEff:\t0000000000000000" in host.check_output(f"cat /proc/{pid}/status")
