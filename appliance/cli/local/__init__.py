"""The single-host cluster: one MDM, several SDSs, one SDC and MGMT as child
processes in one folder.

It starts the roles as programs and talks to them over REST, as people and systemd do elsewhere.
"""
