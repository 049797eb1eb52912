"""The copier process (R8): pulls columns of one volume from other replicas into a local one.

Started by ``sds.copies``; holds the replica's shared flock, so a seal can prove its end. It
writes to the local ``data`` and to ``intent.join`` only, and decides nothing.
"""
