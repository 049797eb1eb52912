"""Speed, measured as ratios within one run; run by ``make bench``. Nothing here asserts a time."""
