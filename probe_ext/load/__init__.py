"""When to ask: how many users there are at each moment."""
