"""How fast Kasal is, as ratios against the plain alternative, measured in one go: `make bench`."""
