"""How a volume's NBD socket becomes a block device of this host, in three ways."""
