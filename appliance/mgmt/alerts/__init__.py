"""Alerts: what is measured, when it is raised and cleared, and how people hear of it."""
