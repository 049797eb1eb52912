"""What every part may use: units, errors, configuration, logging, clocks. Standard library only."""
