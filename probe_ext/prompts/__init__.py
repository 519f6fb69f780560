"""Seeded prompts of a given length in the server's own tokens."""
