"""``make demo``: the story of a mirrored volume that loses a server and keeps its bytes."""
