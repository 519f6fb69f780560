"""How long, how large and how heavy the report of a big run is."""
