"""Pure rules and shapes: no I/O, no clock of its own; `now` is an argument."""
