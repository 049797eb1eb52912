"""The SDS agent: serves this host's disks, one stock nbdkit per (volume, device)."""
