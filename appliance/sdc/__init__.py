"""The SDC agent: turns mapped volumes into block devices of this host."""
