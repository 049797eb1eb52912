"""The MDM's REST resources: read the request, call a service, render. No rules live here."""
