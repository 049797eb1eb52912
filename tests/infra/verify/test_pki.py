"""Each host's certificate: of the cluster's CA, for its address, good for more than 30 days."""

TLS = "/etc/basalt/tls"


def test_it_is_of_the_clusters_authority(host) -> None:
    said = host.run(f"openssl verify -CAfile {TLS}/ca-cert.pem {TLS}/host-cert.pem")
    assert said.rc == 0, said.stderr


def test_it_is_good_for_more_than_thirty_days(host) -> None:
    for name in ("ca-cert.pem", "host-cert.pem"):
        assert host.run(f"openssl x509 -checkend {30 * 86400} -noout -in {TLS}/{name}").rc == 0


def test_it_names_the_hosts_address(host) -> None:
    address = host.inventory.get("cluster_address", host.inventory.get("ansible_host", host.name))
    said = host.check_output(f"openssl x509 -noout -ext subjectAltName -in {TLS}/host-cert.pem")
    assert address in said


def test_the_key_is_the_certificates_and_only_the_groups(host) -> None:
    of_key = host.check_output(f"openssl pkey -pubout -in {TLS}/host-key.pem")
    of_certificate = host.check_output(f"openssl x509 -noout -pubkey -in {TLS}/host-cert.pem")
    assert of_key == of_certificate
    key = host.file(f"{TLS}/host-key.pem")
    assert (key.user, key.group, key.mode) == ("root", "basalt", 0o640)


def test_the_authoritys_key_is_on_no_host(host) -> None:
    assert host.run("find /etc /root /opt/basalt /var/lib -name 'ca-key.pem'").stdout == ""
