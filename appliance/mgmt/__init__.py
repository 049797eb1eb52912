"""The MGMT role: pages for people, alerts, users, history. It knows the MDM's REST API only."""
