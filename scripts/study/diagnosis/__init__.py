"""Servers with a known limit, and whether the diagnosis names it."""
