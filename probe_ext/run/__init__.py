"""The run directory: the seam between a live system and everything that is made of its files."""
