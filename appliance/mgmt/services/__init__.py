"""What MGMT knows and does, without HTTP."""
