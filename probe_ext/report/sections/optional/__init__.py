"""Sections that only some runs have."""
