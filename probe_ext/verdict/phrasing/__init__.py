"""How numbers, people and workers are put into words."""
