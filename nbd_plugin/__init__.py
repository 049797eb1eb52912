"""All that runs inside nbdkit on a client host. Standard library and `nbd` only."""
