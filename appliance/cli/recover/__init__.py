"""``basalt recover``: what is left to do when the MDM, or the whole cluster, is lost."""
