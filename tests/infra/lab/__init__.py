"""Hosts for tests: systemd-nspawn containers and a virtual machine in a network of their own."""
