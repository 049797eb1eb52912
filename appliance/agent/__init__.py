"""What the agents of servers and clients share: identity, registration, the loop, the process."""
