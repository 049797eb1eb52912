"""The MDM: running as its own user behind its proxy, and backed up by a timer."""


def test_the_unit_is_active_and_enabled(host) -> None:
    service = host.service("basalt-mdm")
    assert service.is_running
    assert service.is_enabled


def test_only_the_proxy_is_reachable_from_outside(host, settings) -> None:
    assert host.socket(f"tcp://0.0.0.0:{settings['mdm_port']}").is_listening
    assert host.socket(f"tcp://127.0.0.1:{settings['mdm_local_port']}").is_listening
    assert not host.socket(f"tcp://0.0.0.0:{settings['mdm_local_port']}").is_listening


def test_the_proxy_shows_the_clusters_certificate(host, settings) -> None:
    said = host.run(
        f"openssl s_client -connect 127.0.0.1:{settings['mdm_port']} -verify_return_error "
        "-CAfile /etc/basalt/tls/ca-cert.pem </dev/null"
    )
    assert "Verify return code: 0 (ok)" in said.stdout


def test_it_runs_as_its_own_user(host) -> None:
    assert host.check_output("systemctl show -p User --value basalt-mdm") == "basalt-mdm"
    pid = host.check_output("systemctl show -p MainPID --value basalt-mdm")
    assert host.check_output(f"ps -o user= -p {pid}").strip() == "basalt-mdm"


def test_its_tokens_are_its_own(host) -> None:
    for name in ("admin.token", "join.token"):
        file = host.file(f"/var/lib/basalt/mdm/{name}")
        assert (file.user, file.mode) == ("basalt-mdm", 0o600)


def test_backups_are_made_by_a_timer(host) -> None:
    assert host.service("basalt-backup.timer").is_running
    assert host.service("basalt-backup.timer").is_enabled


def test_the_cluster_is_healthy(host, cluster) -> None:
    status = cluster("status")
    assert status["health"] == "healthy", status["summary"]
