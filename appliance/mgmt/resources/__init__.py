"""JSON under /api/v1 and /health: one file per noun."""
