"""Passes requests on to the server and replies back, unchanged, and reports how each ended."""
