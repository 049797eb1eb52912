"""The scrubber process: compares both copies of one volume, unit by unit, and keeps their sums.

Started by ``sds.scrubs``. It reads and writes through the data servers of one generation only, as
a client does, so that nothing of it can land in a later one (R4); it holds the flock of its own
SDS's replica besides, so that a seal there ends it at once. It decides nothing about states.
"""
