"""MGMT, where the release has it: running behind its proxy."""


def _there(host) -> bool:
    look = "import importlib.util as u; print(u.find_spec('appliance.mgmt') is not None)"
    return host.check_output(f'/opt/basalt/current/bin/python -c "{look}"') == "True"


def test_it_runs_behind_its_proxy_where_the_release_has_it(host, settings) -> None:
    assert host.service("basalt-mgmt").is_running is _there(host)
    assert host.socket(f"tcp://0.0.0.0:{settings['mgmt_port']}").is_listening is _there(host)


def test_nothing_of_it_is_reachable_without_tls(host, settings) -> None:
    said = host.run(f"curl --silent --max-time 5 http://127.0.0.1:{settings['mgmt_port']}/")
    assert "basalt" not in said.stdout.lower()
